"""What the operator needs from the world, as Protocols, and the two families of errors that the world answers
with.

    PortError
    ├── Unavailable            try again after `retry_after` seconds; nothing is wrong with the model
    │   └── Conflict           somebody wrote in between; read again at once
    └── PermanentFailure       the same attempt fails again; a person has to change something
        ├── Rejected           the API server, or a webhook, refuses the object
        └── Forbidden          the operator's role lacks a right

Adapters translate whatever their client raises into these and chain the cause. An outage of a metric source
is not an error at all but a value (`Missing`): decisions go on without it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from puzzle_operator.api.base import JsonObject
from puzzle_operator.api.resource import PuzzleModel
from puzzle_operator.core.facts import Absence, Missing, Reading, Service, VersionCheck
from puzzle_operator.core.monitor import MonitorState, Registration
from puzzle_operator.core.replay.facts import ReplayJob
from puzzle_operator.core.retraining.facts import Decisions, TrainingRun
from puzzle_operator.core.situation import Note


class PortError(Exception):
    """The world did not do what was asked."""


class Unavailable(PortError):  # noqa: N818 - reads as what it is: `except Unavailable`
    """Try again later."""

    def __init__(self, message: str, retry_after: float = 5.0) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class Conflict(Unavailable):
    """Somebody else wrote in between."""

    def __init__(self, message: str) -> None:
        super().__init__(message, retry_after=0.2)


class PermanentFailure(PortError):  # noqa: N818
    """A person has to change something."""


class Rejected(PermanentFailure):
    """The API server refuses the object."""


class Forbidden(PermanentFailure):
    """The operator's role lacks a right."""


@dataclass(frozen=True, slots=True)
class Credentials:
    """How to reach the registry. Never logged: the secret is kept out of `repr`."""

    access_key: str
    secret_key: str
    https: bool
    region: str = "us-east-1"

    def __repr__(self) -> str:
        return f"Credentials(access_key={self.access_key[:2]}…, https={self.https})"


class Cluster(Protocol):
    """The Kubernetes API."""

    async def model(self, namespace: str, name: str) -> JsonObject | None:
        """The PuzzleModel as stored, or None when there is none."""

    async def identity(self) -> str | None:
        """What tells this cluster from every other; None where it cannot be known."""

    async def service(self, model: PuzzleModel) -> Service | Absence:
        """Its InferenceService with revisions and pods."""

    async def apply(self, obj: JsonObject) -> JsonObject:
        """Server-side apply; the object as it is then."""

    async def drop_revision(self, namespace: str, name: str) -> None:
        """Delete a Knative revision; one that is gone already is fine."""

    async def write_status(self, model: PuzzleModel, status: JsonObject) -> None:
        """Replace the status, unless the object changed since it was read (`Conflict`)."""

    async def clear_annotation(self, model: PuzzleModel, name: str) -> None:
        """Take an annotation away, unless somebody has given it another value since the model was read."""

    async def emit(self, model: PuzzleModel, note: Note, at: datetime) -> None:
        """One event on the model."""

    async def training_jobs(self, model: PuzzleModel) -> tuple[TrainingRun, ...]:
        """The model's training Jobs; with the pods of its newest run."""

    async def replay_job(self, model: PuzzleModel, name: str) -> ReplayJob | None:
        """The Job of a shadow replay with its newest pod; None when there is none of this name that is the model's."""

    async def create_job(self, model: PuzzleModel, job: JsonObject) -> None:
        """Make a Job, unless it exists.

        Raises:
            Rejected: if a Job of this name exists that is not the model's, or the API server refuses it.
        """

    async def create_service(self, model: PuzzleModel, service: JsonObject) -> None:
        """Make the Service of several workers, unless it exists. Raises as `create_job`."""

    async def delete_job(self, namespace: str, name: str) -> None:
        """Delete a Job with its pods; one that is gone already is fine."""

    async def credentials(self, namespace: str, secret: str) -> Credentials | None:
        """The registry's credentials; None without that Secret.

        Raises:
            Rejected: if the Secret lacks a key (naming it).
        """


class Metrics(Protocol):
    """The source of request metrics."""

    async def read(
        self, model: PuzzleModel, revisions: frozenset[str]
    ) -> tuple[Mapping[str, Reading | Missing], Reading | Missing]:
        """Readings by metric of the spec, and the one that guards look at. Never raises for an outage."""

    async def picture_rate(self, model: PuzzleModel) -> float | None:
        """Pictures a second while the model's line works; None where nobody knows."""


class Monitor(Protocol):
    """Where predictions are recorded and watched."""

    async def ask(self, namespace: str, name: str, settings: JsonObject) -> MonitorState | Missing:
        """Tell it what is wanted of a model, and hear what it has seen. Never raises for an outage, nor waits long."""

    async def tell(self, namespace: str, name: str, decisions: Sequence[JsonObject]) -> None:
        """Have these decisions on record. Returns at once; what cannot be told now is told at a later call."""

    async def forget(self, namespace: str, name: str) -> Missing | None:
        """The model is gone: stop watching it. None once the monitor says that it did."""

    async def registered(self) -> tuple[Registration, ...] | Missing:
        """Every model that it watches, whoever asked for that."""


class Registry(Protocol):
    """Where versions are kept."""

    async def check(self, model: PuzzleModel, version: str) -> VersionCheck:
        """Whether this version is there."""

    async def decisions(self, model: PuzzleModel, *, fresh: bool) -> Decisions | VersionCheck:
        """The newest records of the line's decisions, or why they cannot be read.

        An answer, and an outage too, serves for a while unless a fresh one is asked for.
        """

    async def progress(self, model: PuzzleModel, run: str) -> str:
        """How far a run is, in words; empty when nobody can say."""


@dataclass(frozen=True, slots=True)
class Ports:
    """Everything outside."""

    cluster: Cluster
    metrics: Metrics
    registry: Registry
    clock: Callable[[], datetime]
    monitor: Monitor | None = None
    """None where no monitor is set up."""
