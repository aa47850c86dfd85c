"""Watching a promoted version without a champion beside it."""

import itertools
import json
import math

import pytest

from puzzle_operator.core.evidence import (
    BakeState,
    Increment,
    MetricConfig,
    assess_bake,
    fresh,
    start_bake,
    update,
    update_bake,
)

CONFIG = MetricConfig("errors")


def baked(canary: Increment = Increment(9000, 45, 9000, 45)) -> BakeState:  # noqa: B008 - frozen
    return start_bake(update(fresh(CONFIG), canary, CONFIG), CONFIG)


def test_the_ceiling_is_what_was_tolerable_at_promotion() -> None:
    assert 1.5 * 0.005 + 0.002 < baked().ceiling < 0.02


def test_a_champion_that_served_nothing_sets_no_ceiling() -> None:
    state = update_bake(baked(Increment(100, 0, 0, 0)), 500, 500)
    assert state.ceiling == 1.0
    assert not assess_bake(state, CONFIG).fails


@pytest.mark.parametrize("rate", [0.05, 0.3])
def test_a_rate_at_the_ceiling_has_a_mean_of_at_most_one(rate: float) -> None:
    start = BakeState(rate, baked().logs)
    mean = 0.0
    for course in itertools.product([0, 1], repeat=8):
        state = start
        for bad in course:
            state = update_bake(state, 1, bad)
        chance = math.prod(rate if bad else 1.0 - rate for bad in course)
        mean += chance * math.exp(assess_bake(state, CONFIG).log_e)
    assert 0.2 < mean <= 1.0 + 1e-12


def minutes_until_found(state: BakeState) -> int:
    """At 2 requests/s with 5 % errors."""
    for minute in range(1, 60):
        state = update_bake(state, 120, 6)
        if assess_bake(state, CONFIG).fails:
            return minute
    raise AssertionError("never found")


def test_a_broken_version_is_found_at_once_and_a_good_one_is_not() -> None:
    assert minutes_until_found(baked()) <= 3
    good = baked()
    for _ in range(600):
        good = update_bake(good, 200, 1)
    assert not assess_bake(good, CONFIG).fails
    assert assess_bake(good, CONFIG).sentence.startswith(
        "errors: 600 of 120,000 requests since promotion bad (0.5 %), tolerable is 1.6 %: evidence "
    )


def test_a_fault_after_a_good_day_is_still_found_soon() -> None:
    assert minutes_until_found(update_bake(baked(), 100_000, 500)) <= 8


def test_the_state_is_the_same_after_the_wire() -> None:
    state = update_bake(baked(), 31, 2)
    assert BakeState.from_wire(json.loads(json.dumps(state.to_wire()))) == state


@pytest.mark.parametrize(
    "wire", [{}, {"ceiling": 0.1, "logs": [0.0], "n": [1, 2]}, {"ceiling": "x", "logs": [], "n": []}]
)
def test_a_state_that_cannot_be_read_is_refused(wire: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="bake:"):
        BakeState.from_wire(wire)


def test_senseless_counts_are_refused() -> None:
    with pytest.raises(ValueError, match="requests >= bad"):
        update_bake(baked(), 1, 2)
