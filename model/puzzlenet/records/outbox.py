"""What the sending process does with records: statistics and JSON, batches, tries, and the pictures of some.

One thread takes records from the pipe, the other one sends. While the monitor is away, what has waited for `KEEP_S`
is given up, so that what waits is the latest and not the beginning of an outage. How much may wait is the answering
side's to say (`Recorder`), which counts what is here too.
"""

import logging
import random
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from itertools import islice

from puzzlenet.records.encode import Encoded, Encoder, Seen, as_jpeg
from puzzlenet.records.pause import pause
from puzzlenet.records.sender import Reply, Sender
from puzzlenet.records.settings import BATCH, HURRIED_S, RecordSettings
from puzzlenet.records.tally import Hushed, Report

log = logging.getLogger("puzzlenet")
BATCH_BYTES = 1024 * 1024
# The other process hands over once a second, and batches come of that.
INTERVAL_S = 0.25
KEEP_S = 600.0
PICTURE_TRIES = 3
_CHUNK = 50
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.5, 30.0
_LAST_REPORT_S = 0.5


class Outbox:
    """Takes records and sends them, saying to ``tell`` how far it is. `close` ends it."""

    def __init__(self, settings: RecordSettings, classes: Sequence[str], tell: Callable[[Report], None]) -> None:
        self._encoder = Encoder(settings.origin, classes)
        self._tell = tell
        self._sender = Sender(settings)
        self._seen: deque[Seen] = deque()
        self._encoded: deque[Encoded] = deque()
        self._pictures: deque[Encoded] = deque()
        # Each is written by one thread only, so that their difference needs no lock.
        self._taken = self._bytes_in = self._bytes_out = 0
        self._sent = self._failed = self._sends = 0
        self._seconds = 0.0
        self._refused, self._images = Counter(Report().refused), Counter(Report().pictures)
        self._failures = self._picture_failures = 0
        self._not_before = 0.0
        self._hurried = self._rushed = self._closing = self._stopped = False
        self._warn = Hushed(log)
        self._wake = threading.Event()
        self._thread = threading.Thread(target=self._run, name="puzzlenet-records", daemon=True)
        self._thread.start()

    # ---- the thread that takes

    def take(self, seen: Seen) -> None:
        """Take a record."""
        self._bytes_in += seen.held
        self._seen.append(seen)
        self._taken += 1
        if len(self._seen) == BATCH:
            self._wake.set()

    def hurry(self) -> None:
        """Send what waits now."""
        self._hurried = True
        self._wake.set()

    def close(self, timeout: float) -> None:
        """Send what waits for at most ``timeout`` seconds, give up the rest."""
        self._closing, self._rushed = True, False
        self.hurry()
        self._thread.join(timeout)
        self._stopped = True
        self._wake.set()
        self._thread.join(_LAST_REPORT_S)

    @property
    def pending(self) -> int:
        """Records and pictures that the monitor does not have yet; never less than there are."""
        return len(self._seen) + len(self._encoded) + len(self._pictures)

    # ---- the thread that sends

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
            self._failed += left
            self._seen.clear()
            self._encoded.clear()
            log.warning("%d records were not sent before the end", left)
        self._report()
        self._sender.close()

    def _pause(self) -> float:
        if self._encoded or self._pictures:
            wait = self._not_before - time.monotonic()
            if wait > 0:
                return min(wait, INTERVAL_S)
        return HURRIED_S if self._hurried else INTERVAL_S

    def _turn(self) -> None:
        if self._hurried and not self._rushed:
            self._rushed, self._not_before = True, 0.0
        while self._seen:
            self._encode()
        while self._encoded and self._may_send():
            self._send_batch()
        while self._pictures and self._may_send() and len(self._seen) < BATCH:
            self._send_picture()
        if not self.pending:
            self._hurried = self._rushed = False
        self._report()

    def _report(self) -> None:
        # What was taken before what waits: a record that comes between the two is counted twice, never not at all.
        taken, taken_bytes = self._taken, self._bytes_in
        report = Report(
            taken=taken,
            taken_bytes=taken_bytes,
            records=len(self._seen) + len(self._encoded),
            images=len(self._pictures),
            held=self._bytes_in - self._bytes_out,
            sent=self._sent,
            failed=self._failed,
            sends=self._sends,
            seconds=self._seconds,
            refused=dict(self._refused),
            pictures=dict(self._images),
        )
        self._tell(report)

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
            self._warn("encode", "predictions cannot be recorded: %s: %s", type(exc).__name__, exc)
        for seen, record in zip(chunk, records, strict=True):
            self._bytes_out += seen.held - (record.held if record else 0)
            if record:
                self._encoded.append(record)
            else:
                self._refused["invalid"] += 1
            self._seen.popleft()

    def _send_batch(self) -> None:
        batch = self._next_batch()
        reply = self._timed(lambda: self._sender.post([one.json for one in batch]))
        if reply.again:
            self._later(reply)
            return
        self._failures = 0
        if reply.taken:
            self._sent += len(batch) - reply.conflicts
            self._pictures.extend(one for one in batch if one.picture)
        else:
            self._refused[str(reply.status)] += len(batch)
            self._warn(str(reply.status), "the monitor refuses records: %d %s", reply.status, reply.detail)
        if reply.conflicts:
            self._refused["conflict"] += reply.conflicts
            self._warn("conflict", "%d ids came twice; clients must send ids that are unique, or none", reply.conflicts)
        for one in batch:
            self._bytes_out += len(one.json) if reply.taken else one.held
            self._encoded.popleft()
        self._report()

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
            try:
                jpeg = as_jpeg(one.picture)
            except (OSError, SyntaxError, ValueError) as exc:
                reply = Reply(400, f"cannot be made a JPEG: {exc}")
            else:
                reply = self._timed(lambda: self._sender.put_picture(one.id, jpeg))
        if reply.again and self._picture_failures + 1 < PICTURE_TRIES:
            self._picture_failures += 1
            self._later(reply)
            return
        self._failures = self._picture_failures = 0
        outcome = "sent" if reply.taken else "failed" if reply.again else "refused"
        self._images[outcome] += 1
        if outcome != "sent":
            self._warn("picture", "a picture is not kept by the monitor: %d %s", reply.status, reply.detail)
        self._bytes_out += len(one.picture or b"")
        self._pictures.popleft()

    def _timed(self, send: Callable[[], Reply]) -> Reply:
        started = time.monotonic()
        reply = send()
        self._sends += 1
        self._seconds += time.monotonic() - started
        return reply

    def _later(self, reply: Reply) -> None:
        """Pause before the next try, twice as long each time, and give up what is too old by now."""
        self._failures += 1
        longest = pause(self._failures + 1, _FIRST_PAUSE_S, _LONGEST_PAUSE_S)
        # Half of it is chance: servers that failed together must not all come back together.
        jittered = longest * (0.5 + random.random() / 2)  # noqa: S311
        now = time.monotonic()
        self._not_before = now + max(jittered, reply.retry_after or 0.0)
        self._warn(
            "away",
            "the monitor takes no records at present (%s); %d wait",
            f"{reply.status} {reply.detail}".strip(),
            self.pending,
        )
        while self._encoded and now - self._encoded[0].since > KEEP_S:
            self._bytes_out += self._encoded.popleft().held
            self._failed += 1
