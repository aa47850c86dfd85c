"""`puzzlenet retrain` on a real store and a real monitor: accepted, refused, cut off, and what it leaves behind."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from puzzlenet.dataset import open_dataset
from puzzlenet.errors import BadVersionError, RegistryError
from puzzlenet.files import sha256_of
from puzzlenet.registry import Registry
from puzzlenet.retrain.monitor import Monitor
from puzzlenet.retrain.run import retrain
from puzzlenet.retrain.settings import RetrainSettings
from puzzlenet.signing import check
from puzzlenet.store.datasets import Datasets
from puzzlenet.store.decisions import Decisions
from puzzlenet.store.golden import GoldenSets
from puzzlenet.store.lineage import History
from tests.integration.conftest import S3
from tests.integration.disk import small_disk
from tests.integration.monitor.live import Server
from tests.integration.retraining.conftest import LABELS, feed, truth


def _client(settings: RetrainSettings) -> Monitor:
    return Monitor(settings.monitor, settings.token_file)


def test_a_challenger_that_learns_the_new_product_is_accepted_once(
    registry: Registry, settings: RetrainSettings, monitor: Server, keys: Path, tmp_path: Path
) -> None:
    feed(monitor, 1, 240, truth)
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
    assert chain[0].images == len({entry.image for entry in data.of("train")}), "copies are not counted"


def test_poisoned_labels_of_a_known_product_are_refused_and_shown(
    registry: Registry, settings: RetrainSettings, monitor: Server
) -> None:
    feed(monitor, 0, 200, lambda label, number: label if number % 4 < 2 else LABELS[1 - LABELS.index(label)])
    outcome = retrain(settings, registry, _client(settings))
    assert outcome.outcome == "DataRefused" and "label noise" in outcome.message
    assert outcome.version is None and registry.versions() == [settings.champion]
    page = registry.bucket.get("runs/run-1/quality.html").decode()
    assert "data:image/jpeg;base64," in page
    (record,) = Decisions(registry.bucket).log("line-1")
    assert record.kind == "Refused" and record.reason.startswith("data refused")


def test_too_few_labels_are_refused(registry: Registry, settings: RetrainSettings, monitor: Server) -> None:
    feed(monitor, 1, 20, truth)
    outcome = retrain(settings, registry, _client(settings))
    assert outcome.outcome == "DataRefused" and "20 new labelled pictures; at least 60 are needed" in outcome.message


class Evicted(BaseException):
    """The pod is gone."""


def test_an_evicted_run_goes_on_to_the_same_weights(
    registry: Registry, settings: RetrainSettings, monitor: Server, s3: S3
) -> None:
    feed(monitor, 1, 200, truth)

    def until_evicted() -> datetime:
        progress = registry.bucket.document("runs/run-1/progress.json") or {}
        if progress.get("stage") == "train" and progress["epoch"] >= 3:
            raise Evicted
        return datetime.now(UTC)

    with pytest.raises(Evicted):
        retrain(settings, registry, _client(settings), now=until_evicted)
    assert registry.bucket.stat("runs/run-1/checkpoint.safetensors") is not None
    assert registry.versions() == [settings.champion]
    feed(monitor, 0, 100, truth)  # what arrives meanwhile is not of this run
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
    feed(monitor, 1, 200, truth)
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
