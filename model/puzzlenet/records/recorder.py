"""A bounded queue between the thread that answers and the one that sends.

`Recorder.offer` is all that serving pays: an object appended to a deque, no lock, no wake-up, no copy. Everything
else happens in one thread, in steps of under a millisecond that begin with a gap between requests
(`puzzlenet.traffic`), because the two share Python's interpreter lock: a thread that computes for 20 ms makes each of
the network's layers wait for it. For the same reason the thread has no lower priority: held back by other processes it
would hold that lock all the longer. Where requests leave no gap, or records come faster than gaps, no step waits long.

What waits is bounded in number and in bytes. A full queue drops what is new and counts it. While the monitor is away,
what has waited for `KEEP_S` is given up, so that the queue holds the latest and not the beginning of an outage.
"""

import logging
import os
import random
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from puzzlenet.counters import Export
from puzzlenet.images import sniff
from puzzlenet.predictor import Prediction
from puzzlenet.records.encode import Encoded, Encoder, Seen, as_jpeg, dimensions
from puzzlenet.records.sender import Reply, Sender
from puzzlenet.records.settings import RecordSettings
from puzzlenet.records.tally import Hushed, Tally
from puzzlenet.traffic import Traffic

log = logging.getLogger("puzzlenet")
BATCH = 200
BATCH_BYTES = 1024 * 1024
INTERVAL_S = 1.0
KEEP_S = 600.0
PICTURE_TRIES = 3
_CHUNK = 8
_PATIENCE_S = 0.02
_HURRIED_S = 0.02
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.5, 30.0
_PICTURE_BURST = 20.0


