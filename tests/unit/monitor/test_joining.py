"""Labels meet predictions: properties over all orders."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from puzzle_monitor.core.accuracy import BOUNDS, Cell, bucket, score
from puzzle_monitor.core.joining import Mark, Move, Truth, moves, truth

LABELS = st.sampled_from(("ok", "scratch", "stain"))
MARKS = st.lists(st.tuples(LABELS, st.integers(0, 5)), max_size=8).map(
    lambda rows: [Mark(seq, label, "somebody", at) for seq, (label, at) in enumerate(rows)]
)


def test_without_labels_nothing_is_true() -> None:
    assert truth([]) == Truth() and truth([]).label is None


def test_the_newest_counts_and_of_equals_the_last_to_arrive() -> None:
    marks = [Mark(1, "ok", "a", 50), Mark(2, "scratch", "b", 90), Mark(3, "stain", "c", 90), Mark(4, "ok", "d", 10)]
    found = truth(marks)
    assert (found.first, found.label) == ("ok", "stain")


@given(MARKS)
def test_truth_does_not_depend_on_the_order_of_looking(marks: list[Mark]) -> None:
    assert truth(marks) == truth(list(reversed(marks)))


@given(LABELS, MARKS)
def test_moves_add_up_to_the_matrix_and_the_first_count_never_falls(label: str, marks: list[Mark]) -> None:
    first: Counter[str] = Counter()
    latest: Counter[str] = Counter()
    states = [truth(marks[:length]) for length in range(len(marks) + 1)]
    for before, after in pairwise(states):
        for move in moves(before, after):
            assert move.first >= 0
            first[move.truth] += move.first
            latest[move.truth] += move.latest
    end = states[-1]
    assert +first == Counter([end.first] if end.first else [])
    assert +latest == Counter([end.label] if end.label else [])
    assert not any(count < 0 for count in latest.values())


def test_a_correction_moves_one_piece() -> None:
    before, after = truth([Mark(1, "ok", "a", 1)]), truth([Mark(1, "ok", "a", 1), Mark(2, "stain", "a", 2)])
    assert moves(before, after) == (Move("ok", 0, -1), Move("stain", 0, 1))
    assert moves(after, after) == ()


def test_score_of_a_matrix() -> None:
    found = score([Cell("ok", "ok", 6), Cell("ok", "stain", 2), Cell("stain", "stain", 1), Cell("ok", "ok", 1)])
    assert (found.labelled, found.wrong, found.accuracy) == (10, 2, 0.8)
    ok, stain = found.classes
    assert (ok.labelled, ok.recall, ok.precision) == (7, 1.0, 7 / 9)
    assert (stain.labelled, stain.recall, stain.precision) == (3, 1 / 3, 1.0)
    assert score([]).accuracy is None and score([]).classes == ()
    assert score([Cell("ok", "ok", 1), Cell("stain", "ok", 0)]).confusion == (Cell("ok", "ok", 1),)


@given(st.floats(0, 1))
def test_every_confidence_has_a_bucket_whose_bound_is_not_below_it(confidence: float) -> None:
    index = bucket(confidence)
    assert index == len(BOUNDS) or confidence <= BOUNDS[index]
    assert index == 0 or confidence > BOUNDS[index - 1]
