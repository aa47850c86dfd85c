"""The verdict's interface: what counts, what is missing, what outranks what."""

from __future__ import annotations

import math
from dataclasses import replace
from datetime import timedelta

import pytest

from puzzle_operator.api.conditions import Verdict
from puzzle_operator.api.status import MetricMemory, Rollout
from puzzle_operator.core.canary import GUARD, judge, settle_memory, start_memory
from puzzle_operator.core.facts import (
    Counter,
    Facts,
    Missing,
    MissingKind,
    Pod,
    Reading,
    Revision,
    Service,
    VersionCheck,
    VersionState,
)
from puzzle_operator.core.rollout import RULES
from tests.builders import T0, V1, V2, a_model, after

SERVICE = Service(
    uid="u",
    generation=1,
    observed=True,
    ready=True,
    latest_ready="r2",
    latest_rolled_out="r1",
    revisions=(Revision("r1", V1, 1, True), Revision("r2", V2, 2, True)),
    pods=(
        Pod("p1", "r1", ready=True, started=T0 - timedelta(hours=1)),
        Pod("p2", "r2", ready=True, started=T0),
    ),
)
MODEL = a_model().analysis(minRequests=50).build()


def reading(champion: tuple[float, float], challenger: tuple[float, float] | None, seconds: float) -> Reading:
    counters = [Counter("p1", "r1", *champion)]
    if challenger is not None:
        counters.append(Counter("p2", "r2", *challenger))
    return Reading(tuple(counters), frozenset({"r1", "r2"}), after(seconds))


def facts(found: Reading | Missing, seconds: float = 0.0) -> Facts:
    return Facts(
        model=MODEL,
        now=after(seconds),
        service=SERVICE,
        check=VersionCheck(V2, VersionState.NOT_ASKED),
        readings={"errors": found, "slow": found},
        guard=found,
    )


def started() -> Rollout:
    rollout = Rollout(challenger=V2, started_at=T0, first_traffic_at=T0)
    return rollout.but(memory=start_memory(facts(reading((1000, 3), None, 1)), SERVICE, rollout, V1))


def test_what_was_served_before_the_rollout_does_not_count() -> None:
    seen = judge(facts(reading((1100, 4), (30, 0), 6)), SERVICE, started(), V1, counted=True)
    assert seen.metrics[0].champion.requests == 100
    assert seen.metrics[0].champion.bad == 1
    assert seen.requests == 30


def test_too_few_requests_hold_and_say_how_many_are_missing() -> None:
    seen = judge(facts(reading((1100, 4), (30, 0), 6)), SERVICE, started(), V1, counted=True)
    assert seen.verdict is Verdict.HOLD
    assert "20 more are needed" in seen.message


def test_enough_requests_and_nothing_against_it_pass() -> None:
    seen = judge(facts(reading((1100, 4), (60, 0), 6)), SERVICE, started(), V1, counted=True)
    assert seen.verdict is Verdict.PASS


def test_requests_before_the_wanted_weight_are_no_evidence() -> None:
    seen = judge(facts(reading((1100, 4), (60, 60), 6)), SERVICE, started(), V1, counted=False)
    assert seen.metrics[0].challenger.requests == 0
    assert seen.requests == 60, "guards look at every response all the same"


def test_evidence_against_it_fails_even_when_the_next_reading_is_missing() -> None:
    seen = judge(facts(reading((1500, 4), (60, 40), 6)), SERVICE, started(), V1, counted=True)
    assert seen.verdict is Verdict.FAIL
    rollout = started().but(memory=seen.memory)
    down = Missing(MissingKind.UNAVAILABLE, "down")
    assert judge(facts(down), SERVICE, rollout, V1, counted=True).verdict is Verdict.FAIL


@pytest.mark.parametrize("kind", list(MissingKind))
def test_a_missing_metric_is_unknown_whatever_was_seen_before(kind: MissingKind) -> None:
    seen = judge(facts(reading((1100, 4), (60, 0), 6)), SERVICE, started(), V1, counted=True)
    rollout = started().but(memory=seen.memory)
    again = judge(facts(Missing(kind, "gone")), SERVICE, rollout, V1, counted=True)
    assert again.verdict is Verdict.UNKNOWN
    assert again.absent is (kind is MissingKind.ABSENT)
    assert again.requests == 60


