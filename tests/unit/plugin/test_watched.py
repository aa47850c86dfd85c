"""What `kubectl puzzle` says of drift, pictures and labels: nothing where nobody watches."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from puzzle_operator.api.monitoring import DriftPhase, Harm
from puzzle_operator.core.monitor import InputHealth, Labels, MonitorState, Problem, VersionDrift, VersionLabels
from puzzle_operator.plugin.explain import explain
from puzzle_operator.plugin.listing import rows
from puzzle_operator.plugin.snapshot import Snapshot
from puzzle_operator.plugin.text import Page
from puzzle_operator.plugin.tree import tree
from tests.builders import T0, V1, V2
from tests.unit.core.test_watched import AWAY, Watching, at_rest
from tests.unit.plugin.moments import plain, seen

ILL = MonitorState(
    T0,
    drift=(
        VersionDrift(V1, DriftPhase.CONFIRMED, Harm.YES, message="7 of 9 windows differ"),
        VersionDrift(V2, DriftPhase.NONE, Harm.NO, message="2 of 9 windows differ"),
    ),
    input=InputHealth(False, (Problem("Dark", T0, "mean brightness is 0.04, at least 0.1 is wanted"),)),
    accuracy=(VersionLabels(V1, 40, 10, 0.75, 86400.0),),
    labels=Labels(1200, 90, 5_000_000),
)


def after(monitor: Any, world: Watching | None = None) -> Snapshot:
    world = world or at_rest()
    world.hears(monitor)
    return seen(world)


def heading(snapshot: Snapshot, name: str) -> tuple[str, ...]:
    return next((section.sentences for section in explain(snapshot) if section.heading == name), ())


def test_without_a_monitor_nothing_is_said_of_it() -> None:
    snapshot = seen(at_rest())
    assert heading(snapshot, "what the monitor sees") == ()
    assert not any(line.startswith(("drift", "pictures", "labels")) for line in plain(tree(snapshot, Page())))
    assert "DRIFT" not in str(rows([snapshot], Page(), namespaces=True)[0])


def test_explain_tells_drift_of_each_version_pictures_and_accuracy() -> None:
    assert heading(after(ILL), "what the monitor sees") == (
        "drift: Harmful; 7 of 9 windows differ",
        "drift of 222222222222: None; 2 of 9 windows differ",
        "pictures: Dark; mean brightness is 0.04, at least 0.1 is wanted",
        "accuracy: 75.0% of 40 labelled within 24h (111111111111, champion); 1,200 labels ever, 90 with their picture",
    )


def test_get_shows_the_same_below_the_versions() -> None:
    lines = plain(tree(after(ILL), Page()))
    assert "drift       Harmful; 7 of 9 windows differ" in lines
    assert "pictures    Dark; mean brightness is 0.04, at least 0.1 is wanted" in lines
    assert all(len(line) <= 80 for line in lines)


def test_an_outage_is_said_and_what_was_heard_is_not_passed_off_as_news() -> None:
    world = at_rest()
    world.hears(ILL)
    snapshot = after(AWAY, world)
    assert heading(snapshot, "what the monitor sees")[0] == "drift: Unknown; the monitor does not answer"


def test_columns_appear_with_what_they_show() -> None:
    well = MonitorState(T0, drift=(VersionDrift(V1, DriftPhase.NONE, Harm.NO),), input=InputHealth(True))
    healthy, ill = after(well), after(ILL)
    title, line = plain(rows([healthy], Page(width=200), namespaces=False))
    assert "DRIFT" in title and "INPUT" not in title and "None" in line
    title, *both = plain(rows([healthy, ill], Page(width=200), namespaces=False))
    assert "INPUT" in title
    assert ("Healthy" in both[0], "Dark" in both[1], "Harmful" in both[1]) == (True, True, True)
    assert ill.now - healthy.now == timedelta(0)
