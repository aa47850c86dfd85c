"""The training loop: one for CPU and GPU, everything on the device, best epoch kept, early stop.

On a GPU the forward pass runs in bfloat16 and may be compiled; pictures stay there as bytes and are normalised
and augmented batch by batch, so that no loader and no copy stands between two steps.
"""

import math
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from puzzlenet.augment import augment
from puzzlenet.checkpoint import Checkpoint, Meta, Tensors
from puzzlenet.config import ModelConfig
from puzzlenet.errors import BadCheckpointError, PuzzleNetError
from puzzlenet.files import canonical_json, sha256_of
from puzzlenet.network import PuzzleNet, normalise

Clock = Callable[[], float]
# Where and how fast a run computes is no part of what it computes: it may go on elsewhere.
_ELSEWHERE = ("threads", "device", "compile")


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainConfig:
    """How to train. ``validation`` is the share held out, drawn evenly from every class by the seed."""

    epochs: int = 16
    batch: int = 32
    learning_rate: float = 4e-3
    weight_decay: float = 0.05
    patience: int = 6
    validation: float = 0.15
    seed: int = 0
    width: int = 16
    blocks: int = 1
    image_size: int = 64
    class_weights: Literal["none", "balanced"] = "balanced"
    symmetries: Literal["auto", "square", "none"] = "auto"
    threads: int = 1
    device: str = "auto"
    compile: bool = False

    def __post_init__(self) -> None:
        for name, low, high in (
            ("epochs", 1, 10_000),
            ("batch", 2, 65_536),
            ("patience", 1, 10_000),
            ("threads", 1, 1024),
            ("width", 4, 256),
            ("blocks", 1, 8),
            ("seed", 0, 2**31),
        ):
            value = getattr(self, name)
            if not low <= value <= high:
                raise PuzzleNetError(f"--{name} {value}: choose {low} to {high}")
        for name, bottom, top in (("learning_rate", 1e-9, 10.0), ("weight_decay", 0.0, 10.0)):
            if not bottom <= getattr(self, name) <= top:
                raise PuzzleNetError(f"--{name.replace('_', '-')} {getattr(self, name)}: choose {bottom} to {top}")
        if not 0.02 <= self.validation <= 0.5:
            raise PuzzleNetError(f"--validation {self.validation}: choose a share between 0.02 and 0.5")
        if self.image_size % 16 or not 16 <= self.image_size <= 512:
            raise PuzzleNetError(f"--image-size {self.image_size}: choose a multiple of 16 between 16 and 512")


@dataclass(frozen=True, kw_only=True, slots=True)
class Epoch:
    """One line of progress. Loss is the training loss; seconds and eta are wall-clock."""

    number: int
    of: int
    loss: float
    accuracy: float
    best: float
    seconds: float
    eta: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Split:
    """Tensors on the device: bytes of shape (n, H, W, 3), labels of shape (n,)."""

    train_x: Tensor
    train_y: Tensor
    val_x: Tensor
    val_y: Tensor


@dataclass(frozen=True, kw_only=True, slots=True)
class Fitted:
    """What the loop made: the best epoch with its weights, epochs in all, and seconds, those before a resume too."""

    best: "Best"
    epochs: int
    seconds: float


@dataclass(slots=True)
class Best:
    """The best epoch so far, by validation accuracy, ties by loss."""

    accuracy: float = -1.0
    loss: float = math.inf
    epoch: int = 0
    state: dict[str, Tensor] = field(default_factory=dict)


