"""Sizes: what fits, what is made smaller, what is refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from puzzle_drift.core.mmd import LONGEST, needed
from puzzle_drift.core.records import Refused
from puzzle_drift.core.sizing import MIB, SHORTEST, SMALLEST, Cost, Plan, plan
from puzzle_drift.core.wanted import DriftSettings

COST = Cost(needed, LONGEST)


def sized(images: int, available: int = 1_000, memory: int = 1 << 30) -> Plan:
    return plan(DriftSettings(expected_run_images=images), available, memory, COST)


@given(st.integers(SHORTEST, 10**9), st.integers(SMALLEST, 5_000), st.integers(0, 400 * MIB))
def test_a_plan_fits_reaches_the_run_and_leaves_enough_streams(images: int, available: int, memory: int) -> None:
    try:
        found = sized(images, available, memory)
    except Refused:
        assert memory < needed(sized(images, available=SMALLEST))
        return
    assert needed(found) <= memory
    assert found.references <= min(available, 1_000)
    assert found.run * found.stride == pytest.approx(images)
    # alibi-detect's quantile fails without this; ours refuses.
    assert found.streams * (1 - 1 / found.run) ** (found.window - 1) >= found.run
    assert 2 * found.window - 1 < found.references


def test_a_day_at_ten_images_a_second_is_reached_by_looking_at_some() -> None:
    assert sized(864_000) == Plan(references=1_000, window=20, run=2_000.0, streams=20_000, stride=432)


def test_neighbours_on_a_line_are_alike_so_looks_are_spread_where_the_run_allows() -> None:
    assert [sized(images).stride for images in (100, 400, 1_000, 2_000, 20_000, 40_000)] == [1, 2, 5, 10, 10, 20]
    assert min(sized(images).run for images in (400, 1_000, 2_000, 5_000)) >= 200


def test_little_memory_makes_fewer_streams_first_and_then_fewer_references() -> None:
    plans = [sized(864_000, memory=size * MIB) for size in (200, 45, 40, 25)]
    assert [one.references for one in plans] == sorted((one.references for one in plans), reverse=True)
    assert plans[0].references == 1_000 and plans[-1].references < 500
    assert plans[0].stride <= plans[1].stride


def test_refusals_say_what_is_missing() -> None:
    with pytest.raises(Refused, match="the version's reference has 40 pieces and a threshold needs at least 100"):
        sized(2_000, available=40)
    with pytest.raises(Refused, match=r"needs \d+ MiB and 8 MiB are free: raise the memory limit of the drift worker"):
        sized(2_000, memory=8 * MIB)
    with pytest.raises(Refused, match="nothing but false alarms"):
        sized(49)
    windows = Cost(lambda _: 0, 10_000, windows=True, window=100)
    with pytest.raises(Refused, match="KS looks at windows of 100 images and needs a run of at least ten of them"):
        plan(DriftSettings(detector="KS", expected_run_images=900), 1_000, 0, windows)


def test_windows_as_a_whole_make_one_test_each() -> None:
    cost = Cost(lambda _: 0, 10_000, windows=True, window=100)
    assert plan(DriftSettings(detector="KS", expected_run_images=100_000), 1_000, 0, cost) == Plan(
        references=1_000, window=100, run=100.0, streams=0, stride=10
    )
