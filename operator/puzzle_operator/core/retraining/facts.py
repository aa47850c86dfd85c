"""What retraining looks at besides the facts of a rollout: Jobs, their pods, the registry's decisions."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class JobState(StrEnum):
    """Where a Job stands."""

    ACTIVE = "active"
    SUCCEEDED = "succeeded"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class TrainerPod:
    """A pod of a training Job."""

    name: str
    phase: str
    """Pending, Running, Succeeded or Failed."""
    created: datetime
    pending: str = ""
    """Why it does not start: the scheduler's words, or those of its container."""
    unschedulable: bool = False
    """Whether it is the scheduler that says so."""
    exit_code: int | None = None
    """Of its container, once that has ended."""
    last_words: str = ""
    """The termination message of its container."""
    worker: int = 0
    """Its number among those that train together; the first one decides and speaks."""


@dataclass(frozen=True, slots=True)
class TrainingRun:
    """A training Job as it is."""

    name: str
    uid: str
    run: str
    counter: int
    state: JobState
    created: datetime
    trigger: str = ""
    reason: str = ""
    """Why it failed, in the Job controller's word: DeadlineExceeded, BackoffLimitExceeded, PodFailurePolicy."""
    message: str = ""
    deleting: bool = False
    pods: tuple[TrainerPod, ...] = ()
    """The newest first."""
    failed_worker: int | None = None
    """Of several workers, the one that failed too often."""

    @property
    def deciding(self) -> tuple[TrainerPod, ...]:
        """Pods of the first worker, the newest first: progress and outcome are theirs."""
        return tuple(pod for pod in self.pods if pod.worker == 0)

    @property
    def current(self) -> tuple[TrainerPod, ...]:
        """The newest pod of each worker, in the order of their numbers."""
        newest: dict[int, TrainerPod] = {}
        for pod in self.pods:
            newest.setdefault(pod.worker, pod)
        return tuple(newest[number] for number in sorted(newest))


@dataclass(frozen=True, slots=True)
class DecisionRecord:
    """One record of a line's decisions in the registry."""

    key: str
    kind: str
    version: str
    run: str = ""
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Decisions:
    """The newest records of a line, the newest first."""

    records: tuple[DecisionRecord, ...] = ()

    @property
    def accepted(self) -> tuple[str, ...]:
        """Versions that passed the gate, the newest first."""
        return tuple(r.version for r in self.records if r.kind == "Accepted" and r.version)

    def of_run(self, run: str) -> DecisionRecord | None:
        """The decision that a run came to."""
        kinds = {"Accepted", "Refused"}
        return next((r for r in self.records if r.run == run and r.kind in kinds), None)


@dataclass(frozen=True, slots=True)
class Observed:
    """What the monitor says of the champion and its line."""

    drift: str = ""
    """Phase of the drift detector; empty without one."""
    harmful: str = "Unknown"
    drift_message: str = ""
    healthy: bool | None = None
    """Whether the feed of pictures is as it should be."""
    health_message: str = ""
    labelled: int = 0
    wrong: int = 0
    pictures: int = 0
    """Labelled pictures that are kept, ever."""
    picture_bytes: int = 0
