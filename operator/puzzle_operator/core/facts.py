"""One snapshot of the world, taken before anything is decided and frozen from then on.

What could not be read is a value too (`Missing`, `Absence`): an outage of Prometheus must neither look like a
bad canary nor stop a guard that does not need Prometheus.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from puzzle_operator.api.resource import PuzzleModel
from puzzle_operator.api.status import Applied

from .monitor import MonitorState
from .replay.facts import ReplayJob
from .retraining.facts import Decisions, TrainingRun


class MissingKind(StrEnum):
    """Why a metric has no value."""

    UNAVAILABLE = "unavailable"
    """The source did not answer, or answered with old values: nobody knows."""
    ABSENT = "absent"
    """The source answered, and has no such series: the query or the set-up is wrong."""


@dataclass(frozen=True, slots=True)
class Missing:
    """A metric without a value, and why."""

    kind: MissingKind
    reason: str


NO_MONITOR = Missing(MissingKind.ABSENT, "no monitor is set up (PUZZLE_MONITOR_URL)")


@dataclass(frozen=True, slots=True)
class Counter:
    """One pair of counters: all requests of a pod (or revision) and the bad ones among them, since its
    start."""

    series: str
    revision: str
    total: float
    bad: float
    lasting: bool = False
    """Whether it is kept in a database, and does not begin again with its pod."""


@dataclass(frozen=True, slots=True)
class Reading:
    """What one metric showed at one moment, over all revisions of a model.

    `scraped` are the revisions whose source is known to be read: a scraped revision without a counter is
    idle.
    """

    counters: tuple[Counter, ...]
    scraped: frozenset[str]
    at: datetime
    note: str = ""
    complete: datetime | None = None
    """Every request that was answered before this is in it; None: nobody knows."""
    histograms: Mapping[str, tuple[tuple[float, int], ...]] = field(default_factory=dict)
    """Latency metrics: requests at or below each upper bound in seconds, by revision. For display."""


@dataclass(frozen=True, slots=True)
class Revision:
    """A Knative revision of the model's predictor."""

    name: str
    version: str
    """Digest; empty when the revision does not say."""
    generation: int
    """Generation of the configuration that made it: a higher one is newer."""
    ready: bool
    message: str = ""


@dataclass(frozen=True, slots=True)
class Pod:
    """A predictor pod."""

    name: str
    revision: str
    ready: bool
    restarts: int = 0
    waiting: str = ""
    """Reason of a waiting container, such as CrashLoopBackOff."""
    message: str = ""
    refused: bool = False
    """Whether its server says that the version is not what it claims, or not signed: another start cannot help."""
    started: datetime | None = None
    """When its counters began at 0: the start of queue-proxy, which keeps them."""


@dataclass(frozen=True, slots=True)
class Share:
    """One entry of the traffic that KServe shows."""

    revision: str
    percent: int


@dataclass(frozen=True, slots=True)
class Service:
    """The InferenceService as it is."""

    uid: str
    generation: int
    observed: bool
    """Whether KServe has seen the latest write."""
    ready: bool
    latest_created: str = ""
    latest_ready: str = ""
    latest_rolled_out: str = ""
    traffic: tuple[Share, ...] = ()
    revisions: tuple[Revision, ...] = ()
    pods: tuple[Pod, ...] = ()
    message: str = ""
    foreign: bool = False
    """An object of this name that the operator did not make."""
    labels_intact: bool = True
    """Whether the labels and the owner that we set are still there; their loss does not change the generation."""

    def is_as_left(self, applied: Applied) -> bool:
        """Whether nobody has written to it, or replaced it, since we did."""
        same = self.uid == applied.uid and self.generation == applied.generation
        return same and self.labels_intact


class Absence(StrEnum):
    """Why there is no InferenceService."""

    NONE = "none"
    """There is no such object."""
    NO_API = "no API"
    """The cluster does not know InferenceServices: KServe is not installed."""


class VersionState(StrEnum):
    """What the registry says about the wanted version."""

    FOUND = "found"
    NOT_FOUND = "not found"
    UNREACHABLE = "unreachable"
    SECRET_MISSING = "secret missing"  # noqa: S105
    SECRET_INVALID = "secret invalid"  # noqa: S105
    NOT_ASKED = "not asked"


@dataclass(frozen=True, slots=True)
class VersionCheck:
    """The registry's answer about one version."""

    version: str
    state: VersionState
    message: str = ""


@dataclass(frozen=True, slots=True)
class Facts:
    """Everything that a decision may depend on."""

    model: PuzzleModel
    now: datetime
    service: Service | Absence
    check: VersionCheck
    readings: Mapping[str, Reading | Missing] = field(default_factory=dict)
    """By name of the metric in the spec."""
    guard: Reading | Missing = Missing(MissingKind.UNAVAILABLE, "not read")
    """Responses and errors of every revision, whatever the metrics of the spec."""
    monitor: MonitorState | Missing = NO_MONITOR
    """Drift, health of the pictures and labels. ABSENT: there is no monitor, or it is one that knows no models."""
    run_images: int | None = None
    """Pictures between two false alarms of drift, as the monitor was told."""
    decisions: Decisions | VersionCheck | None = None
    """The registry's record of the line, or why it cannot be read; None: nobody asked."""
    jobs: tuple[TrainingRun, ...] | Missing | None = None
    """The model's training Jobs; None: nobody asked."""
    progress: str = ""
    """How far the run is that is going on, in its trainer's words."""
    replay: ReplayJob | Missing | None = None
    """The Job of the replay that is going on; None: there is none."""
    can_train: bool = False
    """Whether the operator has an image for trainers."""
