"""Streams of records as a line makes them, and references of the same kind."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from puzzle_drift.core.records import Record, Reference

AT = "2026-11-24T12:00:00+00:00"
CLASSES = ("ok", "scratch", "bent_tab")


def reference(size: int = 300, dimensions: int = 8, seed: int = 1, errors: float = 0.03) -> Reference:
    """Pieces of three classes around their centres."""
    rng = np.random.default_rng(seed)
    probabilities = rng.dirichlet((30.0, 1.0, 1.0), size)
    return Reference(
        sha256="ab" * 32,
        embeddings=embeddings(size, dimensions, rng),
        probabilities=probabilities,
        correct=rng.random(size) >= errors,
    )


def embeddings(
    size: int, dimensions: int, rng: np.random.Generator, shift: float = 0.0
) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    """Three clusters with noise, all of them moved by the shift."""
    centres = np.random.default_rng(7).normal(size=(3, dimensions)) * 2
    found: np.ndarray[tuple[int, int], np.dtype[np.float64]] = (
        centres[rng.integers(0, 3, size)] + rng.normal(size=(size, dimensions)) + shift
    )
    return found


def records(
    count: int,
    *,
    dimensions: int = 8,
    seed: int = 2,
    shift: float = 0.0,
    first: int = 1,
    labelled: float = 0.0,
    wrong: float = 0.03,
    sure: float = 30.0,
) -> list[Record]:
    """Records in their order, without drift unless `shift`, `wrong` or `sure` say so."""
    rng = np.random.default_rng(seed)
    points = embeddings(count, dimensions, rng, shift)
    shares = rng.dirichlet((sure, 1.0, 1.0), count)
    found = []
    for index in range(count):
        label = CLASSES[int(shares[index].argmax())]
        truth = None
        if rng.random() < labelled:
            truth = "other" if rng.random() < wrong else label
        found.append(
            Record(
                seq=first + index,
                at=AT,
                label=label,
                truth=truth,
                confidence=round(float(shares[index].max()), 7),
                probabilities=tuple(map(float, shares[index])),
                embedding=tuple(round(float(value), 7) for value in points[index]),
            )
        )
    return found


def without_embedding(record: Record) -> Record:
    """As a model that records none sends it."""
    return replace(record, embedding=None)
