"""Judging a trained model or a packaged version on a labelled folder that it has not seen."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from puzzlenet.dataset import Progress, open_dataset
from puzzlenet.metrics import Scores, score
from puzzlenet.predictor import Predictor


@dataclass(frozen=True, kw_only=True, slots=True)
class Report:
    """Scores of one model on one data set, with the data set's digest, so that the figures can be traced."""

    scores: Scores
    classes: tuple[str, ...]
    dataset: str
    profile: str | None

    def to_dict(self) -> dict[str, Any]:
        """The JSON that ``puzzlenet evaluate --out`` writes and ``puzzlenet package --evaluation`` reads."""
        return {
            "schema": 1,
            "accuracy": self.scores.accuracy,
            "dataset": {"digest": self.dataset, "profile": self.profile},
            "classes": list(self.classes),
            "scores": self.scores.to_dict(),
        }


def evaluate(model: Path, data: Path, *, progress: Progress | None = None) -> Report:
    """Score a model folder on a data set. Raises BadVersionError or BadDataError.

    Test-time views count, as they would when served; the accepted formats do not, they are a rule of the server.
    """
    predictor = Predictor.load(model)
    config = predictor.config
    dataset = open_dataset(data, classes=config.classes)
    probabilities = predictor.probabilities(dataset.pixels(config.image_size, progress))
    info = dataset.info
    return Report(
        scores=score(probabilities, dataset.labels(), config.classes),
        classes=config.classes,
        dataset=dataset.digest(),
        profile=info.profile if info else None,
    )
