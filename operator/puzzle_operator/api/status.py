"""What the operator writes in a PuzzleModel's status: for people, for scripts, and for itself after a
restart.

Nothing that a rollout needs lives anywhere else, so an operator that is killed carries on from here. Lists
are bounded, because a status travels with every read.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError

from .base import JsonObject, Time, Wire
from .conditions import ConditionType, Outcome, Phase, Verdict
from .monitoring import AccuracyStatus, DriftStatus, InputStatus
from .replay import ReplayStatus
from .retraining import RetrainingStatus

MAX_TRANSITIONS = 20
MAX_HISTORY = 30
MAX_QUARANTINED = 50


class VersionRef(Wire):
    """A version that serves or is meant to."""

    version: str
    """Digest."""
    revision: str | None = None
    """Knative revision that runs it."""
    since: Time | None = None
    """When it took this part."""


class Weight(Wire):
    """The challenger's share of requests in per cent, as wanted and as KServe shows it."""

    wanted: int = 0
    observed: int = 0


class Bounds(Wire):
    """A number that is known to lie between two others, at all looks together."""

    low: float
    high: float | None = None
    """Absent when there is no bound yet."""


class Side(Wire):
    """What one version's requests showed since the challenger's first traffic."""

    requests: int = 0
    bad: int = 0
    rate: float | None = None
    """Bad requests as a fraction; absent without requests."""
    p95: Bounds | None = None
    """Latency metrics: 19 of 20 requests that the present pods have ever answered took at most this many seconds.
    For people; no verdict rests on it."""


class MetricStatus(Wire):
    """One metric of the present or last rollout."""

    name: str
    verdict: Verdict
    champion: Side = Field(default_factory=Side)
    challenger: Side = Field(default_factory=Side)
    max_risk_ratio: float | None = None
    evidence: float | None = None
    """Evidence that the challenger is worse (an e-value; 1 says nothing)."""
    bound: float | None = None
    """Evidence at which the challenger is rolled back: number of metrics / alpha; a replay that was
    judged counts as one more."""
    evidence_for: float | None = None
    """Evidence that the challenger is tolerable with the traffic that comes next."""
    bound_for: float | None = None
    """Evidence at which the metric passes."""
    needed: int | None = None
    """Requests of the challenger that are expected to be missing until it passes; absent when no number of them is in
    sight at the present rates."""
    message: str = ""
    """All of it in a sentence."""


_Opaque = Annotated[dict[str, Any], Field(json_schema_extra={"x-kubernetes-preserve-unknown-fields": True})]


class MetricMemory(Wire):
    """What is remembered of one metric between passes. Written by the operator for itself."""

    name: str
    source: str | None = None
    """Hash of what is counted. Another one begins anew: the old marks say nothing about it."""
    evidence: _Opaque = Field(default_factory=dict)
    """The evidence so far."""
    counters: _Opaque = Field(default_factory=dict)
    """Up to where the counters of each pod have been counted."""
    bake: _Opaque = Field(default_factory=dict)
    """What was seen since the promotion."""


class Cause(Wire):
    """Why a rollout is being taken back."""

    reason: str
    message: str
    quarantine: bool = False


class Approval(Wire):
    """A person's consent to one move."""

    gate: str
    """`weight-25`, `promotion`: the move."""
    without_evidence: bool = False
    """Whether it may be made without waiting for evidence or time. A Fail, a guard or missing metrics forbid it all
    the same."""
    at: Time


class Rollout(Wire):
    """The present rollout, or the last one: it has an outcome then."""

    challenger: str
    """Digest."""
    revision: str | None = None
    step: int = 0
    """Index of the present step, from 0."""
    started_at: Time
    ready_at: Time | None = None
    first_traffic_at: Time | None = None
    """When KServe first showed a share above 0 for the challenger."""
    approval: Approval | None = None
    """Consent that was given and not used yet."""
    heard: str | None = None
    """The annotation that was honoured last, so that it is known again if it could not be taken away."""
    unready_since: Time | None = None
    """Since when the challenger has traffic and pods, and none of them is ready."""
    step_started_at: Time | None = None
    """When KServe first showed the weight of the present step (or of the bake)."""
    step_base_requests: int = 0
    """Requests of the challenger before the present step."""
    frozen_since: Time | None = None
    """Since when the clock of the step stands still: paused, or metrics unknown."""
    promoted_at: Time | None = None
    decided_at: Time | None = None
    """When it was decided to take the challenger back."""
    zero_traffic_at: Time | None = None
    """When KServe first showed 0 per cent for the challenger after that."""
    finished_at: Time | None = None
    outcome: Outcome | None = None
    cause: Cause | None = None
    replay: ReplayStatus | None = None
    """What became of the labelled pieces that the challenger was shown before its first traffic; absent where the
    operator has no monitor or no image for the Job, or spec.canary.replay.pieces is 0."""
    memory: tuple[MetricMemory, ...] = ()

    @property
    def is_active(self) -> bool:
        """Whether the rollout has not ended."""
        return self.outcome is None


