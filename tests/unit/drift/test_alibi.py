"""The adapter to alibi-detect, with the library itself."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from puzzle_drift.adapters import alibi
from puzzle_drift.core.alarm import Phase
from puzzle_drift.core.records import Record, Refused
from puzzle_drift.core.sizing import MIB
from puzzle_drift.core.wanted import DETECTORS, DriftSettings
from puzzle_drift.core.watch import Watch, begin, resume
from tests.unit.drift.streams import records, reference, without_embedding

ENOUGH = 1 << 34
RUN = 60
REFERENCE = reference(150)


def wanted(detector: str, run: int = RUN, confirm: int = 2) -> DriftSettings:
    return DriftSettings("alibi-detect", detector, run if detector != "KS" else 20 * run, confirm)


def anew(detector: str) -> Watch:
    return begin(wanted(detector), REFERENCE, alibi.backend(), ENOUGH, seed=11)


@cache
def _begun(detector: str) -> bytes:
    return anew(detector).state()


def start(detector: str) -> Watch:
    """A watch before its first image; thresholds are simulated once."""
    return resume(wanted(detector), REFERENCE, alibi.backend(), _begun(detector))


def stream(count: int, **given: Any) -> list[Record]:
    return records(count, labelled=1.0, **given)


@pytest.mark.parametrize("detector", DETECTORS)
def test_killed_and_restored_at_random_points_gives_the_same_bits(detector: str) -> None:
    pieces = stream(240)
    whole = anew(detector)
    whole.fold(pieces)
    interrupted, rng, done = start(detector), np.random.default_rng(3), 0
    while done < len(pieces):
        upto = done + int(rng.integers(1, 40))
        interrupted.fold(pieces[done:upto])
        done = upto
        # A restart with other global random numbers, which alibi-detect would otherwise draw from.
        np.random.seed(int(rng.integers(1 << 30)))
        interrupted = resume(wanted(detector), REFERENCE, alibi.backend(), interrupted.state())
    assert whole.last is not None
    assert interrupted.state() == whole.state()


@pytest.mark.parametrize("detector", DETECTORS)
def test_the_same_seed_gives_the_same_detector(detector: str) -> None:
    before = np.random.get_state()[1].copy()  # type: ignore[index]
    assert anew(detector).state() == _begun(detector)
    assert (np.random.get_state()[1] == before).all(), "the global generator was moved"  # type: ignore[index]


@pytest.mark.parametrize(
    ("detector", "change"),
    [
        ("MMDOnline", {"shift": 3.0}),
        ("LSDDOnline", {"shift": 3.0}),
        ("CVMOnline", {"sure": 1.0}),
        ("FETOnline", {"wrong": 0.8}),
        ("KS", {"sure": 1.0}),
    ],
)
def test_it_finds_what_it_is_made_for(detector: str, change: dict[str, float]) -> None:
    watch = start(detector)
    watch.fold(stream(60))
    watch.fold(stream(400, seed=5, first=61, **change))
    assert watch.alarm.phase is Phase.CONFIRMED
    assert watch.alarm.since_images > 20
    assert watch.alarm.confirmed_images < 300


@pytest.mark.parametrize("detector", DETECTORS)
def test_the_state_does_not_grow(detector: str) -> None:
    watch = start(detector)
    watch.fold(stream(200))
    size = len(watch.detector.arrays()), sum(array.nbytes for array in watch.detector.arrays().values())
    watch.fold(stream(3_000, seed=4, first=201))
    assert (len(watch.detector.arrays()), sum(array.nbytes for array in watch.detector.arrays().values())) == size
    held = getattr(getattr(watch.detector, "_inner", None), "_object", None)
    assert len(getattr(held, "test_stats", ())) <= 1
    assert len(getattr(held, "xs", ())) <= watch.plan.window


def test_a_constant_number_of_the_embedding_does_not_disturb_lsdd() -> None:
    flat = reference(150)
    flat.embeddings[:, 3] = 0.25
    watch = begin(wanted("LSDDOnline"), flat, alibi.backend(), ENOUGH, seed=1)
    watch.fold(stream(60))
    assert watch.last is not None and math.isfinite(watch.last.score)
    assert watch.last.score < 10


def test_what_a_detector_cannot_look_at_is_left_out() -> None:
    for detector in ("MMDOnline", "LSDDOnline"):
        watch = start(detector)
        watch.fold([without_embedding(record) for record in stream(5)])
        assert (watch.tally.unusable, watch.tally.looked) == (5, 0)
    unlabelled = start("FETOnline")
    unlabelled.fold(records(5))
    assert (unlabelled.tally.unusable, unlabelled.tally.looked) == (5, 0)


def test_references_without_any_error_serve_fet_too() -> None:
    perfect = reference(150, errors=0.0)
    watch = begin(wanted("FETOnline"), perfect, alibi.backend(), ENOUGH, seed=1)
    watch.fold(stream(40, wrong=0.0))
    before = watch.alarm.phase
    watch.fold(stream(100, wrong=0.9, first=41))
    assert (before, watch.alarm.phase) == (Phase.NONE, Phase.CONFIRMED)


def test_references_that_are_all_wrong_are_refused() -> None:
    with pytest.raises(Refused, match="every piece of the version's reference is wrong"):
        begin(wanted("FETOnline"), reference(150, errors=1.0), alibi.backend(), ENOUGH, seed=1)


def test_equal_confidences_are_no_drift() -> None:
    """A sure network says 1.0 nearly always; alibi-detect takes ties for a shift in both directions."""
    sure = reference(150)
    sure.probabilities[:] = (1.0, 0.0, 0.0)
    watch = begin(wanted("CVMOnline", run=500), sure, alibi.backend(), ENOUGH, seed=1)
    watch.fold([Record(i, "t", "ok", None, 1.0, (1.0, 0.0, 0.0), None) for i in range(1, 120)])
    assert watch.last is not None
    assert watch.last.score < watch.last.threshold


@pytest.mark.parametrize("detector", DETECTORS)
def test_too_little_memory_is_refused_before_anything_is_allocated(detector: str) -> None:
    with pytest.raises(Refused, match=r"needs \d+ MiB and 20 MiB are free: raise the memory limit"):
        alibi.backend().plan(wanted(detector), REFERENCE, 20 * MIB)


def test_without_the_library_a_sentence_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(alibi, "_missing", "No module named 'alibi_detect'")
    with pytest.raises(Refused, match=r"pip install 'puzzlemodel\[drift,alibi\]', or set drift\.backend to builtin"):
        alibi.backend()


def test_simulating_stays_within_the_plan() -> None:
    larger = reference(400)
    plan = replace(alibi.backend().plan(wanted("MMDOnline", 100), larger, ENOUGH), streams=1_500)
    before = _memory("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")
    alibi.backend().build(wanted("MMDOnline", 100), plan, larger, 1)
    assert _memory("VmHWM") - before < alibi.COSTS["MMDOnline"].memory(plan) < 100 * MIB


def _memory(name: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{name}:"))
