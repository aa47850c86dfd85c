"""A rollout that its line holds: `kubectl puzzle` says by what, until when, and every way out."""

from __future__ import annotations

import pytest

from puzzle_operator.core.approval import consent_value
from puzzle_operator.core.monitor import InputHealth, Labels, MonitorState, VersionLabels
from puzzle_operator.plugin.changes import RefusedError
from puzzle_operator.plugin.consent import promote
from puzzle_operator.plugin.explain import explain
from puzzle_operator.plugin.listing import awaits
from puzzle_operator.plugin.snapshot import Snapshot
from puzzle_operator.plugin.standing import Exit, standing
from puzzle_operator.plugin.text import Page
from puzzle_operator.plugin.tree import tree
from tests.builders import T0, V1, V2
from tests.unit.core.test_holds import AWAY, DARK, WELL, a_monitor
from tests.unit.core.world import World, a_canary, a_stable_world
from tests.unit.plugin.moments import plain, seen

DRIFTING = a_monitor(True, V2)


def held(monitor: MonitorState) -> World:
    world = a_canary(V2, monitor=WELL)
    world.monitor = monitor
    return world.run(10)


def section(snapshot: Snapshot, heading: str) -> tuple[str, ...]:
    return next((found.sentences for found in explain(snapshot) if found.heading == heading), ())


def test_explain_says_what_bad_pictures_hold_and_every_way_out() -> None:
    snapshot = seen(held(DARK))
    why = section(snapshot, "why")
    assert "the line's pictures are not what they should be: Dark: brightness is 0.04" in why[0]
    assert why[1].startswith("the step's clock has stood still for")
    assert "line: its pictures have to be as they should be; until then no clock runs" in section(
        snapshot, "what is missing"
    )
    ways = section(snapshot, "what you can do")
    assert any("the camera" in way for way in ways)
    assert any("DELETE /v1/lines/lyon/line-1/line-1/usual" in way for way in ways)
    assert any("promote line-1 -n lyon --without-evidence" in way and "all the same" in way for way in ways)
    assert "spec.canary.analysis.holdOn: [ChallengerDrift] has no rollout of this model wait for that" in ways
    assert any("abort" in way for way in ways)


def test_explain_says_that_a_challenger_that_drifts_alone_waits_for_a_person() -> None:
    snapshot = seen(held(DRIFTING))
    assert section(snapshot, "what comes next") == (
        "goes on when its drift is over, when a newer version is named, or by a person's decision",
    )
    ways = section(snapshot, "what you can do")
    assert "spec.canary.analysis.holdOn: [InputUnhealthy] has no rollout of this model wait for that" in ways
    assert not any("camera" in way for way in ways)


def test_nothing_is_said_of_the_line_where_it_holds_nothing() -> None:
    told = " ".join(sentence for part in explain(seen(a_canary(V2))) for sentence in part.sentences)
    assert "holdOn" not in told and "line:" not in told


def test_status_is_5_and_only_the_drift_wants_a_person() -> None:
    pictures, drift = standing(seen(held(DARK))), standing(seen(held(DRIFTING)))
    assert (pictures.code, pictures.is_final) == (Exit.BLOCKED, False)
    assert (drift.code, drift.is_final) == (Exit.BLOCKED, True)
    assert "--without-evidence` or `kubectl puzzle abort" in drift.sentence
    assert (awaits(seen(held(DARK))), awaits(seen(held(DRIFTING)))) == ("-", "decision")


def test_promote_without_evidence_says_that_it_does_not_wait_for_the_line() -> None:
    model = seen(held(DARK)).model
    change = promote(model, without_evidence=True)
    assert change.patch is not None
    assert consent_value(V2, "weight-50", without_evidence=True) in str(change.patch)
    assert any(said.startswith("it does not wait for the line: the weight stays at 10 %") for said in change.sentences)


def test_before_the_first_traffic_promote_says_what_is_waited_for() -> None:
    world = a_stable_world(monitor=DARK)
    world.model.version(V2)
    world.run(20)
    with pytest.raises(RefusedError, match="is held: no traffic for the challenger: the line's pictures"):
        promote(seen(world).model, without_evidence=True)


def test_get_shows_drift_and_accuracy_of_the_challenger_beside_the_champion() -> None:
    world = a_canary(V2, monitor=WELL)
    labels = (VersionLabels(V1, 120, 3, 0.975, 86400.0), VersionLabels(V2, 20, 12, 0.4, 86400.0))
    world.monitor = MonitorState(T0, DRIFTING.drift, InputHealth(True), labels, Labels(140, 9, 1))
    lines = plain(tree(seen(world.run(2)), Page()))
    assert "            challenger: Harmful; accuracy is 0.4 of 40 labelled" in lines
    told = " ".join(line.strip() for line in lines)
    assert "97.5% of 120 labelled within 24h (111111111111, champion)" in told
    assert "40.0% of 20 labelled within 24h (222222222222, challenger)" in told
    assert all(len(line) <= 80 for line in lines)
    world.monitor = AWAY
    assert not any("challenger:" in line for line in plain(tree(seen(world.run(1)), Page())))