def fit(
    network: PuzzleNet,
    split: Split,
    model: ModelConfig,
    config: TrainConfig,
    *,
    on_epoch: Callable[[Epoch], None],
    clock: Clock,
    checkpoint: Checkpoint | None = None,
    data: str = "",
) -> Fitted:
    """Train a network in place. ``data`` is the digest of what is trained on.

    With a checkpoint the run goes on where it was cut off, to the weights that it would have had without. Raises
    BadCheckpointError when the checkpoint is of another run.
    """
    loop = _Loop(network, split, model, config)
    run = _fingerprint(split, config, data)
    best, done, before, started = Best(), 0, 0.0, clock()
    if checkpoint is not None and (saved := checkpoint.load()) is not None:
        best, done, before = loop.restore(*saved, run)
    while done < config.epochs and (done == 0 or done - best.epoch < config.patience):
        done += 1
        loss = loop.pass_over()
        accuracy, held_out_loss = loop.judge()
        if (accuracy, -held_out_loss) > (best.accuracy, -best.loss):
            state = {name: value.detach().clone() for name, value in network.state_dict().items()}
            best = Best(accuracy, held_out_loss, done, state)
        spent = before + clock() - started
        if checkpoint is not None:
            checkpoint.save(*loop.state(best, run, done, spent))
        on_epoch(
            Epoch(
                number=done,
                of=config.epochs,
                loss=loss,
                accuracy=accuracy,
                best=best.accuracy,
                seconds=spent,
                eta=spent / done * (config.epochs - done),
            )
        )
    return Fitted(best=best, epochs=done, seconds=before + clock() - started)


@torch.inference_mode()
def logits_of(network: PuzzleNet, pixels: Tensor, model: ModelConfig) -> Tensor:
    """Logits of shape (n, K) for bytes of shape (n, H, W, 3); leaves the network in evaluation mode."""
    network.eval()
    parts = [network(normalise(part, model.mean, model.std)).float() for part in torch.split(pixels, 512)]
    return torch.cat(parts)


