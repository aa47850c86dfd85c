"""One run of retraining with the real trainer, through everything that may befall it: its pod is deleted by force, its
process is killed, the store is away. One Job, one version, one decision, and the champion answers throughout.

`make e2e` has the store away for some seconds; `make faults` for a minute.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
import yaml
from kubernetes import client

from puzzlenet.registry import Location, Registry
from puzzlenet.render.piece import CLASSES
from puzzlenet.signing import check
from puzzlenet.store.decisions import Decisions
from tests.e2e.conftest import MODEL, RATE
from tests.harness.faults import delete_at_once, kill_process, store_away
from tests.harness.inspector import Inspector
from tests.harness.lab import Lab, Version
from tests.harness.line import Line, Piece
from tests.harness.models import Namespace
from tests.harness.settings import REPOSITORY, Settings
from tests.harness.signing import signing_key

OUTAGE = float(os.environ.get("PUZZLE_FAULTS_OUTAGE_SECONDS", "15"))
EPOCHS = int(os.environ.get("PUZZLE_FAULTS_EPOCHS", "8"))
LABELS = 230

Versions = dict[str, Version]


@pytest.fixture(scope="module")
def registry(settings: Settings) -> Registry:
    return Registry.connect(Location(endpoint=settings.s3_endpoint, bucket="puzzlenet", secure=False), os.environ)


@pytest.fixture(scope="module")
def manifest(settings: Settings, versions: Versions) -> dict[str, Any]:
    """The line that runs itself, trained on a CPU; nothing but a request starts a run. Its champion's data are in the
    registry."""
    lab = Lab(settings)
    data = lab.puzzlenet("dataset", "push", str(lab.data("modest")), "--line", MODEL).split()[-1]
    lab.puzzlenet("golden", "freeze", data, "--line", MODEL, "--version", versions["modest"].digest)
    loaded: dict[str, Any] = yaml.safe_load((REPOSITORY / "examples/04-self-running.yaml").read_text())
    spec = loaded["spec"]
    spec["drift"] = {"enabled": False}
    spec["retraining"]["triggers"] = {"drift": "Never"}
    spec["retraining"]["epochs"] = EPOCHS
    spec["retraining"]["job"].update(gpus=0, backoffLimit=4)
    return loaded


@dataclass(slots=True)
class Loop:
    """The run, and what was seen of it."""

    space: Namespace
    registry: Registry
    began: float = field(default_factory=time.monotonic)

    def say(self, what: str) -> None:
        print(f"{time.monotonic() - self.began:5.0f} s  {what}", flush=True)

    @property
    def retraining(self) -> dict[str, Any]:
        return dict(self.space.status(MODEL).get("retraining") or {})

    @property
    def run(self) -> str:
        return str(self.retraining.get("run") or "")

    def epoch(self) -> int:
        """The newest epoch that the trainer told of; 0 before the first."""
        told = self.registry.bucket.document(f"runs/{self.run}/progress.json") or {}
        return int(told.get("epoch") or 0) if told.get("stage") == "train" else 0

    def has_checkpoint(self) -> bool:
        return self.registry.bucket.stat(f"runs/{self.run}/checkpoint.safetensors") is not None

    def pods(self) -> list[Any]:
        """The run's pods that have not ended."""
        listed: Any = self.space.core.list_namespaced_pod(
            self.space.name, label_selector=f"puzzlenet.dev/run={self.run}"
        )
        return [pod for pod in listed.items if pod.status.phase in {"Pending", "Running"}]

    def until_another_trains(self, old: str) -> None:
        """A new pod goes on from the checkpoint of the one before."""
        self.space.until(lambda: any(pod.metadata.name != old for pod in self.pods()), "the Job has another pod", 120)
        name = next(pod.metadata.name for pod in self.pods() if pod.metadata.name != old)
        self.space.until(lambda: "going on after epoch" in self._log(name), "it goes on from the checkpoint", 240)
        words = next(line for line in self._log(name).splitlines() if "going on after epoch" in line)
        self.say(f"{name}: {words.split(' ', 2)[-1]}")

    def _log(self, pod: str) -> str:
        try:
            return str(self.space.core.read_namespaced_pod_log(pod, self.space.name))
        except client.exceptions.ApiException:
            return ""  # its container has not started

    def jobs(self) -> list[str]:
        listed: Any = client.BatchV1Api().list_namespaced_job(self.space.name)
        return [job.metadata.name for job in listed.items]


