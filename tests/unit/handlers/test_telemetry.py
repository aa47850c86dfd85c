"""The operator's own metrics: what a scrape says of whole rollouts, and what is counted once."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import httpx
import pytest
from prometheus_client import Metric

from puzzle_operator.adapters.http import ObservedClient
from puzzle_operator.adapters.kube import Kube
from puzzle_operator.api.base import JsonObject
from puzzle_operator.api.conditions import Phase
from puzzle_operator.api.monitoring import AccuracyStatus, DriftPhase, DriftReport, DriftStatus, Harm, VersionAccuracy
from puzzle_operator.api.names import CLASS_ANNOTATION
from puzzle_operator.api.resource import PuzzleModel
from puzzle_operator.api.status import Bounds
from puzzle_operator.core.facts import Missing, MissingKind, VersionState
from puzzle_operator.core.monitor import InputHealth, Labels, MonitorState, VersionDrift, VersionLabels
from puzzle_operator.core.rollout import Decision
from puzzle_operator.handlers.telemetry import Telemetry
from puzzle_operator.ports import Conflict, Rejected, Unavailable
from tests.builders import T0, V1, V2, V3, a_model
from tests.unit.core.factory import a_factory, a_retrained_model, words
from tests.unit.core.world import ABSENT, DOWN, World, a_canary, a_stable_world
from tests.unit.handlers.test_passes import Fake, a_reconciler

LINE = {"namespace": "lyon", "model": "line-1"}
LATER = 1_800_000_000.0


def watched(world: World, telemetry: Telemetry | None = None) -> Telemetry:
    """Every pass from here on is told, with the model as it was read."""
    telemetry = telemetry or Telemetry(wall_clock=lambda: LATER)
    world.on_pass = lambda seen, decision: telemetry.decided(seen.model.build(), decision)
    return telemetry


def value(telemetry: Telemetry, name: str, **labels: str) -> float | None:
    return telemetry.registry.get_sample_value(name, {**LINE, **labels})


def families(telemetry: Telemetry) -> dict[str, Metric]:
    """By the name that a query uses: a counter's ends in _total."""
    found = {metric.name: metric for metric in telemetry.registry.collect() if metric.name.startswith("puzzle_")}
    return {name + ("_total" if metric.type == "counter" else ""): metric for name, metric in found.items()}


def a_promotion() -> tuple[World, Telemetry]:
    world = a_stable_world()
    telemetry = watched(world)
    world.model.version(V2)
    return world.until(Phase.BAKING).until(Phase.STABLE), telemetry


def a_rollback() -> tuple[World, Telemetry]:
    world = a_canary(V2, error_rates={V2: 0.0})
    telemetry = watched(world)
    world.run(2)
    world.error_rates[V2] = 0.5
    return world.until(Phase.ROLLED_BACK), telemetry


def everything() -> Telemetry:
    """A telemetry that was told of everything that there is: one model rolled back, another in mid-canary."""
    _, telemetry = a_rollback()
    world = a_canary(V2, model=a_model("line-2"))

    def tell(seen: World, decision: Decision) -> None:
        metrics = tuple(
            metric.but(challenger=metric.challenger.but(p95=Bounds(low=0.1, high=0.2)))
            for metric in decision.status.metrics
        )
        reports = (DriftReport(version=V2, phase=DriftPhase.CONFIRMED, harmful=Harm.YES),)
        accuracy = AccuracyStatus(champion=0.93, versions=(VersionAccuracy(version=V2, accuracy=0.81),))
        watched = {"drift": DriftStatus(shown="Harmful", reports=reports), "accuracy": accuracy}
        status = decision.status.but(metrics=metrics, **watched)
        telemetry.decided(seen.model.build(), replace(decision, status=status))

    world.on_pass = tell
    world.tick()
    learner = a_factory(a_retrained_model(triggers={"drift": "Never"}))
    watched(learner, telemetry)
    learner.ask().until_job()
    learner.ends(words("GateRefused")).run(2)
    for code in (200, 0):
        telemetry.called("GET", code, 0.02)
        telemetry.queried(code, 0.01)
    telemetry.checked(VersionState.SECRET_MISSING)
    telemetry.read((ABSENT, DOWN))
    telemetry.heard(DOWN)
    telemetry.passed(0.2)
    telemetry.watch_workers(lambda: 7)
    return telemetry


