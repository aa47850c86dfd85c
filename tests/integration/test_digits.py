"""Handwritten digits, a data set that nobody here made, through the commands that pieces go through.

1,797 pictures of 8 × 8 pixels (optical recognition of handwritten digits, UCI), as scikit-learn ships them. Every fifth
of a label is held out before anything is trained. No line of code knows that these are no pieces; options say it.
"""

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image
from sklearn.datasets import load_digits

from tests.integration.test_torchserve import Server, start, stop

FLOOR = 0.97


def puzzlenet(*words: str | Path) -> str:
    """Run a command as a user would; what it printed."""
    command = [sys.executable, "-c", "from puzzlenet.cli import main; main()", *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def write_digits(root: Path) -> tuple[Path, Path]:
    """The digits as a camera's folders, ``seen`` and ``held-out``, by label, enlarged eightfold."""
    digits = load_digits()
    counts = dict.fromkeys(range(10), 0)
    for number, (image, label) in enumerate(zip(digits.images, digits.target, strict=True)):
        part = "held-out" if counts[int(label)] % 5 == 4 else "seen"
        counts[int(label)] += 1
        folder = root / part / str(label)
        folder.mkdir(parents=True, exist_ok=True)
        grey = Image.fromarray((255.0 - image * (255.0 / 16.0)).round().astype(np.uint8))
        grey.resize((64, 64), Image.Resampling.BICUBIC).save(folder / f"{number:04d}.png")
    return root / "seen", root / "held-out"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A version trained on digits, and the folder of those it has never seen; figures are printed on the way."""
    root = tmp_path_factory.mktemp("digits")
    seen, held_out = write_digits(root)
    began = time.monotonic()
    puzzlenet("dataset", "import", seen, root / "data", "--symmetries", "none")
    options = ("--epochs", "12", "--image-size", "32", "--batch", "64", "--learning-rate", "0.008")
    print(puzzlenet("train", root / "data", root / "run", *options).splitlines()[-1])
    trained = time.monotonic() - began
    print(puzzlenet("evaluate", root / "run", held_out, "--out", root / "report.json"))
    digest = puzzlenet("package", root / "run", root / "version", "--evaluation", root / "report.json").strip()
    print(f"{digest}, imported and trained in {trained:.0f} s")
    return root / "version", held_out


@pytest.fixture(scope="module")
def server(made: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The version behind a real TorchServe."""
    running = start(made[0], tmp_path_factory.mktemp("serve") / "work")
    yield running
    stop(running)


def test_digits_are_learnt_packaged_served_and_scored_as_pieces_are(
    made: tuple[Path, Path], server: Server, tmp_path: Path
) -> None:
    version, held_out = made
    report = json.loads((version.parent / "report.json").read_text())
    assert report["scores"]["images"] >= 350 and report["accuracy"] >= FLOOR, report["accuracy"]

    puzzlenet("score", held_out, "--out", tmp_path / "scores", "--version-dir", version)
    rows = pq.read_table(tmp_path / "scores").to_pylist()
    right = sum(row["label"] == row["path"].split("/")[0] for row in rows)
    assert len(rows) == report["scores"]["images"] and right / len(rows) == pytest.approx(report["accuracy"], abs=1e-6)

    furthest = 0.0
    for row in rows[::3]:
        status, body = server.call("/predictions/puzzlenet", (held_out / row["path"]).read_bytes())
        answer = json.loads(body)
        assert status == 200 and answer["label"] == row["label"] and answer["version"] == row["version"], row["path"]
        assert list(answer["probabilities"]) == [str(digit) for digit in range(10)]
        gaps = (abs(row["probabilities"][name] - value) for name, value in answer["probabilities"].items())
        furthest = max(furthest, *gaps)
    assert furthest <= 2e-5, "batch and server differ by more than rounding"
    print(
        f"held-out digits: {right} of {len(rows)} right ({right / len(rows):.4f}); batch and server agree on "
        f"{len(rows[::3])} of {len(rows[::3])} labels, probabilities within {furthest:.0e}"
    )
