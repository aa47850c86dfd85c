"""Paired images: worth by enumeration, and the gain over a split of traffic."""

import itertools
import math

import numpy as np
import pytest

from puzzle_operator.core.evidence import (
    Increment,
    MetricConfig,
    MetricVerdict,
    Pairs,
    assess,
    fresh,
    update_paired,
)

CONFIG = MetricConfig("wrong", max_risk_ratio=1.2, negligible=0.01, bad_noun="wrong")
ONE = (Pairs(1, 0, 0, 0), Pairs(0, 1, 0, 0), Pairs(0, 0, 1, 0), Pairs(0, 0, 0, 1))


def means(chances: tuple[float, float, float, float], images: int) -> tuple[float, float, float]:
    """Mean evidence for rollback, for promotion and for a serious difference, over all courses of so many images."""
    worse = tolerable = serious = 0.0
    for course in itertools.product(range(4), repeat=images):
        chance = math.prod(chances[outcome] for outcome in course)
        state = fresh(CONFIG)
        for outcome in course:
            state = update_paired(state, ONE[outcome], CONFIG)
        found = assess(state, CONFIG)
        worse += chance * math.exp(found.log_e_rollback)
        tolerable += chance * math.exp(found.log_e_promote)
        serious += chance * math.exp(found.log_e_serious)
    return worse, tolerable, serious


def test_equal_versions_have_a_mean_of_one() -> None:
    assert means((0.5, 0.2, 0.2, 0.1), 4)[0] == pytest.approx(1.0)


def test_a_better_canary_has_a_mean_below_one() -> None:
    assert means((0.5, 0.1, 0.3, 0.1), 4)[0] < 1.0


@pytest.mark.parametrize("both", [0.0, 0.1])
def test_a_canary_at_the_margin_has_a_mean_of_at_most_one(both: float) -> None:
    champion = 0.2
    canary = 1.2 * champion + 0.01
    chances = (1.0 - canary - champion + both, canary - both, champion - both, both)
    assert means(chances, 4)[1] <= 1.0 + 1e-12


def test_a_negligible_difference_is_not_serious() -> None:
    assert means((0.69, 0.16, 0.15, 0.0), 4)[2] == pytest.approx(1.0)


def test_a_drop_of_five_points_is_found_in_a_few_hundred_labels() -> None:
    """6 % against 1 % of images, with alpha = 0.01: a median of about 250 labels."""
    rng = np.random.default_rng(7)
    needed = []
    for _ in range(100):
        state = fresh(CONFIG)
        for batch in range(1, 100):
            drawn = rng.multinomial(10, [0.93, 0.06, 0.01, 0.0])
            state = update_paired(state, Pairs(*map(int, drawn)), CONFIG)
            if assess(state, CONFIG).verdict is MetricVerdict.FAIL:
                needed.append(10 * batch)
                break
    assert len(needed) >= 98
    assert np.median(needed) <= 300


def test_an_equally_good_canary_passes() -> None:
    state = update_paired(fresh(CONFIG), Pairs(3900, 20, 20, 60), CONFIG)
    found = assess(state, CONFIG)
    assert found.verdict is MetricVerdict.PASS
    assert found.sentence.startswith("wrong: 80 of 4,000 canary requests wrong (2.0 %) against 80 of 4,000 (2.0 %)")


def test_no_image_changes_nothing() -> None:
    assert update_paired(fresh(CONFIG), Pairs(), CONFIG) == fresh(CONFIG)


def test_counts_are_those_of_each_version() -> None:
    assert Pairs(5, 3, 2, 1).as_increment() == Increment(11, 4, 11, 3)


def test_negative_images_are_refused() -> None:
    with pytest.raises(ValueError, match="cannot be negative"):
        Pairs(1, -1, 0, 0)
