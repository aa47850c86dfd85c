"""Harm: labels first, then confidence, else Unknown."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom

from puzzle_drift.core.harm import Confidence, Harmful, Labels, Normal, judge, lower_tail, upper_tail

NORMAL = Normal(pieces=998, wrong=19, confidence=0.97, deviation=0.08)
SURE = Confidence(500, 500 * 0.97)
UNSURE = Confidence(500, 500 * 0.80)


@given(st.integers(1, 2_000), st.floats(0.001, 0.999), st.data())
def test_tails_are_those_of_the_binomial(n: int, p: float, data: st.DataObject) -> None:
    count = data.draw(st.integers(0, n))
    assert upper_tail(count, n, p) == pytest.approx(binom.sf(count - 1, n, p), rel=1e-6, abs=1e-12)
    assert lower_tail(count, n, p) == pytest.approx(binom.cdf(count, n, p), rel=1e-6, abs=1e-12)


@pytest.mark.parametrize(
    ("labels", "confidence", "expected"),
    [
        (Labels(40, 26), SURE, Harmful.YES),
        (Labels(9, 9), SURE, Harmful.UNKNOWN),
        (Labels(10, 10), SURE, Harmful.YES),
        (Labels(0, 0), SURE, Harmful.UNKNOWN),
        (Labels(0, 0), UNSURE, Harmful.YES),
        (Labels(30, 0), SURE, Harmful.UNKNOWN),
        (Labels(60, 0), SURE, Harmful.NO),
        (Labels(300, 6), SURE, Harmful.NO),
        (Labels(300, 6), UNSURE, Harmful.NO),
        (Labels(30, 1), UNSURE, Harmful.YES),
        (Labels(0, 0), Confidence(5, 0.5), Harmful.UNKNOWN),
    ],
)
def test_who_is_believed(labels: Labels, confidence: Confidence, expected: Harmful) -> None:
    assert judge(labels, confidence, NORMAL).harmful is expected


def test_the_reason_has_the_numbers() -> None:
    assert judge(Labels(40, 26), SURE, NORMAL).reason.startswith(
        "accuracy of the 40 labelled images since then is 0.350, the reference's 0.980 (p = "
    )
    assert judge(Labels(), UNSURE, NORMAL).reason == "mean confidence fell from 0.970 to 0.800 over 500 images"
    assert judge(Labels(12, 0), SURE, NORMAL).reason.endswith("too few labels to tell")


def test_a_reference_without_errors_still_expects_some() -> None:
    perfect = Normal(500, 0, 0.99, 0.02)
    assert judge(Labels(200, 1), SURE, perfect).harmful is Harmful.NO


def test_good_labels_are_rarely_called_harm() -> None:
    """At the reference's own rate, the exact test alarms no more often than it says."""
    for n in (10, 50, 200, 1_000):
        share = sum(
            float(binom.pmf(wrong, n, NORMAL.error_rate))
            for wrong in range(n + 1)
            if judge(Labels(n, wrong), SURE, NORMAL).harmful is Harmful.YES
        )
        assert share <= 0.001
