"""A pass over fake ports: what is read, what is written, in which order, and what an error leads to."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

import pytest

from puzzle_operator.api.base import JsonObject
from puzzle_operator.api.resource import PuzzleModel
from puzzle_operator.core.facts import (
    Absence,
    Missing,
    MissingKind,
    Reading,
    Revision,
    Service,
    Share,
    VersionCheck,
    VersionState,
)
from puzzle_operator.core.monitor import MonitorState, Registration
from puzzle_operator.core.replay.facts import ReplayJob
from puzzle_operator.core.retraining.facts import Decisions, TrainingRun
from puzzle_operator.core.situation import Note
from puzzle_operator.handlers.reconcile import Reconciler
from puzzle_operator.handlers.telemetry import Telemetry
from puzzle_operator.ports import Conflict, Credentials, Forbidden, Ports, Rejected, Unavailable
from puzzle_operator.settings import Settings
from tests.builders import T0, V1, V2, ModelBuilder, a_model


@dataclass
class Fake:
    """All ports in one, remembering the order of writes."""

    body: JsonObject | None
    seen: Service | Absence = Absence.NONE
    generation: int = 1
    calls: list[str] = field(default_factory=list)
    applied: list[JsonObject] = field(default_factory=list)
    statuses: list[JsonObject] = field(default_factory=list)
    refuse: Exception | None = None
    checked: int = 0
    rates: int = 0
    heard: MonitorState | Missing = field(default_factory=lambda: MonitorState(T0))
    asked: list[tuple[str, str, JsonObject]] = field(default_factory=list)
    decided: Decisions | VersionCheck = field(default_factory=Decisions)
    jobs: tuple[TrainingRun, ...] = ()
    made: list[JsonObject] = field(default_factory=list)
    no_jobs: Exception | None = None
    refuse_job: Exception | None = None
    secret: Credentials | None = None
    replaying: ReplayJob | None = None
    told: tuple[JsonObject, ...] = ()
    forgotten: list[tuple[str, str]] = field(default_factory=list)
    deaf: Missing | None = None
    registrations: tuple[Registration, ...] | Missing = ()
    cluster: str | None = "cluster-1"

    async def model(self, namespace: str, name: str) -> JsonObject | None:
        return self.body

    async def service(self, model: PuzzleModel) -> Service | Absence:
        return self.seen

    async def apply(self, obj: JsonObject) -> JsonObject:
        if self.refuse is not None:
            raise self.refuse
        self.calls.append(f"apply {obj['kind']}")
        self.applied.append(obj)
        return {"metadata": {"uid": "u", "generation": self.generation}}

    async def drop_revision(self, namespace: str, name: str) -> None:
        self.calls.append(f"drop {name}")

    async def write_status(self, model: PuzzleModel, status: JsonObject) -> None:
        self.calls.append("status")
        self.statuses.append(status)
        assert self.body is not None
        self.body["status"] = status

    async def clear_annotation(self, model: PuzzleModel, name: str) -> None:
        self.calls.append(f"clear {name}")

    async def emit(self, model: PuzzleModel, note: Note, at: datetime) -> None:
        self.calls.append(f"event {note.reason}")

    async def credentials(self, namespace: str, secret: str) -> Credentials | None:
        return self.secret

    async def read(
        self, model: PuzzleModel, revisions: frozenset[str]
    ) -> tuple[Mapping[str, Reading | Missing], Reading | Missing]:
        self.calls.append("metrics")
        return {}, Missing(MissingKind.UNAVAILABLE, "fake")

    async def picture_rate(self, model: PuzzleModel) -> float | None:
        self.rates += 1
        return 40.0

    async def ask(self, namespace: str, name: str, settings: JsonObject) -> MonitorState | Missing:
        self.asked.append((namespace, name, settings))
        return self.heard

    async def tell(self, namespace: str, name: str, decisions: Sequence[JsonObject]) -> None:
        self.told = tuple(decisions)

    async def forget(self, namespace: str, name: str) -> Missing | None:
        self.forgotten.append((namespace, name))
        return self.deaf

    async def registered(self) -> tuple[Registration, ...] | Missing:
        return self.registrations

    async def identity(self) -> str | None:
        return self.cluster

    async def check(self, model: PuzzleModel, version: str) -> VersionCheck:
        self.checked += 1
        return VersionCheck(version, VersionState.FOUND)

    async def decisions(self, model: PuzzleModel, *, fresh: bool) -> Decisions | VersionCheck:
        self.calls.append("decisions, fresh" if fresh else "decisions")
        return self.decided

    async def progress(self, model: PuzzleModel, run: str) -> str:
        self.calls.append(f"progress of {run}")
        return "train: epoch 3, of 10"

    async def training_jobs(self, model: PuzzleModel) -> tuple[TrainingRun, ...]:
        self.calls.append("jobs")
        if self.no_jobs is not None:
            raise self.no_jobs
        return self.jobs

    async def replay_job(self, model: PuzzleModel, name: str) -> ReplayJob | None:
        self.calls.append(f"look at {name}")
        if self.no_jobs is not None:
            raise self.no_jobs
        return self.replaying

    async def create_job(self, model: PuzzleModel, job: JsonObject) -> None:
        if self.refuse_job is not None:
            raise self.refuse_job
        self.calls.append(f"job {job['metadata']['name']}")
        self.made.append(job)

    async def create_service(self, model: PuzzleModel, service: JsonObject) -> None:
        self.calls.append(f"service {service['metadata']['name']}")

    async def delete_job(self, namespace: str, name: str) -> None:
        self.calls.append(f"delete {name}")


def a_reconciler(fake: Fake, settings: Settings | None = None) -> Reconciler:
    ports = Ports(cluster=fake, metrics=fake, registry=fake, clock=lambda: T0)
    return Reconciler(ports, settings or Settings(), Telemetry())


def run(fake: Fake) -> float | None:
    return asyncio.run(a_reconciler(fake).run("lyon", "line-1"))


def serving(version: str = V1, generation: int = 1) -> Service:
    return Service(
        uid="u",
        generation=generation,
        observed=True,
        ready=True,
        latest_created="r1",
        latest_ready="r1",
        latest_rolled_out="r1",
        traffic=(Share("r1", 100),),
        revisions=(Revision("r1", version, 1, True),),
    )


def at_rest(builder: ModelBuilder | None = None) -> Fake:
    """A model whose first version has been deployed by passes of its own."""
    fake = Fake((builder or a_model()).body)
    run(fake)
    fake.seen = serving()
    run(fake)
    run(fake)
    fake.calls.clear()
    fake.applied.clear()
    return fake


def test_objects_come_first_then_one_status_then_events() -> None:
    fake = Fake(a_model().body)
    delay = run(fake)
    assert fake.calls == ["apply ServiceAccount", "apply InferenceService", "status", "event Deploying"]
    assert delay == Settings().moving_interval


def test_at_rest_nothing_is_written_and_nobody_is_asked() -> None:
    fake = at_rest()
    asked = fake.checked
    assert run(fake) == Settings().resting_interval
    assert fake.calls == []
    assert fake.checked == asked


def test_a_hand_edit_is_undone_and_told() -> None:
    fake = at_rest()
    fake.seen, fake.generation = serving(generation=2), 3
    run(fake)
    assert "apply InferenceService" in fake.calls
    assert "event DriftCorrected" in fake.calls


def test_a_write_of_ours_that_was_not_recorded_is_no_hand_edit() -> None:
    fake = at_rest()
    fake.seen, fake.generation = serving(generation=2), 2  # the apply changed nothing
    run(fake)
    assert "event DriftCorrected" not in fake.calls


def test_a_serving_edit_is_applied_without_a_rollout() -> None:
    builder = a_model()
    fake = at_rest(builder)
    builder.serving(maxReplicas=9)
    run(fake)
    assert fake.applied[-1]["spec"]["predictor"]["maxReplicas"] == 9
    assert not any(call.startswith("event") for call in fake.calls)


def test_metrics_are_read_only_while_they_matter() -> None:
    builder = a_model()
    fake = at_rest(builder)
    assert "metrics" not in fake.calls
    builder.version(V2)
    run(fake)
    run(fake)
    assert "metrics" in fake.calls


def test_a_deleted_model_ends_its_worker() -> None:
    assert run(Fake(None)) is None
    going = a_model().body
    going["metadata"]["deletionTimestamp"] = "2026-11-23T14:00:00Z"
    fake = Fake(going)
    assert run(fake) is None
    assert fake.calls == []


def test_a_model_of_another_operator_is_left_alone() -> None:
    body = a_model().body
    body["metadata"]["annotations"] = {"puzzlenet.dev/operator-class": "canary-operator"}
    fake = Fake(body)
    assert run(fake) is None
    assert fake.calls == []
    reconciler = a_reconciler(fake, replace(Settings(), operator_class="canary-operator"))
    assert asyncio.run(reconciler.run("lyon", "line-1")) is not None


@pytest.mark.parametrize("error", [Rejected("the webhook says no"), Forbidden("may not patch inferenceservices")])
def test_a_refused_apply_is_told_once_and_tried_again(error: Exception) -> None:
    fake = Fake(a_model().body, refuse=error)
    assert run(fake) == Settings().blocked_interval
    assert fake.calls == ["status", "event Rejected"]
    condition = next(c for c in fake.statuses[-1]["conditions"] if c["type"] == "Progressing")
    assert (condition["status"], condition["message"]) == ("False", str(error))
    run(fake)
    assert fake.calls.count("event Rejected") == 1


def test_an_outage_of_the_api_decides_nothing() -> None:
    fake = Fake(a_model().body, refuse=Unavailable("no answer"))
    with pytest.raises(Unavailable):
        run(fake)
    assert fake.calls == []


def test_a_model_that_cannot_be_read_is_left_alone() -> None:
    body: dict[str, Any] = a_model().body
    body["spec"]["canary"]["bake"] = "soon"
    fake = Fake(body)
    assert run(fake) == Settings().resting_interval
    assert fake.calls == []


def test_a_status_that_somebody_broke_is_repaired_and_told() -> None:
    fake = at_rest()
    assert fake.body is not None
    fake.body["status"]["phase"] = "Sleeping"
    run(fake)
    assert "event StatusRepaired" in fake.calls
    assert fake.body["status"]["champion"]["version"] == V1


def test_a_conflict_is_an_outage_that_passes_at_once() -> None:
    assert Conflict("again").retry_after < 1
