"""Training: from a data set to a run folder.

A run folder holds ``model.safetensors``, ``config.json`` and ``training.json`` (how it was made and how well it
did), and appears under its name only when it is whole.
"""

import os
import platform
import shutil
import subprocess
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from puzzlenet.checkpoint import Checkpoint
from puzzlenet.config import Architecture, ModelConfig
from puzzlenet.dataset import Dataset, require_every_class
from puzzlenet.errors import PuzzleNetError
from puzzlenet.files import new_folder, pretty_json
from puzzlenet.fit import Clock, Epoch, Fitted, Split, TrainConfig, fit, logits_of
from puzzlenet.metrics import Scores, fit_temperature, score, softmax
from puzzlenet.network import PuzzleNet, normalise, on_device
from puzzlenet.reference import write_reference
from puzzlenet.splits import hold_out
from puzzlenet.team import ALONE, Team
from puzzlenet.warm import begin_as, named
from puzzlenet.weights import save_weights

Triple = tuple[float, float, float]
_WHITEN = 1000  # pictures that the first layer is whitened on


@dataclass(frozen=True, kw_only=True, slots=True)
class Trained:
    """What a run produced. ``seconds`` is the training loop alone, before and after a resume."""

    config: ModelConfig
    validation: Scores
    epochs: int
    best_epoch: int
    seconds: float
    parameters: int


def train(
    dataset: Dataset,
    target: Path,
    config: TrainConfig,
    *,
    on_epoch: Callable[[Epoch], None] = lambda _: None,
    on_load: Callable[[int, int], None] | None = None,
    clock: Clock = time.monotonic,
    checkpoint: Checkpoint | None = None,
    team: Team = ALONE,
    start: Path | None = None,
) -> Trained:
    """Train on a data set and write a run folder. Raises BadDataError for unusable data, before anything is written.

    With a checkpoint, a run that was cut off goes on after its last saved epoch and ends with the same weights;
    BadCheckpointError says that it is of another run. Of a team the first worker alone writes, reads the
    checkpoint and tells of epochs; all of them return the result. ``start`` is a run or version to begin as.
    """
    require_every_class(dataset, at_least=4)
    device = pick_device(config.device)
    _prepare_torch(config, device)
    config = replace(config, compile=_compiles(config.compile, device, team))
    with new_folder(target) if team.first else nullcontext() as work:
        split = _split(dataset.pixels(config.image_size, on_load), dataset.labels(), dataset.groups, config, device)
        model = _model_config(dataset, split, config)
        network = on_device(PuzzleNet(model.architecture, len(dataset.classes)), device)
        begun = begin_as(network, model, start) if start is not None else None
        if begun is None:
            network.whiten(normalise(split.train_x[:_WHITEN], model.mean, model.std))
        model = begun or model
        digest = dataset.digest()
        fitted = fit(
            network,
            split,
            model,
            config,
            on_epoch=on_epoch if team.first else lambda _: None,
            clock=clock,
            checkpoint=checkpoint,
            data=digest + named(start),
            team=team,
        )
        network.load_state_dict(fitted.best.state)
        trained = _finish(network, split, model, fitted)
        if work is not None:
            save_weights(network, work / "model.safetensors")
            write_reference(work, network, trained.config, split.val_x.cpu().numpy(), split.val_y.cpu().numpy())
            (work / "config.json").write_bytes(trained.config.to_json())
            record = _record(dataset, digest, config, trained, team.size)
            (work / "training.json").write_bytes(pretty_json(record))
    return trained


def _model_config(dataset: Dataset, split: Split, config: TrainConfig) -> ModelConfig:
    mean, std = _channel_statistics(split.train_x)
    return ModelConfig(
        architecture=Architecture(width=config.width, blocks=config.blocks),
        classes=dataset.classes,
        image_size=config.image_size,
        symmetries=dataset.symmetries if config.symmetries == "auto" else config.symmetries,
        mean=mean,
        std=std,
    )


def pick_device(wanted: str) -> torch.device:
    """``auto`` takes a GPU when there is one. Raises PuzzleNetError for a device that is not there."""
    if wanted == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if wanted == "cuda" and not torch.cuda.is_available():
        raise PuzzleNetError("--device cuda: this machine offers no CUDA device; use --device cpu")
    if wanted not in ("cpu", "cuda"):
        raise PuzzleNetError(f"--device {wanted}: choose auto, cpu or cuda")
    return torch.device(wanted)


