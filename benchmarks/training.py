"""How fast PuzzleNet trains: images a second and time to a target accuracy, on every device that there is.

    python benchmarks/training.py [--count 2400] [--target 0.97] [--epochs 14] [--batch N] [--profile line-1] [--json]

Pieces are drawn from a seed, so every machine trains on the same bytes. The first epoch is told apart: on a GPU it
holds the choice of kernels and the compiler. Images a second are of the epochs after it, validation included; the
time to the target is wall-clock from the loop's first step, warm-up included, until an epoch ends at that accuracy.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from puzzlenet.dataset import Dataset, open_dataset
from puzzlenet.fit import Epoch, TrainConfig
from puzzlenet.generate import Order, generate
from puzzlenet.train import train

HELD_OUT = 0.15


@dataclass(frozen=True)
class Row:
    """One way to train. ``to_target_s`` is None when the target was not reached."""

    device: str
    precision: str
    compiled: bool
    batch: int
    warm_up_s: float
    images_per_s: float
    to_target_s: float | None
    accuracy: float
    epochs: int


def ways(batch: int | None) -> list[tuple[str, bool, int]]:
    """Device, compiled or not, batch: what this machine can do. A GPU is given batches that fill it."""
    found = [("cpu", False, batch or 32)]
    if torch.cuda.is_available():
        found += [("cuda", False, batch or 256), ("cuda", True, batch or 256)]
    return found


def measure(dataset: Dataset, folder: Path, way: tuple[str, bool, int], options: argparse.Namespace) -> Row:
    """Train once and read the clock of every epoch."""
    device, compiled, batch = way
    # The step has to grow with the batch, here with its root.
    rate = 4e-3 * (batch / 32) ** 0.5
    config = TrainConfig(
        epochs=options.epochs,
        patience=options.epochs,
        batch=batch,
        learning_rate=rate,
        seed=2,
        device=device,
        compile=compiled,
        threads=options.threads,
    )
    epochs: list[Epoch] = []
    trained = train(dataset, folder, config, on_epoch=epochs.append)
    images = len(dataset.items) * (1.0 - HELD_OUT)
    rest = epochs[-1].seconds - epochs[0].seconds
    reached = next((one.seconds for one in epochs if one.accuracy >= options.target), None)
    return Row(
        device=name_of(device),
        precision="float32" if device == "cpu" else "bfloat16",
        compiled=compiled,
        batch=batch,
        warm_up_s=round(epochs[0].seconds, 2),
        images_per_s=round(images * (len(epochs) - 1) / rest, 1) if rest > 0 else 0.0,
        to_target_s=None if reached is None else round(reached, 1),
        accuracy=trained.validation.accuracy,
        epochs=trained.epochs,
    )


def name_of(device: str) -> str:
    """What the table calls a device."""
    if device == "cuda":
        return torch.cuda.get_device_name()
    return f"CPU ({platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f})"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=2400)
    parser.add_argument("--target", type=float, default=0.97)
    parser.add_argument("--epochs", type=int, default=14)
    parser.add_argument("--batch", type=int)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--profile", default="line-1")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as work:
        root = Path(work)
        generate(Order(profile=options.profile, count=options.count, seed=12), root / "pieces")
        dataset = open_dataset(root / "pieces")
        rows = [measure(dataset, root / f"run-{i}", way, options) for i, way in enumerate(ways(options.batch))]
    if options.json:
        told = {"torch": torch.__version__, "target": options.target, "count": options.count}
        print(json.dumps({**told, "rows": [asdict(row) for row in rows]}, indent=2))
        return
    print(f"{options.count} pieces of {options.profile}, {options.epochs} epochs, torch {torch.__version__}")
    heads = ("compiled", "batch", "1st epoch", "images/s", "to target", "accuracy")
    print(f"{'device':<44} " + " ".join(f"{head:>10}" for head in heads))
    for row in rows:
        target = "-" if row.to_target_s is None else f"{row.to_target_s:.1f} s"
        compiled = "yes" if row.compiled else "no"
        print(
            f"{row.device + ', ' + row.precision:<44} {compiled:>10} {row.batch:>10} {row.warm_up_s:>8.1f} s "
            f"{row.images_per_s:>10.0f} {target:>10} {row.accuracy:>10.4f}"
        )
    if not torch.cuda.is_available():
        print("this machine offers no CUDA device: the rows of a GPU are left out")


if __name__ == "__main__":
    main()
