"""What the monitor says becomes columns, conditions and events: each news once, and no outage is news of the pieces."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest

from puzzle_operator.api.conditions import ConditionType
from puzzle_operator.api.monitoring import DriftPhase, Harm
from puzzle_operator.core.facts import NO_MONITOR, Facts, Missing, MissingKind
from puzzle_operator.core.monitor import InputHealth, Labels, MonitorState, Problem, VersionDrift, VersionLabels
from tests.builders import T0, V1, V2, V3, a_model
from tests.unit.core.world import World, a_canary, a_stable_world

AWAY = Missing(MissingKind.UNAVAILABLE, "the monitor does not answer")
DRIFT, INPUT = ConditionType.DRIFT_DETECTED, ConditionType.INPUT_HEALTHY
OURS = {"DriftSuspected", "DriftConfirmed", "DriftHarmful", "DriftCleared", "InputUnhealthy", "InputRecovered"}


@dataclass
class Watching(World):
    """A world with a monitor that says what it is told to."""

    monitor: MonitorState | Missing = field(default_factory=lambda: NO_MONITOR)

    def facts(self) -> Facts:
        from dataclasses import replace

        return replace(super().facts(), monitor=self.monitor, run_images=30_000)

    def hears(self, monitor: MonitorState | Missing) -> list[str]:
        """One pass; the events of it."""
        self.monitor = monitor
        before = len(self.notes)
        self.tick()
        return [str(note.reason) for note in self.notes[before:] if note.reason in OURS]


def at_rest(**spec: Any) -> Watching:
    world, model = a_stable_world(), a_model()
    model.body["spec"] |= spec
    return Watching(model=model, kserve=world.kserve, stored=world.stored, ticks=world.ticks, totals=world.totals)


def drift(phase: str, harmful: str = "Unknown", version: str = V1, message: str = "") -> MonitorState:
    report = VersionDrift(version, DriftPhase(phase), Harm(harmful), score=0.31, threshold=0.2, message=message)
    return MonitorState(T0, drift=(report,))


def pictures(healthy: bool | None, *kinds: str) -> MonitorState:
    problems = tuple(Problem(kind, T0, f"{kind} it is.") for kind in kinds)
    return MonitorState(T0, input=InputHealth(healthy, problems))


def test_without_a_monitor_nothing_is_shown_and_both_conditions_say_so() -> None:
    world = at_rest()
    assert world.hears(NO_MONITOR) == []
    status = world.status
    assert (status.drift, status.input, status.accuracy) == (None, None, None)
    assert world.condition(DRIFT) == world.condition(INPUT) == ("Unknown", "NoMonitor")


def test_a_drift_from_its_first_suspicion_to_its_end() -> None:
    world = at_rest()
    told = [
        (drift("Collecting"), [], ("Unknown", "DriftCollecting"), "Collecting"),
        (drift("None"), [], ("False", "NoDrift"), "None"),
        (drift("Suspected"), ["DriftSuspected"], ("False", "DriftSuspected"), "Suspected"),
        (drift("Suspected"), [], ("False", "DriftSuspected"), "Suspected"),
        (drift("Confirmed"), ["DriftConfirmed"], ("True", "DriftConfirmed"), "Confirmed"),
        (drift("Confirmed", "No"), [], ("True", "DriftConfirmed"), "Confirmed"),
        (drift("Confirmed", "Yes"), ["DriftHarmful"], ("True", "DriftHarmful"), "Harmful"),
        (drift("Confirmed", "Yes"), [], ("True", "DriftHarmful"), "Harmful"),
        (drift("None"), ["DriftCleared"], ("False", "NoDrift"), "None"),
    ]
    for monitor, events, condition, shown in told:
        assert world.hears(monitor) == events
        assert world.condition(DRIFT) == condition
        assert world.status.drift is not None
        assert (world.status.drift.shown, world.status.drift.run_images) == (shown, 30_000)


def test_a_drift_that_is_confirmed_and_harmful_at_once_is_told_as_both() -> None:
    assert at_rest().hears(drift("Confirmed", "Yes")) == ["DriftConfirmed", "DriftHarmful"]


def test_a_suspicion_that_passes_is_told() -> None:
    world = at_rest()
    world.hears(drift("Suspected"))
    assert world.hears(drift("None")) == ["DriftCleared"]


def test_an_outage_is_no_news_and_neither_is_its_end() -> None:
    world = at_rest()
    world.hears(drift("Confirmed", "Yes"))
    assert world.hears(AWAY) == []
    assert world.condition(DRIFT) == ("Unknown", "MonitorUnavailable")
    assert world.status.drift is not None and world.status.drift.shown == "Unknown"
    assert world.hears(drift("Confirmed", "Yes")) == []
    assert world.condition(DRIFT) == ("True", "DriftHarmful")


def test_a_monitor_that_is_taken_away_takes_with_it_what_it_said() -> None:
    world = at_rest()
    world.hears(drift("Confirmed"))
    assert world.hears(NO_MONITOR) == []
    assert world.status.drift is None


def test_a_version_that_no_detector_looks_at_is_unknown_and_keeps_the_alarm_of_before() -> None:
    world = at_rest()
    world.hears(drift("Confirmed"))
    assert world.hears(drift("Confirmed", version=V3)) == []
    assert world.condition(DRIFT) == ("Unknown", "DriftNotWatched")
    assert world.hears(drift("Confirmed")) == []


@pytest.mark.parametrize("spec", [{"drift": {"enabled": False}}, {"records": {"enabled": False}}])
def test_what_is_switched_off_is_not_shown(spec: dict[str, Any]) -> None:
    world = at_rest(**spec)
    assert world.hears(drift("Confirmed", "Yes")) == []
    assert world.condition(DRIFT) == ("Unknown", "DriftNotWatched")
    assert world.status.drift is None


def test_the_champion_counts_and_the_challenger_is_shown_beside_it() -> None:
    world = a_canary(V2)
    watching = Watching(model=world.model, kserve=world.kserve, stored=world.stored, ticks=world.ticks)
    reports = (drift("Confirmed", version=V3).drift + drift("Suspected", version=V2).drift) + drift("None").drift
    assert watching.hears(MonitorState(T0, drift=reports)) == []
    shown = watching.status.drift
    assert shown is not None
    assert (shown.version, shown.shown) == (V1, "None")
    assert [report.version for report in shown.reports] == [V1, V2, V3]


def test_a_report_without_words_is_put_into_some() -> None:
    world = at_rest()
    world.hears(drift("Suspected"))
    assert world.notes[-1].message == f"{'1' * 12}: score 0.31, threshold 0.2 after 0 pictures"


def test_pictures_from_well_to_ill_to_worse_to_well() -> None:
    world = at_rest()
    told: list[tuple[MonitorState | Missing, list[str], tuple[str, str], str]] = [
        (pictures(None), [], ("Unknown", "InputNotWatched"), "Unknown"),
        (pictures(True), [], ("True", "InputHealthy"), "Healthy"),
        (pictures(False, "Dark"), ["InputUnhealthy"], ("False", "InputUnhealthy"), "Dark"),
        (pictures(False, "Dark"), [], ("False", "InputUnhealthy"), "Dark"),
        (pictures(False, "Dark", "Late"), ["InputUnhealthy"], ("False", "InputUnhealthy"), "Dark,Late"),
        (pictures(False, "Late"), [], ("False", "InputUnhealthy"), "Late"),
        (AWAY, [], ("Unknown", "MonitorUnavailable"), "Unknown"),
        (pictures(False, "Late"), [], ("False", "InputUnhealthy"), "Late"),
        (pictures(True), ["InputRecovered"], ("True", "InputHealthy"), "Healthy"),
    ]
    for monitor, events, condition, shown in told:
        assert world.hears(monitor) == events
        assert world.condition(INPUT) == condition
        assert world.status.input is not None and world.status.input.shown == shown


def test_a_line_that_stops_while_its_pictures_are_bad_recovers_once() -> None:
    world = at_rest()
    world.hears(pictures(False, "Dark"))
    assert world.hears(pictures(None)) == []
    assert world.hears(pictures(True)) == ["InputRecovered"]


def test_accuracy_and_labels_are_those_of_the_monitor() -> None:
    world = at_rest()
    accuracy = (VersionLabels(V2, 10, 1, 0.9, 3600.0), VersionLabels(V1, 3, 1, 2 / 3, 86400.0))
    world.hears(MonitorState(T0, accuracy=accuracy, labels=Labels(13, 7, 9000)))
    seen = world.status.accuracy
    assert seen is not None
    assert (seen.champion, [entry.version for entry in seen.versions]) == (0.6667, [V1, V2])
    assert (seen.versions[0].window, seen.labels.total, seen.labels.images) == ("24h", 13, 7)
    world.hears(AWAY)
    assert world.status.accuracy == seen
    world.hears(MonitorState(T0))
    assert world.status.accuracy is None


def test_the_same_answer_twice_is_written_once() -> None:
    world = at_rest()
    state = MonitorState(T0, drift("Confirmed", "Yes").drift, pictures(False, "Dark").input, (), Labels(3, 2, 1))
    world.hears(state)
    writes = world.writes
    world.hears(state)
    assert world.writes == writes


def test_long_sentences_and_many_reports_do_not_bloat_the_status() -> None:
    reports = tuple(VersionDrift(V1, DriftPhase.NONE, Harm.NO, message="x" * 10_000) for _ in range(50))
    problems = tuple(Problem(f"Kind{n}", T0, "y" * 10_000) for n in range(50))
    world = at_rest()
    world.hears(MonitorState(T0, reports, InputHealth(False, problems, message="z" * 100_000)))
    assert len(world.stored) < 30_000
