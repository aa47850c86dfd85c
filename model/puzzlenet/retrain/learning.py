"""The step of a run that several workers take together: from a folder of pictures to a trained network."""

from collections.abc import Callable
from pathlib import Path

from puzzlenet.checkpoint import Checkpoint
from puzzlenet.dataset import open_dataset
from puzzlenet.errors import BadCheckpointError
from puzzlenet.fit import Epoch
from puzzlenet.options import TrainConfig
from puzzlenet.team import Team
from puzzlenet.train import train


def learn(
    folder: Path,
    target: Path,
    config: TrainConfig,
    start: Path,
    team: Team,
    checkpoint: Checkpoint | None = None,
    on_epoch: Callable[[Epoch], None] = lambda _: None,
    on_bad_checkpoint: Callable[[str], None] = lambda _: None,
) -> None:
    """Train as one of a team, which is told worker 0's checkpoint; one that is of no use is none, for all of them."""
    dataset = open_dataset(folder)
    try:
        train(dataset, target, config, on_epoch=on_epoch, checkpoint=checkpoint, team=team, start=start)
    except BadCheckpointError as exc:
        on_bad_checkpoint(str(exc))
        train(dataset, target, config, on_epoch=on_epoch, checkpoint=checkpoint, team=team, start=start)
