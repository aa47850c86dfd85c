"""The outline of a piece: four sides, each flat, with a tab, or with a blank, as cubic Bézier curves.

A side runs along x from (0, 0) to (1, 0) and its tab rises to positive y. Sides are then turned into the square.
Two of the defects live here, because they change the shape: a tab that is bent at its neck, and one torn off.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Points = NDArray[np.float64]
Kind = Literal["flat", "tab", "blank"]

# Control points of a tab of width 1 and height 1 centred on x = 0: neck, bulge, crown and back (four cubics).
_KNOB = np.array(
    [
        [(-0.50, 0.00), (-0.22, 0.02), (-0.30, 0.22), (-0.42, 0.42)],
        [(-0.42, 0.42), (-0.62, 0.78), (-0.34, 1.00), (0.00, 1.00)],
        [(0.00, 1.00), (0.34, 1.00), (0.62, 0.78), (0.42, 0.42)],
        [(0.42, 0.42), (0.30, 0.22), (0.22, 0.02), (0.50, 0.00)],
    ]
)
_STEPS = 9
_T = np.linspace(0.0, 1.0, _STEPS)[:, None]
_BERNSTEIN = np.concatenate([(1 - _T) ** 3, 3 * _T * (1 - _T) ** 2, 3 * _T**2 * (1 - _T), _T**3], axis=1)


@dataclass(frozen=True, kw_only=True, slots=True)
class Side:
    """One side. ``centre``, ``width`` and ``height`` of the tab are fractions of the side's length."""

    kind: Kind
    centre: float = 0.5
    width: float = 0.30
    height: float = 0.24
    lean: float = 0.0  # a healthy tab's own asymmetry: its top moves sideways by lean × width
    bend: float = 0.0  # how far the top of a tab is pushed sideways, in tab widths; 0 = as cut
    torn: tuple[float, ...] = ()  # heights of the torn edge along the neck; empty = the tab is there


def draw_side(rng: np.random.Generator, kind: Kind) -> Side:
    """A healthy side with its own small variations."""
    return Side(
        kind=kind,
        centre=float(rng.uniform(0.44, 0.56)),
        width=float(rng.uniform(0.27, 0.34)),
        height=float(rng.uniform(0.20, 0.27)),
        lean=float(rng.uniform(-0.10, 0.10)),
    )


def _knob_points(side: Side) -> Points:
    """The tab of one side, shape (n, 2), from left neck to right neck."""
    points: Points = (_BERNSTEIN @ _KNOB).reshape(-1, 2)
    points = points + np.stack([side.lean * points[:, 1], np.zeros(len(points))], axis=1)
    points = points * np.array([side.width, side.height])
    if side.bend:
        # The higher above the neck, the further it goes, and the top tips over: the foot stays in the piece.
        rise = np.clip(points[:, 1] / side.height, 0.0, 1.0)
        tip = 0.35 * side.bend * rise
        points = np.stack(
            [points[:, 0] + side.bend * side.width * rise, points[:, 1] * (1.0 - np.abs(tip)) - tip * points[:, 0]],
            axis=1,
        )
    placed: Points = points + np.array([side.centre, 0.0])
    return placed


def side_points(side: Side) -> Points:
    """Points of one side from (0, 0) towards (1, 0), the end left out, shape (n, 2)."""
    start = np.array([[0.0, 0.0]])
    if side.kind == "flat":
        return start
    if side.torn:
        xs = side.centre + side.width * np.linspace(-0.34, 0.34, len(side.torn))
        return np.concatenate([start, np.stack([xs, np.array(side.torn)], axis=1)])
    knob = _knob_points(side)
    if side.kind == "blank":
        knob = knob * np.array([1.0, -1.0])
    return np.concatenate([start, knob])


def outline(sides: tuple[Side, Side, Side, Side]) -> Points:
    """The closed outline of a piece on the unit square centred on the origin, shape (n, 2); tabs stick out of it."""
    parts = []
    for quarter, side in enumerate(sides):
        points = side_points(side) - 0.5
        points[:, 1] = -(points[:, 1] + 0.5) - 0.5  # the top side: outward is up, which is negative y in a picture
        angle = quarter * np.pi / 2
        turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        parts.append(points @ turn.T)
    return np.concatenate(parts)


def tab_position(quarter: int, side: Side, height: float) -> Points:
    """Where, on the unit square, a point ``height`` above the middle of a side's neck lies, shape (2,)."""
    point = np.array([side.centre - 0.5, -height - 0.5])
    angle = quarter * np.pi / 2
    turned: Points = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]) @ point
    return turned
