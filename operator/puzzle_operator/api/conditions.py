"""The closed sets of words that status and events speak: phases, verdicts, condition types, reasons.

Scripts and alerts match on them, so they are enums here and nowhere else; a new one is a change of the
interface.
"""

from __future__ import annotations

from enum import StrEnum


class Phase(StrEnum):
    """Where a model stands. `docs/architecture.md` draws how they follow each other."""

    PENDING = "Pending"
    """Nothing serves yet, and something is missing that only a person can add."""
    DEPLOYING = "Deploying"
    """The first version starts; there is no champion to compare it with."""
    STABLE = "Stable"
    """The champion has all traffic."""
    STARTING = "Starting"
    """A challenger starts, without traffic."""
    CANARY = "Canary"
    """The challenger has the weight of a step."""
    BAKING = "Baking"
    """Promoted: the challenger has all traffic but the 1 % that keeps the champion warm."""
    PROMOTING = "Promoting"
    """The bake is over; the challenger takes the last per cent and becomes the champion."""
    ROLLING_BACK = "RollingBack"
    """The challenger's traffic goes to 0."""
    RESTORING = "Restoring"
    """The challenger has no traffic; the champion's manifest is put back, which frees its pods."""
    ROLLED_BACK = "RolledBack"
    """The champion has all traffic; the version that the spec names is quarantined."""


class Verdict(StrEnum):
    """What the evidence allows."""

    PASS = "Pass"  # noqa: S105 - a verdict, not a password
    FAIL = "Fail"
    HOLD = "Hold"
    UNKNOWN = "Unknown"


class Outcome(StrEnum):
    """How a rollout ended."""

    PROMOTED = "Promoted"
    ROLLED_BACK = "RolledBack"
    SUPERSEDED = "Superseded"
    ABORTED = "Aborted"
    INTERRUPTED = "Interrupted"


class ConditionType(StrEnum):
    """Conditions, each with observedGeneration, for `kubectl wait --for=condition=…`."""

    READY = "Ready"
    PROGRESSING = "Progressing"
    CANARY_HEALTHY = "CanaryHealthy"
    METRICS_AVAILABLE = "MetricsAvailable"
    DRIFT_DETECTED = "DriftDetected"
    """The champion's pieces no longer look like its reference; Unknown without a monitor."""
    INPUT_HEALTHY = "InputHealthy"
    """The line's pictures are what they should be; Unknown without a monitor."""
    ROLLED_BACK = "RolledBack"
    RETRAINING = "Retraining"


