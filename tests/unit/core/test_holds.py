"""The line holds a rollout: bad pictures, or a drift that harms the challenger alone. Never a verdict, never for ever
without a word."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from puzzle_operator.api.conditions import ConditionType, Phase, Reason, Verdict
from puzzle_operator.api.monitoring import DriftPhase, Harm
from puzzle_operator.core.approval import consent_value
from puzzle_operator.core.facts import NO_MONITOR, Missing, MissingKind
from puzzle_operator.core.monitor import InputHealth, MonitorState, Problem, VersionDrift
from tests.builders import T0, V1, V2, V3, a_model
from tests.unit.core.world import DOWN, a_canary, a_stable_world

AWAY = Missing(MissingKind.UNAVAILABLE, "the monitor does not answer")
HEALTHY, PROGRESSING = ConditionType.CANARY_HEALTHY, ConditionType.PROGRESSING


def a_monitor(healthy: bool | None, *drifting: str) -> MonitorState:
    """Pictures are well or not, and the detectors of some versions are sure that a drift does harm."""
    reports = tuple(
        VersionDrift(v, DriftPhase.CONFIRMED, Harm.YES, message="accuracy is 0.4 of 40 labelled") for v in drifting
    )
    return MonitorState(
        T0, reports, InputHealth(healthy, message="Dark: brightness is 0.04" if healthy is False else "")
    )


DARK, WELL = a_monitor(False), a_monitor(True)


def test_bad_pictures_freeze_the_weight_and_the_clock_and_then_it_goes_on() -> None:
    world = a_canary(V2)
    before = world.status.samples or 0
    world.monitor = DARK
    world.run(200)
    assert (world.status.phase, world.status.step, world.kserve.share(V2)) == (Phase.CANARY, "1/2", 10)
    assert world.condition(PROGRESSING) == ("False", "HeldInputUnhealthy")
    assert world.status.message == (
        "the weight stays at 10 %: the line's pictures are not what they should be: Dark: brightness is 0.04"
    )
    assert (world.status.samples or 0) > before + 1000, "evidence goes on being counted"
    assert world.reasons.count("HeldInputUnhealthy") == 1
    world.monitor = WELL
    world.until(Phase.STABLE)
    assert world.reasons.count("HoldEnded") == 1
    assert world.status.champion is not None and world.status.champion.version == V2


def test_a_challenger_that_fails_on_bad_pictures_is_taken_back_all_the_same() -> None:
    world = a_canary(V2)
    world.monitor = DARK
    world.run(3)
    world.error_rates[V2] = 0.5
    world.until(Phase.ROLLED_BACK)
    assert "HoldEnded" not in world.reasons, "nothing ended: it was taken back while the pictures were bad"


def test_no_challenger_gets_its_first_traffic_while_the_pictures_are_bad() -> None:
    world = a_stable_world(monitor=DARK)
    world.model.version(V2)
    world.run(60)
    assert (world.status.phase, world.kserve.share(V2)) == (Phase.STARTING, 0)
    assert world.status.reason == "HeldInputUnhealthy"
    assert "no traffic for the challenger" in (world.status.message or "")
    world.monitor = WELL
    world.until(Phase.CANARY)


def test_a_bake_lasts_longer_by_the_time_of_the_bad_pictures() -> None:
    world = a_stable_world(model=a_model().canary(bake="1m"))
    world.model.version(V2)
    world.until(Phase.BAKING).run(4)
    world.monitor = DARK
    world.run(100)
    assert (world.status.phase, world.status.reason) == (Phase.BAKING, "HeldInputUnhealthy")
    assert world.kserve.share(V1) == 1, "the champion is kept warm"
    world.monitor = WELL
    world.run(5)
    assert world.status.phase is Phase.BAKING, "what was left of the minute is still to come"
    world.until(Phase.STABLE)


def test_a_bake_fails_while_the_pictures_are_bad() -> None:
    world = a_stable_world(model=a_model().canary(bake="10m"))
    world.model.version(V2)
    world.until(Phase.BAKING).run(4)
    world.monitor = DARK
    world.run(10)
    world.error_rates[V2] = 0.5
    world.until(Phase.ROLLED_BACK)


def test_a_challenger_that_drifts_alone_is_held_and_people_are_told_once() -> None:
    world = a_canary(V2)
    world.monitor = a_monitor(True, V2)
    world.run(100)
    assert (world.status.step, world.status.reason) == ("1/2", "HeldChallengerDrift")
    assert "accuracy is 0.4 of 40 labelled" in (world.status.message or "")
    assert world.condition(HEALTHY) == ("Unknown", "HeldChallengerDrift")
    assert world.reasons.count("HeldChallengerDrift") == 1
    world.monitor = WELL
    world.until(Phase.STABLE)


def test_an_alarm_of_an_earlier_rollout_of_the_same_version_holds_nothing() -> None:
    world = a_canary(V2)
    (report,) = a_monitor(True, V2).drift
    world.monitor = MonitorState(T0, (replace(report, since=T0),), InputHealth(True))
    world.run(2)
    assert world.status.reason != "HeldChallengerDrift"
    world.monitor = MonitorState(T0, (replace(report, since=world.now),), InputHealth(True))
    world.run(2)
    assert world.status.reason == "HeldChallengerDrift"


def test_when_both_versions_drift_evidence_decides() -> None:
    world = a_canary(V2)
    world.monitor = a_monitor(True, V1, V2)
    world.until(Phase.STABLE)
    assert world.status.champion is not None and world.status.champion.version == V2


def test_a_promoted_version_that_drifts_ends_its_bake_since_retraining_waits_for_that() -> None:
    world = a_stable_world(model=a_model().canary(bake="1m"))
    world.model.version(V2)
    world.until(Phase.BAKING)
    world.monitor = a_monitor(True, V2)
    world.until(Phase.STABLE, 40)


@pytest.mark.parametrize(
    "monitor",
    [NO_MONITOR, AWAY, a_monitor(None), MonitorState(T0, (VersionDrift(V2, DriftPhase.CONFIRMED, Harm.UNKNOWN),))],
    ids=["none", "away", "nothing seen", "harm unknown"],
)
def test_what_nobody_knows_holds_nothing(monitor: MonitorState | Missing) -> None:
    world = a_canary(V2, monitor=monitor)
    world.until(Phase.STABLE)
    assert not {"HeldInputUnhealthy", "HeldChallengerDrift"} & set(world.reasons)


@pytest.mark.parametrize("kinds", [["Missing"], ["Volume"], ["Missing", "Volume"]])
def test_too_few_pictures_are_too_little_evidence_and_the_deadline_is_theirs(kinds: list[str]) -> None:
    world = a_canary(V2, model=a_model().canary(inconclusive={"deadline": "10m", "action": "Rollback"}))
    world.requests_per_tick = 0
    world.monitor = MonitorState(T0, input=InputHealth(False, tuple(Problem(kind) for kind in kinds)))
    world.run(20)
    assert world.status.reason == "HeldLowEvidence"
    world.until(Phase.ROLLED_BACK, 200)


def test_dark_pictures_of_which_there_are_few_hold_all_the_same() -> None:
    world = a_canary(V2)
    world.monitor = MonitorState(T0, input=InputHealth(False, (Problem("Dark"), Problem("Volume"))))
    world.run(5)
    assert world.status.reason == "HeldInputUnhealthy"


def test_an_outage_of_the_monitor_ends_a_hold() -> None:
    world = a_canary(V2)
    world.monitor = DARK
    world.run(20)
    world.monitor = AWAY
    world.until(Phase.STABLE)


@pytest.mark.parametrize(
    ("spec", "monitor"),
    [
        ({"holdOn": []}, a_monitor(False, V2)),
        ({"holdOn": ["ChallengerDrift"]}, DARK),
        ({"holdOn": ["InputUnhealthy"]}, a_monitor(True, V2)),
    ],
)
def test_the_spec_says_what_holds(spec: dict[str, Any], monitor: MonitorState) -> None:
    world = a_canary(V2, model=a_model().analysis(**spec), monitor=monitor)
    world.until(Phase.STABLE)


@pytest.mark.parametrize("part", ["records", "drift"])
def test_what_is_not_watched_does_not_hold(part: str) -> None:
    model = a_model()
    model.body["spec"][part] = {"enabled": False}
    a_canary(V2, model=model, monitor=a_monitor(True, V2)).until(Phase.STABLE)


@pytest.mark.parametrize("monitor", [DARK, a_monitor(True, V2)], ids=["pictures", "drift"])
def test_a_person_can_go_on_all_the_same(monitor: MonitorState) -> None:
    world = a_canary(V2, monitor=WELL)
    world.monitor = monitor
    world.run(20)
    world.model.consenting(consent_value(V2, "weight-50", without_evidence=True))
    world.run(5)
    assert (world.status.step, world.kserve.share(V2)) == ("2/2", 50)
    world.run(50)
    assert world.status.step == "2/2", "consent is to one move"


def test_a_newer_version_replaces_one_that_is_held() -> None:
    world = a_canary(V2)
    world.monitor = a_monitor(True, V2)
    world.run(10)
    world.model.version(V3)
    world.until(Phase.STABLE, 400)
    assert world.status.champion is not None and world.status.champion.version == V3


def test_the_deadline_of_an_inconclusive_canary_stands_still_too() -> None:
    world = a_canary(V2, model=a_model().canary(inconclusive={"deadline": "10m", "action": "Rollback"}))
    world.requests_per_tick = 0
    world.monitor = DARK
    world.run(300)
    assert world.status.phase is Phase.CANARY
    world.monitor = WELL
    world.until(Phase.ROLLED_BACK, 200)


def test_missing_metrics_and_a_pause_come_first() -> None:
    world = a_canary(V2, monitor=WELL)
    world.monitor, world.prometheus = DARK, DOWN
    world.run(3)
    assert (world.status.reason, world.status.verdict) == ("HeldMetricsStale", Verdict.UNKNOWN)
    world.prometheus = None
    world.run(2)
    assert world.status.reason == Reason.HELD_INPUT_UNHEALTHY
    world.model.paused()
    world.run(2)
    assert world.status.reason == Reason.PAUSED


def test_a_crash_during_an_outage_is_not_told_as_the_end_of_the_outage() -> None:
    world = a_canary(V2)
    world.prometheus = DOWN
    world.run(3)
    world.kserve.restarts[V2] = 9
    world.until(Phase.ROLLING_BACK)
    assert "MetricsResumed" not in world.reasons


def test_a_failure_during_a_pause_is_not_told_as_its_end() -> None:
    world = a_canary(V2)
    world.model.paused()
    world.run(3)
    world.error_rates[V2] = 0.5
    world.until(Phase.ROLLING_BACK)
    assert "Resumed" not in world.reasons
