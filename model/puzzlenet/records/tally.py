"""What became of records, as counters of TorchServe's front end, and log lines that cannot flood."""

import logging
import time
from collections import Counter
from dataclasses import dataclass, field

from puzzlenet.counters import Export, Key, Told

SENT = "puzzlenet_records_sent_total"
DROPPED = "puzzlenet_records_dropped_total"
FAILED = "puzzlenet_records_failed_total"
REFUSED = "puzzlenet_records_refused_total"
PICTURES = "puzzlenet_record_images_total"
SENDS = "puzzlenet_records_sends_total"
SECONDS = "puzzlenet_records_send_seconds_total"
QUEUE = "puzzlenet_records_queue"
# Series that exist from the start, so that a rate exists before the first event.
_REASONS = ("400", "401", "403", "413", "422", "conflict", "invalid")
_OUTCOMES = ("sent", "skipped", "refused", "failed")
_HUSH_S = 60.0


@dataclass(slots=True)
class Tally:
    """Totals since the start. ``dropped`` and ``skipped`` belong to the thread that answers, the rest to the other."""

    export: Export
    sent: int = 0
    dropped: int = 0
    failed: int = 0
    skipped: int = 0
    sends: int = 0
    seconds: float = 0.0
    refused: Counter[str] = field(default_factory=lambda: Counter(dict.fromkeys(_REASONS, 0)))
    pictures: Counter[str] = field(default_factory=lambda: Counter(dict.fromkeys(_OUTCOMES, 0)))
    _told: Told = field(init=False)
    _waiting: int | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        self._told = Told(self.export)

    def report(self, waiting: int) -> None:
        """Export what has changed since the last time."""
        self.pictures["skipped"] = self.skipped
        self._told.tell(self._totals())
        if waiting != self._waiting:
            self.export(QUEUE, waiting, [])
            self._waiting = waiting

    def _totals(self) -> dict[Key, float]:
        plain = {SENT: self.sent, DROPPED: self.dropped, FAILED: self.failed, SENDS: self.sends, SECONDS: self.seconds}
        return (
            {(name, ""): value for name, value in plain.items()}
            | {(REFUSED, reason): value for reason, value in self.refused.items()}
            | {(PICTURES, outcome): value for outcome, value in self.pictures.items()}
        )


class Hushed:
    """Warnings, of each kind at most one a minute."""

    def __init__(self, log: logging.Logger) -> None:
        self._log = log
        self._said: dict[str, float] = {}

    def __call__(self, kind: str, message: str, *values: object) -> None:
        now = time.monotonic()
        if now - self._said.get(kind, -_HUSH_S) >= _HUSH_S:
            self._said[kind] = now
            self._log.warning(message, *values)
