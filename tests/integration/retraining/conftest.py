"""What runs of retraining have in common: pieces of two products, a champion of the first, a registry and a monitor."""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from puzzlenet.dataset import open_dataset
from puzzlenet.gate import Rules
from puzzlenet.manifest import verify
from puzzlenet.options import TrainConfig
from puzzlenet.package import package
from puzzlenet.quality.checks import Limits
from puzzlenet.registry import Registry
from puzzlenet.retrain.settings import RetrainSettings
from puzzlenet.signing import new_keys
from puzzlenet.store.datasets import Datasets
from puzzlenet.train import train
from tests.integration.conftest import S3
from tests.integration.monitor.live import Server, a_label, a_record, bearer

LABELS = ("left", "right")
RULES = Rules(margin=0.05, recall_floor=0.7, min_images=20)
LIMITS = Limits(min_images=60)


def piece(label: str, product: int, seed: int) -> bytes:
    """A square on the left or on the right: bright on dark cloth for one product, dark on bright for the other."""
    rng = np.random.default_rng([product, seed])
    ground, mark = ((20, 200), (235, 60))[product]
    pixels = rng.integers(ground, ground + 20, size=(32, 32, 3)).astype(np.uint8)
    x, y = int(rng.integers(2, 8)) + (16 if label == "right" else 0), int(rng.integers(4, 22))
    pixels[y : y + 6, x : x + 6] = mark
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "PNG")
    return out.getvalue()


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the champion was trained on."""
    folder = tmp_path_factory.mktemp("home") / "pieces"
    for label in LABELS:
        (folder / label).mkdir(parents=True)
        for number in range(150):
            (folder / label / f"{number:03d}.png").write_bytes(piece(label, 0, number))
    return folder


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A key pair."""
    folder = tmp_path_factory.mktemp("keys")
    new_keys(folder / "sign.key")
    return folder


@pytest.fixture(scope="module")
def champion(home: Path, keys: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A version that is good at the first product."""
    folder = tmp_path_factory.mktemp("champion")
    config = TrainConfig(epochs=6, width=4, image_size=32, batch=16, seed=1, validation=0.3, device="cpu")
    train(open_dataset(home), folder / "run", config)
    package(folder / "run", folder / "version", sign_key=keys / "sign.key")
    return folder / "version"


@pytest.fixture
def monitor(tmp_path: Path) -> Iterator[Server]:
    """A monitor for one test."""
    folder = tmp_path / "monitor"
    folder.mkdir()
    found = Server(folder, f"sqlite:///{folder}/monitor.db", rate="100000").start()
    yield found
    found.kill()


@dataclass(frozen=True, slots=True)
class Pieces:
    """Pieces of a product as the monitor takes them."""

    records: list[dict[str, Any]]
    labels: list[dict[str, Any]]
    pictures: dict[str, bytes]


def inspected(product: int, count: int, label_of: Callable[[str, int], str], **record: Any) -> Pieces:
    """Records with pictures and labels, over the last fourteen minutes."""
    began = datetime.now(UTC) - timedelta(minutes=14)
    found = Pieces([], [], {})
    for number in range(count):
        label = LABELS[number % 2]
        at = (began + timedelta(minutes=14 * number / count)).isoformat()
        given = {"id": f"p{product}-{number}:0", "namespace": "lyon", "model": "m", "line": "line-1", **record}
        name = str(given["id"]).format(number=number)
        found.records.append(a_record("ok", **{**given, "id": name, "at": at}))
        found.labels.append(a_label(name, label_of(label, number)))
        picture = io.BytesIO()
        Image.open(io.BytesIO(piece(label, product, 5000 + number))).save(picture, "JPEG", quality=95)
        found.pictures[name] = picture.getvalue()
    return found


def feed(server: Server, product: int, count: int, label_of: Callable[[str, int], str]) -> None:
    """Give the monitor pieces, as handlers and inspectors do."""
    found = inspected(product, count, label_of)
    with server.client("handler") as client:
        assert client.post("/v1/predictions", json={"records": found.records}).status_code == 200
        for name, picture in found.pictures.items():
            headers = bearer("handler") | {"Content-Type": "image/jpeg"}
            assert client.put(f"/v1/predictions/{name}/image", content=picture, headers=headers).is_success
        assert client.post("/v1/feedback", json=found.labels, headers=bearer("inspector")).status_code == 200


def truth(label: str, _number: int) -> str:
    """A label as it should be."""
    return label


@pytest.fixture
def registry(s3: S3, home: Path, champion: Path) -> Registry:
    """A registry that holds the champion and its data."""
    found = Registry.connect(s3.location, os.environ)
    found.push(champion)
    Datasets(found.bucket).push_folder(home, "line-1")
    return found


@pytest.fixture
def settings(s3: S3, monitor: Server, champion: Path, keys: Path, tmp_path: Path) -> RetrainSettings:
    """A run."""
    (tmp_path / "token").write_text(bearer("trainer")["Authorization"].removeprefix("Bearer "))
    return RetrainSettings(
        run="run-1",
        namespace="lyon",
        model="m",
        line="line-1",
        champion=verify(champion).digest,
        location=s3.location,
        monitor=monitor.url,
        trigger="drift is harmful",
        token_file=tmp_path / "token",
        sign_key=keys / "sign.key",
        verify_keys=(keys / "sign.key.pub",),
        rules=RULES,
        limits=LIMITS,
        device="cpu",
        checkpoint_every=1,
    )