class Reason(StrEnum):
    """Reasons of conditions, events and the status itself."""

    # Nothing moves, and that is well.
    SERVING = "Serving"
    DEPLOYED = "Deployed"
    NO_ROLLOUT = "NoRollout"
    # A rollout moves.
    DEPLOYING = "Deploying"
    STARTING = "ChallengerStarting"
    REPLAYING = "Replaying"
    REPLAY_PASSED = "ReplayPassed"
    REPLAY_SKIPPED = "ReplaySkipped"
    CANARY_STARTED = "CanaryStarted"
    STEP_ADVANCED = "StepAdvanced"
    STEPS_EDITED = "StepsEdited"
    AT_STEP = "AtStep"
    WAITING_FOR_WEIGHT = "WaitingForWeight"
    PROMOTED = "Promoted"
    BAKING = "Baking"
    BAKE_COMPLETED = "BakeCompleted"
    PROMOTING = "Promoting"
    NEW_CHAMPION = "NewChampion"
    ROLLING_BACK = "RollingBack"
    RESTORING = "Restoring"
    RESTORED = "Restored"
    TRAFFIC_WITHDRAWN = "TrafficWithdrawn"
    # Why it waits.
    HELD_LOW_EVIDENCE = "HeldLowEvidence"
    HELD_METRICS_STALE = "HeldMetricsStale"
    METRICS_RESUMED = "MetricsResumed"
    HELD_INPUT_UNHEALTHY = "HeldInputUnhealthy"
    HELD_CHALLENGER_DRIFT = "HeldChallengerDrift"
    HOLD_ENDED = "HoldEnded"
    PAUSED = "Paused"
    RESUMED = "Resumed"
    INCONCLUSIVE = "Inconclusive"
    AWAITING_APPROVAL = "AwaitingApproval"
    APPROVED = "Approved"
    APPROVAL_IGNORED = "ApprovalIgnored"
    # Why it ended.
    ROLLED_BACK = "RolledBack"
    SUPERSEDED = "Superseded"
    ABORTED = "Aborted"
    GUARD_RESTARTS = "GuardRestarts"
    GUARD_ERROR_RATE = "GuardErrorRate"
    GUARD_UNREADY = "GuardUnready"
    EVIDENCE_AGAINST = "EvidenceAgainst"
    REPLAY_FAILED = "ReplayFailed"
    PROGRESS_DEADLINE = "ProgressDeadlineExceeded"
    # What is in the way.
    QUARANTINED = "Quarantined"
    RETRIED = "Retried"
    VERSION_NOT_FOUND = "VersionNotFound"
    VERSION_REFUSED = "VersionRefused"
    REGISTRY_UNAVAILABLE = "RegistryUnavailable"
    SECRET_MISSING = "SecretMissing"  # noqa: S105 - a reason, not a password
    SECRET_INVALID = "SecretInvalid"  # noqa: S105
    KSERVE_MISSING = "KServeMissing"
    REJECTED = "Rejected"
    NOT_READY = "NotReady"
    # Metrics.
    METRICS_FOUND = "MetricsFound"
    METRICS_UNAVAILABLE = "MetricsUnavailable"
    METRIC_ABSENT = "MetricAbsent"
    NOT_CHECKED = "NotChecked"
    # Verdicts in conditions.
    HEALTHY = "Healthy"
    FAILING = "Failing"
    # What the monitor says.
    NO_MONITOR = "NoMonitor"
    MONITOR_UNAVAILABLE = "MonitorUnavailable"
    DRIFT_NOT_WATCHED = "DriftNotWatched"
    DRIFT_COLLECTING = "DriftCollecting"
    NO_DRIFT = "NoDrift"
    DRIFT_SUSPECTED = "DriftSuspected"
    DRIFT_CONFIRMED = "DriftConfirmed"
    DRIFT_HARMFUL = "DriftHarmful"
    DRIFT_CLEARED = "DriftCleared"
    INPUT_NOT_WATCHED = "InputNotWatched"
    INPUT_HEALTHY = "InputHealthy"
    INPUT_UNHEALTHY = "InputUnhealthy"
    INPUT_RECOVERED = "InputRecovered"
    # Repairs.
    DRIFT_CORRECTED = "DriftCorrected"
    RECREATED = "Recreated"
    TRAFFIC_HEALED = "TrafficHealed"
    ADOPTED = "Adopted"
    STATUS_REPAIRED = "StatusRepaired"
    # Retraining.
    RETRAINING_DISABLED = "RetrainingDisabled"
    RETRAIN_IDLE = "NoTrigger"
    RETRAIN_TRIGGERED = "RetrainTriggered"
    RETRAIN_STARTED = "RetrainStarted"
    RETRAIN_PENDING = "RetrainPending"
    RETRAIN_SUCCEEDED = "RetrainSucceeded"
    CHALLENGER_ACCEPTED = "ChallengerAccepted"
    RETRAIN_REFUSED = "RetrainRefused"
    RETRAIN_FAILED = "RetrainFailed"
    RETRAIN_DEFERRED = "RetrainDeferred"
    COOLDOWN = "Cooldown"
    VERSION_WAITS = "AcceptedVersionWaits"
    NO_ACCEPTED_VERSION = "NoAcceptedVersion"


# Events that ask for attention; everything else is Normal.
WARNINGS = frozenset(
    {
        Reason.ROLLED_BACK,
        Reason.REPLAY_FAILED,
        Reason.HELD_METRICS_STALE,
        Reason.HELD_INPUT_UNHEALTHY,
        Reason.HELD_CHALLENGER_DRIFT,
        Reason.INCONCLUSIVE,
        Reason.APPROVAL_IGNORED,
        Reason.QUARANTINED,
        Reason.VERSION_NOT_FOUND,
        Reason.VERSION_REFUSED,
        Reason.REGISTRY_UNAVAILABLE,
        Reason.SECRET_MISSING,
        Reason.SECRET_INVALID,
        Reason.KSERVE_MISSING,
        Reason.REJECTED,
        Reason.METRIC_ABSENT,
        Reason.METRICS_UNAVAILABLE,
        Reason.PROGRESS_DEADLINE,
        Reason.DRIFT_CONFIRMED,
        Reason.DRIFT_HARMFUL,
        Reason.INPUT_UNHEALTHY,
        Reason.DRIFT_CORRECTED,
        Reason.RECREATED,
        Reason.TRAFFIC_HEALED,
        Reason.STATUS_REPAIRED,
        Reason.RETRAIN_PENDING,
        Reason.RETRAIN_REFUSED,
        Reason.RETRAIN_FAILED,
        Reason.NO_ACCEPTED_VERSION,
    }
)
