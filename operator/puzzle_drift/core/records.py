"""What is watched: records of a version, and the reference that they are held against."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


class Refused(Exception):  # noqa: N818 - reads as what it is
    """This version cannot be watched as asked. The message says why and what would help; it becomes the report."""


@dataclass(frozen=True, slots=True)
class Record:
    """One prediction in its order of arrival."""

    seq: int
    at: str
    label: str
    truth: str | None
    confidence: float
    probabilities: tuple[float, ...]
    embedding: tuple[float, ...] | None

    @classmethod
    def parse(cls, raw: Mapping[str, Any]) -> Record:
        """One element of the monitor's stream. Raises ValueError, TypeError or KeyError if it is none."""
        embedding, truth = raw.get("embedding"), raw.get("truth")
        given = raw.get("probabilities") or ()
        # Named by class or in a list: the order of names is that of the classes (both sorted by the model).
        probabilities = given.values() if isinstance(given, Mapping) else given
        return cls(
            seq=int(raw["seq"]),
            at=str(raw["at"]),
            label=str(raw["label"]),
            truth=None if truth is None else str(truth),
            confidence=float(raw["confidence"]),
            probabilities=tuple(map(float, probabilities)),
            embedding=None if embedding is None else tuple(map(float, embedding)),
        )


@dataclass(frozen=True, slots=True)
class Reference:
    """Held-out pieces of the data that a version was trained on, as the version itself saw them."""

    sha256: str
    embeddings: Floats
    probabilities: Floats
    correct: NDArray[np.bool_]

    @property
    def size(self) -> int:
        """How many pieces."""
        return len(self.correct)

    @property
    def confidence(self) -> Floats:
        """Of each piece."""
        top: Floats = self.probabilities.max(axis=1)
        return top


def reference_of(arrays: Mapping[str, NDArray[Any]], sha256: str) -> Reference:
    """The reference in the arrays of `reference.safetensors`.

    Raises:
        Refused: naming the array that is missing or makes no sense.
    """
    for name, dimensions in (("embeddings", 2), ("probabilities", 2), ("correct", 1)):
        if name not in arrays:
            raise Refused(f"reference.safetensors has no '{name}': package the version again")
        if arrays[name].ndim != dimensions:
            raise Refused(f"'{name}' of reference.safetensors has {arrays[name].ndim} dimensions, not {dimensions}")
        if not np.isfinite(arrays[name]).all():
            raise Refused(f"'{name}' of reference.safetensors holds numbers that are not finite")
    sizes = {name: len(arrays[name]) for name in ("embeddings", "probabilities", "correct")}
    if len(set(sizes.values())) != 1 or 0 in arrays["embeddings"].shape + arrays["probabilities"].shape:
        raise Refused(f"the arrays of reference.safetensors do not fit each other: {sizes}")
    return Reference(
        sha256=sha256,
        embeddings=np.ascontiguousarray(arrays["embeddings"], dtype=np.float64),
        probabilities=np.ascontiguousarray(arrays["probabilities"], dtype=np.float64),
        correct=arrays["correct"].astype(np.bool_),
    )
