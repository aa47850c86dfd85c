"""The use cases: take records, labels and pictures; answer questions about them."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta

from puzzle_monitor.core import answers
from puzzle_monitor.core.cursor import decode, encode
from puzzle_monitor.core.faults import Refused, wrong
from puzzle_monitor.core.models import Retraction
from puzzle_monitor.core.records import Feedback, Record
from puzzle_monitor.core.stored import Filter, Order
from puzzle_monitor.core.times import micros
from puzzle_monitor.core.work import ImageMark, Outcome, Outcomes, Work
from puzzle_monitor.ports import ImageStore, Store, Unavailable
from puzzle_monitor.service.group_commit import GroupCommit
from puzzle_monitor.service.inputs import Inputs
from puzzle_monitor.service.telemetry import Telemetry

EXPORT_PAGE = 500
_JPEG = b"\xff\xd8\xff"


class Monitor:
    """Everything that a request may ask for. Methods without `async` block."""

    def __init__(
        self,
        store: Store,
        images: ImageStore,
        telemetry: Telemetry,
        keep: timedelta,
        clock: Callable[[], datetime],
        patience: float = 45.0,
        accuracy_window: timedelta = timedelta(hours=24),
    ) -> None:
        self.store = store
        self.telemetry = telemetry
        self.clock = clock
        self.accuracy_window = accuracy_window
        self._images = images
        self._keep = keep
        self._patience = patience
        self.commits = GroupCommit(self._write, telemetry)
        self.inputs = Inputs(store, clock, telemetry)

    def _write(self, work: Work) -> Outcomes:
        now = self.clock()
        return self.store.write(work, micros(now), micros(now - self._keep))

    async def _commit(self, work: Work) -> Outcomes:
        try:
            async with asyncio.timeout(self._patience):
                return await asyncio.wrap_future(self.commits.submit(work))
        except TimeoutError as error:
            # It may still be written; sending it again does no harm.
            raise Unavailable(f"the database took more than {self._patience:.0f} s; send it again") from error

    async def ingest(self, records: tuple[Record, ...]) -> answers.Ingested:
        """Store predictions; on disk when this returns."""
        outcomes = await self._commit(Work(records=records))
        return answers.ingested([record.id for record in records], outcomes.records)

    async def feedback(self, items: tuple[Feedback, ...]) -> answers.FeedbackTaken:
        """Store labels and join them; on disk when this returns."""
        outcomes = await self._commit(Work(feedback=items))
        return answers.taken(outcomes.feedback, outcomes.strange)

    async def put_image(self, prediction_id: str, data: bytes) -> answers.ImageTaken:
        """Keep the picture of a prediction. The file comes before the row that names it. Raises Refused."""
        if not data.startswith(_JPEG):
            raise wrong("body", "is no JPEG: it must begin with the bytes FF D8 FF")
        image = ImageMark(prediction_id, hashlib.sha256(data).hexdigest(), len(data))
        there = await asyncio.to_thread(self.store.prediction, prediction_id)
        if there is None:
            raise _unknown(prediction_id)
        if there[0].image_digest not in {None, image.digest}:
            raise _other_image(prediction_id)
        await asyncio.to_thread(self._images.put, image, data)
        outcome = (await self._commit(Work(images=(image,)))).images[0]
        if outcome in {Outcome.MISSING, Outcome.CONFLICT}:
            await asyncio.to_thread(self._images.delete, [image])
            raise _unknown(prediction_id) if outcome is Outcome.MISSING else _other_image(prediction_id)
        return answers.ImageTaken(stored=outcome is Outcome.STORED)

    def image(self, prediction_id: str) -> bytes:
        """The picture of a prediction. Raises Refused."""
        found = self.store.prediction(prediction_id)
        if found is None:
            raise _unknown(prediction_id)
        digest = found[0].image_digest
        data = self._images.get(ImageMark(prediction_id, digest)) if digest else None
        if data is None:
            raise Refused(404, f"no picture of prediction {prediction_id} was kept")
        return data

    def prediction(self, prediction_id: str) -> answers.PredictionWithHistory:
        """One prediction with its labels. Raises Refused."""
        found = self.store.prediction(prediction_id)
        if found is None:
            raise _unknown(prediction_id)
        return answers.with_history(*found)

    def page(self, wanted: Filter, cursor: str | None, limit: int, order: Order) -> answers.Page:
        """Some predictions. Raises Refused for a cursor that is none."""
        if order is Order.UNCERTAIN and wanted.has_image is not True:
            raise wrong("order", "uncertain goes with has_image=true: there is an index for those with a picture only")
        after = decode(cursor, order) if cursor else None
        rows = self.store.page(wanted, after, limit + 1, order)
        shown = rows[:limit]
        more = encode(order.position(shown[-1])) if len(rows) > limit else None
        return answers.Page(predictions=tuple(answers.prediction(row) for row in shown), next=more)

    def retract(self, wanted: Retraction) -> answers.LabelRetracted:
        """Take back a label; on disk when this returns. Raises Refused."""
        outcome, true = self.store.retract(wanted, micros(self.clock()))
        if outcome is Outcome.MISSING:
            detail = f"{wanted.who} gave no label at {wanted.at.isoformat()} to prediction {wanted.prediction_id}"
            raise Refused(404, f"{detail}: send `who` and `at` as they were in the feedback")
        return answers.LabelRetracted(retracted=outcome is Outcome.STORED, truth=true)

    def accuracy(self, wanted: Filter, window: timedelta) -> answers.AccuracyReport:
        """Accuracy of the predictions made in the last `window`."""
        until = self.clock()
        since = until - window
        # The end is left open: a camera's clock may be a little ahead of ours.
        found = self.store.windows(wanted.between(micros(since), None))
        return answers.report(found, since, until)

    def export(self, wanted: Filter, embeddings: bool) -> Iterator[bytes]:
        """Labelled predictions, oldest first, a line of JSON each; page by page, so that memory stays small."""
        after, wanted = None, wanted.only(True, None, wanted.has_image, wanted.since_seq)
        while rows := self.store.page(wanted, after, EXPORT_PAGE, Order.OLDEST, embeddings=embeddings):
            lines = [answers.prediction(row).model_dump_json().encode() for row in rows]
            yield b"\n".join(lines) + b"\n"
            after = rows[-1].at, rows[-1].seq

    def metrics(self) -> bytes:
        """For Prometheus."""
        self.inputs.catch_up()
        return self.telemetry.expose(self.store, micros(self.clock() - self.accuracy_window), self.inputs.verdict)

    def alive(self) -> None:
        """Raise Unavailable if only a restart can help."""
        if not self.commits.alive:
            raise Unavailable("the thread that writes has ended")

    def ready(self) -> None:
        """Raise Unavailable unless records can be taken now."""
        self.alive()
        self.store.ping()


def _unknown(prediction_id: str) -> Refused:
    return Refused(404, f"there is no prediction {prediction_id}: send its record first, or mind the retention")


def _other_image(prediction_id: str) -> Refused:
    return Refused(409, f"prediction {prediction_id} has another picture already; pictures are not replaced")