def _compiles(wanted: bool | None, device: torch.device, team: Team) -> bool:
    """By default a GPU's network is compiled where a C compiler is, which torch builds its kernels' launchers with."""
    if team.size > 1:  # the norms of a team call the others in the middle of what would be compiled
        if wanted:
            raise PuzzleNetError("--compile: not with several workers; leave out --compile or --distributed")
        return False
    possible = any(shutil.which(name) for name in (os.environ.get("CC") or "cc", "gcc", "clang"))
    if wanted and not possible:
        raise PuzzleNetError("--compile: there is no C compiler (cc, gcc or clang) here; use --no-compile")
    return (device.type == "cuda" and possible) if wanted is None else wanted


def _finish(network: PuzzleNet, split: Split, model: ModelConfig, fitted: Fitted) -> Trained:
    """Fit the temperature on the held-out share and judge the final model on it."""
    logits: NDArray[np.float64] = logits_of(network, split.val_x, model).double().cpu().numpy()
    labels: NDArray[np.int64] = split.val_y.cpu().numpy()
    temperature = fit_temperature(logits, labels)
    return Trained(
        config=model.model_copy(update={"temperature": temperature}),
        validation=score(softmax(logits, temperature), labels, model.classes),
        epochs=fitted.epochs,
        best_epoch=fitted.best.epoch,
        seconds=fitted.seconds,
        parameters=network.parameter_count(),
    )


def _split(
    pixels: NDArray[np.uint8],
    labels: NDArray[np.int64],
    groups: tuple[str, ...] | None,
    config: TrainConfig,
    device: torch.device,
) -> Split:
    """Hold out the same share of every class by the seed; what belongs together stays together."""
    held = hold_out(labels, config.validation, config.seed, groups)
    x, y = torch.from_numpy(pixels), torch.from_numpy(labels)
    keep = torch.from_numpy(held)
    return Split(
        train_x=x[~keep].to(device), train_y=y[~keep].to(device), val_x=x[keep].to(device), val_y=y[keep].to(device)
    )


def _channel_statistics(pixels: Tensor) -> tuple[Triple, Triple]:
    flat = pixels.reshape(-1, 3).double() / 255.0
    mean, std = flat.mean(0).tolist(), flat.std(0).clamp(min=0.02).tolist()
    return (
        (round(mean[0], 5), round(mean[1], 5), round(mean[2], 5)),
        (round(std[0], 5), round(std[1], 5), round(std[2], 5)),
    )


def _prepare_torch(config: TrainConfig, device: torch.device) -> None:
    torch.manual_seed(config.seed)
    if device.type == "cpu":
        torch.set_num_threads(config.threads)
    else:
        torch.backends.cudnn.benchmark = True


def _record(dataset: Dataset, digest: str, config: TrainConfig, trained: Trained, workers: int) -> dict[str, Any]:
    """``training.json``: enough to make the model again, and how it did when it was made."""
    info = dataset.info
    return {
        "schema": 1,
        "dataset": {
            "digest": digest,
            "manifest": info.manifest if info else None,
            "counts": dataset.counts(),
            "profile": info.profile if info else None,
            "seed": info.seed if info else None,
        },
        "parameters": asdict(config),
        "workers": workers,
        "validation": trained.validation.to_dict(),
        "epochs": trained.epochs,
        "best_epoch": trained.best_epoch,
        "network_parameters": trained.parameters,
        "seconds": round(trained.seconds, 1),
        "code": {"commit": code_commit(), "image": os.environ.get("PUZZLENET_IMAGE")},
        "packages": {"python": platform.python_version(), "torch": torch.__version__, "numpy": np.__version__},
    }


def code_commit() -> str | None:
    """The commit this code is from: PUZZLENET_COMMIT in an image, git in a checkout, None elsewhere."""
    if commit := os.environ.get("PUZZLENET_COMMIT"):
        return commit
    try:
        out = subprocess.run(
            ["git", "rev-parse", "HEAD"],
            cwd=Path(__file__).parent,
            capture_output=True,
            text=True,
            timeout=5,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return out.stdout.strip()
