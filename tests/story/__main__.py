"""`make story`: nobody is called back from holiday.

A line is served well. Other pieces come along it; the drift is seen, labels confirm the harm, a training Job on a node
that offers `nvidia.com/gpu` learns from what inspectors labelled after the data was checked, its result has to beat the
champion offline, earns traffic as a canary and is promoted. Then a careless shift labels pieces wrongly, and what was
learnt from that never reaches the line.

Nothing here decides an outcome: the script changes which pieces the cameras see and how well inspectors look, waits,
and reads the cluster, the monitor and the registry. The accuracies are counted on the line's own answers.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from kubernetes import client

from puzzlenet.render.piece import CLASSES
from tests.harness.inspector import Inspector, monitor_token, monitor_url
from tests.harness.lab import Lab, Version
from tests.harness.line import Answer, Line, pieces_of
from tests.harness.models import Namespace
from tests.harness.settings import REPOSITORY, SYSTEM_NAMESPACE, Settings, from_environment

NAMESPACE, MODEL = "grenoble", "line-1"
MANIFEST = REPOSITORY / "examples" / "04-self-running.yaml"
RATE = 8.0
LOOK_SECONDS = 30.0
SEASON = 2100


def say(line: str) -> None:
    """A line for whoever watches, at once."""
    print(f"{time.strftime('%H:%M:%S')}  {line}", flush=True)


@dataclass(slots=True)
class Story:
    """The cluster, the line and what was measured so far."""

    settings: Settings
    lab: Lab
    space: Namespace
    started: float = field(default_factory=time.monotonic)
    times: list[tuple[str, float]] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    last_id: str = ""

    def step(self, name: str, work: Callable[[], Any]) -> Any:
        """Do it, and note how long it took."""
        say(f"== {name}")
        start = time.monotonic()
        result = work()
        self.times.append((name, time.monotonic() - start))
        return result

    def expect(self, holds: bool, what: str) -> None:
        """Note a claim of the story that does not hold."""
        say(f"   {'yes' if holds else 'NO'}: {what}")
        if not holds:
            self.failures.append(what)

    def until(self, holds: Callable[[dict[str, Any]], bool], what: str, seconds: float) -> dict[str, Any]:
        """Wait for the model's status, and say each new sentence of it meanwhile; raises TimeoutError."""
        deadline, told = time.monotonic() + seconds, ""
        while True:
            status = self.space.status(MODEL)
            if (now := _sentence(status)) != told:
                say(f"   {now}")
                told = now
            if holds(status):
                return status
            if time.monotonic() > deadline:
                raise TimeoutError(f"after {seconds:.0f} s it is still not so that {what}\n{self.space.describe()}")
            time.sleep(2)

    def puzzlenet(self, *words: str, quiet: bool = True) -> str:
        """Run the command that users have, with the registry's and the monitor's credentials."""
        environment = {
            **os.environ,
            "AWS_ACCESS_KEY_ID": self.settings.s3_access_key,
            "AWS_SECRET_ACCESS_KEY": self.settings.s3_secret_key,
        }
        command = [str(Path(sys.executable).parent / "puzzlenet"), *words]
        done = subprocess.run(command, env=environment, text=True, stdout=subprocess.PIPE, check=True)
        if not quiet:
            print(done.stdout, flush=True)
        return done.stdout

    @property
    def registry(self) -> tuple[str, ...]:
        """Options that name the registry."""
        return ("--endpoint", self.settings.s3_endpoint, "--insecure")


def _sentence(status: dict[str, Any]) -> str:
    """Where the model stands, in a line."""
    retraining, drift = status.get("retraining") or {}, status.get("drift") or {}
    parts = [
        str(status.get("phase", "")),
        f"weight {(status.get('weight') or {}).get('observed', 0)} %",
        f"drift {drift.get('phase', '–')}, harmful {drift.get('harmful', '–')}",
        f"retraining {retraining.get('phase', '–')} {retraining.get('pod') or ''}".rstrip(),
    ]
    return " · ".join(parts)


