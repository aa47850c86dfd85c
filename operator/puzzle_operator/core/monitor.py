"""What the monitor says about a model, as facts of a pass.

Its absence is a value (`Missing`): a rollout goes on without it, and only what needs labels or drift waits.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from puzzle_operator.api.monitoring import DriftPhase, Harm


@dataclass(frozen=True, slots=True)
class VersionDrift:
    """What one version's detector says."""

    version: str
    phase: DriftPhase
    harmful: Harm
    detector: str = ""
    backend: str = ""
    images: int = 0
    score: float | None = None
    threshold: float | None = None
    p_value: float | None = None
    since: datetime | None = None
    message: str = ""

    @property
    def does_harm(self) -> bool:
        """Whether the detector is sure, and labels or confidence agree that it matters."""
        return self.phase is DriftPhase.CONFIRMED and self.harmful is Harm.YES


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong with a line's pictures."""

    kind: str
    since: datetime | None = None
    message: str = ""


@dataclass(frozen=True, slots=True)
class InputHealth:
    """Whether a line's pictures are what they should be; `healthy` is None when too little was seen."""

    healthy: bool | None = None
    problems: tuple[Problem, ...] = ()
    images: int = 0
    last_image_at: datetime | None = None
    message: str = ""


@dataclass(frozen=True, slots=True)
class VersionLabels:
    """How often people agreed with a version within the last `window` seconds."""

    version: str
    labelled: int
    wrong: int
    accuracy: float | None
    window: float


@dataclass(frozen=True, slots=True)
class Labels:
    """Labelled pieces ever, those whose picture is kept, and the bytes of these."""

    total: int = 0
    images: int = 0
    size: int = 0


@dataclass(frozen=True, slots=True)
class Registration:
    """A model that the monitor watches, and who asked for that."""

    namespace: str
    name: str
    owner: str


@dataclass(frozen=True, slots=True)
class MonitorState:
    """Everything that the monitor says about one model."""

    at: datetime
    drift: tuple[VersionDrift, ...] = ()
    input: InputHealth = InputHealth()
    accuracy: tuple[VersionLabels, ...] = ()
    labels: Labels = Labels()
    decisions: tuple[str, ...] | None = None
    """Ids of the newest decisions that it has on record; None where it keeps none."""

    def drift_of(self, version: str) -> VersionDrift | None:
        """What the detector of this version says, if there is one."""
        return next((entry for entry in self.drift if entry.version == version), None)

    def accuracy_of(self, version: str) -> VersionLabels | None:
        """What labels say about this version, if there are any."""
        return next((entry for entry in self.accuracy if entry.version == version), None)
