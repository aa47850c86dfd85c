"""Decisions as they go on record: the same id for the same decision, numbers where they are known, nothing made up."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from puzzle_operator.api.conditions import Outcome, Verdict
from puzzle_operator.api.status import (
    Cause,
    HistoryEntry,
    MetricStatus,
    PuzzleModelStatus,
    Quarantine,
    Rollout,
    Side,
)
from puzzle_operator.manifests.decisions import decision_records
from tests.builders import T0, V1, V2, V3, a_model

LATER = T0 + timedelta(minutes=10)
DEPLOYED = HistoryEntry(at=T0, version=V1, outcome="Deployed", message="serves as the first champion")
TAKEN_BACK = HistoryEntry(at=LATER, version=V2, outcome="RolledBack", replaced=V1, message="9 of 17 failed")
ROLLOUT = Rollout(
    challenger=V2,
    step=1,
    started_at=T0 + timedelta(minutes=1),
    decided_at=LATER,
    finished_at=LATER + timedelta(seconds=5),
    outcome=Outcome.ROLLED_BACK,
    cause=Cause(reason="EvidenceAgainst", message="9 of 17 failed", quarantine=True),
)
ERRORS = MetricStatus(
    name="errors per line",
    verdict=Verdict.FAIL,
    champion=Side(requests=400, bad=2),
    challenger=Side(requests=17, bad=9),
    evidence=float("inf"),
    bound=40.0,
)


def records(status: PuzzleModelStatus, name: str = "line-1") -> tuple[dict[str, Any], ...]:
    return decision_records(a_model(name).with_status(status).build())


def rolled_back(**changes: Any) -> PuzzleModelStatus:
    return PuzzleModelStatus(history=(DEPLOYED, TAKEN_BACK), rollout=ROLLOUT.but(**changes), metrics=(ERRORS,))


def test_a_rollback_has_its_reason_and_its_numbers() -> None:
    first, second = records(rolled_back())
    assert (first["kind"], first["version"], first["parent"], first["numbers"]) == ("Deployed", V1, None, {})
    assert (second["kind"], second["version"], second["parent"]) == ("RolledBack", V2, V1)
    assert (second["reason"], second["message"], second["line"]) == ("EvidenceAgainst", "9 of 17 failed", "line-1")
    assert second["numbers"] == {
        "rollout.seconds": 540.0,
        "rollout.step": 1.0,
        "errors_per_line.champion.requests": 400.0,
        "errors_per_line.champion.bad": 2.0,
        "errors_per_line.challenger.requests": 17.0,
        "errors_per_line.challenger.bad": 9.0,
        "errors_per_line.bound": 40.0,
    }


def test_a_bake_that_is_reversed_says_for_how_long_the_version_was_promoted() -> None:
    (_, second) = records(rolled_back(promoted_at=LATER - timedelta(seconds=30)))
    assert second["numbers"]["bake.seconds"] == 30.0
    assert "rollout.step" not in second["numbers"]


def test_a_promotion_has_the_numbers_of_its_rollout() -> None:
    entry = HistoryEntry(at=LATER, version=V2, outcome="Promoted", replaced=V1, message="is the champion")
    rollout = Rollout(challenger=V2, started_at=T0, promoted_at=T0, finished_at=LATER, outcome=Outcome.PROMOTED)
    (found,) = records(PuzzleModelStatus(history=(entry,), rollout=rollout, metrics=(ERRORS,)))
    assert (found["kind"], found["parent"], found["reason"]) == ("Promoted", V1, None)
    assert found["numbers"]["errors_per_line.challenger.requests"] == 17.0


def test_after_the_next_rollout_began_it_is_the_same_decision_with_fewer_numbers() -> None:
    before = records(rolled_back())[1]
    quarantine = Quarantine(version=V2, reason="EvidenceAgainst", at=LATER)
    status = rolled_back().but(rollout=Rollout(challenger=V3, started_at=LATER), quarantined=(quarantine,))
    after = records(status)[1]
    assert (after["id"], after["reason"], after["numbers"]) == (before["id"], "EvidenceAgainst", {})


def test_ids_tell_decisions_apart_and_models_of_the_same_name() -> None:
    entries = (DEPLOYED, TAKEN_BACK, TAKEN_BACK.but(at=LATER + timedelta(seconds=1)), TAKEN_BACK.but(version=V3))
    status = PuzzleModelStatus(history=entries)
    ids = {one["id"] for name in ("line-1", "line-2") for one in records(status, name)}
    assert len(ids) == 8


def test_what_somebody_wrote_into_the_status_does_not_hold_up_the_rest() -> None:
    odd = (
        DEPLOYED.but(outcome="Elected"),
        DEPLOYED.but(version="latest"),
        DEPLOYED.but(replaced="latest", message="bell\a and " + "long " * 1000),
    )
    (found,) = records(PuzzleModelStatus(history=odd))
    assert found["parent"] is None
    assert "\a" not in found["message"] and len(found["message"]) == 2000
