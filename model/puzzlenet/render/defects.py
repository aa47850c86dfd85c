"""What can be wrong with a piece. Every defect varies in size and contrast; the faintest are hard on purpose.

Shape defects change the sides before the outline is drawn. Surface defects are painted on the finished surface.
"""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from puzzlenet.render.fields import SIZE, Field, bezier, blur, mix, polygon, smooth_noise, stroke
from puzzlenet.render.outline import Side
from puzzlenet.render.profiles import Profile

Sides = tuple[Side, Side, Side, Side]
Vector = NDArray[np.float64]


def bend_tab(rng: np.random.Generator, sides: Sides, tab: int) -> Sides:
    """Push one tab sideways by half to nine tenths of its width, and shorten it a little: it also leaves the plane."""
    side = sides[tab]
    push = float(rng.uniform(0.50, 0.90) * rng.choice([-1.0, 1.0]))
    return _with(sides, tab, replace(side, bend=push, height=side.height * float(rng.uniform(0.80, 1.0))))


def tear_tab(rng: np.random.Generator, sides: Sides, tab: int) -> Sides:
    """Tear one tab off: a ragged stub of 2 % to 7 % of the side stays."""
    inner = rng.uniform(0.01, 0.07, size=5)
    return _with(sides, tab, replace(sides[tab], torn=(0.0, *inner.tolist(), 0.0)))


def torn_fibres(rng: np.random.Generator, surface: Field, profile: Profile, at: Vector, side: float) -> Field:
    """Bare cardboard where the tab tore off, around ``at`` (pixels)."""
    y, x = np.mgrid[0:SIZE, 0:SIZE].astype(np.float32)
    radius = side * float(rng.uniform(0.08, 0.12))
    near = np.clip(1.6 - np.hypot(x - at[0], y - at[1]) / radius, 0.0, 1.0)
    alpha = near * float(rng.uniform(0.6, 1.0)) * np.clip(smooth_noise(rng, 30) + 0.3, 0.0, 1.0)
    return mix(surface, _bare(rng, profile), alpha)


def crease(rng: np.random.Generator, surface: Field, profile: Profile, foot: Vector, top: Vector) -> Field:
    """The fold across the neck of a bent tab and the shade on what lies beyond it.

    A thin print folds into a dark line. A thick one breaks, shows the board, and its tab stands off the belt more.
    """
    along = top - foot
    across = np.array([-along[1], along[0]])
    middle = foot + 0.25 * along
    line = stroke(np.stack([middle - 0.55 * across, middle + 0.55 * across]), 2.0)
    centre = foot + 0.75 * along
    y, x = np.mgrid[0:SIZE, 0:SIZE].astype(np.float32)
    lobe = np.clip(1.5 - np.hypot(x - centre[0], y - centre[1]) / (0.6 * np.hypot(*along)), 0.0, 1.0)
    shade = profile.stiffness * float(rng.uniform(0.06, 0.22)) * float(rng.choice([-1.0, 1.0]))
    lit: Field = surface * (1.0 + shade * lobe)[..., None]
    tone = np.full(3, 0.9 if profile.stiffness > 1.5 else 0.0, dtype=np.float32)
    return mix(lit, tone, min(profile.stiffness, 1.7) * float(rng.uniform(0.20, 0.50)) * line)


def scratch(rng: np.random.Generator, surface: Field, profile: Profile, centre: Vector, side: float) -> Field:
    """One or two thin curved scratches, brighter or darker than the print."""
    for _ in range(1 if rng.random() < 0.75 else 2):
        angle, length = rng.uniform(0, np.pi), side * rng.uniform(0.40, 0.95)
        direction = np.array([np.cos(angle), np.sin(angle)])
        normal = np.array([-direction[1], direction[0]])
        middle = centre + normal * side * rng.uniform(-0.28, 0.28)
        bow = middle + normal * length * rng.uniform(-0.25, 0.25)
        curve = bezier(middle - direction * length / 2, bow, middle + direction * length / 2)
        alpha = stroke(curve, float(rng.uniform(1.5, 3.0))) * float(rng.uniform(0.40, 0.90))
        tone = np.full(3, 0.10 if rng.random() < profile.dark_scratches else 0.95, dtype=np.float32)
        surface = mix(surface, tone, alpha)
    return surface


