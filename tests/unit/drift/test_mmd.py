"""The built-in detector: its statistic against the formula, its thresholds, restarts, sizes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from puzzle_drift.core.alarm import Phase
from puzzle_drift.core.mmd import Builtin, MmdOnline, kernel_matrix, needed, simulate, streamed
from puzzle_drift.core.packing import LIMIT
from puzzle_drift.core.records import Floats, Refused
from puzzle_drift.core.sizing import MIB, Plan
from puzzle_drift.core.wanted import DriftSettings
from puzzle_drift.core.watch import Watch, begin, resume
from tests.unit.drift.streams import embeddings, records, reference, without_embedding

WANTED = DriftSettings("builtin", "MMDOnline", expected_run_images=200, confirm_windows=3)
REFERENCE = reference(300)
WHOLE = begin(WANTED, REFERENCE, Builtin(), 1 << 30, seed=5)
STREAM = [*records(150), *records(150, seed=9, shift=1.0, first=151)]
AFTER = resume(WANTED, REFERENCE, Builtin(), WHOLE.state())
AFTER.fold(STREAM)


def fresh() -> Watch:
    return resume(WANTED, REFERENCE, Builtin(), WHOLE.state())


def plainly(x: Floats, y: Floats, gamma: float) -> float:
    """MMD² as the textbook has it."""

    def kernel(a: Floats, b: Floats) -> Floats:
        found: Floats = np.exp(-gamma * ((a[:, None] - b[None]) ** 2).sum(-1))
        return found

    xx, yy, xy = kernel(x, x), kernel(y, y), kernel(x, y)
    n, m = len(x), len(y)
    return float((xx.sum() - n) / (n * (n - 1)) + (yy.sum() - m) / (m * (m - 1)) - 2 * xy.mean())


def test_the_statistic_is_that_of_the_formula_at_every_look() -> None:
    watch = fresh()
    for record in STREAM[:40]:
        watch.fold([record])
        arrays = watch.detector.arrays()
        expected = plainly(REFERENCE.embeddings[arrays["chosen"]], arrays["window"], arrays["constants"][0])
        assert watch.last is not None
        assert watch.last.score == pytest.approx(expected, abs=1e-12)
    assert arrays["window"] == pytest.approx(np.array([record.embedding for record in STREAM[20:40]]))


def test_the_simulated_statistics_are_those_of_the_formula() -> None:
    kernel, gamma = kernel_matrix(REFERENCE.embeddings)
    (found,) = streamed(kernel, Plan(300, 6, 1.0, 3, 1), np.random.default_rng(4))
    drawn = np.argsort(np.random.default_rng(4).random((3, 300)), axis=1)
    for stream, order in zip(found, drawn, strict=True):
        others = REFERENCE.embeddings[order[11:]]
        windows = [REFERENCE.embeddings[order[start : start + 6]] for start in range(6)]
        assert stream == pytest.approx([plainly(others, window, gamma) for window in windows], abs=1e-12)


def test_too_few_streams_for_the_quantile_are_refused() -> None:
    kernel, _ = kernel_matrix(REFERENCE.embeddings)
    with pytest.raises(Refused, match="20 simulated streams are too few for a run of 50 looks"):
        simulate(kernel, Plan(300, 6, 50.0, 20, 1), np.random.default_rng(0))


@settings(max_examples=25, deadline=None)
@given(cuts=st.lists(st.integers(0, len(STREAM)), max_size=12))
def test_killed_and_restored_anywhere_gives_the_same_bits(cuts: list[int]) -> None:
    watch, done = fresh(), 0
    for cut in [*sorted(cuts), len(STREAM)]:
        watch.fold(STREAM[done:cut])
        watch = resume(WANTED, REFERENCE, Builtin(), watch.state())
        done = cut
    assert watch.state() == AFTER.state()


def test_a_restart_keeps_thresholds_and_references_even_with_another_seed_and_less_memory() -> None:
    before, after = WHOLE.detector.arrays(), fresh().detector.arrays()
    for name in ("thresholds", "chosen", "nulls", "constants"):
        assert (before[name] == after[name]).all()
    other = begin(WANTED, REFERENCE, Builtin(), 1 << 30, seed=6).detector.arrays()
    assert (other["chosen"] != before["chosen"]).any()


def test_a_shift_is_confirmed_and_none_is_not() -> None:
    assert AFTER.alarm.phase is Phase.CONFIRMED
    assert 150 < AFTER.alarm.since_images < AFTER.alarm.confirmed_images < 260
    calm = fresh()
    calm.fold(records(3_000, seed=21))
    assert calm.alarm.phase is not Phase.CONFIRMED


def test_runs_without_drift_are_as_long_as_asked() -> None:
    """A geometric run of mean 100: the mean of 120 runs lies within 100 ± 4 × 100 / √120."""
    wanted = DriftSettings("builtin", "MMDOnline", expected_run_images=100, confirm_windows=1)
    first = begin(wanted, reference(1_000), Builtin(), 1 << 30, seed=1)
    runs = []
    for seed in range(120):
        detector = MmdOnline(reference(1_000), first.detector.arrays())
        stream = (record for part in range(20) for record in records(100, seed=1_000 + 50 * seed + part))
        runs.append(next(n for n, record in enumerate(stream, 1) if detector.look(record).exceeds))
    assert 63 < np.mean(runs) < 140


def test_a_p_value_is_small_over_the_threshold_and_uniform_below() -> None:
    watch, seen = fresh(), []
    for record in records(2_000, seed=33):
        watch.fold([record])
        assert watch.last is not None and watch.last.p_value is not None
        seen.append(watch.last.p_value)
    assert 0.35 < np.mean(seen[20::20]) < 0.65
    assert AFTER.last is not None and AFTER.last.p_value is not None
    assert AFTER.last.p_value < 1 / 200


def test_embeddings_that_are_missing_short_or_not_finite_are_passed_over() -> None:
    watch = fresh()
    good = STREAM[0]
    odd = [
        without_embedding(good),
        *records(1, dimensions=4),
        *(type(good)(1, "t", "ok", None, 0.9, (0.9, 0.1), (bad,) * 8) for bad in (float("nan"), float("inf"))),
    ]
    watch.fold(odd)
    assert (watch.tally.images, watch.tally.unusable, watch.tally.looked) == (4, 4, 0)
    watch.fold([good])
    assert watch.tally.looked == 1


def test_equal_references_are_refused() -> None:
    same = reference(200)
    same.embeddings[:] = 1.0
    with pytest.raises(Refused, match="most embeddings of the version's reference are equal"):
        begin(WANTED, same, Builtin(), 1 << 30, seed=1)


def test_other_detectors_are_refused_with_the_way_out() -> None:
    with pytest.raises(Refused, match=r"the builtin backend has no KS: set drift\.detector to MMDOnline, or"):
        begin(DriftSettings("builtin", "KS"), REFERENCE, Builtin(), 1 << 30, seed=1)


def test_the_state_of_a_million_images_is_as_large_as_that_of_thousand() -> None:
    wanted = DriftSettings("builtin", "MMDOnline", expected_run_images=400_000, confirm_windows=3)
    watch = begin(wanted, REFERENCE, Builtin(), 1 << 30, seed=5)
    assert watch.plan.stride == 200
    stream = records(1_000, seed=3)
    watch.fold(stream)
    arrays = {name: (array.shape, array.dtype) for name, array in watch.detector.arrays().items()}
    size = len(watch.state())
    for _ in range(999):
        watch.fold(stream)
    assert watch.tally.images == 1_000_000
    assert watch.tally.looked == 5_000
    assert {name: (array.shape, array.dtype) for name, array in watch.detector.arrays().items()} == arrays
    assert abs(len(watch.state()) - size) < 200, "only the digits of counts may add up"
    assert len(watch.state()) < LIMIT / 20


def test_setting_up_stays_below_what_was_planned() -> None:
    import tracemalloc

    rng = np.random.default_rng(0)
    large = reference(1_000)
    wide = type(large)(large.sha256, embeddings(1_000, 64, rng), large.probabilities, large.correct)
    wanted = DriftSettings("builtin", "MMDOnline", expected_run_images=500)
    plan = Builtin().plan(wanted, wide, 1 << 30)
    tracemalloc.start()
    Builtin().build(wanted, plan, wide, 1)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert plan.references == 1_000
    assert peak < needed(plan) < 80 * MIB