def test_the_challenger_stands_beside_the_champion_while_it_is_tried() -> None:
    world = a_canary(V2)
    telemetry = watched(world)
    reports = (VersionDrift(V1, DriftPhase.NONE, Harm.NO), VersionDrift(V2, DriftPhase.CONFIRMED, Harm.YES))
    labels = (VersionLabels(V1, 50, 1, 0.98, 3600.0), VersionLabels(V2, 40, 24, 0.4, 3600.0))
    heard = MonitorState(T0, reports, InputHealth(True), labels, Labels(90))
    world.monitor = heard
    world.run(2)
    assert value(telemetry, "puzzle_challenger_drift", state="Harmful") == 1
    assert value(telemetry, "puzzle_drift", state="None") == 1
    assert value(telemetry, "puzzle_challenger_accuracy_ratio") == 0.4
    assert value(telemetry, "puzzle_accuracy_ratio") == 0.98
    world.monitor = Missing(MissingKind.UNAVAILABLE, "the monitor does not answer")
    world.run(1)
    assert value(telemetry, "puzzle_challenger_drift", state="Harmful") is None, "nobody knows what it says now"
    world.monitor = heard
    world.model.version(V1)
    world.until(Phase.STABLE)
    assert value(telemetry, "puzzle_challenger_drift", state="Harmful") is None
    assert value(telemetry, "puzzle_challenger_accuracy_ratio") is None


def test_a_run_is_counted_once_and_its_outcome_stays() -> None:
    world = a_factory(a_retrained_model(triggers={"drift": "Never"}))
    telemetry = watched(world)
    world.ask().until_job()
    world.pod(phase="Pending", pending="no node", unschedulable=True).tick()
    assert value(telemetry, "puzzle_retraining_phase", phase="Running") == 1
    assert value(telemetry, "puzzle_retraining_pending") == 1
    world.ends(words("GateRefused")).run(10)
    assert value(telemetry, "puzzle_retraining_runs_total", outcome="GateRefused") == 1
    assert value(telemetry, "puzzle_retraining_runs_total", outcome="Failed") == 0
    assert value(telemetry, "puzzle_retraining_outcome", outcome="GateRefused") == 1
    assert value(telemetry, "puzzle_retraining_pending") == 0
    watched(world)  # the next operator counts what comes after
    world.run(2)
    telemetry.forget("lyon", "line-1")
    assert value(telemetry, "puzzle_retraining_runs_total", outcome="GateRefused") is None


# ---------------------------------------------------------------- a model as it is


def test_a_canary_shows_weight_verdict_evidence_and_requests() -> None:
    world = a_canary(V2)
    telemetry = watched(world)
    world.run(2)
    assert value(telemetry, "puzzle_phase", phase="Canary") == 1
    assert value(telemetry, "puzzle_phase", phase="Stable") == 0
    assert value(telemetry, "puzzle_weight_ratio", kind="wanted") == pytest.approx(0.1)
    assert value(telemetry, "puzzle_weight_ratio", kind="observed") == pytest.approx(0.1)
    assert value(telemetry, "puzzle_version_info", role="challenger", version="2" * 12) == 1
    assert value(telemetry, "puzzle_pass_timestamp_seconds") == LATER
    metric = world.status.metrics[0]
    for kind, shown, bound in (
        ("against", metric.evidence, metric.bound),
        ("for", metric.evidence_for, metric.bound_for),
    ):
        assert value(telemetry, "puzzle_evidence", metric="errors", kind=kind) == shown
        assert value(telemetry, "puzzle_evidence_bound", metric="errors", kind=kind) == bound
    requests = value(telemetry, "puzzle_rollout_requests", metric="errors", side="challenger")
    assert requests == metric.challenger.requests > 0
    assert value(telemetry, "puzzle_rollout_bad_requests", metric="errors", side="champion") == 0
    assert value(telemetry, "puzzle_metric_verdict", metric="slow", verdict=str(world.status.metrics[1].verdict)) == 1