class Recorder:
    """Takes the predictions of one server and sends them in the background. `close` ends it."""

    def __init__(self, settings: RecordSettings, classes: Sequence[str], export: Export, traffic: Traffic) -> None:
        self._settings = settings
        self._traffic = traffic
        self._encoder = Encoder(settings.origin, classes)
        self._export = export
        self._begin()

    def _begin(self) -> None:
        self._pid = os.getpid()
        self._sender = Sender(self._settings)
        self._seen: deque[Seen] = deque()
        self._encoded: deque[Encoded] = deque()
        self._pictures: deque[Encoded] = deque()
        # Each is written by one thread only, so that their difference needs no lock.
        self._bytes_in = self._bytes_out = 0
        self._savings, self._saved_at = _PICTURE_BURST, time.monotonic()
        self._failures = self._picture_failures = 0
        self._not_before = 0.0
        self._hurried = self._rushed = self._closing = self._stopped = False
        self._say = Hushed(log)
        self._tally = Tally(self._export)
        self._tally.report(0)
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
            if self._pid != os.getpid():
                self._begin()  # a fork has no thread; what waited is the parent's to send
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
            self._say("offer", "a prediction cannot be recorded: %s: %s", type(exc).__name__, exc)

    def _put(self, seen: Seen) -> None:
        waiting = len(self._seen) + len(self._encoded)
        room = self._settings.queue_bytes - (self._bytes_in - self._bytes_out)
        if self._closing or waiting >= self._settings.queue or seen.held > room:
            self._tally.dropped += 1
            return
        self._bytes_in += seen.held
        self._seen.append(seen)
        if len(self._seen) == BATCH:
            self._wake.set()

    def _wanted(self, prediction: Prediction, size: int) -> bool:
        """Whether to send the picture: uncertain or by chance, and within the rate and half of the memory."""
        if prediction.confidence >= self._settings.image_below and random.random() >= self._settings.image_share:  # noqa: S311
            return False
        now, rate = time.monotonic(), self._settings.image_rate
        self._savings = min(_PICTURE_BURST, self._savings + (now - self._saved_at) * rate)
        self._saved_at = now
        if self._savings < 1.0 or self._bytes_in - self._bytes_out + size > self._settings.queue_bytes / 2:
            self._tally.skipped += 1
            return False
        self._savings -= 1.0
        return True

    @property
    def pending(self) -> int:
        """Records and pictures that the monitor does not have yet; never less than there are."""
        return len(self._seen) + len(self._encoded) + len(self._pictures)

    def hurry(self) -> None:
        """Send what waits now, rather than when a batch is full or a second old."""
        self._hurried = True
        self._wake.set()

    def close(self, timeout: float) -> None:
        """Take nothing more, send what waits for at most ``timeout`` seconds, give up the rest."""
        self._closing = True
        self.hurry()
        self._thread.join(timeout)
        self._stopped = True
        self._wake.set()

    # ---- the background thread

    def _run(self) -> None:
        while not self._stopped and not (self._closing and not self.pending):
            self._wake.wait(self._pause())
            self._wake.clear()
            try:
                self._turn()
            except Exception as exc:
                log.exception("recording goes on after a fault of its own")
                self._later(Reply(0, f"{type(exc).__name__}: {exc}"))
        if left := len(self._seen) + len(self._encoded):
            self._tally.failed += left
            log.warning("%d records were not sent before the end", left)
        self._tally.report(0)
        self._sender.close()

    def _pause(self) -> float:
        if self._encoded or self._pictures:
            wait = self._not_before - time.monotonic()
            if wait > 0:
                return min(wait, INTERVAL_S)
        return _HURRIED_S if self._hurried else INTERVAL_S

    def _turn(self) -> None:
        if self._hurried and not self._rushed:
            self._rushed, self._not_before = True, 0.0
        while self._seen:
            self._gap()
            self._encode()
        while self._encoded and self._may_send():
            self._gap()
            self._send_batch()
        while self._pictures and self._may_send() and len(self._seen) < BATCH:
            self._send_picture()
        if not self.pending:
            self._hurried = self._rushed = False
        self._gap()
        self._tally.report(self.pending)

    def _gap(self) -> None:
        """Let requests go first, for a moment each time, unless records would wait too long."""
        late = self._hurried or len(self._seen) >= BATCH
        self._traffic.gap(0.0 if late else _PATIENCE_S)

    def _may_send(self) -> bool:
        return not self._stopped and time.monotonic() >= self._not_before

    def _encode(self) -> None:
        """The next few; they leave the one queue after they are in the other, so that they are always counted."""
        chunk = [self._seen[index] for index in range(min(_CHUNK, len(self._seen)))]
        records: Sequence[Encoded | None]
        try:
            records = self._encoder.encode(chunk, time.monotonic())
        except Exception as exc:
            records = [None] * len(chunk)
            self._say("encode", "predictions cannot be recorded: %s: %s", type(exc).__name__, exc)
        for seen, record in zip(chunk, records, strict=True):
            self._bytes_out += seen.held - (record.held if record else 0)
            if record:
                self._encoded.append(record)
            else:
                self._tally.refused["invalid"] += 1
            self._seen.popleft()

    def _send_batch(self) -> None:
        batch = self._next_batch()
        reply = self._timed(lambda: self._sender.post([one.json for one in batch]))
        if reply.again:
            self._later(reply)
            return
        self._failures = 0
        if reply.taken:
            self._tally.sent += len(batch) - reply.conflicts
            self._pictures.extend(one for one in batch if one.picture)
        else:
            self._tally.refused[str(reply.status)] += len(batch)
            self._say(str(reply.status), "the monitor refuses records: %d %s", reply.status, reply.detail)
        if reply.conflicts:
            self._tally.refused["conflict"] += reply.conflicts
            self._say("conflict", "%d ids came twice; clients must send ids that are unique, or none", reply.conflicts)
        for one in batch:
            self._bytes_out += len(one.json) if reply.taken else one.held
            self._encoded.popleft()

    def _next_batch(self) -> list[Encoded]:
        size, batch = 0, list[Encoded]()
        for one in islice(self._encoded, BATCH):
            size += len(one.json) + 1
            if batch and size > BATCH_BYTES:
                break
            batch.append(one)
        return batch

    def _send_picture(self) -> None:
        one = self._pictures[0]
        reply = Reply(400, "not a picture")
        if one.picture:
            self._gap()
            try:
                jpeg = as_jpeg(one.picture)
            except (OSError, SyntaxError, ValueError) as exc:
                reply = Reply(400, f"cannot be made a JPEG: {exc}")
            else:
                self._gap()
                reply = self._timed(lambda: self._sender.put_picture(one.id, jpeg))
        if reply.again and self._picture_failures + 1 < PICTURE_TRIES:
            self._picture_failures += 1
            self._later(reply)
            return
        self._failures = self._picture_failures = 0
        outcome = "sent" if reply.taken else "failed" if reply.again else "refused"
        self._tally.pictures[outcome] += 1
        if outcome != "sent":
            self._say("picture", "a picture is not kept by the monitor: %d %s", reply.status, reply.detail)
        self._bytes_out += len(one.picture or b"")
        self._pictures.popleft()

    def _timed(self, send: Callable[[], Reply]) -> Reply:
        started = time.monotonic()
        reply = send()
        self._tally.sends += 1
        self._tally.seconds += time.monotonic() - started
        return reply

    def _later(self, reply: Reply) -> None:
        """Pause before the next try, twice as long each time, and give up what is too old by now."""
        self._failures += 1
        longest = min(_LONGEST_PAUSE_S, _FIRST_PAUSE_S * 2.0 ** min(self._failures, 10))
        # Half of it is chance: servers that failed together must not all come back together.
        jittered = longest * (0.5 + random.random() / 2)  # noqa: S311
        now = time.monotonic()
        self._not_before = now + max(jittered, reply.retry_after or 0.0)
        self._say(
            "away",
            "the monitor takes no records at present (%s); %d wait",
            f"{reply.status} {reply.detail}".strip(),
            self.pending,
        )
        while self._encoded and now - self._encoded[0].since > KEEP_S:
            self._bytes_out += self._encoded.popleft().held
            self._tally.failed += 1