def print_defect(rng: np.random.Generator, surface: Field, centre: Vector, side: float) -> Field:
    """A blot of ink, a spot the ink missed, or a band where the colours are out of register."""
    kind = rng.integers(3)
    if kind == 2:
        return _misregistered(rng, surface, centre, side)
    at = centre + side * rng.uniform(-0.30, 0.30, size=2)
    angles = np.linspace(0, 2 * np.pi, 14, endpoint=False)
    radii = side * rng.uniform(0.08, 0.18) * rng.uniform(0.75, 1.25, size=14)
    blob = polygon(at + radii[:, None] * np.stack([np.cos(angles), np.sin(angles)], axis=1))
    alpha = blur(blob, 1.2) * float(rng.uniform(0.50, 0.95))
    ink = (0.10, 0.09, 0.14) if kind == 0 else (0.96, 0.95, 0.92)
    return mix(surface, np.asarray(ink, dtype=np.float32), alpha)


def _misregistered(rng: np.random.Generator, surface: Field, centre: Vector, side: float) -> Field:
    y, x = np.mgrid[0:SIZE, 0:SIZE].astype(np.float32)
    angle = rng.uniform(0, np.pi)
    across = (x - centre[0]) * np.cos(angle) + (y - centre[1]) * np.sin(angle)
    offset, half = side * rng.uniform(-0.25, 0.25), side * rng.uniform(0.08, 0.16)
    alpha = np.clip((half - np.abs(across - offset)) / 1.5, 0.0, 1.0).astype(np.float32)
    cast = np.zeros(3, dtype=np.float32)
    cast[rng.integers(3)] = rng.uniform(0.20, 0.40) * rng.choice([-1.0, 1.0])
    return mix(surface, surface + cast, alpha)


def delaminate(rng: np.random.Generator, surface: Field, profile: Profile, centre: Vector, side: float) -> Field:
    """The printed sheet has come off at one edge or corner: bare cardboard, a curled bright rim, its shadow."""
    y, x = np.mgrid[0:SIZE, 0:SIZE].astype(np.float32)
    angle = rng.uniform(0, 2 * np.pi)
    reach = side * rng.uniform(0.20, 0.42)
    wobble = 0.10 * side * (smooth_noise(rng, 5) - 0.5)
    beyond = (x - centre[0]) * np.cos(angle) + (y - centre[1]) * np.sin(angle) - reach + wobble
    bare = np.clip(beyond / 1.2, 0.0, 1.0).astype(np.float32) * float(rng.uniform(0.55, 1.0))
    shadow = np.clip(1.0 - np.abs(beyond - 1.5) / 2.5, 0.0, 1.0) * float(rng.uniform(0.15, 0.45))
    rim = np.clip(1.0 - np.abs(beyond + 1.0) / 1.5, 0.0, 1.0) * float(rng.uniform(0.10, 0.40))
    out = mix(surface, _bare(rng, profile), bare)
    out = out * (1.0 - shadow)[..., None]
    return mix(out, np.ones(3, dtype=np.float32), rim.astype(np.float32))


def _bare(rng: np.random.Generator, profile: Profile) -> Field:
    """Cardboard without its printed sheet, shape (SIZE, SIZE, 3)."""
    fibres = 0.10 * (smooth_noise(rng, 44) - 0.5)
    return np.asarray(profile.cardboard, dtype=np.float32) + fibres[..., None]


def _with(sides: Sides, index: int, side: Side) -> Sides:
    changed = [side if i == index else old for i, old in enumerate(sides)]
    return (changed[0], changed[1], changed[2], changed[3])