def test_the_time_in_a_phase_follows_from_when_it_began() -> None:
    world = a_canary(V2)
    telemetry = watched(world)
    world.tick()
    began = world.status.transitions[-1].at.timestamp()
    assert value(telemetry, "puzzle_phase_since_timestamp_seconds") == began


def test_the_clock_of_a_step_is_absent_while_it_stands_still() -> None:
    world = a_canary(V2)
    telemetry = watched(world)
    world.tick()
    assert world.status.active is not None
    assert world.status.active.step_started_at is not None
    since = world.status.active.step_started_at.timestamp()
    assert value(telemetry, "puzzle_step_since_timestamp_seconds") == since
    world.prometheus = DOWN
    world.run(2)
    assert value(telemetry, "puzzle_reason", reason="HeldMetricsStale") == 1
    assert value(telemetry, "puzzle_verdict", verdict="Unknown") == 1
    assert value(telemetry, "puzzle_step_since_timestamp_seconds") is None


def test_consent_that_is_awaited_is_shown() -> None:
    world = a_stable_world(model=a_model().automation("Manual"))
    telemetry = watched(world)
    world.model.version(V2)
    world.run(8)
    assert value(telemetry, "puzzle_awaiting_approval") == 1
    assert value(telemetry, "puzzle_reason", reason="AwaitingApproval") == 1
    assert world.status.active is not None
    assert value(telemetry, "puzzle_step_since_timestamp_seconds") == world.status.active.started_at.timestamp()


def test_a_metric_that_left_the_spec_leaves_the_scrape() -> None:
    world = a_canary(V2)
    telemetry = watched(world)
    world.tick()
    assert value(telemetry, "puzzle_evidence", metric="slow", kind="for") is not None
    metrics = world.model.body["spec"]["canary"]["analysis"]["metrics"]
    world.model.analysis(metrics=metrics[:1]).steps(10, 50)
    world.tick()
    assert value(telemetry, "puzzle_evidence", metric="errors", kind="for") is not None
    assert value(telemetry, "puzzle_evidence", metric="slow", kind="for") is None


def test_a_model_that_is_gone_leaves_nothing_and_the_others_stay() -> None:
    _, telemetry = a_rollback()
    other = a_stable_world(model=a_model("line-2"))
    watched(other, telemetry)
    other.tick()
    telemetry.forget("lyon", "line-1")
    telemetry.forget("lyon", "line-1")
    left = [
        sample.labels["model"]
        for metric in telemetry.registry.collect()
        for sample in metric.samples
        if "model" in sample.labels
    ]
    assert set(left) == {"line-2"}


def test_a_model_made_anew_under_the_same_name_starts_at_nothing() -> None:
    world, telemetry = a_rollback()
    assert value(telemetry, "puzzle_rollouts_total", outcome="RolledBack") == 1
    world.model.body["metadata"]["uid"] = "another"
    world.stored = "{}"
    world.tick()
    assert value(telemetry, "puzzle_rollouts_total", outcome="RolledBack") == 0


# ---------------------------------------------------------------- what happens once


def test_a_promotion_is_counted_once_and_each_phase_with_its_length() -> None:
    world, telemetry = a_promotion()
    world.run(5)
    assert value(telemetry, "puzzle_rollouts_total", outcome="Promoted") == 1
    assert value(telemetry, "puzzle_rollouts_total", outcome="RolledBack") == 0
    at = {entry.to: entry.at for entry in world.status.transitions}
    assert value(telemetry, "puzzle_phase_seconds_count", phase="Canary") == 1
    assert value(telemetry, "puzzle_phase_seconds_sum", phase="Canary") == pytest.approx(
        (at[Phase.BAKING] - at[Phase.CANARY]).total_seconds()
    )
    assert value(telemetry, "puzzle_rollback_exposure_seconds_count") == 0
    assert value(telemetry, "puzzle_events_total", reason="Promoted") == 1


