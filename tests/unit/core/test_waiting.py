"""What makes a rollout wait: a pause, missing metrics, too few requests, a deadline, a person."""

from __future__ import annotations

import pytest

from puzzle_operator.api.conditions import ConditionType, Phase, Verdict
from tests.builders import V2, a_model
from tests.unit.core.world import ABSENT, DOWN, World, a_canary, a_stable_world

READY, PROGRESSING = ConditionType.READY, ConditionType.PROGRESSING


def test_a_failure_while_paused_is_taken_back_all_the_same() -> None:
    world = a_canary(V2)
    world.model.paused()
    world.run(3)
    world.error_rates[V2] = 0.5
    world.until(Phase.ROLLING_BACK)


def test_a_pause_freezes_the_weight_and_the_clock() -> None:
    world = a_canary(V2, step=1)
    world.model.paused()
    world.run(50)
    assert (world.status.phase, world.status.step) == (Phase.CANARY, "1/2")
    assert world.condition(PROGRESSING) == ("False", "Paused")
    world.model.paused(False)
    world.run(1)
    assert "Resumed" in world.reasons
    world.until(Phase.BAKING)
    assert world.reasons.count("Paused") == 1


def test_paused_at_rest_starts_nothing() -> None:
    world = a_stable_world()
    world.model.version(V2).paused()
    world.run(5)
    assert world.status.phase is Phase.STABLE
    assert world.status.reason == "Paused"
    world.model.paused(False)
    world.until(Phase.CANARY)


def test_paused_before_the_first_traffic_gives_none() -> None:
    world = a_stable_world()
    world.model.version(V2)
    world.until(Phase.STARTING)
    world.model.paused()
    world.run(20)
    assert (world.status.phase, world.kserve.share(V2)) == (Phase.STARTING, 0)


def test_a_metric_outage_freezes_and_then_goes_on_with_the_same_evidence() -> None:
    world = a_canary(V2)
    world.run(3)
    before = world.status.samples
    world.prometheus = DOWN
    world.run(120)
    assert (world.status.phase, world.status.verdict) == (Phase.CANARY, Verdict.UNKNOWN)
    assert world.condition(ConditionType.METRICS_AVAILABLE) == ("False", "MetricsUnavailable")
    world.prometheus = None
    world.run(2)
    assert world.reasons.count("HeldMetricsStale") == 1
    assert "MetricsResumed" in world.reasons
    assert (world.status.samples or 0) > (before or 0)
    world.until(Phase.STABLE)


def test_no_traffic_is_given_while_metrics_are_down_or_unknown() -> None:
    for missing, reason in ((DOWN, "MetricsUnavailable"), (ABSENT, "MetricAbsent")):
        world = a_stable_world()
        world.prometheus = missing
        world.model.version(V2)
        world.run(30)
        assert world.status.phase is Phase.STARTING
        assert world.kserve.share(V2) == 0
        assert world.condition(ConditionType.METRICS_AVAILABLE) == ("False", reason)
        world.prometheus = None
        world.until(Phase.CANARY)


def test_an_idle_champion_is_held_not_refused() -> None:
    world = a_stable_world(requests_per_tick=0)
    world.model.version(V2)
    world.run(20)
    assert (world.status.phase, world.status.verdict) == (Phase.STARTING, Verdict.HOLD)
    assert world.status.reason == "HeldLowEvidence"
    world.requests_per_tick = 100
    world.until(Phase.CANARY)


def test_a_line_that_stops_in_mid_canary_is_held_and_not_rolled_back() -> None:
    world = a_canary(V2)
    world.requests_per_tick = 0
    world.run(100)
    assert (world.status.phase, world.status.verdict) == (Phase.CANARY, Verdict.HOLD)
    assert "more are needed" in (world.status.message or "")
    assert "HeldLowEvidence" in world.reasons


def a_held_canary(**inconclusive: str) -> World:
    """A canary whose line has stopped: neither good nor bad, for ever."""
    world = a_canary(V2, model=a_model().canary(inconclusive={"deadline": "10m", **inconclusive}))
    world.requests_per_tick = 0
    return world


def test_an_idle_line_is_held_with_the_number_of_requests_that_are_needed() -> None:
    world = a_held_canary().run(20)
    assert world.status.verdict is Verdict.HOLD
    assert "more canary requests" in (world.status.message or "")
    assert all((metric.needed or 0) > 0 for metric in world.status.metrics)


def test_an_inconclusive_canary_is_kept_and_told_once_by_default() -> None:
    world = a_held_canary().run(300)
    assert (world.status.phase, world.observed) == (Phase.CANARY, 10)
    assert world.status.reason == "Inconclusive"
    assert world.reasons.count("Inconclusive") == 1
    assert "still inconclusive after 10m" in (world.status.message or "")
    world.requests_per_tick = 200
    world.until(Phase.STABLE)
    assert world.status.champion is not None and world.status.champion.version == V2


def test_an_inconclusive_canary_is_taken_back_where_the_spec_says_so() -> None:
    world = a_held_canary(action="Rollback")
    world.until(Phase.ROLLED_BACK)
    entry = world.status.quarantine_of(V2)
    assert entry is not None and entry.reason == "Inconclusive"
    assert "inconclusive after 10m" in entry.message


def test_an_inconclusive_canary_goes_on_step_by_step_where_the_spec_says_so() -> None:
    world = a_held_canary(action="Promote")
    weights: list[int] = []
    world.on_pass = lambda w, _d: weights.append(w.observed)
    world.until(Phase.BAKING, 400)
    assert set(weights) >= {10, 50}, "no step is left out"
    advanced = [note.message for note in world.notes if note.reason in {"StepAdvanced", "Promoted"}]
    assert all("inconclusive.action is Promote" in message for message in advanced)


@pytest.mark.parametrize("how", ["paused", "blind"])
def test_the_deadline_stands_still_with_the_clock(how: str) -> None:
    world = a_held_canary(action="Rollback").run(10)
    if how == "paused":
        world.model.paused()
    else:
        world.prometheus = DOWN
    world.run(300)
    assert world.status.phase is Phase.CANARY
    world.model.paused(False)
    world.prometheus = None
    world.run(60)
    assert world.status.phase is Phase.CANARY, "5 of 10 minutes have counted"
    world.until(Phase.ROLLED_BACK, 120)


def test_an_outage_before_the_first_traffic_leaves_no_verdict_behind() -> None:
    world = a_stable_world(prometheus=None)
    world.prometheus = DOWN
    world.model.version(V2)
    world.run(10)
    verdicts = [world.status.verdict]
    world.prometheus = None
    world.until(Phase.CANARY)
    verdicts.append(world.status.verdict)
    assert verdicts == [Verdict.UNKNOWN, Verdict.HOLD]


def test_a_gate_before_the_first_traffic_does_not_show_an_outage_that_is_over() -> None:
    world = a_stable_world(model=a_model().automation("Manual"))
    world.prometheus = DOWN
    world.model.version(V2)
    world.run(20)
    assert (world.status.reason, world.status.verdict) == ("MetricsUnavailable", Verdict.UNKNOWN)
    world.prometheus = None
    world.run(5)
    assert (world.status.reason, world.status.verdict) == ("AwaitingApproval", Verdict.HOLD)
    assert world.condition(ConditionType.METRICS_AVAILABLE) == ("True", "MetricsFound")
