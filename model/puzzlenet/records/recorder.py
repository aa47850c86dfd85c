"""Predictions, from the thread that answers to a process of their own that sends them.

`Recorder.offer` is all that an answer waits for: an object appended to a deque, no lock, no wake-up, no copy. A thread
writes what is there into a pipe now and then, some microseconds of Python for each record. Statistics, JSON, JPEGs and
HTTP are the other process's (`puzzlenet.records.process`): they would take Python's interpreter lock from the network,
each of whose layers has to have it (docs/adr/0023).

What waits, here and there, is bounded in number and in bytes. A full queue drops what is new and counts it.
"""

import contextlib
import logging
import random
import threading
import time
from collections import deque
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from puzzlenet.counters import Export
from puzzlenet.images import sniff
from puzzlenet.predictor import Prediction
from puzzlenet.records.courier import Courier
from puzzlenet.records.encode import Seen, dimensions
from puzzlenet.records.pause import pause
from puzzlenet.records.settings import BATCH, HURRIED_S, RecordSettings
from puzzlenet.records.tally import Hushed, Report, Tally
from puzzlenet.records.wire import frame

log = logging.getLogger("puzzlenet")
INTERVAL_S = 0.5
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.5, 60.0
_PICTURE_BURST = 20.0


class Recorder:
    """Takes the predictions of one server and has them sent. `close` ends it."""

    def __init__(self, settings: RecordSettings, classes: Sequence[str], export: Export) -> None:
        self._settings, self._classes = settings, tuple(classes)
        self._seen: deque[Seen] = deque()
        # The first two are counted by the thread that answers, the others by the one that hands over.
        self._offered = self._offered_bytes = self._written = self._written_bytes = 0
        self._savings, self._saved_at = _PICTURE_BURST, time.monotonic()
        self._courier: Courier | None = None
        # Of all processes so far, and of those before the present one.
        self._report = self._before = Report()
        self._failures, self._not_before = 0, 0.0
        self._hurried = self._closing = False
        self._timeout = 0.0
        self._warn = Hushed(log)
        self._tally = Tally(export)
        self._tally.show(self._report, 0)
        self._wake = threading.Event()
        self._thread = threading.Thread(target=self._run, name="puzzlenet-records", daemon=True)
        self._thread.start()

    # ---- the thread that answers

    def offer(
        self,
        ids: Sequence[str],
        pictures: Sequence[bytes],
        predictions: Sequence[Prediction],
        pixels_NHWC: NDArray[np.uint8],
        embeddings_NE: NDArray[np.float32],
    ) -> None:
        """Take the predictions of one request. Never waits and never raises."""
        left = len(ids)
        try:
            now = time.time()
            for index, (record, picture, prediction) in enumerate(zip(ids, pictures, predictions, strict=True)):
                seen = Seen(
                    id=record,
                    at=now,
                    label=prediction.label,
                    probabilities=prediction.probabilities,
                    picture_bytes=len(picture),
                    format=sniff(picture),
                    size=dimensions(picture),
                    pixels=pixels_NHWC[index],
                    embedding=embeddings_NE[index],
                    picture=picture if self._wanted(prediction, len(picture)) else None,
                )
                self._put(seen)
                left -= 1
        except Exception as exc:
            self._tally.dropped += left
            self._warn("offer", "a prediction cannot be recorded: %s: %s", type(exc).__name__, exc)

    def _put(self, seen: Seen) -> None:
        report = self._report
        waiting = self._offered - report.taken + report.records
        if self._closing or waiting >= self._settings.queue or seen.held > self._room(report):
            self._tally.dropped += 1
            return
        self._offered += 1
        self._offered_bytes += seen.held
        self._seen.append(seen)
        if len(self._seen) == BATCH:
            self._wake.set()

    def _room(self, report: Report) -> int:
        return self._settings.queue_bytes - (self._offered_bytes - report.taken_bytes + report.held)

    def _wanted(self, prediction: Prediction, size: int) -> bool:
        """Whether to send the picture: uncertain or by chance, and within the rate and half of the memory."""
        if prediction.confidence >= self._settings.image_below and random.random() >= self._settings.image_share:  # noqa: S311
            return False
        now, rate = time.monotonic(), self._settings.image_rate
        self._savings = min(_PICTURE_BURST, self._savings + (now - self._saved_at) * rate)
        self._saved_at = now
        if self._savings < 1.0 or size > self._room(self._report) - self._settings.queue_bytes / 2:
            self._tally.skipped += 1
            return False
        self._savings -= 1.0
        return True

    @property
    def pending(self) -> int:
        """Records and pictures that the monitor does not have yet; never less than there are."""
        report = self._report
        return self._offered - report.taken + report.records + report.images

    def hurry(self) -> None:
        """Send what waits now."""
        if not self._hurried:
            self._not_before = 0.0
        self._hurried = True
        self._wake.set()

    def close(self, timeout: float) -> None:
        """Take nothing more, have what waits sent for at most ``timeout`` seconds, give up the rest."""
        self._timeout, self._closing = timeout, True
        self.hurry()
        self._thread.join(timeout)

    # ---- the thread that hands over

    def _run(self) -> None:
        while not self._closing:
            self._wake.wait(HURRIED_S if self._hurried else INTERVAL_S)
            self._wake.clear()
            self._turn()
        self._turn()
        if self._courier:
            with contextlib.suppress(OSError):
                self._courier.end(self._timeout)
            self._gone(self._courier, kill=False)
        self._report = self._report.ended(self._offered, self._offered_bytes)
        self._tally.show(self._report, self.pending)

    def _turn(self) -> None:
        """One look at everything. Whatever goes wrong, the next one comes."""
        try:
            if self._courier is None and time.monotonic() >= self._not_before:
                self._courier = Courier(self._settings, self._classes)
            if self._courier:
                self._hand_over(self._courier)
            if not self.pending:
                self._hurried = False
            self._tally.show(self._report, self.pending)
        except (OSError, EOFError) as exc:
            self._start_again(exc)
        except Exception as exc:
            log.exception("recording goes on after a fault of its own")
            self._start_again(exc)

    def _hand_over(self, courier: Courier) -> None:
        while self._seen:
            seen = self._seen[0]
            courier.give(frame(seen))
            self._written += 1
            self._written_bytes += seen.held
            self._seen.popleft()
        if self._hurried:
            courier.hurry()
        courier.hear()
        self._report = courier.report.after(self._before)
        if courier.report.sent:
            self._failures = 0

    def _start_again(self, why: Exception) -> None:
        """The process is gone or stuck, or none could be started: another one, after a pause."""
        if self._courier:
            self._gone(self._courier, kill=True)
        self._failures += 1
        self._not_before = time.monotonic() + pause(self._failures, _FIRST_PAUSE_S, _LONGEST_PAUSE_S)
        self._warn("process", "the process that sends records is started again: %s: %s", type(why).__name__, why)

    def _gone(self, courier: Courier, *, kill: bool) -> None:
        """Its last words, and what it had and nobody knows anything of has failed."""
        with contextlib.suppress(OSError, EOFError, ValueError):
            courier.hear()
        courier.drop(kill=kill)
        self._courier = None
        report = courier.report.after(self._before)
        self._report = self._before = report.ended(self._written, self._written_bytes)