def test_a_rollback_is_counted_with_the_time_that_it_had_traffic() -> None:
    world, telemetry = a_rollback()
    rollout = world.status.rollout
    assert rollout is not None
    assert rollout.zero_traffic_at is not None
    assert rollout.first_traffic_at is not None
    exposure = (rollout.zero_traffic_at - rollout.first_traffic_at).total_seconds()
    assert value(telemetry, "puzzle_rollouts_total", outcome="RolledBack") == 1
    assert value(telemetry, "puzzle_rollback_exposure_seconds_count") == 1
    assert value(telemetry, "puzzle_rollback_exposure_seconds_sum") == pytest.approx(exposure, abs=0.01)
    assert value(telemetry, "puzzle_rollback_withdrawal_seconds_count") == 1


def test_a_superseded_challenger_is_no_rollback() -> None:
    world = a_canary(V2)
    telemetry = watched(world)
    world.model.version(V3)
    world.until(Phase.STARTING)
    assert value(telemetry, "puzzle_rollouts_total", outcome="Superseded") == 1
    assert value(telemetry, "puzzle_rollback_exposure_seconds_count") == 0


def _sums(world: World, telemetries: list[Telemetry]) -> dict[str, float]:
    names = {"puzzle_rollouts_total": "outcome", "puzzle_phase_seconds_count": "phase", "puzzle_events_total": "reason"}
    found: dict[str, float] = {"exposure": 0.0}
    for telemetry in telemetries:
        found["exposure"] += value(telemetry, "puzzle_rollback_exposure_seconds_count") or 0.0
        for metric in telemetry.registry.collect():
            for sample in metric.samples:
                if sample.name in names and sample.value:
                    key = f"{sample.name} {sample.labels[names[sample.name]]}"
                    found[key] = found.get(key, 0.0) + sample.value
    return found


def test_restarts_between_any_two_passes_neither_lose_nor_double_anything() -> None:
    """One operator for all of it, next to one that is killed after each pass: the sums are the same."""
    world = a_stable_world()
    steady, restarted = Telemetry(), [Telemetry()]

    def tell(seen: World, decision: Decision) -> None:
        restarted.append(Telemetry())
        for telemetry in (steady, restarted[-1]):
            telemetry.decided(seen.model.build(), decision)

    world.on_pass = tell
    world.model.version(V2)
    world.until(Phase.BAKING).until(Phase.STABLE)
    world.model.version(V3)
    world.until(Phase.CANARY).run(3)
    world.error_rates[V3] = 0.5
    world.until(Phase.ROLLED_BACK).run(3)
    told = _sums(world, [steady])
    assert told == _sums(world, restarted)
    assert told["puzzle_rollouts_total Promoted"] == told["puzzle_rollouts_total RolledBack"] == 1
    assert told["exposure"] == 1
    assert told["puzzle_phase_seconds_count Canary"] == 2


def test_a_write_whose_answer_was_lost_is_counted_by_the_next_pass() -> None:
    world = a_canary(V2)
    telemetry = watched(world)
    world.tick()
    tell, world.on_pass = world.on_pass, None  # stored, but this operator never knew
    world.error_rates[V2] = 0.5
    world.until(Phase.RESTORING)
    world.on_pass = tell
    world.run(1)
    assert value(telemetry, "puzzle_rollouts_total", outcome="RolledBack") == 1
    assert value(telemetry, "puzzle_rollback_exposure_seconds_count") == 1
    assert value(telemetry, "puzzle_phase_seconds_count", phase="Canary") == 1


# ---------------------------------------------------------------- passes


