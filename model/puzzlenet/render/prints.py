"""The picture printed on the pieces: soft washes of colour on line 1, a comic with strokes and dots on line 2."""

import numpy as np

from puzzlenet.render.fields import SIZE, Field, bezier, mix, smooth_noise, stroke
from puzzlenet.render.profiles import Profile


def printed(rng: np.random.Generator, profile: Profile) -> Field:
    """The print under one piece, shape (SIZE, SIZE, 3)."""
    return _watercolour(rng, profile) if profile.print_style == "watercolour" else _comic(rng, profile)


def _colours(rng: np.random.Generator, profile: Profile, count: int) -> list[Field]:
    picks = rng.choice(len(profile.palette), size=count, replace=False)
    jitter = rng.uniform(-0.05, 0.05, size=(count, 3))
    return [np.asarray(profile.palette[pick] + jitter[i], dtype=np.float32) for i, pick in enumerate(picks)]


def _watercolour(rng: np.random.Generator, profile: Profile) -> Field:
    one, two, three = _colours(rng, profile, 3)
    picture = np.broadcast_to(one, (SIZE, SIZE, 3))
    picture = mix(picture, two, _contrast(smooth_noise(rng, 3), 2.2))
    picture = mix(picture, three, 0.8 * _contrast(smooth_noise(rng, 6), 2.0))
    grain = 0.05 * (smooth_noise(rng, 40) - 0.5)
    return picture + grain[..., None]


def _comic(rng: np.random.Generator, profile: Profile) -> Field:
    one, two, three = _colours(rng, profile, 3)
    picture = np.broadcast_to(one, (SIZE, SIZE, 3))
    picture = mix(picture, two, _contrast(smooth_noise(rng, 3), 9.0))
    picture = mix(picture, three, _contrast(smooth_noise(rng, 4), 9.0))
    picture = mix(picture, 0.80 * one, 0.45 * _dots(rng) * _contrast(smooth_noise(rng, 3), 6.0))
    ink = np.asarray((0.13, 0.10, 0.12), dtype=np.float32)
    for _ in range(int(rng.integers(0, 2))):
        ends = rng.uniform(0.1 * SIZE, 0.9 * SIZE, size=(3, 2))
        picture = mix(picture, ink, 0.75 * stroke(bezier(*ends), float(rng.uniform(1.2, 2.2))))
    return picture


def _dots(rng: np.random.Generator) -> Field:
    """A halftone raster: the dots of a comic's shading."""
    pitch, angle = float(rng.uniform(5.0, 7.0)), float(rng.uniform(0.2, 0.6))
    y, x = np.mgrid[0:SIZE, 0:SIZE].astype(np.float32)
    u = (x * np.cos(angle) + y * np.sin(angle)) * (2 * np.pi / pitch)
    v = (-x * np.sin(angle) + y * np.cos(angle)) * (2 * np.pi / pitch)
    dots: Field = np.clip(np.cos(u) + np.cos(v) - 0.3, 0.0, 1.0).astype(np.float32)
    return dots


def _contrast(field: Field, gain: float) -> Field:
    return np.clip((field - 0.5) * gain + 0.5, 0.0, 1.0)