def test_a_running_champion_without_series_is_unknown() -> None:
    only = Reading((Counter("p2", "r2", 60, 0),), frozenset({"r2"}), after(6))
    seen = judge(facts(only), SERVICE, started(), V1, counted=True)
    assert seen.verdict is Verdict.UNKNOWN
    assert "no series of the champion's revision r1" in seen.message


def test_a_challenger_gets_a_minute_until_its_first_scrape() -> None:
    only = Reading((Counter("p1", "r1", 1100, 4),), frozenset({"r1"}), after(6))
    soon = judge(facts(only, seconds=30), SERVICE, started(), V1, counted=True)
    late = judge(facts(only, seconds=90), SERVICE, started(), V1, counted=True)
    assert (soon.verdict, late.verdict) == (Verdict.HOLD, Verdict.UNKNOWN)


def test_a_side_that_is_scaled_to_zero_is_idle_and_not_unknown() -> None:
    asleep = replace(SERVICE, pods=(SERVICE.pods[1],))
    only = Reading((Counter("p2", "r2", 10, 0),), frozenset({"r2"}), after(6))
    assert judge(facts(only), asleep, started(), V1, counted=True).verdict is Verdict.HOLD


def test_a_counter_that_only_exists_after_the_first_request_is_idle_until_then() -> None:
    custom = Reading((Counter("p1", "r1", 1100, 4),), frozenset({"r1"}), after(6))
    unserved = reading((1100, 4), None, 6)
    seen = judge(replace(facts(custom, seconds=90), guard=unserved), SERVICE, started(), V1, counted=True)
    assert seen.verdict is Verdict.HOLD
    served = reading((1100, 4), (5, 0), 6)
    seen = judge(replace(facts(custom, seconds=90), guard=served), SERVICE, started(), V1, counted=True)
    assert seen.verdict is Verdict.UNKNOWN, "it has answered, and the counter knows nothing of it"


def test_memory_that_somebody_edited_into_nonsense_starts_again() -> None:
    nonsense = tuple(
        MetricMemory(name=name, evidence={"r": "x", "n": ["y"]}, counters={"at": "z"})
        for name in ("errors", "slow", GUARD)
    )
    rollout = started().but(memory=nonsense)
    assert judge(facts(reading((1100, 4), (60, 0), 6)), SERVICE, rollout, V1, counted=True).verdict is Verdict.HOLD


def test_settling_keeps_the_totals() -> None:
    rollout = started()
    seen = judge(facts(reading((1100, 4), (3, 0), 6)), SERVICE, rollout, V1, counted=True)
    settled = {m.name: m for m in settle_memory(rollout.but(memory=seen.memory), MODEL.spec.canary)}
    assert settled["errors"].evidence["n"] == next(m for m in seen.memory if m.name == "errors").evidence["n"]
    assert settled[GUARD].evidence["n"] == [3, 0, 100, 1]


def test_another_slo_in_mid_canary_counts_from_here() -> None:
    seen = judge(facts(reading((1100, 4), (30, 0), 6)), SERVICE, started(), V1, counted=True)
    rollout = started().but(memory=seen.memory)
    metrics = [{"name": "errors", "type": "ErrorRate"}, {"name": "slow", "type": "Latency", "slo": "50ms"}]
    model = a_model().analysis(metrics=metrics).build()
    # Many more requests of old are slow by the new bound: they are no news.
    edited = replace(facts(reading((1150, 600), (50, 25), 11)), model=model)
    slow = judge(edited, SERVICE, rollout, V1, counted=True)
    by_name = {metric.name: metric for metric in slow.metrics}
    assert by_name["slow"].challenger.requests == 0
    assert by_name["errors"].challenger.requests == 50
    later = replace(facts(reading((1200, 602), (60, 26), 16)), model=model)
    again = judge(later, SERVICE, rollout.but(memory=slow.memory), V1, counted=True)
    found = {metric.name: metric for metric in again.metrics}["slow"]
    assert (found.challenger.requests, found.challenger.bad) == (10, 1)
    assert (found.champion.requests, found.champion.bad) == (50, 2)


