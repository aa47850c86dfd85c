"""Several processes that train one network: the same steps, each on its share of every batch.

Every worker holds all pictures, draws the same random numbers and takes its part of each batch. Gradients, batch
norms and losses are summed over the workers, so that the result does not depend on how many there are, except for
the rounding of sums. That is also why a run may go on with another number of workers than it began with.

A worker knows its place from torchrun (RANK, WORLD_SIZE, LOCAL_RANK) or from an Indexed Job (JOB_COMPLETION_INDEX,
JOB_COMPLETIONS); MASTER_ADDR and MASTER_PORT say where worker 0 listens. Sums go over gloo on CPUs and NCCL on GPUs.
"""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from puzzlenet.errors import PuzzleNetError, WorkerLostError
from puzzlenet.network import ConvNorm

_PORT = "29500"
# Pods of a Job do not start together; one that has died is noticed at once, by its closed connection.
_PATIENCE = timedelta(minutes=15)


@dataclass(frozen=True, slots=True)
class Team:
    """A worker's place among its like. Worker 0 writes and speaks for all."""

    rank: int = 0
    size: int = 1

    @property
    def first(self) -> bool:
        """Whether this worker writes files and tells of progress."""
        return self.rank == 0

    def share(self, count: int) -> slice:
        """This worker's part of ``count`` things in order; the parts differ by one at most."""
        return slice(count * self.rank // self.size, count * (self.rank + 1) // self.size)

    def add(self, value: Tensor) -> None:
        """Replace a tensor by its sum over all workers, in place."""
        if self.size > 1:
            with _peers():
                dist.all_reduce(value)

    def add_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Sum every gradient over the workers, in one message: the whole network is no more than that."""
        gradients = [one.grad for one in parameters if one.grad is not None]
        if self.size == 1 or not gradients:
            return
        flat = torch.cat([one.flatten() for one in gradients])
        self.add(flat)
        for one, part in zip(gradients, torch.split(flat, [one.numel() for one in gradients]), strict=True):
            one.copy_(part.view_as(one))

    def agree(self, tensors: Iterable[Tensor]) -> None:
        """Give everybody the first worker's tensors, in place."""
        if self.size > 1:
            with _peers(), torch.no_grad():
                for one in tensors:
                    whole = one.detach().contiguous()
                    dist.broadcast(whole, 0)
                    one.copy_(whole)

    def told(self, data: bytes | None, device: torch.device) -> bytes | None:
        """What the first worker knows, to everybody: bytes or nothing, with no pickle on the way."""
        if self.size == 1:
            return data
        with _peers():
            length = torch.tensor([-1 if data is None else len(data)], device=device)
            dist.broadcast(length, 0)
            if int(length) < 0:
                return None
            body = torch.empty(int(length), dtype=torch.uint8, device=device)
            if self.first and data:
                body.copy_(torch.frombuffer(bytearray(data), dtype=torch.uint8))
            dist.broadcast(body, 0)
            return body.cpu().numpy().tobytes()


ALONE = Team()


@contextmanager
def join(environment: Mapping[str, str], device: torch.device) -> Iterator[Team]:
    """Meet the other workers, and part from them in the end. Raises PuzzleNetError naming the variable that is wrong.

    On a GPU the worker takes the one of its LOCAL_RANK.
    """
    rank = _number(environment, ("RANK", "JOB_COMPLETION_INDEX"))
    size = _number(environment, ("WORLD_SIZE", "JOB_COMPLETIONS"))
    if not 0 <= rank < size:
        raise PuzzleNetError(f"--distributed: worker {rank} of {size} cannot be; workers are numbered from 0")
    if size == 1:
        yield ALONE
        return
    host, port = environment.get("MASTER_ADDR"), environment.get("MASTER_PORT", _PORT)
    if not host:
        raise PuzzleNetError("--distributed: MASTER_ADDR is not set; it names the host of worker 0")
    if device.type == "cuda":
        torch.cuda.set_device(int(environment.get("LOCAL_RANK", "0")))
    with _peers():
        dist.init_process_group(
            "nccl" if device.type == "cuda" else "gloo",
            init_method=f"tcp://{host}:{port}",
            rank=rank,
            world_size=size,
            timeout=_PATIENCE,
        )
    try:
        yield Team(rank, size)
    finally:
        dist.destroy_process_group()


class SharedNorm(nn.BatchNorm2d):
    """A batch norm whose mean and variance are those of the whole batch, wherever its pictures are."""

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """As BatchNorm2d. Sums are taken of what is left of the running mean, which rounds better than raw squares."""
        if not self.training or self.running_mean is None or self.running_var is None:
            plain: Tensor = super().forward(x_BCHW)
            return plain
        channels = x_BCHW.shape[1]
        centre = self.running_mean.view(1, -1, 1, 1).clone()
        x = x_BCHW.float() - centre
        ones = x.new_full((1,), x.numel() / channels)
        sums = _summed(torch.cat([x.sum(dim=(0, 2, 3)), (x * x).sum(dim=(0, 2, 3)), ones]))
        count = sums[-1].detach()
        mean = sums[:channels] / count
        variance = (sums[channels:-1] / count - mean * mean).clamp(min=0.0)
        with torch.no_grad():
            step = 0.1 if self.momentum is None else self.momentum
            if self.num_batches_tracked is not None:
                self.num_batches_tracked.add_(1)
            self.running_mean.add_(step * mean)
            self.running_var.lerp_(variance * (count / (count - 1).clamp(min=1.0)), step)
        scale = self.weight * torch.rsqrt(variance + self.eps)
        out: Tensor = (x - mean.view(1, -1, 1, 1)) * scale.view(1, -1, 1, 1) + self.bias.view(1, -1, 1, 1)
        return out.to(x_BCHW.dtype)


def share_norms(network: nn.Module) -> None:
    """Let every batch norm of a network see the whole batch, in place; parameters and their names stay."""
    for module in network.modules():
        if isinstance(module, ConvNorm) and isinstance(module.norm, nn.BatchNorm2d):
            shared = SharedNorm(module.norm.num_features, module.norm.eps, module.norm.momentum)
            shared.weight, shared.bias = module.norm.weight, module.norm.bias
            shared.running_mean, shared.running_var = module.norm.running_mean, module.norm.running_var
            shared.num_batches_tracked = module.norm.num_batches_tracked
            module.norm = shared


class _Sum(torch.autograd.Function):
    """The sum over the workers; its gradient is the sum of theirs, since each of them used it."""

    @staticmethod
    def forward(_ctx: Any, value: Tensor) -> Tensor:
        total = value.clone()
        with _peers():
            dist.all_reduce(total)
        return total

    @staticmethod
    def backward(_ctx: Any, gradient: Tensor) -> Tensor:
        total = gradient.contiguous().clone()
        with _peers():
            dist.all_reduce(total)
        return total


def _summed(value: Tensor) -> Tensor:
    out: Tensor = _Sum.apply(value)  # type: ignore[no-untyped-call]
    return out


@contextmanager
def _peers() -> Iterator[None]:
    """Other processes may go away at any time; that is nobody's bug."""
    try:
        yield
    except (dist.DistError, RuntimeError) as exc:
        raise WorkerLostError(f"a worker of this run cannot be reached ({exc}): start all of them again") from exc


def _number(environment: Mapping[str, str], names: tuple[str, str]) -> int:
    text = next((environment[name] for name in names if environment.get(name)), None)
    if text is None:
        raise PuzzleNetError(f"--distributed: set {names[0]} (torchrun does) or {names[1]} (an Indexed Job does)")
    if not text.isdecimal():
        raise PuzzleNetError(f"--distributed: {names[0]} or {names[1]} is '{text}', which is no number")
    return int(text)
