"""What the monitor needs from the world, as Protocols, and what the world may answer with instead.

Unavailable: try again later; nothing is wrong with the request
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from puzzle_monitor.core.models import Retraction
from puzzle_monitor.core.stored import (
    DriftKey,
    DriftPoint,
    Filter,
    Gauges,
    NewDecision,
    Order,
    Position,
    Pruned,
    ScorePoint,
    StoredDecision,
    StoredDrift,
    StoredLabel,
    StoredModel,
    StoredPrediction,
    Totals,
    Window,
)
from puzzle_monitor.core.work import ImageMark, Outcome, Outcomes, Work


class Unavailable(Exception):  # noqa: N818 - reads as what it is: `except Unavailable`
    """Try again later."""

    def __init__(self, message: str, retry_after: float = 2.0) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class Store(Protocol):
    """The database. Every call blocks and may raise Unavailable."""

    def write(self, work: Work, now: int, oldest: int) -> Outcomes:
        """Store everything in one durable transaction, or nothing. What is older than `oldest` is left out."""

    def prediction(self, prediction_id: str) -> tuple[StoredPrediction, Sequence[StoredLabel]] | None:
        """One prediction and all its labels, oldest first."""

    def page(
        self, wanted: Filter, after: Position | None, limit: int, order: Order, *, embeddings: bool = False
    ) -> Sequence[StoredPrediction]:
        """Predictions in this order, behind the row `after`."""

    def stream(self, wanted: Filter, after: int, limit: int) -> Sequence[StoredPrediction]:
        """Predictions in order of arrival behind the number `after`, with embeddings."""

    def retract(self, wanted: Retraction, now: int) -> tuple[Outcome, str | None]:
        """Take back a label, durably; and what is held to be true then."""

    def put_settings(self, namespace: str, name: str, settings: str, now: int, limit: int) -> bool:
        """Store what is wanted of a model; False if there are `limit` others already."""

    def forget_settings(self, namespace: str, name: str) -> None:
        """The model is not there any more."""

    def append_decisions(self, namespace: str, model: str, found: Sequence[NewDecision], now: int) -> int:
        """Add those whose ids are not on record, durably; how many they are."""

    def decisions(self, namespace: str, model: str, before: int | None, limit: int) -> Sequence[StoredDecision]:
        """Decisions about a model, the newest first; those before this `seq`."""

    def model(self, namespace: str, name: str, since: int) -> StoredModel | None:
        """What the state of a model is made from, accuracy since then; None without settings."""

    def models(self, since: int) -> Sequence[StoredModel]:
        """The same of all that have settings."""

    def scores(self, namespace: str, model: str, line: str | None, since: int, bucket: int) -> Sequence[ScorePoint]:
        """Accuracy by version, in buckets of so many minutes, in order of time."""

    def drift(self, key: DriftKey) -> StoredDrift | None:
        """What a worker stored of a version."""

    def put_drift(self, key: DriftKey, found: StoredDrift, point: DriftPoint) -> bool:
        """Store all of it and a point of history, or nothing; False if it is there already."""

    def drift_history(self, key: DriftKey, since: int, limit: int) -> Sequence[DriftPoint]:
        """The last points, oldest first."""

    def judge(self, now: int) -> None:
        """Bring the health of every feed up to the last minute that is over."""

    def forget_usual(self, namespace: str, model: str, line: str, now: int) -> bool:
        """Learn anew from now on what is usual on a line; False if there is no such line."""

    def gauges(self, since: int) -> Gauges:
        """What is measured now; accuracy since then."""

    def windows(self, wanted: Filter) -> Sequence[Window]:
        """Counts for each series."""

    def totals(self) -> Sequence[Totals]:
        """All that was counted, for each series."""

    def old(self, cutoff: int, limit: int) -> Sequence[tuple[int, str, str | None]]:
        """Predictions from before the cutoff: seq, id, digest of its image."""

    def count_old(self, cutoff: int, minutes_cutoff: int) -> Pruned:
        """How much a prune would delete; minutes of input health have a cutoff of their own."""

    def delete(self, seqs: Sequence[int]) -> Pruned:
        """Delete predictions and their labels."""

    def delete_leftovers(self, cutoff: int, limit: int) -> Pruned:
        """Delete labels that waited in vain since before the cutoff, and series of which nothing is left."""

    def delete_states(self, cutoff: int, minutes_cutoff: int, limit: int) -> Pruned:
        """Delete what was measured before the cutoff; minutes of input health have one of their own."""

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
