"""The gate on a folder, for people: ``puzzlenet dataset check``."""

from pathlib import Path

import torch

from puzzlenet.dataset import list_images
from puzzlenet.manifest import verify
from puzzlenet.quality.checks import Limits
from puzzlenet.quality.measure import Facts, Sample, measure
from puzzlenet.quality.noise import Opinion
from puzzlenet.quality.report import Quality, judge
from puzzlenet.quality.suspicion import suspicion
from puzzlenet.records.observed import ObservedPredictor


def check_folder(folder: Path, limits: Limits, *, reference: Path | None, champion: Path | None, title: str) -> Quality:
    """Every check that a folder allows. Raises BadDataError or BadVersionError."""
    facts = _measured(folder)
    home = _measured(reference) if reference is not None else []
    noise: tuple[Opinion, ...] = ()
    if champion is not None:
        version = verify(champion)
        predictor = ObservedPredictor.load(version.folder, torch.device("cpu"))
        noise = suspicion(champion, predictor, facts)
    return judge(title, facts, home, limits, noise)


def _measured(folder: Path) -> list[Facts]:
    return [
        measure(Sample(data=path.read_bytes(), label=label, source=path.relative_to(folder).as_posix()))
        for path, label in list_images(folder)
    ]
