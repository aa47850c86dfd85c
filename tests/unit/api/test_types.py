"""The types at the edge: durations, times, statuses that somebody edited."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import TypeAdapter

from puzzle_operator.api.base import Duration
from puzzle_operator.api.conditions import ConditionType, Phase
from puzzle_operator.api.resource import InvalidResourceError, PuzzleModel
from puzzle_operator.api.status import PuzzleModelStatus, Rollout, VersionRef, read_status
from tests.builders import T0, V1, V2, a_model, after


@pytest.mark.parametrize("text", ["", "10", "m", "1d", "1.5h", "-5s", "1h 5m", "5s!", "5s\n"])
def test_what_the_schema_refuses_is_no_duration_here_either(text: str) -> None:
    with pytest.raises(ValueError, match="is not a duration"):
        TypeAdapter(Duration).validate_python(text)


def test_defaults_fill_a_minimal_manifest() -> None:
    body = a_model().body
    body["spec"] = {"line": "line-1", "model": {"version": V1}}
    spec = PuzzleModel.parse(body).spec
    assert [step.weight for step in spec.canary.steps] == [10, 25, 50]
    assert [metric.name for metric in spec.canary.analysis.metrics] == ["errors", "slow"]
    assert (spec.serving.min_replicas, spec.storage.bucket) == (1, "puzzlenet")


def test_an_invalid_spec_is_named_by_its_field() -> None:
    body = a_model().body
    body["spec"]["canary"]["bake"] = "soon"
    with pytest.raises(InvalidResourceError, match=r"spec\.canary\.bake: .*'soon' is not a duration"):
        PuzzleModel.parse(body)


def test_a_status_comes_back_as_it_was_stored() -> None:
    status = PuzzleModelStatus(
        phase=Phase.CANARY,
        champion=VersionRef(version=V1, revision="r1", since=T0),
        rollout=Rollout(challenger=V2, started_at=T0, first_traffic_at=after(1.25)),
    )
    again, dropped = read_status(status.to_wire())
    assert (again, dropped) == (status, ())
    assert status.to_wire()["rollout"]["firstTrafficAt"] == "2026-11-23T14:00:01.250Z"


@pytest.mark.parametrize(
    ("field", "nonsense"),
    [
        ("phase", "Sleeping"),
        ("rollout", {"challenger": 7}),
        ("weight", "half"),
        ("conditions", [{"type": "Ready"}]),
        ("quarantined", "everything"),
        ("transitions", [{"at": "yesterday", "to": "Stable", "reason": "x"}]),
    ],
)
def test_one_bad_field_of_a_status_does_not_cost_the_champion(field: str, nonsense: Any) -> None:
    status, dropped = read_status({"champion": {"version": V1}, field: nonsense})
    assert dropped == (field,)
    assert status.champion is not None
    assert status.champion.version == V1


def test_a_status_of_another_make_is_a_fresh_start_for_what_it_does_not_know() -> None:
    status, dropped = read_status({"champion": {"version": V1}, "weather": {"wind": 1}})
    assert status.champion is not None
    assert dropped == ()
    assert status.condition(ConditionType.READY) is None
