"""What is held out: the share that was asked for, every class on both sides, and no group cut in two."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from puzzlenet.splits import hold_out, together


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**31), st.integers(20, 200), st.integers(1, 8), st.floats(0.05, 0.4))
def test_no_group_is_cut_and_no_class_leaves_training(seed: int, count: int, size: int, share: float) -> None:
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 4, count)
    groups = [str(value) for value in rng.integers(0, max(1, count // size), count)]
    held = hold_out(labels, share, seed, groups)
    assert not {g for g, h in zip(groups, held, strict=True) if h} & {
        g for g, h in zip(groups, held, strict=True) if not h
    }
    assert set(labels[~held]) == set(labels)
    assert (held == hold_out(labels, share, seed, groups)).all()


def test_the_share_is_about_what_was_asked_for() -> None:
    rng = np.random.default_rng(1)
    labels = rng.integers(0, 6, 3000)
    groups = [str(value) for value in rng.integers(0, 300, 3000)]
    held = hold_out(labels, 0.2, 0, groups)
    assert 0.15 < held.mean() < 0.25
    for label in range(6):
        assert 0.1 < held[labels == label].mean() < 0.3


def test_pictures_hang_together_over_several_steps() -> None:
    groups = together(["p1", "p1", "p2", "p3", "p4"], ["m1", "m2", "m2", None, None], ["a", "b", "c", "d", "d"])
    assert groups[0] == groups[1] == groups[2]
    assert groups[3] == groups[4] != groups[0]
