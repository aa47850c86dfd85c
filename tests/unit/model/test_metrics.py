"""Figures about a model, against cases that can be counted by hand."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from puzzlenet.metrics import calibration_error, fit_temperature, score, softmax


def test_recall_precision_and_confusion_are_counted_per_class() -> None:
    probabilities = np.array([[0.9, 0.1, 0.0], [0.2, 0.8, 0.0], [0.6, 0.4, 0.0], [0.1, 0.9, 0.0]])
    scores = score(probabilities, np.array([0, 1, 1, 1]), ("a", "b", "c"))
    assert scores.accuracy == 0.75
    assert scores.confusion == ((1, 0, 0), (1, 2, 0), (0, 0, 0))
    assert [one.recall for one in scores.per_class] == [1.0, pytest.approx(2 / 3, abs=1e-6), None]
    assert [one.precision for one in scores.per_class] == [0.5, 1.0, None]


def test_nothing_to_judge_is_an_error() -> None:
    with pytest.raises(ValueError, match="no images"):
        score(np.zeros((0, 2)), np.zeros(0, dtype=np.int64), ("a", "b"))


def test_a_model_that_is_as_right_as_it_claims_has_no_calibration_error() -> None:
    confidence = np.full(1000, 0.8)
    right = np.arange(1000) < 800
    assert calibration_error(confidence, right) == pytest.approx(0.0, abs=1e-9)


def test_a_model_that_is_always_sure_and_half_right_is_off_by_a_half() -> None:
    assert calibration_error(np.ones(1000), np.arange(1000) < 500) == pytest.approx(0.5)


@settings(max_examples=8, deadline=None)
@given(st.floats(0.4, 4.0), st.integers(0, 1000))
def test_the_fitted_temperature_undoes_overconfidence(true_temperature: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    honest = rng.normal(0.0, 2.0, size=(6000, 4))
    labels = (softmax(honest).cumsum(axis=1) < rng.random((6000, 1))).sum(axis=1)
    fitted = fit_temperature(honest * true_temperature, labels)
    assert fitted == pytest.approx(true_temperature, rel=0.15)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.lists(st.floats(-500, 500), min_size=3, max_size=3), min_size=1, max_size=5), st.floats(0.2, 10))
def test_softmax_gives_probabilities_for_any_logits(logits: list[list[float]], temperature: float) -> None:
    rows = softmax(np.array(logits), temperature)
    assert np.isfinite(rows).all() and np.allclose(rows.sum(axis=1), 1.0)
