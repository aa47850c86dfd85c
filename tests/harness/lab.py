"""Versions for the demo and the end-to-end tests: trained, packaged and pushed with the commands that users have.

Two good versions and two that are really bad, none of them by a switch in the serving code:

- `modest`: trained on few pieces; the champion at the start.
- `good`: trained on more of them, for longer.
- `mislabelled`: trained on pieces half of which carry a wrong label, as after a careless shift.
- `png-only`: the weights of `good`, packaged by somebody who forgot that some of the line's cameras send JPEG.

What was trained is kept in the state folder under a key over the code and the recipe, so it is trained once.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from tests.harness.settings import REPOSITORY, Settings, from_environment
from tests.harness.signing import CURRENT, RETIRED, signing_key

# Files of the model package that neither data nor weights depend on; a change there needs no new training.
_NOT_TRAINING = {"serve.py", "supervisor.py", "handler.py", "registry.py", "protocol.py", "package.py", "manifest.py"}
_NOT_TRAINING |= {"gate.py", "judging.py", "signing.py", "disk.py", "counters.py", "traffic.py"}
_NOT_TRAINING_FOLDERS = {"cli", "records", "replay", "retrain", "store", "quality", "scoring"}


@dataclass(frozen=True, slots=True)
class Version:
    """A packaged version in the registry."""

    key: str
    what: str
    digest: str

    @property
    def short(self) -> str:
        return self.digest.removeprefix("sha256:")[:12]


@dataclass(frozen=True, slots=True)
class Recipe:
    """How a version is made: options of `puzzlenet generate`, `train` and `package`."""

    what: str
    run: str
    data: tuple[str, ...] = ()
    train: tuple[str, ...] = ()
    package: tuple[str, ...] = ()
    key: str = field(default=CURRENT, repr=False)
    """What it is signed with; not shown, since another signature needs no new training."""


RECIPES = {
    "modest": Recipe(
        "trained on 1,200 pieces",
        run="modest",
        data=("--count", "1200", "--seed", "11"),
        train=("--epochs", "10", "--seed", "1"),
        key=RETIRED,  # the oldest version, from before keys were rotated
    ),
    "good": Recipe(
        "trained on 3,000 pieces",
        run="good",
        data=("--count", "3000", "--seed", "12"),
        train=("--epochs", "14", "--seed", "2"),
    ),
    "mislabelled": Recipe(
        "trained on 800 pieces, half of them with a wrong label",
        run="mislabelled",
        data=("--count", "800", "--seed", "13", "--corrupt-labels", "0.5"),
        train=("--epochs", "5", "--seed", "3"),
    ),
    "png-only": Recipe(
        "the weights of the good one, packaged to accept PNG only", run="good", package=("--accept", "png")
    ),
}
# What a line photographs: one third of its cameras send JPEG.
TRAFFIC = ("--count", "600", "--seed", "99", "--format", "mixed")


class Lab:
    """Makes and remembers versions. Every command's output is shown, as training takes minutes."""

    def __init__(self, settings: Settings):
        self._settings = settings
        self._folder = settings.lab / _key()

    def versions(self) -> dict[str, Version]:
        """All versions by name, packaged and in the registry."""
        self._folder.mkdir(parents=True, exist_ok=True)
        self._drop_other_keys()
        made = {key: self._version(key, recipe) for key, recipe in RECIPES.items()}
        for version in made.values():
            print(f"  {version.key:12s} {version.short}  {version.what}", flush=True)
        return made

    def line_pieces(self, line: str) -> Path:
        """Folder of the pieces that the line's cameras send; made from a seed that no training uses."""
        profile = ("--profile", line)
        return self._once(f"pieces-{line}", lambda out: self._puzzlenet("generate", str(out), *profile, *TRAFFIC))

    def season(self, line: str, count: int) -> Path:
        """Folder of as many pieces as a line sends in a longer time, so that few come twice."""
        options = ("--profile", line, "--count", str(count), "--seed", "77", "--workers", "2")
        return self._once(f"season-{line}", lambda out: self._puzzlenet("generate", str(out), *options))

    def _version(self, key: str, recipe: Recipe) -> Version:
        run = self._run_folder(recipe.run)
        evaluation = self._evaluation(recipe.run, run)
        out = self._folder / f"version-{key}"
        shutil.rmtree(out, ignore_errors=True)
        private = signing_key(self._settings.state, recipe.key)
        options = ("--evaluation", str(evaluation), "--sign-key", str(private), *recipe.package)
        self._puzzlenet("package", str(run), str(out), *options, quiet=True)
        digest = self._puzzlenet("registry", "push", str(out), *self._registry, quiet=True).split()[-1]
        return Version(key, f"{recipe.what}; {_accuracy(evaluation):.1%} on pieces it has not seen", digest)

    def odd(self, name: str, views: int, *options: str) -> str:
        """Push a version that nobody should serve, under a digest of its own; `options` are those of `package`."""
        out = self._folder / f"odd-{name}"
        shutil.rmtree(out, ignore_errors=True)
        self._puzzlenet("package", str(self._run_folder("good")), str(out), "--views", str(views), *options, quiet=True)
        return self._puzzlenet("registry", "push", str(out), *self._registry, quiet=True).split()[-1]

    def puzzlenet(self, *words: str) -> str:
        """Run a command on the registry; what it prints."""
        return self._puzzlenet(*words, *self._registry, quiet=True)

    @property
    def _registry(self) -> tuple[str, ...]:
        return ("--endpoint", self._settings.s3_endpoint, "--insecure")

    def data(self, name: str) -> Path:
        """Folder of the pieces that a recipe's run is trained on."""
        options = ("--profile", "line-1", *RECIPES[name].data, "--workers", "2")
        return self._once(f"data-{name}", lambda out: self._puzzlenet("generate", str(out), *options))

    def _run_folder(self, name: str) -> Path:
        recipe, data = RECIPES[name], self.data(name)
        return self._once(
            f"run-{name}", lambda out: self._puzzlenet("train", str(data), str(out), *recipe.train, "--threads", "2")
        )

    def _evaluation(self, name: str, run: Path) -> Path:
        unseen = self.line_pieces("line-1")
        return self._once(
            f"evaluation-{name}.json",
            lambda out: self._puzzlenet("evaluate", str(run), str(unseen), "--out", str(out), quiet=True),
        )

    def _once(self, name: str, make: Callable[[Path], object]) -> Path:
        """The file or folder `name`, made when it is not there; a half-made one is never taken for a whole one."""
        done = self._folder / name
        if not done.exists():
            start = time.monotonic()
            partial = self._folder / f"{Path(name).stem}.partial{Path(name).suffix}"
            shutil.rmtree(partial, ignore_errors=True)
            partial.unlink(missing_ok=True)
            make(partial)
            partial.rename(done)
            print(f"  {name}: {time.monotonic() - start:.0f} s", flush=True)
        return done

    def _puzzlenet(self, *words: str, quiet: bool = False) -> str:
        """Run the command; what it prints is shown unless quiet, and returned when quiet."""
        keys = {
            "AWS_ACCESS_KEY_ID": self._settings.s3_access_key,
            "AWS_SECRET_ACCESS_KEY": self._settings.s3_secret_key,
        }
        command = [str(Path(sys.executable).parent / "puzzlenet"), *words]
        done = subprocess.run(
            command, env={**os.environ, **keys}, text=True, stdout=subprocess.PIPE if quiet else None, check=False
        )
        if done.returncode != 0:
            raise SystemExit(f"`{' '.join(['puzzlenet', *words])}` failed with exit code {done.returncode}")
        return done.stdout or ""

    def _drop_other_keys(self) -> None:
        for old in self._settings.lab.iterdir():
            if old != self._folder:
                shutil.rmtree(old, ignore_errors=True)


def _accuracy(evaluation: Path) -> float:
    return float(json.loads(evaluation.read_text())["accuracy"])


def _key() -> str:
    digest = hashlib.sha256(repr(sorted(RECIPES.items())).encode() + repr(TRAFFIC).encode())
    package = REPOSITORY / "model" / "puzzlenet"
    for path in sorted(package.rglob("*.py")):
        # Where the checkout lies must not matter: only folders of the package are looked at.
        if path.name not in _NOT_TRAINING and not _NOT_TRAINING_FOLDERS & set(path.relative_to(package).parts):
            digest.update(path.name.encode() + path.read_bytes())
    return digest.hexdigest()[:16]


if __name__ == "__main__":
    Lab(from_environment()).versions()
