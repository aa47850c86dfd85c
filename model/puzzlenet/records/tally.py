"""What became of records, as counters of TorchServe's front end, and log lines that cannot flood."""

import json
import logging
import time
from dataclasses import asdict, dataclass, field, replace

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


Counts = dict[str, int]


def _sum(one: Counts, other: Counts) -> Counts:
    return {name: one.get(name, 0) + other.get(name, 0) for name in {**one, **other}}


@dataclass(frozen=True, kw_only=True, slots=True)
class Report:
    """How far the sending process is: what it has taken over in all, what waits in it now, and totals since its start.

    ``taken_bytes`` is `Seen.held` of the records taken over, ``held`` the bytes of memory of those that wait.
    """

    taken: int = 0
    taken_bytes: int = 0
    records: int = 0
    images: int = 0
    held: int = 0
    sent: int = 0
    failed: int = 0
    sends: int = 0
    seconds: float = 0.0
    refused: Counts = field(default_factory=lambda: dict.fromkeys(_REASONS, 0))
    pictures: Counts = field(default_factory=lambda: dict.fromkeys(_OUTCOMES, 0))

    def line(self) -> bytes:
        """For the process that answers."""
        return json.dumps(asdict(self), separators=(",", ":")).encode() + b"\n"

    @classmethod
    def read(cls, line: bytes) -> "Report":
        """The inverse of `line`."""
        return cls(**json.loads(line))

    def after(self, before: "Report") -> "Report":
        """This process's, on top of those that ended before it."""
        return replace(
            self,
            taken=before.taken + self.taken,
            taken_bytes=before.taken_bytes + self.taken_bytes,
            sent=before.sent + self.sent,
            failed=before.failed + self.failed,
            sends=before.sends + self.sends,
            seconds=before.seconds + self.seconds,
            refused=_sum(before.refused, self.refused),
            pictures=_sum(before.pictures, self.pictures),
        )

    def ended(self, written: int, written_bytes: int) -> "Report":
        """When the process has ended: what it was given and is not known to have dealt with has failed."""
        return replace(
            self,
            taken=written,
            taken_bytes=written_bytes,
            records=0,
            images=0,
            held=0,
            failed=written - self.sent - sum(self.refused.values()),
            pictures=_sum(self.pictures, {"failed": self.images}),
        )


class Tally:
    """Exports what has changed. ``dropped`` and ``skipped`` are counted by the thread that answers."""

    def __init__(self, export: Export) -> None:
        self.dropped = self.skipped = 0
        self._export = export
        self._told = Told(export)
        self._waiting = -1

    def show(self, report: Report, waiting: int) -> None:
        """Export what has changed since the last time."""
        self._told.tell(self._totals(report))
        if waiting != self._waiting:
            self._export(QUEUE, waiting, [])
            self._waiting = waiting

    def _totals(self, report: Report) -> dict[Key, float]:
        plain: dict[str, float] = {SENT: report.sent, DROPPED: self.dropped, FAILED: report.failed}
        plain |= {SENDS: report.sends, SECONDS: report.seconds}
        pictures = {**report.pictures, "skipped": self.skipped}
        return (
            {(name, ""): value for name, value in plain.items()}
            | {(REFUSED, reason): value for reason, value in report.refused.items()}
            | {(PICTURES, outcome): value for outcome, value in pictures.items()}
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
