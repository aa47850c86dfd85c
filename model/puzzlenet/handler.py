"""What TorchServe calls: requests of one batch in, one JSON answer for each out, counters on the side.

The handler has no TorchServe envelope. Its front end hands the bodies of ``/v1/models/puzzlenet:predict``,
``/v2/models/puzzlenet/infer`` and ``/predictions/puzzlenet`` alike to the handler, while an envelope could read
one protocol only; the body itself says which protocol it is. A bad request gets its own 4xx and does not
disturb the others of its batch.

Where a monitor is named, every prediction is recorded (`puzzlenet.records`), beside serving and never in its way.
"""

import atexit
import logging
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from puzzlenet.counters import Counters, Export
from puzzlenet.errors import BadImageError
from puzzlenet.predictor import Prediction, Predictor
from puzzlenet.protocol import Request, answer, parse_request
from puzzlenet.records.identity import name_records, record_ids
from puzzlenet.records.observed import ObservedPredictor
from puzzlenet.records.recorder import Recorder
from puzzlenet.records.settings import from_environment
from puzzlenet.records.tally import QUEUE
from puzzlenet.replay import REPLAY_HEADER
from puzzlenet.supervisor import DRAIN, PROBE_HEADER
from puzzlenet.traffic import Traffic

log = logging.getLogger("puzzlenet")
LOW_CONFIDENCE = 0.6
PREDICTIONS = "puzzlenet_predictions_total"
LOW = "puzzlenet_low_confidence_total"
BAD_INPUT = "puzzlenet_bad_input_total"
# How long a worker whose server has died may take to send its last records.
_LAST_WORDS_S = 2.0


@dataclass(frozen=True, slots=True)
class Handler:
    """A loaded model, the version that it answers for, and who records its predictions, if anybody does."""

    predictor: Predictor
    version: str
    counters: Counters
    traffic: Traffic
    recorder: Recorder | None = None

    def one(self, body: Any, request_id: str, *, recorded: bool = True) -> tuple[dict[str, Any], list[Prediction]]:
        """Answer one request. Raises BadImageError."""
        request: Request = parse_request(body)
        predictions = self.predictor.predict(request.pictures, request.names())
        classes = self.predictor.config.classes
        ids = record_ids(request, request_id)
        if recorded and self.recorder is not None and isinstance(self.predictor, ObservedPredictor):
            seen = self.predictor
            self.recorder.offer(ids, request.pictures, predictions, seen.pixels, seen.embeddings)
        reply = answer(request, predictions, classes=classes, version=self.version, fallback_id=request_id or ids[0])
        return name_records(request, reply, ids), predictions

    def probe(self, header: str) -> dict[str, Any]:
        """The answer to a probe. At the end of the pod it says how many records still wait, and hurries them."""
        reply = {"ready": True, "version": self.version}
        if header != DRAIN:
            return reply
        self.counters.tell()
        if self.recorder is None:
            return reply
        self.recorder.hurry()
        return {**reply, "pending": self.recorder.pending}


_handler: Handler | None = None


def handle(data: list[dict[str, Any]] | None, context: Any) -> list[dict[str, Any]] | None:
    """TorchServe's entry point: called once without data to load, then with every batch."""
    global _handler  # noqa: PLW0603 - TorchServe keeps a function, so the model lives in its module
    if _handler is None:
        _handler = _load(Path(context.system_properties["model_dir"]), context)
    if data is None:
        return None
    with _handler.traffic:
        return [_answer(_handler, row, index, context) for index, row in enumerate(data)]


def _answer(handler: Handler, row: dict[str, Any], index: int, context: Any) -> dict[str, Any]:
    context.set_response_content_type(index, "application/json")
    body = row.get("body", row.get("data"))
    if not body and (probe := context.get_request_header(index, PROBE_HEADER)):
        return handler.probe(probe)
    # A piece that was on the line before is no news: it is answered, and neither recorded nor counted.
    shown_again = bool(context.get_request_header(index, REPLAY_HEADER))
    try:
        if body is None:
            raise BadImageError("the body is missing: send JSON of protocol v1 or v2, or a PNG or JPEG")
        reply, predictions = handler.one(body, context.get_request_id(index) or "", recorded=not shown_again)
    except BadImageError as exc:
        handler.counters.add(BAD_INPUT, count=not shown_again)
        context.set_response_status(exc.status, "Bad input", index)
        return {"error": str(exc)}
    for prediction in () if shown_again else predictions:
        handler.counters.add(PREDICTIONS, prediction.label)
        handler.counters.add(LOW, count=prediction.confidence < LOW_CONFIDENCE)
    return reply


def _exporter(context: Any) -> Export:
    """To the front end, as a line of log."""
    from ts.metrics.metric_type_enum import MetricTypes

    def export(name: str, value: float, labels: Sequence[str]) -> None:
        kind = MetricTypes.GAUGE if name == QUEUE else MetricTypes.COUNTER
        context.metrics.get_metric(name, kind).add_or_update(value, list(labels))

    return export


def _load(model_dir: Path, context: Any) -> Handler:
    started = time.monotonic()
    _quiet()
    gpu = context.system_properties.get("gpu_id")
    records = from_environment(os.environ)
    threads = max(1, int(os.environ.get("OMP_NUM_THREADS", "1")))
    torch.set_num_threads(threads)
    device = torch.device("cpu") if gpu is None or not torch.cuda.is_available() else torch.device("cuda", gpu)
    predictor = (Predictor if records is None else ObservedPredictor).load(model_dir, device)
    # Ready has to mean fast: the first passes through the network choose and build their kernels.
    size = predictor.config.image_size
    for count in (1, 1, 8):
        predictor.probabilities(np.zeros((count, size, size, 3), dtype=np.uint8))
    version = os.environ.get("PUZZLENET_VERSION", "unversioned")
    log.info("loaded version %s in %.2f s", version, time.monotonic() - started)
    export, traffic = _exporter(context), Traffic()
    keys = [(PREDICTIONS, label) for label in predictor.config.classes]
    # What is a part of another is told after it: a scrape between the two must not find more parts than wholes.
    counters = Counters(export, [*keys, (LOW, ""), (BAD_INPUT, "")], traffic)
    atexit.register(counters.close)
    if records is None:
        return Handler(predictor, version, counters, traffic)
    recorder = Recorder(records, predictor.config.classes, export, traffic)
    # TorchServe kills its workers, so the supervisor has the records sent before (`probe`). A worker ends by itself
    # only when the server has died.
    atexit.register(recorder.close, _LAST_WORDS_S)
    log.info("predictions are recorded at %s", records.url)
    return Handler(predictor, version, counters, traffic, recorder)


def _quiet() -> None:
    """Drop TorchServe's line for every request; the metric lines must go on, they are how counters travel."""
    logging.getLogger().addFilter(lambda record: not record.getMessage().startswith("Backend received inference"))