def test_a_pass_counts_the_look_into_the_registry() -> None:
    fake = Fake(a_model().body)
    reconciler = a_reconciler(fake)
    asyncio.run(reconciler.run("lyon", "line-1"))
    assert reconciler.telemetry.registry.get_sample_value("puzzle_registry_checks_total", {"result": "found"}) == 1
    assert value(reconciler.telemetry, "puzzle_events_total", reason="Deploying") == 1


def test_a_status_that_was_not_stored_is_not_counted() -> None:
    class Contested(Fake):
        async def write_status(self, model: PuzzleModel, status: JsonObject) -> None:
            raise Conflict("somebody wrote in between")

    reconciler = a_reconciler(Contested(a_model().body))
    with pytest.raises(Conflict):
        asyncio.run(reconciler.run("lyon", "line-1"))
    assert value(reconciler.telemetry, "puzzle_events_total", reason="Deploying") is None
    assert value(reconciler.telemetry, "puzzle_phase", phase="Deploying") is None


def test_what_the_api_server_refuses_counts_as_a_failure() -> None:
    reconciler = a_reconciler(Fake(a_model().body, refuse=Rejected("the webhook says no")))
    asyncio.run(reconciler.run("lyon", "line-1"))
    failures = reconciler.telemetry.registry.get_sample_value("puzzle_reconcile_failures_total", {"kind": "refused"})
    assert failures == 1
    assert value(reconciler.telemetry, "puzzle_reason", reason="Rejected") == 1


def test_a_model_that_was_handed_to_another_operator_is_forgotten() -> None:
    builder = a_model()
    reconciler = a_reconciler(Fake(builder.body))
    asyncio.run(reconciler.run("lyon", "line-1"))
    builder.annotated(CLASS_ANNOTATION, "another")
    asyncio.run(reconciler.run("lyon", "line-1"))
    assert value(reconciler.telemetry, "puzzle_phase", phase="Deploying") is None


# ---------------------------------------------------------------- the world around


def test_every_answer_of_prometheus_is_told_and_so_is_none() -> None:
    telemetry = Telemetry()

    def answer(request: httpx.Request) -> httpx.Response:
        if request.url.path == "/down":
            raise httpx.ConnectError("refused")
        return httpx.Response(503 if request.url.path == "/busy" else 200)

    async def ask() -> None:
        client = ObservedClient(telemetry.queried, base_url="http://prometheus", transport=httpx.MockTransport(answer))
        await client.post("/api/v1/query", data={"query": "up"})
        await client.post("/busy")
        with pytest.raises(httpx.ConnectError):
            await client.post("/down")
        await client.aclose()

    asyncio.run(ask())
    found = {
        sample.labels["code"]: sample.value
        for sample in families(telemetry)["puzzle_prometheus_queries_total"].samples
        if sample.name.endswith("_total")
    }
    assert found == {"200": 1, "503": 1, "0": 1}
    assert telemetry.registry.get_sample_value("puzzle_prometheus_query_seconds_count") == 3


def test_every_call_of_the_kubernetes_api_is_told_with_its_time() -> None:
    class Api:
        def param_serialize(self, *_: Any, **__: Any) -> tuple[()]:
            return ()

        def call_api(self, *_: Any, **__: Any) -> Any:
            raise OSError("no route to host")

    telemetry = Telemetry()
    with pytest.raises(Unavailable):
        asyncio.run(Kube(Api(), seen=telemetry.called).get("/api"))  # type: ignore[arg-type]
    assert telemetry.registry.get_sample_value("puzzle_api_calls_total", {"verb": "GET", "code": "0"}) == 1
    assert telemetry.registry.get_sample_value("puzzle_api_call_seconds_count", {"verb": "GET"}) == 1


def test_workers_are_counted_at_the_scrape() -> None:
    telemetry, workers = Telemetry(), [1, 2]
    telemetry.watch_workers(lambda: len(workers))
    workers.append(3)
    assert telemetry.registry.get_sample_value("puzzle_workers") == 3