class Quarantine(Wire):
    """A version that failed, and is not tried again until somebody says so."""

    version: str
    reason: str
    message: str = ""
    at: Time


class Transition(Wire):
    """One step from phase to phase."""

    at: Time
    from_: Annotated[Phase | None, Field(alias="from")] = None
    to: Phase
    reason: str
    message: str = ""


class HistoryEntry(Wire):
    """One decision: which version became or did not become champion, when and why."""

    at: Time
    version: str
    outcome: str
    replaced: str | None = None
    message: str = ""


class Condition(Wire):
    """A Kubernetes condition."""

    type: ConditionType
    status: Literal["True", "False", "Unknown"]
    reason: str
    message: str = ""
    last_transition_time: Time
    observed_generation: int | None = None


class Applied(Wire):
    """What was last written to the InferenceService, to tell a hand edit from a decision of our own."""

    hash: str
    generation: int
    uid: str


class PuzzleModelStatus(Wire):
    """What is."""

    observed_generation: int | None = None
    phase: Phase = Phase.PENDING
    step: str | None = None
    """Present step of all, such as 2/3."""
    verdict: Verdict | None = None
    evidence: str | None = None
    """Evidence against the challenger, of what a rollback needs: the metric that comes nearest."""
    samples: int | None = None
    """Requests that the challenger answered in this rollout."""
    reason: str | None = None
    message: str | None = None
    next: str | None = None
    """What happens next, and when."""
    awaiting: str | None = None
    """The move that waits for a person's consent, as the annotation puzzlenet.dev/promote takes it."""
    target: str | None = None
    """The version that is meant: the digest in the spec, or what `auto` stands for now."""
    champion: VersionRef | None = None
    challenger: VersionRef | None = None
    champion_short: str | None = None
    challenger_short: str | None = None
    weight: Weight | None = None
    metrics: tuple[MetricStatus, ...] = ()
    rollout: Rollout | None = None
    drift: DriftStatus | None = None
    """Absent until the monitor has said something, as the next two."""
    input: InputStatus | None = None
    accuracy: AccuracyStatus | None = None
    quarantined: tuple[Quarantine, ...] = ()
    transitions: tuple[Transition, ...] = ()
    history: tuple[HistoryEntry, ...] = ()
    conditions: tuple[Condition, ...] = ()
    applied: Applied | None = None
    retraining: RetrainingStatus | None = None

    def quarantine_of(self, version: str) -> Quarantine | None:
        """The entry that keeps this version out, if there is one."""
        return next((entry for entry in self.quarantined if entry.version == version), None)

    def condition(self, kind: ConditionType) -> Condition | None:
        """The condition of this type, if it was ever set."""
        return next((entry for entry in self.conditions if entry.type is kind), None)

    @property
    def active(self) -> Rollout | None:
        """The rollout that has not ended, if there is one."""
        return self.rollout if self.rollout is not None and self.rollout.is_active else None


def read_status(wire: JsonObject | None) -> tuple[PuzzleModelStatus, tuple[str, ...]]:
    """The status as stored, and the names of fields that made no sense and were dropped.

    Somebody may have edited it by hand, or an older operator wrote it: whatever can be read is kept, because
    the champion and the quarantine must not be lost to one bad field.
    """
    wire = dict(wire or {})
    dropped: list[str] = []
    while True:
        try:
            return PuzzleModelStatus.model_validate(wire), tuple(sorted(dropped))
        except ValidationError as exc:
            bad = {str(error["loc"][0]) for error in exc.errors() if error["loc"]} & set(wire)
            if not bad:
                return PuzzleModelStatus(), tuple(sorted(wire))
            for field in bad:
                del wire[field]
            dropped.extend(bad)