def test_a_metric_that_is_added_in_mid_canary_counts_from_here() -> None:
    only = a_model().analysis(metrics=[{"name": "errors", "type": "ErrorRate"}]).build()
    before = replace(facts(reading((1100, 4), (500, 0), 6)), model=only)
    seen = judge(before, SERVICE, started(), V1, counted=True)
    after_edit = facts(reading((1200, 5), (600, 30), 11))
    both = judge(after_edit, SERVICE, started().but(memory=seen.memory), V1, counted=True)
    assert {metric.name: metric.challenger.requests for metric in both.metrics} == {"errors": 600, "slow": 0}


def test_without_responses_nothing_is_known_whatever_other_metrics_say() -> None:
    found = facts(reading((1100, 4), (60, 0), 6))
    blind = replace(found, guard=Missing(MissingKind.UNAVAILABLE, "queue-proxy is not scraped"))
    seen = judge(blind, SERVICE, started(), V1, counted=True)
    assert (seen.verdict, seen.message) == (Verdict.UNKNOWN, "responses: queue-proxy is not scraped")


@pytest.mark.parametrize(
    ("champion_bad", "lately"), [(3, True), (900, False)], ids=["the champion is well", "both fail"]
)
def test_a_late_failure_is_seen_in_the_last_responses(champion_bad: int, lately: bool) -> None:
    rollout = started()
    for step in range(1, 21):  # 2,000 good responses
        healthy = reading((1000 + 100 * step, 3), (100 * step, 0), 5.0 * step)
        rollout = rollout.but(memory=judge(facts(healthy), SERVICE, rollout, V1, counted=True).memory)
    failing = reading((4000, champion_bad), (2080, 60), 110)
    seen = judge(facts(failing), SERVICE, rollout, V1, counted=True)
    assert seen.failed < 0.05 * seen.requests
    assert seen.fails_lately(0.2) is lately


def test_the_order_of_the_rules_is_safety_first() -> None:
    names = [rule.__name__ for rule in RULES]
    taking = [i for i, name in enumerate(names) if name.startswith(("roll_back", "withdraw"))]
    waiting = [i for i, name in enumerate(names) if name.startswith(("freeze", "hold", "wait_for_weight"))]
    assert max(taking) < min(waiting) < names.index("start_canary") < names.index("advance")
    assert names.index("check_before_traffic") < names.index("start_canary")
    assert len(set(names)) == len(names)


def test_latency_shows_the_95th_percentile_of_both_sides_with_bounds() -> None:
    histograms = {
        "r1": ((0.1, 900), (0.25, 990), (0.5, 1000), (math.inf, 1000)),
        "r2": ((0.1, 0), (0.25, 20), (0.5, 60), (math.inf, 60)),
    }
    found = facts(replace(reading((1100, 4), (60, 0), 6), histograms=histograms))
    slow = judge(found, SERVICE, started(), V1, counted=True).metrics[1]
    assert slow.champion.p95 is not None and slow.challenger.p95 is not None
    assert (slow.champion.p95.low, slow.champion.p95.high) == (0.1, 0.25)
    assert (slow.challenger.p95.low, slow.challenger.p95.high) == (0.25, None)
    assert "p95" in slow.to_wire()["challenger"]


def test_a_bake_of_which_somebody_edited_the_memory_goes_on_with_the_comparison() -> None:
    memory = tuple(item.but(bake={"challenger": "x"}) for item in started().memory)
    rollout = started().but(memory=memory, promoted_at=T0)
    seen = judge(facts(reading((1100, 4), (60, 0), 6)), SERVICE, rollout, V1, counted=True)
    assert seen.verdict is Verdict.PASS
