"""The steps of training: one code for CPU and GPU, for one process and for several.

Pictures stay on the device as bytes and are normalised and augmented batch by batch, so that no loader and no copy
stands between two steps. On a GPU the forward pass runs in bfloat16 and may be compiled.
"""

import math
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from puzzlenet.augment import apply, draw
from puzzlenet.checkpoint import Meta, Tensors
from puzzlenet.config import ModelConfig
from puzzlenet.errors import BadCheckpointError
from puzzlenet.files import canonical_json, sha256_of
from puzzlenet.network import PuzzleNet, normalise
from puzzlenet.options import TrainConfig
from puzzlenet.team import Team, share_norms

# Where and how fast a run computes is no part of what it computes: it may go on elsewhere.
_ELSEWHERE = ("threads", "device", "compile")
# What the schedule changes in the optimizer's groups.
_SCHEDULED = ("lr", "betas")


@dataclass(frozen=True, kw_only=True, slots=True)
class Split:
    """Tensors on the device: bytes of shape (n, H, W, 3), labels of shape (n,)."""

    train_x: Tensor
    train_y: Tensor
    val_x: Tensor
    val_y: Tensor


@dataclass(slots=True)
class Best:
    """The best epoch so far, by validation accuracy, ties by loss."""

    accuracy: float = -1.0
    loss: float = math.inf
    epoch: int = 0
    state: dict[str, Tensor] = field(default_factory=dict)


@torch.inference_mode()
def logits_of(network: PuzzleNet, pixels: Tensor, model: ModelConfig) -> Tensor:
    """Logits of shape (n, K) for bytes of shape (n, H, W, 3); leaves the network in evaluation mode."""
    network.eval()
    parts = [network(normalise(part, model.mean, model.std)).float() for part in torch.split(pixels, 512)]
    return torch.cat(parts)


class Loop:
    """What one run of the loop holds on to: optimizer, schedule and random numbers, all on the device."""

    def __init__(self, network: PuzzleNet, split: Split, model: ModelConfig, config: TrainConfig, team: Team) -> None:
        self._network, self._split, self._model, self._team = network, split, model, team
        self._batch, self._seed = config.batch, config.seed
        self._device = split.train_x.device
        self._rng = torch.Generator(device=self._device).manual_seed(config.seed)
        self._weights = _class_weights(split.train_y, len(model.classes), config)
        if team.size > 1:
            share_norms(network)
            team.agree(network.state_dict().values())
        self._compiled: Callable[[Tensor], Tensor] | None = torch.compile(network) if config.compile else None
        self._optimizer = torch.optim.AdamW(
            network.parameters(),
            lr=config.learning_rate,
            weight_decay=config.weight_decay,
            fused=True if self._device.type == "cuda" else None,
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
            # A batch norm has no variance to take from one image, and every worker needs one at least.
            if len(picks) >= max(2, self._team.size):
                total += self._step(picks) * len(picks)
        self._team.add(total)
        self._team.agree(self._network.state_dict().values())  # rounding may differ between kinds of machines
        return float(total) / count

    def _step(self, picks: Tensor) -> Tensor:
        """One step on a batch; this worker's part of the mean loss."""
        part = self._team.share(len(picks))
        chance = draw(len(picks), self._split.train_x.shape[1], self._model.symmetries, self._rng)
        x_BCHW = normalise(self._split.train_x[picks[part]], self._model.mean, self._model.std)
        x_BCHW = apply(x_BCHW, chance.of(part))
        with _precision(self._device):
            logits = self._forward(len(picks))(x_BCHW)
        labels = self._split.train_y[picks]
        # Divided by what the whole batch weighs, so that the workers' parts add up to its mean.
        weight = float(len(picks)) if self._weights is None else self._weights[labels].sum()
        loss = cross_entropy(logits.float(), labels[part], weight=self._weights, reduction="sum") / weight
        self._optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        self._team.add_gradients(self._network.parameters())
        self._optimizer.step()
        self._schedule.step()
        return loss.detach()

    def _forward(self, batch: int) -> Callable[[Tensor], Tensor]:
        """Only full batches are compiled: another shape would be compiled anew, for one step of an epoch."""
        return self._compiled if self._compiled is not None and batch == self._batch else self._network

    def state(self, best: Best, run: str, epoch: int, seconds: float) -> tuple[Tensors, Meta]:
        """All that the rest of the run depends on: network, best epoch, optimizer, schedule, random numbers."""
        tensors = {f"network.{name}": value for name, value in self._network.state_dict().items()}
        tensors |= {f"best.{name}": value for name, value in best.state.items()}
        for number, moments in self._optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer.{number}.{name}": value for name, value in moments.items()}
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
            number, _, kind = name.partition(".")
            state.setdefault(int(number), {})[kind] = value
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
        """Accuracy and log loss on the held-out images, each worker on its share of them."""
        count = len(self._split.val_y)
        part = self._team.share(count)
        logits, labels = logits_of(self._network, self._split.val_x[part], self._model), self._split.val_y[part]
        right = (logits.argmax(1) == labels).sum()
        sums = torch.stack([right.double(), cross_entropy(logits, labels, reduction="sum").double()])
        self._team.add(sums)
        return float(sums[0]) / count, float(sums[1]) / count


def _part(tensors: Tensors, prefix: str) -> Tensors:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}


def fingerprint(split: Split, config: TrainConfig, data: str) -> str:
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
