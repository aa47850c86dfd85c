"""Pieces with pictures, as the handler would have sent them: drawn by PuzzleNet's renderer, stored through the API."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

import httpx
import numpy as np
from PIL import Image

from puzzlenet.render import CLASSES, PROFILES, render
from puzzlenet.render.piece import Label
from tests.integration.monitor.live import a_label, a_record, send

CHAMPION, CHALLENGER = "sha256:" + "c4" * 32, "sha256:" + "5e" * 32


@dataclass(frozen=True, slots=True)
class Piece:
    """A piece of a line: what it is, what it is taken for, how surely."""

    id: str
    truth: Label
    predicted: Label
    confidence: float
    version: str = CHAMPION
    age: timedelta = timedelta(minutes=5)

    def record(self, model: str, namespace: str = "lyon") -> dict[str, Any]:
        """As the handler sends it: the rest of the probability goes to the truth, if that is another class."""
        rest, others = 1.0 - self.confidence, [name for name in CLASSES if name != self.predicted]
        shares = {name: 0.1 * rest if self.truth in others else rest / len(others) for name in others}
        if self.truth in others:
            shares = dict.fromkeys(others, 0.2 * rest / (len(others) - 1)) | {self.truth: 0.8 * rest}
        revision = f"{model}-predictor-0000{1 if self.version == CHAMPION else 2}"
        return a_record(
            self.predicted,
            id=self.id,
            at=(datetime.now(UTC) - self.age).isoformat(),
            namespace=namespace,
            model=model,
            revision=revision,
            version=self.version,
            confidence=self.confidence,
            probabilities=shares | {self.predicted: self.confidence},
        )


@cache
def jpeg(truth: Label, seed: int, profile: str = "line-1") -> bytes:
    """The picture of a piece."""
    out = io.BytesIO()
    rng = np.random.default_rng([seed, 7])
    Image.fromarray(render(PROFILES[profile], truth, rng)).save(out, "JPEG", quality=90)
    return out.getvalue()


def store(
    handler: httpx.Client, pieces: Sequence[Piece], model: str, *, pictures: bool = True, namespace: str = "lyon"
) -> None:
    """Store pieces, with their pictures."""
    for start in range(0, len(pieces), 500):
        send(handler, [piece.record(model, namespace) for piece in pieces[start : start + 500]])
    if not pictures:
        return
    for number, piece in enumerate(pieces):
        add_picture(handler, piece.id, jpeg(piece.truth, number % 60))


def add_picture(handler: httpx.Client, prediction_id: str, data: bytes) -> None:
    """Keep the picture of a prediction."""
    kind = {"Content-Type": "image/jpeg"}
    answer = handler.put(f"/v1/predictions/{prediction_id}/image", content=data, headers=kind)
    assert answer.status_code == 200, answer.text


def label(inspector: httpx.Client, truths: Mapping[str, str], who: str) -> None:
    """Say what pieces are."""
    answer = inspector.post("/v1/feedback", json=[a_label(one, truth, who=who) for one, truth in truths.items()])
    assert answer.status_code == 200, answer.text