def main() -> None:
    """Tell the story; exit code 0 when all of it came true."""
    settings = from_environment()
    story = Story(settings, Lab(settings), Namespace(NAMESPACE))
    versions: dict[str, Version] = story.step("Train and package the first version", story.lab.versions)
    first = versions["modest"].digest
    story.step("Put its data and its golden set into the registry", lambda: register(story, versions["modest"]))
    story.step("A node that offers nvidia.com/gpu", offer_gpu)
    story.step("Deploy: spec.model.version is auto", lambda: deploy(story, first))
    small = pieces_of(story.lab.line_pieces("line-1"), 600, seed=3)
    season = pieces_of(story.lab.season("line-2", SEASON), SEASON, seed=4)
    big, later = season[: SEASON * 2 // 3], season[SEASON * 2 // 3 :]
    inspector = Inspector(CLASSES)

    def seen(answer: Answer) -> None:
        story.last_id = answer.id
        inspector.see(answer)

    host = story.space.host(MODEL)
    with inspector, Line(settings.ingress_url, host, small, RATE, on_answer=seen) as line:
        before = story.step("Small pieces: the line it was trained for", lambda: accuracy(line))
        quiet = story.step("Drift learns to know the line, and stays quiet", lambda: no_alarm(story))
        line.show(big)
        worse = story.step("Bigger pieces come along", lambda: accuracy(line))
        second = story.step("Drift, harm, data check, training, gate, canary, promotion", lambda: heal(story, first))
        inspector.share = 0.0
        better = story.step("The new champion on bigger pieces", lambda: accuracy(line))
        line.show(small)
        kept = story.step("… and on the small ones", lambda: accuracy(line))
        line.show(later)
        inspector.share, inspector.error = 1.0, 0.7
        poisoned = story.step("A careless shift: labels are wrong", lambda: poison(story, inspector))
        inspector.error = 0.0
        serving = story.space.champion(MODEL)
        tally = line.tally()
    story.step("Where did a prediction come from?", lambda: lineage(story, second))
    story.expect(quiet, "no drift was confirmed on the line that it was trained for")
    story.expect(better > worse + 0.1, f"bigger pieces: {worse:.1%} right before, {better:.1%} after")
    story.expect(kept > before - 0.05, f"small pieces are not forgotten: {before:.1%} before, {kept:.1%} after")
    story.expect(poisoned != "Accepted" and serving == second, f"wrong labels did not reach the line: {poisoned}")
    story.expect(tally.lost == 0, f"{tally.sent} requests, {tally.lost} lost {tally.losses[:3] or ''}")
    raise SystemExit(report(story))


def register(story: Story, first: Version) -> None:
    """The data set under its digest, a golden set that is frozen, and the first accepted version of the line."""
    data = story.lab.data("modest")
    pushed = story.puzzlenet("dataset", "push", str(data), "--line", MODEL, *story.registry).split()[-1]
    story.puzzlenet("golden", "freeze", pushed, "--line", MODEL, "--version", first.digest, *story.registry)
    reason = "first version of the line"
    story.puzzlenet("registry", "accept", first.digest, "--line", MODEL, "--reason", reason, *story.registry)
    say(f"   data set {pushed[:19]}…, accepted version {first.short}")


def offer_gpu() -> None:
    """Where no node has a card, one advertises the extended resource: scheduling is real, computing is on the CPU."""
    core = client.CoreV1Api()
    nodes: Any = core.list_node()
    for node in nodes.items:
        if int((node.status.allocatable or {}).get("nvidia.com/gpu", "0")):
            say(f"   node {node.metadata.name} offers nvidia.com/gpu")
            return
    name = nodes.items[0].metadata.name
    core.patch_node_status(name, {"status": {"capacity": {"nvidia.com/gpu": "1"}}})
    say(f"   node {name} has no card: it advertises one nvidia.com/gpu, and the training runs on its CPU")


def deploy(story: Story, first: str) -> None:
    """Start from nothing, with the version that the registry names."""
    story.space.create(secret_from=SYSTEM_NAMESPACE)
    if story.space.exists(MODEL):
        story.space.remove(MODEL)
    manifest: dict[str, Any] = yaml.safe_load(MANIFEST.read_text())
    manifest["spec"]["storage"] = {"endpoint": "minio.puzzle-system:9000", "bucket": "puzzlenet"}
    story.space.apply(manifest)
    story.space.until(
        lambda: story.space.champion(MODEL) == first and story.space.host(MODEL) != "", "the accepted version serves"
    )


def accuracy(line: Line) -> float:
    """Share of right answers over the next half minute."""
    time.sleep(5)  # what was under way belongs to the step before
    before = line.tally()
    time.sleep(LOOK_SECONDS)
    seen = line.tally() - before
    right = (seen.answered - seen.wrong) / max(1, seen.answered)
    say(f"   {right:.1%} of {seen.answered} pieces right")
    return right


def no_alarm(story: Story) -> bool:
    """Until the detector has a statistic of its own; whether it was quiet."""
    status = story.until(lambda status: _drift(status) in {"None", "Confirmed"}, "drift is watched", 300)
    return _drift(status) == "None"


def heal(story: Story, first: str) -> str:
    """Wait for each turn of the loop; the digest of the new champion."""
    turns: tuple[tuple[str, Callable[[dict[str, Any]], bool], float], ...] = (
        ("drift is confirmed", lambda status: _drift(status) == "Confirmed", 600),
        ("labels say that it is harmful", lambda status: (status.get("drift") or {}).get("harmful") == "Yes", 300),
        ("a training Job runs", lambda status: _retraining(status).get("phase") == "Running", 300),
        ("a run was accepted", lambda status: _retraining(status).get("outcome") == "Accepted", 2400),
        ("its version is the champion", lambda status: _champion(status) not in {"", first} and _rests(status), 900),
    )
    for what, holds, seconds in turns:
        start = time.monotonic()
        status = story.until(holds, what, seconds)
        story.times.append((f"   until {what}", time.monotonic() - start))
        say(f"   {(_retraining(status) if 'run' in what else status.get('drift') or {}).get('message', '')}")
    return story.space.champion(MODEL)


def poison(story: Story, inspector: Inspector) -> str:
    """Some hundred wrong labels, then a run that somebody asks for; its outcome."""
    given = inspector.given
    story.space.until(lambda: inspector.given > given + 300, "wrong labels are in", 300)
    runs = _retraining(story.space.status(MODEL)).get("run")
    annotation = {"puzzlenet.dev/retrain": "labels of the night shift"}
    story.space.patch(MODEL, {"metadata": {"annotations": annotation}})
    story.until(
        lambda status: (
            _retraining(status).get("run") != runs and _retraining(status).get("phase") not in {"Running", "Waiting"}
        ),
        "the second run has ended",
        1500,
    )
    status = story.until(_rests, "the model rests", 900)
    say(f"   {_retraining(status).get('message', '')}")
    outcome = str(_retraining(status).get("outcome"))
    rollout = status.get("rollout") or {}
    return f"{outcome}, then {rollout.get('outcome')}" if outcome == "Accepted" else outcome


def lineage(story: Story, second: str) -> None:
    """What the trainer made is signed; from a prediction to commit, data and parents, as the command prints it."""
    tokens = Path(os.environ.get("TMPDIR", "/tmp")) / f"puzzle-story-{os.getpid()}"
    tokens.write_text(monitor_token("read"))
    try:
        monitor = ("--monitor", monitor_url(), "--monitor-token-file", str(tokens))
        keys = story.settings.state / "signing" / "sign.key.pub"
        signed = story.puzzlenet("registry", "verify", second, "--verify-key", str(keys), *story.registry)
        say(f"   {signed.strip()}")
        story.puzzlenet("registry", "lineage", "--prediction", story.last_id, *monitor, *story.registry, quiet=False)
    finally:
        tokens.unlink()


def report(story: Story) -> int:
    """How long each step took, and the verdict."""
    say("== How long each step took")
    for name, seconds in story.times:
        print(f"{seconds:7.0f} s  {name}")
    for failure in story.failures:
        print(f"not so: {failure}")
    print(f"\nSTORY {'FAILED' if story.failures else 'PASSED'} after {time.monotonic() - story.started:.0f} s")
    return 1 if story.failures else 0


def _drift(status: dict[str, Any]) -> str:
    return str((status.get("drift") or {}).get("phase", ""))


def _retraining(status: dict[str, Any]) -> dict[str, Any]:
    return dict(status.get("retraining") or {})


def _champion(status: dict[str, Any]) -> str:
    return str((status.get("champion") or {}).get("version") or "")


def _rests(status: dict[str, Any]) -> bool:
    return status.get("phase") in {"Stable", "RolledBack"}


if __name__ == "__main__":
    main()