class _Loop:
    """What one run of the loop holds on to: optimizer, schedule and random numbers, all on the device."""

    def __init__(self, network: PuzzleNet, split: Split, model: ModelConfig, config: TrainConfig) -> None:
        self._network, self._split, self._model, self._batch = network, split, model, config.batch
        self._device = split.train_x.device
        self._seed = config.seed
        self._rng = torch.Generator(device=self._device).manual_seed(config.seed)
        self._weights = _class_weights(split.train_y, len(model.classes), config)
        self._forward: Callable[[Tensor], Tensor] = torch.compile(network) if config.compile else network
        self._optimizer = torch.optim.AdamW(
            network.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay
        )
        steps = config.epochs * math.ceil(len(split.train_y) / config.batch)
        self._schedule = torch.optim.lr_scheduler.OneCycleLR(
            self._optimizer, config.learning_rate, total_steps=steps, pct_start=0.2
        )

    def pass_over(self) -> float:
        """One pass over the training images, in a new order; the mean loss."""
        self._network.train()
        count = len(self._split.train_y)
        order = torch.randperm(count, generator=self._rng, device=self._device)
        total = torch.zeros((), device=self._device)
        for picks in torch.split(order, self._batch):
            if len(picks) > 1:  # a batch norm has no variance to take from one image
                total += self._step(picks) * len(picks)
        return float(total) / count

    def _step(self, picks: Tensor) -> Tensor:
        x_BCHW = normalise(self._split.train_x[picks], self._model.mean, self._model.std)
        x_BCHW = augment(x_BCHW, self._model.symmetries, self._rng)
        with _precision(self._device):
            logits = self._forward(x_BCHW)
        loss = cross_entropy(logits.float(), self._split.train_y[picks], weight=self._weights)
        self._optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        self._optimizer.step()
        self._schedule.step()
        return loss.detach()

    def state(self, best: Best, run: str, epoch: int, seconds: float) -> tuple[Tensors, Meta]:
        """All that the rest of the run depends on: network, best epoch, optimizer, schedule, random numbers."""
        tensors = {f"network.{name}": value for name, value in self._network.state_dict().items()}
        tensors |= {f"best.{name}": value for name, value in best.state.items()}
        for index, held in self._optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer.{index}.{name}": value for name, value in held.items()}
        tensors["random"] = self._rng.get_state()
        groups = [{name: group[name] for name in _SCHEDULED} for group in self._optimizer.param_groups]
        return tensors, {
            "schema": 1,
            "run": run,
            "epoch": epoch,
            "best": {"accuracy": best.accuracy, "loss": best.loss, "epoch": best.epoch},
            "steps": self._schedule.last_epoch,
            "groups": groups,
            "seconds": seconds,
            "device": self._device.type,
        }

    def restore(self, tensors: Tensors, meta: Meta, run: str) -> tuple[Best, int, float]:
        """Go back to a state; the best epoch, the epochs done and the seconds spent by then."""
        if meta.get("schema") != 1 or meta.get("run") != run:
            raise BadCheckpointError(
                "the checkpoint is of another run (other data, options or schema): remove it or choose another place"
            )
        try:
            best = Best(state=self._placed(tensors, "best."), **meta["best"])
            self._network.load_state_dict(self._placed(tensors, "network."))
            self._restore_optimizer(tensors, meta)
            if meta["device"] == self._device.type:
                self._rng.set_state(tensors["random"])
            else:  # another kind of device has other random numbers: go on with fresh ones
                self._rng.manual_seed(self._seed + int(meta["epoch"]))
            return best, int(meta["epoch"]), float(meta["seconds"])
        except (KeyError, TypeError, ValueError, RuntimeError) as exc:
            raise BadCheckpointError(f"the checkpoint does not fit this network ({exc}): remove it") from exc

    def _restore_optimizer(self, tensors: Tensors, meta: Meta) -> None:
        state: dict[int, dict[str, Tensor]] = {}
        for name, value in _part(tensors, "optimizer.").items():
            index, _, kind = name.partition(".")
            state.setdefault(int(index), {})[kind] = value
        groups = self._optimizer.state_dict()["param_groups"]
        for group, held in zip(groups, meta["groups"], strict=True):
            group.update(held, betas=tuple(held["betas"]))
        for index, parameter in enumerate(self._network.parameters()):
            for kind, value in state[index].items():
                if value.shape == parameter.shape:  # in the parameter's own layout, so that the sums round alike
                    state[index][kind] = torch.empty_like(parameter, requires_grad=False).copy_(value)
        self._optimizer.load_state_dict({"state": state, "param_groups": groups})
        self._schedule.load_state_dict({"last_epoch": meta["steps"], "_step_count": meta["steps"] + 1})

    def _placed(self, tensors: Tensors, prefix: str) -> Tensors:
        return {name: value.to(self._device) for name, value in _part(tensors, prefix).items()}

    def judge(self) -> tuple[float, float]:
        """Accuracy and log loss on the held-out images."""
        logits = logits_of(self._network, self._split.val_x, self._model)
        right = logits.argmax(1) == self._split.val_y
        return float(right.float().mean()), float(cross_entropy(logits, self._split.val_y))


# What the schedule changes in the optimizer's groups.
_SCHEDULED = ("lr", "betas")


def _part(tensors: Tensors, prefix: str) -> Tensors:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}


def _fingerprint(split: Split, config: TrainConfig, data: str) -> str:
    """What makes two runs the same one: data, how it was split, and the options that the result depends on."""
    options: dict[str, Any] = {name: value for name, value in asdict(config).items() if name not in _ELSEWHERE}
    labels = [split.train_y.tolist(), split.val_y.tolist()]
    return sha256_of(canonical_json({"data": data, "labels": labels, "options": options}))


def _class_weights(labels: Tensor, classes: int, config: TrainConfig) -> Tensor | None:
    """Inverse square root of each class's share, mean 1: rare defects count more, without drowning in noise."""
    if config.class_weights == "none":
        return None
    share = torch.bincount(labels, minlength=classes).float().clamp(min=1.0)
    weights = share.rsqrt()
    return weights * (classes / weights.sum())


def _precision(device: torch.device) -> AbstractContextManager[object]:
    return torch.autocast("cuda", dtype=torch.bfloat16) if device.type == "cuda" else nullcontext()