@pytest.fixture(scope="module")
def labelled(settings: Settings, serving: Namespace, pieces: list[Piece]) -> Iterator[Line]:
    """The line, with enough labels for a run."""
    inspector = Inspector(CLASSES)
    host = serving.host(MODEL)
    with inspector, Line(settings.ingress_url, host, pieces, RATE, on_answer=inspector.see) as line:
        serving.until(lambda: inspector.given >= LABELS, f"{LABELS} labels are given", 180)
        time.sleep(5)  # pictures are sent behind the records
        yield line


@pytest.mark.timeout(1800)
def test_a_run_survives_its_pod_its_process_and_an_outage_of_the_store(
    serving: Namespace, labelled: Line, registry: Registry, versions: Versions, settings: Settings, tmp_path: Any
) -> None:
    before = set(registry.versions())
    loop = Loop(serving, registry)
    serving.patch(MODEL, {"metadata": {"annotations": {"puzzlenet.dev/retrain": "a run with faults"}}})
    serving.until(
        lambda: loop.retraining.get("phase") == "Running" and bool(loop.pods()), "a training pod is there", 90
    )
    serving.until(lambda: loop.has_checkpoint() and loop.epoch() >= 2, "it has a checkpoint", 420)

    victim = loop.pods()[0].metadata.name
    loop.say(f"epoch {loop.epoch()}: pod {victim} is deleted by force")
    delete_at_once(serving, victim)
    loop.until_another_trains(victim)

    victim = loop.pods()[0].metadata.name
    loop.say(f"epoch {loop.epoch()}: the process in {victim} is killed")
    assert kill_process("retrain", "--run", loop.run), "the trainer's process is not on this machine"
    loop.until_another_trains(victim)

    loop.say(f"epoch {loop.epoch()}: the store goes away for {OUTAGE:.0f} s")
    with store_away(serving):
        began, answered = time.monotonic(), labelled.tally().answered
        while time.monotonic() - began < OUTAGE:
            assert serving.champion(MODEL) == versions["modest"].digest
            assert loop.retraining["phase"] == "Running"
            time.sleep(2)
        loop.say(f"the store comes back; {labelled.tally().answered - answered} pieces were answered without it")
        assert labelled.tally().answered > answered
    serving.until(lambda: "outcome" in loop.retraining, "the run has ended", 900)

    ended = loop.retraining
    loop.say(f"{ended['outcome']}: {ended['message']}")
    assert ended["outcome"] in {"Accepted", "GateRefused"}
    assert loop.jobs() == [ended["run"]], "there was a second Job"
    decisions = [record for record in Decisions(registry.bucket).log(MODEL) if record.run == ended["run"]]
    assert [record.version for record in decisions] == [ended["version"]]
    made = {v for v in set(registry.versions()) - before if _run_of(registry, v) == ended["run"]}
    assert made == {ended["version"]}, "the run made more than one version"
    assert check(
        registry.pull(ended["version"], tmp_path / "made"), [signing_key(settings.state).with_suffix(".key.pub")]
    )
    assert serving.champion(MODEL) == versions["modest"].digest, "the spec pins it"
    tally = labelled.tally()
    assert (tally.lost, tally.refused) == (0, 0), tally.losses
    print(f"{tally.sent} requests sent, {tally.answered} answered, {tally.lost} lost; 1 Job, 1 version, 1 decision")


def _run_of(registry: Registry, version: str) -> str:
    return str((registry.document(version, "provenance.json").get("run") or {}).get("name") or "")
