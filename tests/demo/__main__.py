"""`make demo`: trains PuzzleNet, serves it, sends line traffic, promotes a good canary, rolls back two bad ones.

Nothing here decides an outcome. The versions are trained and packaged by the same commands that a user has; the
rest is applying PuzzleModel manifests and reading the cluster: the table is what `kubectl get puzzlemodels`
shows, and the verdict at the end is computed from the model's status, KServe's traffic and the answers that the
line got.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import yaml

from tests.harness.lab import Lab, Version
from tests.harness.line import Line, Tally, pieces_of
from tests.harness.models import Namespace
from tests.harness.settings import REPOSITORY, SYSTEM_NAMESPACE, from_environment
from tests.harness.watch import Watcher

NAMESPACE = "lyon"
MODEL = "line-1"
MANIFEST = REPOSITORY / "examples" / "02-line-with-quality-metric.yaml"
ROLLOUT_SECONDS = 900.0


@dataclass(frozen=True, slots=True)
class Scene:
    """One version sent out, what had to come of it, and what came."""

    title: str
    expected: str
    outcome: str
    seconds: float
    revision: str
    tally: Tally
    reason: str

    @property
    def as_expected(self) -> bool:
        """A good version must also have refused nothing: a refusal would be its own fault."""
        return self.outcome == self.expected and (self.expected != "Promoted" or self.tally.refused == 0)


@dataclass(slots=True)
class Stage:
    """Prints what starts, and how long it took when it ends."""

    steps: list[tuple[str, float]]

    def __call__(self, name: str, work: Callable[[], Any]) -> Any:
        say(f"\n== {name}")
        start = time.monotonic()
        result = work()
        self.steps.append((name, time.monotonic() - start))
        return result


def say(line: str) -> None:
    print(line, flush=True)


def main() -> None:
    arguments = parse_arguments()
    settings = from_environment()
    lab = Lab(settings)
    stage = Stage([])
    versions: dict[str, Version] = stage("Train and package the versions, push them to the registry", lab.versions)
    space = Namespace(NAMESPACE)
    stage("Deploy the first version", lambda: deploy(space, versions["modest"]))
    pieces = pieces_of(lab.line_pieces("line-1"), 300, seed=1)
    say(f"\n== Line traffic: {arguments.rate:g} pieces a second through {settings.ingress_url}")
    with (
        Line(settings.ingress_url, space.host(MODEL), pieces, arguments.rate) as line,
        Watcher(space, MODEL, line.tally, say) as watcher,
    ):
        time.sleep(5)
        scenes = [
            stage(title, lambda: rollout(space, title, versions[key], expected, line))  # noqa: B023
            for title, key, expected in (
                ("A better version: it must be promoted", "good", "Promoted"),
                ("A version trained on wrong labels: it must be rolled back", "mislabelled", "RolledBack"),
                ("A version that refuses the line's JPEGs: it must be rolled back", "png-only", "RolledBack"),
            )
        ]
        time.sleep(5)
    raise SystemExit(report(space, scenes, stage, line.tally(), watcher, versions))


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.demo", description=__doc__)
    parser.add_argument("--rate", type=float, default=8.0, help="pieces a second that the line sends (default 8)")
    arguments = parser.parse_args()
    if not 0.5 <= arguments.rate <= 100:
        parser.error("--rate must be between 0.5 and 100 pieces a second")
    return arguments


def deploy(space: Namespace, version: Version) -> None:
    """Start from nothing, so that every run tells the same story."""
    space.create(secret_from=SYSTEM_NAMESPACE)
    if space.exists(MODEL):
        say(f"removing PuzzleModel {NAMESPACE}/{MODEL} of an earlier run")
        space.remove(MODEL)
    manifest: dict[str, Any] = yaml.safe_load(MANIFEST.read_text())
    manifest["spec"]["model"]["version"] = version.digest
    space.apply(manifest)
    say(f"applied {MANIFEST.relative_to(REPOSITORY)} with version {version.short} ({version.what})")
    space.until(lambda: is_champion(space, version) and space.host(MODEL) != "", "the first version serves")
    say(f"serving at http://{space.host(MODEL)}")


def rollout(space: Namespace, title: str, version: Version, expected: str, line: Line) -> Scene:
    """Name the version in the spec and wait until the operator has decided about it."""
    say(f"version {version.short}: {version.what}")
    before, start = line.tally(), time.monotonic()
    space.set_version(MODEL, version.digest)
    revision = ""
    while True:
        status = space.status(MODEL)
        challenger = status.get("challenger") or {}
        revision = challenger.get("revision") or revision
        outcome = decided(status, version)
        if outcome or time.monotonic() - start > ROLLOUT_SECONDS:
            break
        time.sleep(1)
    reason = last_message(space, outcome) if outcome else "no decision in time"
    say(f"-> {outcome or 'undecided'}: {reason}")
    return Scene(
        title=title,
        expected=expected,
        outcome=outcome or "undecided",
        seconds=time.monotonic() - start,
        revision=revision,
        tally=line.tally() - before,
        reason=reason,
    )


def decided(status: dict[str, Any], version: Version) -> str:
    """How the version's rollout ended, as the operator recorded it; '' while it goes on."""
    rollout = status.get("rollout") or {}
    return str(rollout.get("outcome") or "") if rollout.get("challenger") == version.digest else ""


def is_champion(space: Namespace, version: Version) -> bool:
    return bool((space.status(MODEL).get("champion") or {}).get("version") == version.digest)


def last_message(space: Namespace, reason: str) -> str:
    messages = [message for seen, message in space.events(MODEL) if seen == reason]
    return messages[-1] if messages else "(no event)"


def report(
    space: Namespace,
    scenes: list[Scene],
    stage: Stage,
    total: Tally,
    watcher: Watcher,
    versions: dict[str, Version],
) -> int:
    """Print the verdict, computed from the cluster and the line; returns the exit code."""
    say("\n== What happened")
    for scene in scenes:
        mark = "as it must be" if scene.as_expected else f"WRONG, expected {scene.expected}"
        say(f"{scene.title}\n   {scene.outcome} after {scene.seconds:.0f} s: {mark}")
        say(f"   answered {scene.tally.answered}, refused by the model {scene.tally.refused}, lost {scene.tally.lost}")
        seconds = watcher.seconds_with_traffic(scene.revision)
        if scene.outcome == "RolledBack":
            measured = "not seen" if seconds is None else f"{seconds:.0f} s"
            say(f"   from its first traffic to 0 % observed weight: {measured}")
    say("\n== How long each step took")
    for name, seconds in stage.steps:
        say(f"{seconds:7.0f} s  {name}")
    say(
        f"\nRequests: {total.sent} sent, {total.answered} answered ({total.wrong} with a wrong label), "
        f"{total.refused} refused by the model, {total.lost} lost"
    )
    for loss in total.losses:
        say(f"   lost: {loss}")
    serving = is_champion(space, versions["good"])
    good = all(scene.as_expected for scene in scenes) and total.lost == 0 and serving
    say(f"The good version {'is' if serving else 'IS NOT'} the champion; `kubectl -n {NAMESPACE} get pzm -o wide`.")
    say(f"\nDEMO {'PASSED' if good else 'FAILED'}")
    return 0 if good else 1


if __name__ == "__main__":
    main()
