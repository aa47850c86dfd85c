"""What TorchServe's handler sends is what the monitor takes: the real recorder against a real monitor."""

from __future__ import annotations

import io
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from puzzlenet.predictor import Prediction
from puzzlenet.records.recorder import Recorder
from puzzlenet.records.settings import Origin, RecordSettings
from puzzlenet.traffic import Traffic
from tests.integration.monitor.live import TOKENS, Server

CLASSES = ("ok", "missing corner", "éraflure")
ORIGIN = Origin(namespace="lyon", model="recorded", line="line-1", revision="r-00001", version="sha256:" + "12" * 32)


@pytest.fixture
def recorder(live: Server, tmp_path: Path) -> Iterator[Recorder]:
    """It sends every picture."""
    (tmp_path / "token").write_text(TOKENS["handler"] + "\n")
    settings = RecordSettings(url=live.url, origin=ORIGIN, token_file=tmp_path / "token", image_share=1.0)
    found = Recorder(settings, CLASSES, lambda *_: None, Traffic())
    yield found
    found.close(1.0)


def test_predictions_and_pictures_arrive_as_they_were_made(live: Server, recorder: Recorder) -> None:
    pixels = np.random.default_rng(3).integers(0, 256, (2, 64, 64, 3), dtype=np.uint8)
    pictures = []
    for kind, picture in zip(("JPEG", "PNG"), pixels, strict=True):
        out = io.BytesIO()
        Image.fromarray(picture).save(out, kind)
        pictures.append(out.getvalue())
    ids = [f"recorded-{time.time_ns()}-{n}" for n in range(2)]
    predictions = [Prediction("ok", (0.9, 0.06, 0.04)), Prediction("éraflure", (0.1, 0.2, 0.7))]
    embeddings = np.array([[0.5, -2.0, 1e-7], [1.0, 0.0, 3.25]], dtype=np.float32)
    recorder.offer(ids, pictures, predictions, pixels, embeddings)
    recorder.close(20.0)
    assert recorder.pending == 0
    with live.client("trainer") as trainer:
        for n, one in enumerate(ids):
            shown: dict[str, Any] = trainer.get(f"/v1/predictions/{one}").json()
            assert (shown["label"], shown["model"], shown["version"]) == (
                predictions[n].label,
                "recorded",
                ORIGIN.version,
            )
            assert tuple(shown["probabilities"].values()) == pytest.approx(predictions[n].probabilities)
            assert shown["embedding"] == pytest.approx(embeddings[n].tolist())
            assert shown["image"]["format"] == ("jpeg", "png")[n] and shown["image"]["width"] == 64
            assert len(shown["image"]["colour"]) == 3 and shown["image"]["blur"] > 0
            picture = trainer.get(f"/v1/predictions/{one}/image").content
            assert picture == pictures[0] if n == 0 else Image.open(io.BytesIO(picture)).size == (64, 64)
