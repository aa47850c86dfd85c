"""The Job of a replay: as it is, and as it is to be."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from puzzle_operator.core.retraining.facts import JobState


@dataclass(frozen=True, slots=True)
class Showing:
    """What a Job is to do: show pieces to two revisions, which answer with these versions."""

    job: str
    champion: str
    champion_version: str
    challenger: str
    challenger_version: str
    since: datetime | None
    """When the champion took its part: it cannot have been trained on what came later."""


@dataclass(frozen=True, slots=True)
class ReplayJob:
    """One Job and its newest pod."""

    name: str
    uid: str
    state: JobState
    deleting: bool = False
    pending: str = ""
    """Why its pod does not start, in Kubernetes' words."""
    last_words: str = ""
    """The termination message of its container."""
    reason: str = ""
    """Why it failed, in the Job controller's words."""
