"""What the operator reads: always JSON, never longer than the kubelet keeps; and how options are spelled."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from puzzlenet.errors import PuzzleNetError
from puzzlenet.retrain.outcome import LIMIT, Outcome, from_dict, read_termination, write_termination
from puzzlenet.retrain.settings import brightness, duration, size


@given(st.text(max_size=5000), st.dictionaries(st.text(max_size=50), st.floats(0, 1), max_size=80))
def test_the_termination_message_is_bounded_json(text: str, sets: dict[str, float]) -> None:
    outcome = Outcome(outcome="GateRefused", message=text, metrics={"champion": 0.5, "sets": sets})
    data = outcome.to_message()
    assert len(data) <= LIMIT
    told = read_termination(data)
    assert told["outcome"] == "GateRefused" and told["metrics"]["champion"] == 0.5


def test_an_outcome_comes_back(tmp_path: Path) -> None:
    outcome = Outcome(outcome="Accepted", message="better", version="sha256:1", data={"new": 3}, seconds=1.5)
    assert from_dict(outcome.to_dict()) == outcome
    write_termination(outcome, tmp_path / "log")
    assert read_termination((tmp_path / "log").read_bytes())["version"] == "sha256:1"
    with pytest.raises(PuzzleNetError, match="--termination-log"):
        write_termination(outcome, tmp_path / "no" / "log")


@pytest.mark.parametrize(("text", "seconds"), [("50ms", 0.05), ("15m", 900.0), ("1h30m", 5400.0), ("2s", 2.0)])
def test_durations(text: str, seconds: float) -> None:
    assert duration(text, "--max-lateness") == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "15", "m", "15 m", "-5s"])
def test_what_is_no_duration_is_named(text: str) -> None:
    with pytest.raises(PuzzleNetError, match="--max-lateness"):
        duration(text, "--max-lateness")


def test_sizes_and_bounds() -> None:
    assert size("128x96") == (128, 96) and brightness("0.1,0.9") == (0.1, 0.9)
    for read, text in ((size, "128"), (brightness, "0.1"), (brightness, "a,b")):
        with pytest.raises(PuzzleNetError):
            read(text)
