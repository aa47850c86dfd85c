"""What the settings say about the pods that train and replay."""

from __future__ import annotations

from puzzle_operator.manifests.trainer_pod import Trainer
from puzzle_operator.settings import Settings


def trainer_of(settings: Settings) -> Trainer:
    """The trainer of these settings."""
    return Trainer(
        image=settings.trainer_image,
        pull_policy=settings.trainer_pull_policy,
        command=settings.trainer_words(),
        monitor_url=settings.monitor_url,
        monitor_secret=settings.monitor_secret,
        signing_secret=settings.signing_secret,
    )
