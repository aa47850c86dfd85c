"""`puzzlenet retrain` on a real store and a real monitor: accepted, refused, cut off, and what it leaves behind."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from puzzlenet.dataset import open_dataset
from puzzlenet.errors import BadVersionError, RegistryError
from puzzlenet.files import sha256_of
from puzzlenet.gate import Rules
from puzzlenet.manifest import verify
from puzzlenet.options import TrainConfig
from puzzlenet.package import package
from puzzlenet.quality.checks import Limits
from puzzlenet.registry import Registry
from puzzlenet.retrain.monitor import Monitor
from puzzlenet.retrain.run import retrain
from puzzlenet.retrain.settings import RetrainSettings
from puzzlenet.signing import check, new_keys
from puzzlenet.store.datasets import Datasets
from puzzlenet.store.decisions import Decisions
from puzzlenet.store.golden import GoldenSets
from puzzlenet.store.lineage import History
from puzzlenet.train import train
from tests.integration.conftest import S3
from tests.integration.disk import small_disk
from tests.integration.monitor.live import Server, a_label, a_record, bearer

LABELS = ("left", "right")
RULES = Rules(margin=0.05, recall_floor=0.7, min_images=20)
LIMITS = Limits(min_images=60)


def _piece(label: str, product: int, seed: int) -> bytes:
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
            (folder / label / f"{number:03d}.png").write_bytes(_piece(label, 0, number))
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


def _feed(server: Server, product: int, count: int, label_of: Callable[[str, int], str]) -> None:
    """Records with pictures and labels, over fourteen minutes."""
    began = datetime.now(UTC) - timedelta(minutes=14)
    records, labels = [], []
    for number in range(count):
        at = (began + timedelta(minutes=14 * number / count)).isoformat()
        record = a_record("ok", id=f"p{product}-{number}:0", at=at, namespace="lyon", model="m", line="line-1")
        records.append(record)
        labels.append(a_label(record["id"], label_of(LABELS[number % 2], number)))
    with server.client("handler") as client:
        assert client.post("/v1/predictions", json={"records": records}).status_code == 200
        for number, record in enumerate(records):
            picture = io.BytesIO()
            Image.open(io.BytesIO(_piece(LABELS[number % 2], product, 5000 + number))).save(picture, "JPEG", quality=95)
            headers = bearer("handler") | {"Content-Type": "image/jpeg"}
            path = f"/v1/predictions/{record['id']}/image"
            assert client.put(path, content=picture.getvalue(), headers=headers).is_success
        assert client.post("/v1/feedback", json=labels, headers=bearer("inspector")).status_code == 200


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


def _client(settings: RetrainSettings) -> Monitor:
    return Monitor(settings.monitor, settings.token_file)


def _truth(label: str, _number: int) -> str:
    return label


def test_a_challenger_that_learns_the_new_product_is_accepted_once(
    registry: Registry, settings: RetrainSettings, monitor: Server, keys: Path, tmp_path: Path
) -> None:
    _feed(monitor, 1, 240, _truth)
    outcome = retrain(settings, registry, _client(settings))
    assert outcome.outcome == "Accepted", outcome.message
    assert outcome.metrics["challenger"] > outcome.metrics["champion"] and outcome.metrics["p_value"] <= 0.05
    assert outcome.data["new"] == 240 and outcome.data["kept_together"] == "minute"

    decisions = Decisions(registry.bucket)
    accepted = decisions.accepted("line-1")
    assert accepted is not None and (accepted.version, accepted.run) == (outcome.version, "run-1")
    assert retrain(settings, registry, _client(settings)) == outcome  # the same name decides once
    assert len(decisions.log("line-1")) == 1

    version = registry.pull(str(outcome.version), tmp_path / "pulled")
    assert check(version, [keys / "sign.key.pub"])
    history = History(registry)
    chain = history.chain(version.digest)
    assert [origin.version for origin in chain] == [version.digest, settings.champion]
    assert (chain[0].run, chain[0].trigger) == ("run-1", "drift is harmful")
    assert {origin.version for origin, _ in history.influenced(str(chain[1].dataset))} == {o.version for o in chain}

    golden = GoldenSets(registry.bucket).all("line-1")
    assert [one.number for one in golden] == [1, 2] and golden[0].images < golden[1].images
    data = Datasets(registry.bucket).manifest(str(chain[0].dataset))
    assert not golden[1].images & {entry.image for entry in data.of("train")}


def test_poisoned_labels_of_a_known_product_are_refused_and_shown(
    registry: Registry, settings: RetrainSettings, monitor: Server
) -> None:
    _feed(monitor, 0, 200, lambda label, number: label if number % 4 < 2 else LABELS[1 - LABELS.index(label)])
    outcome = retrain(settings, registry, _client(settings))
    assert outcome.outcome == "DataRefused" and "label noise" in outcome.message
    assert outcome.version is None and registry.versions() == [settings.champion]
    page = registry.bucket.get("runs/run-1/quality.html").decode()
    assert "data:image/jpeg;base64," in page
    (record,) = Decisions(registry.bucket).log("line-1")
    assert record.kind == "Refused" and record.reason.startswith("data refused")


def test_too_few_labels_are_refused(registry: Registry, settings: RetrainSettings, monitor: Server) -> None:
    _feed(monitor, 1, 20, _truth)
    outcome = retrain(settings, registry, _client(settings))
    assert outcome.outcome == "DataRefused" and "20 new labelled pictures; at least 60 are needed" in outcome.message


class Evicted(BaseException):
    """The pod is gone."""


def test_an_evicted_run_goes_on_to_the_same_weights(
    registry: Registry, settings: RetrainSettings, monitor: Server, s3: S3
) -> None:
    _feed(monitor, 1, 200, _truth)

    def until_evicted() -> datetime:
        progress = registry.bucket.document("runs/run-1/progress.json") or {}
        if progress.get("stage") == "train" and progress["epoch"] >= 3:
            raise Evicted
        return datetime.now(UTC)

    with pytest.raises(Evicted):
        retrain(settings, registry, _client(settings), now=until_evicted)
    assert registry.bucket.stat("runs/run-1/checkpoint.safetensors") is not None
    assert registry.versions() == [settings.champion]
    _feed(monitor, 0, 100, _truth)  # what arrives meanwhile is not of this run
    interrupted = retrain(settings, registry, _client(settings))
    assert registry.bucket.stat("runs/run-1/checkpoint.safetensors") is None

    manifest = Datasets(registry.bucket).manifest(json.loads(registry.bucket.get("runs/run-1/state.json"))["dataset"])
    assert sum(entry.prediction is not None for entry in manifest.entries) == 200
    assert interrupted.version is not None
    uncut = _uncut(registry, settings, interrupted.data)
    assert _weights(registry, interrupted.version) == _weights(registry, uncut)


def _uncut(registry: Registry, settings: RetrainSettings, data: dict[str, object]) -> str:
    """The same data under another name, trained in one go."""
    state = json.loads(registry.bucket.get("runs/run-1/state.json"))
    again = {"dataset": state["dataset"], "golden": state["golden"], "data": data}
    registry.bucket.put_json("runs/run-2/state.json", again)
    outcome = retrain(
        RetrainSettings(**{name: getattr(settings, name) for name in settings.__slots__} | {"run": "run-2"}),
        registry,
        _client(settings),
    )
    assert outcome.version is not None
    return outcome.version


def _weights(registry: Registry, digest: str) -> str:
    return next(entry.sha256 for entry in registry.manifest(digest).files if entry.path == "model.safetensors")


def test_an_unsigned_champion_is_not_compared_with(
    settings: RetrainSettings, s3: S3, home: Path, champion: Path, tmp_path: Path
) -> None:
    for path in champion.iterdir():
        if path.name != "model.sig":
            (tmp_path / "unsigned").mkdir(exist_ok=True)
            (tmp_path / "unsigned" / path.name).write_bytes(path.read_bytes())
    registry = Registry.connect(s3.location, os.environ)
    registry.push(tmp_path / "unsigned")
    with pytest.raises(BadVersionError, match="is not signed") as refused:
        retrain(settings, registry, _client(settings))
    assert not refused.value.retry


def test_a_data_set_comes_back_and_an_altered_picture_does_not(
    registry: Registry, s3: S3, home: Path, tmp_path: Path
) -> None:
    datasets = Datasets(registry.bucket)
    (digest,) = datasets.digests()
    assert datasets.push_folder(home, "line-1").uploaded == 0
    datasets.pull(digest, tmp_path / "pulled")
    assert open_dataset(tmp_path / "pulled").digest() == open_dataset(home).digest()
    assert datasets.manifest(open_dataset(home).digest()).digest == digest  # by the folder's digest too
    image = sha256_of((home / "left" / "000.png").read_bytes())
    registry.bucket.put(f"images/{image[:2]}/{image}", b"another picture")
    with pytest.raises(RegistryError, match="it was altered"):
        datasets.pull(digest, tmp_path / "again")
    assert not (tmp_path / "again").exists()


@pytest.mark.parametrize("size", ["64k", "1m"], ids=["no room for the champion", "no room for the pictures"])
def test_a_full_disk_is_named_and_the_run_goes_on_where_there_is_room(
    registry: Registry, settings: RetrainSettings, monitor: Server, tmp_path: Path, size: str
) -> None:
    _feed(monitor, 1, 200, _truth)
    with small_disk(tmp_path / "small", size) as work:
        done, said = _command(settings, work, tmp_path)
    assert done.returncode == 1, done.stderr  # another try, on another node, may have more room
    assert said["outcome"] == "Failed"
    assert said["message"].startswith(f"the disk of {work} is full (")
    assert "Traceback" not in done.stderr
    assert registry.versions() == [settings.champion] and Decisions(registry.bucket).log("line-1") == []

    done, said = _command(settings, tmp_path, tmp_path)
    assert done.returncode == 0, done.stderr
    assert said["outcome"] in {"Accepted", "GateRefused"}
    assert [record.run for record in Decisions(registry.bucket).log("line-1")] == ["run-1"]


def _command(
    settings: RetrainSettings, work: Path, tmp_path: Path
) -> tuple[subprocess.CompletedProcess[str], dict[str, Any]]:
    """The run as its Job starts it, with a folder to work in; and its termination message."""
    log = tmp_path / "termination-log"
    location = settings.location
    given = {
        "run": settings.run,
        "namespace": settings.namespace,
        "model": settings.model,
        "line": settings.line,
        "champion": settings.champion,
        "endpoint": location.endpoint,
        "bucket": location.bucket,
        "monitor": settings.monitor,
        "monitor-token-file": settings.token_file,
        "trigger": settings.trigger,
        "sign-key": settings.sign_key,
        "verify-key": settings.verify_keys[0],
        "min-images": settings.limits.min_images,
        "device": "cpu",
        "workdir": work,
        "termination-log": log,
    }
    words = [word for name, value in given.items() for word in (f"--{name}", str(value))]
    command = [sys.executable, "-c", "from puzzlenet.cli import main; main()", "retrain", "--insecure", *words]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240, env=dict(os.environ), check=False)
    return done, json.loads(log.read_bytes())


def test_what_is_away_is_worth_another_try(settings: RetrainSettings, s3: S3) -> None:
    away = Registry.connect(type(s3.location)(endpoint="127.0.0.1:1", bucket="away", secure=False), os.environ)
    with pytest.raises(RegistryError) as refused:
        retrain(settings, away, _client(settings))
    assert refused.value.retry
