"""What the monitor needs from the world, as Protocols, and what the world may answer with instead.

Unavailable          try again later; nothing is wrong with the request
ConfigurationError   a person has to change a setting; ends the process with exit code 2
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from puzzle_monitor.core.stored import (
    Filter,
    Pruned,
    StoredLabel,
    StoredPrediction,
    Totals,
    Window,
)
from puzzle_monitor.core.work import ImageMark, Outcomes, Work


class Unavailable(Exception):  # noqa: N818 - reads as what it is: `except Unavailable`
    """Try again later."""

    def __init__(self, message: str, retry_after: float = 2.0) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class ConfigurationError(ValueError):
    """A setting makes no sense, or does not fit the world. The message names it and the fix."""


class Store(Protocol):
    """The database. Every call blocks and may raise Unavailable."""

    def write(self, work: Work, now: int, oldest: int) -> Outcomes:
        """Store everything in one durable transaction, or nothing. What is older than `oldest` is left out."""

    def prediction(self, prediction_id: str) -> tuple[StoredPrediction, Sequence[StoredLabel]] | None:
        """One prediction and all its labels, oldest first."""

    def page(
        self, wanted: Filter, after: tuple[int, int] | None, limit: int, *, newest_first: bool, embeddings: bool = False
    ) -> Sequence[StoredPrediction]:
        """Predictions in the order of (at, seq), behind the row `after`."""

    def windows(self, wanted: Filter) -> Sequence[Window]:
        """Counts for each series."""

    def totals(self) -> Sequence[Totals]:
        """All that was counted, for each series."""

    def old(self, cutoff: int, limit: int) -> Sequence[tuple[int, str, str | None]]:
        """Predictions from before the cutoff: seq, id, digest of its image."""

    def count_old(self, cutoff: int) -> Pruned:
        """How much a prune would delete."""

    def delete(self, seqs: Sequence[int]) -> Pruned:
        """Delete predictions and their labels."""

    def delete_leftovers(self, cutoff: int, limit: int) -> Pruned:
        """Delete labels that waited in vain since before the cutoff, and series of which nothing is left."""

    def ping(self) -> None:
        """Raise Unavailable if nothing can be read."""


class ImageStore(Protocol):
    """Where sampled pictures lie. Every call blocks and may raise Unavailable."""

    def put(self, image: ImageMark, data: bytes) -> None:
        """Store durably."""

    def get(self, image: ImageMark) -> bytes | None:
        """The picture, or None."""

    def delete(self, images: Sequence[ImageMark]) -> None:
        """Delete those that are there."""
