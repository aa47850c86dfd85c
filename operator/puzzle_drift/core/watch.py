"""One version under watch: records are folded in, in their order, and out come a report and the state.

A watch has no clock and no randomness of its own. The same records after the same state give the same state, bit by
bit, wherever batches begin and however often the process died in between.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass

from puzzle_drift.core.alarm import Alarm, Moment, Phase, step
from puzzle_drift.core.detector import Backend, Detector, Look
from puzzle_drift.core.harm import Confidence, Harmful, Labels, Normal, Verdict, judge
from puzzle_drift.core.packing import LIMIT, pack, unpack
from puzzle_drift.core.records import Record, Reference, Refused
from puzzle_drift.core.sizing import Plan
from puzzle_drift.core.wanted import SCHEMA, DriftSettings


@dataclass(slots=True)
class Tally:
    """What was counted since the watch began. Changed in place: there may be a million images a day."""

    images: int = 0
    looked: int = 0
    unusable: int = 0
    """Images whose turn it was and that had nothing to look at."""
    waited: int = 0
    """Images since the last look."""
    images_since: int = 0
    """Images since the alarm began, and the sum of their confidence."""
    confidence_since: float = 0.0


class Watch:
    """A detector with alarm and tally. Not thread-safe: one worker folds one record after the other."""

    def __init__(self, wanted: DriftSettings, plan: Plan, reference: Reference, detector: Detector) -> None:
        self.wanted, self.plan, self.detector = wanted, plan, detector
        self.normal = normal_of(reference)
        self.alarm, self.tally = Alarm(), Tally()
        self.last: Look | None = None

    def fold(self, records: Iterable[Record]) -> None:
        """Take in records that come after all that were taken in before."""
        for record in records:
            self.tally.images += 1
            self.tally.waited += 1
            if self.tally.waited >= self.plan.stride:
                self._turn(record)
            if self.alarm.since is not None and math.isfinite(record.confidence):
                self.tally.images_since += 1
                self.tally.confidence_since += record.confidence

    def _turn(self, record: Record) -> None:
        """It is this record's turn to be looked at; if it cannot be, it is the next one's."""
        if not self.detector.usable(record):
            self.tally.unusable += 1
            return
        self.tally.looked += 1
        self.tally.waited = 0
        look = self.detector.look(record)
        if look is None:
            return
        moment = Moment(record.at, record.seq, self.tally.images)
        self.last = look
        self.alarm = step(self.alarm, look.exceeds, moment, self.looks, self.wanted.confirm_windows)
        if self.alarm.since is None:
            self.tally.images_since, self.tally.confidence_since = 0, 0.0

    @property
    def looks(self) -> int:
        """Looks that a window lasts: one, where a detector looks at whole windows."""
        return self.plan.window if self.plan.streams else 1

    def verdict(self, labels: Labels) -> Verdict:
        """Whether the drift does harm. Without an alarm the question does not arise."""
        if self.alarm.since is None:
            return Verdict(Harmful.UNKNOWN, "")
        return judge(labels, Confidence(self.tally.images_since, self.tally.confidence_since), self.normal)

    def state(self) -> bytes:
        """Everything, to be stored with the cursor. Raises Refused if it is larger than the monitor takes."""
        document = {
            "schema": SCHEMA,
            "plan": asdict(self.plan),
            "alarm": asdict(self.alarm),
            "tally": asdict(self.tally),
            "last": None if self.last is None else asdict(self.last),
        }
        data = pack(document, self.detector.arrays())
        if len(data) > LIMIT:
            raise Refused(f"the state has {len(data)} bytes, the monitor takes {LIMIT}: use a smaller reference")
        return data


def normal_of(reference: Reference) -> Normal:
    """What the reference says is usual."""
    confidence = reference.confidence
    return Normal(
        pieces=reference.size,
        wrong=int((~reference.correct).sum()),
        confidence=float(confidence.mean()),
        deviation=float(confidence.std()),
    )


def begin(wanted: DriftSettings, reference: Reference, backend: Backend, memory: int, seed: int) -> Watch:
    """A new watch: sizes first, then thresholds. Raises Refused."""
    plan = backend.plan(wanted, reference, memory)
    return Watch(wanted, plan, reference, backend.build(wanted, plan, reference, seed))


def resume(wanted: DriftSettings, reference: Reference, backend: Backend, data: bytes) -> Watch:
    """The watch that `data` was written by.

    Raises:
        ValueError: if it cannot be read; the caller begins a new one.
    """
    document, arrays = unpack(data)
    try:
        if document["schema"] != SCHEMA:
            raise ValueError(f"the stored state has schema {document['schema']}, this version writes {SCHEMA}")
        plan = Plan(**document["plan"])
        watch = Watch(wanted, plan, reference, backend.restore(wanted, plan, reference, arrays))
        alarm, last = document["alarm"], document["last"]
        watch.alarm = Alarm(**{**alarm, "phase": Phase(alarm["phase"])})
        watch.tally = Tally(**document["tally"])
        watch.last = None if last is None else Look(**last)
    except (KeyError, TypeError, IndexError) as error:
        raise ValueError(f"the stored state is not one of this version: {error}") from error
    return watch
