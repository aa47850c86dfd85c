"""A run of training, epoch by epoch: the best one kept, early stop, and going on after a run was cut off."""

from collections.abc import Callable
from dataclasses import dataclass

import torch

from puzzlenet.checkpoint import Checkpoint, decode, encode
from puzzlenet.config import ModelConfig
from puzzlenet.loop import Best, Loop, Split, fingerprint, logits_of
from puzzlenet.network import PuzzleNet
from puzzlenet.options import TrainConfig
from puzzlenet.team import ALONE, Team

__all__ = ["Best", "Clock", "Epoch", "Fitted", "Split", "TrainConfig", "fit", "logits_of"]

Clock = Callable[[], float]


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
class Fitted:
    """What the loop made: the best epoch with its weights, epochs in all, and seconds, those before a resume too."""

    best: Best
    epochs: int
    seconds: float


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
    team: Team = ALONE,
) -> Fitted:
    """Train a network in place, alone or as one of a team. ``data`` is the digest of what is trained on.

    With a checkpoint the run goes on where it was cut off, to the weights that it would have had without. Raises
    BadCheckpointError when the checkpoint is of another run.
    """
    loop = Loop(network, split, model, config, team)
    run = fingerprint(split, config, data)
    best, done, before, started = Best(), 0, 0.0, clock()
    if (saved := _saved(checkpoint, team, split.train_x.device)) is not None:
        best, done, before = loop.restore(*decode(saved), run)
    while done < config.epochs and (done == 0 or done - best.epoch < config.patience):
        done += 1
        loss = loop.pass_over()
        accuracy, held_out_loss = loop.judge()
        if (accuracy, -held_out_loss) > (best.accuracy, -best.loss):
            state = {name: value.detach().clone() for name, value in network.state_dict().items()}
            best = Best(accuracy, held_out_loss, done, state)
        spent = before + clock() - started
        if checkpoint is not None and team.first:
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


def _saved(checkpoint: Checkpoint | None, team: Team, device: torch.device) -> bytes | None:
    """The state to go on from, which the first worker reads for all."""
    found = checkpoint.load() if checkpoint is not None and team.first else None
    return team.told(None if found is None else encode(*found), device)
