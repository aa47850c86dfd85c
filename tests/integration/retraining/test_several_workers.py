"""`puzzlenet retrain` as the pods of an Indexed Job run it: real processes that train together, and lose each other."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from puzzlenet.registry import Registry
from puzzlenet.retrain.settings import RetrainSettings
from puzzlenet.store.decisions import Decisions
from tests.integration.monitor.live import Server
from tests.integration.retraining.conftest import feed, truth

PUZZLENET = [sys.executable, "-c", "from puzzlenet.cli import main; main()"]
EPOCHS = 30


@dataclass
class Pods:
    """The workers of one run."""

    settings: RetrainSettings
    registry: Registry
    folder: Path
    port: int
    started: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def start(self, index: int) -> subprocess.Popen[bytes]:
        """A worker in an environment as the operator's Job makes it."""
        given, key = self.settings, self.settings.sign_key
        words = ["retrain", "--run", given.run, "--namespace", "lyon", "--model", "m", "--line", "line-1", "--insecure"]
        words += ["--champion", given.champion, "--endpoint", given.location.endpoint, "--bucket"]
        words += [given.location.bucket, "--monitor", given.monitor, "--monitor-token-file", str(given.token_file)]
        words += ["--trigger", "drift", "--sign-key", str(key), "--verify-key", f"{key}.pub", "--gate-margin", "0.05"]
        words += ["--recall-floor", "0.7", "--min-images", "60", "--epochs", str(EPOCHS), "--device", "cpu"]
        words += ["--termination-log", str(self.folder / f"said-{index}")]
        place = {"JOB_COMPLETION_INDEX": str(index), "JOB_COMPLETIONS": "2", "MASTER_ADDR": "127.0.0.1"}
        environment = {**os.environ, **place, "MASTER_PORT": str(self.port), "GLOO_SOCKET_IFNAME": "lo"}
        with (self.folder / f"worker-{index}.log").open("ab") as sink:
            self.started.append(subprocess.Popen([*PUZZLENET, *words], env=environment, stdout=sink, stderr=sink))
        return self.started[-1]

    def log(self, index: int) -> str:
        return (self.folder / f"worker-{index}.log").read_text()

    def epoch(self) -> int:
        """The last epoch that was told of."""
        progress = self.registry.bucket.document(f"runs/{self.settings.run}/progress.json") or {}
        return int(progress.get("epoch", 0)) if progress.get("stage") == "train" else 0

    def until(self, holds: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + 180
        while not holds():
            if time.monotonic() > deadline:
                raise AssertionError(f"not within three minutes: {what}\n{self.log(0)[-3000:]}\n{self.log(1)[-3000:]}")
            time.sleep(0.1)

    def ended(self, *processes: subprocess.Popen[bytes]) -> list[int]:
        """Their exit codes."""
        self.until(lambda: all(process.poll() is not None for process in processes), "the workers have ended")
        return [process.returncode for process in processes]


@pytest.fixture
def pods(settings: RetrainSettings, registry: Registry, tmp_path: Path) -> Iterator[Pods]:
    """None of them outlives the test."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port = int(one.getsockname()[1])
    made = Pods(settings, registry, tmp_path, port)
    yield made
    for process in made.started:
        process.kill()
        process.wait()


def test_two_workers_train_together_each_is_lost_once_and_there_is_one_decision(
    pods: Pods, monitor: Server, registry: Registry
) -> None:
    feed(monitor, 1, 240, truth)
    zero, one = pods.start(0), pods.start(1)
    pods.until(lambda: pods.epoch() >= 2, "they train")
    assert "worker 1 of 2 trains" in pods.log(1)
    one.kill()
    again = pods.start(1)
    pods.until(lambda: pods.log(0).count("2 of 2 workers take part") == 2, "the new one takes its place")
    reached = pods.epoch()
    pods.until(lambda: pods.epoch() > reached, "they go on")
    zero.kill()
    first = pods.start(0)
    assert pods.ended(first, again) == [0, 0], pods.log(0)[-3000:]

    assert "going on after epoch" in pods.log(0)
    said = json.loads((pods.folder / "said-0").read_text())
    assert said["outcome"] == "Accepted", said["message"]
    assert not (pods.folder / "said-1").exists(), "the first one speaks"
    assert len(Decisions(registry.bucket).log("line-1")) == 1
    assert set(registry.versions()) == {pods.settings.champion, said["version"]}
    assert registry.document(said["version"], "provenance.json")["workers"] == 2


def test_other_workers_end_with_a_first_one_that_refuses_the_data_and_late_ones_at_once(
    pods: Pods, monitor: Server, registry: Registry
) -> None:
    feed(monitor, 1, 20, truth)
    one = pods.start(1)
    pods.until(lambda: "worker 0 has not prepared the data yet" in pods.log(1), "it waits")
    zero = pods.start(0)
    assert pods.ended(zero, one) == [0, 0], pods.log(1)[-3000:]
    assert json.loads((pods.folder / "said-0").read_text())["outcome"] == "DataRefused"
    assert "the run is decided: DataRefused" in pods.log(1)
    assert pods.ended(pods.start(1)) == [0]
    assert len(Decisions(registry.bucket).log("line-1")) == 1
