"""Rendered pieces: repeatable, different where they should be, and damaged where they say so."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from puzzlenet.render import CLASSES, PROFILES, render
from puzzlenet.render.outline import Side, draw_side, outline, side_points
from puzzlenet.render.piece import Label


@settings(max_examples=15, deadline=None)
@given(st.sampled_from(sorted(PROFILES)), st.sampled_from(CLASSES), st.integers(0, 2**32))
def test_the_same_seed_draws_the_same_bytes(profile: str, label: Label, seed: int) -> None:
    first = render(PROFILES[profile], label, np.random.default_rng(seed))
    again = render(PROFILES[profile], label, np.random.default_rng(seed))
    assert first.shape == (128, 128, 3) and first.dtype == np.uint8
    assert np.array_equal(first, again)


def test_another_seed_draws_another_piece() -> None:
    one, two = (render(PROFILES["line-1"], "ok", np.random.default_rng(seed)) for seed in (1, 2))
    assert not np.array_equal(one, two)


def test_pieces_of_line_2_are_bigger_than_those_of_line_1() -> None:
    # The belts differ in brightness, so the piece is what differs from the picture's own border.
    def covered(profile: str) -> float:
        shares = []
        for seed in range(10):
            image = render(PROFILES[profile], "ok", np.random.default_rng(seed)).astype(float)
            belt = np.median(image[:6].reshape(-1, 3), axis=0)
            shares.append((np.abs(image - belt).max(axis=2) > 45).mean())
        return float(np.mean(shares))

    assert covered("line-2") > 1.2 * covered("line-1")


@pytest.mark.parametrize("kind", ["flat", "tab", "blank"])
def test_a_side_starts_at_its_corner_and_leaves_it_in_the_right_direction(kind: str) -> None:
    side = draw_side(np.random.default_rng(3), kind)  # type: ignore[arg-type]
    points = side_points(side)
    assert points[0].tolist() == [0.0, 0.0]
    reach = points[:, 1].max() if kind == "tab" else -points[:, 1].min()
    assert reach == pytest.approx(0.0 if kind == "flat" else side.height, abs=0.01)


def test_a_torn_tab_leaves_a_stub_and_a_bent_one_leans_over() -> None:
    whole = side_points(Side(kind="tab"))
    torn = side_points(Side(kind="tab", torn=(0.0, 0.05, 0.02, 0.0)))
    bent = side_points(Side(kind="tab", bend=0.8))
    assert torn[:, 1].max() == pytest.approx(0.05)
    tops = [points[points[:, 1].argmax(), 0] for points in (whole, bent)]
    assert abs(tops[1] - tops[0]) > 0.1


def test_an_outline_is_closed_around_the_origin() -> None:
    sides = tuple(Side(kind="flat") for _ in range(4))
    assert outline(sides).round(9).tolist() == [[-0.5, -0.5], [0.5, -0.5], [0.5, 0.5], [-0.5, 0.5]]  # type: ignore[arg-type]
