"""Before there is a champion, and when what serves has vanished: how the first version, or the champion,
comes up."""

from __future__ import annotations

from datetime import timedelta

from puzzle_common.durations import parse_duration
from puzzle_operator.api.conditions import ConditionType, Phase, Reason
from puzzle_operator.api.status import VersionRef, Weight
from puzzle_operator.core.facts import Absence, VersionCheck, VersionState
from puzzle_operator.core.names import short
from puzzle_operator.core.situation import FORWARD, Flag, Move, Pace, Situation, champion_ref
from puzzle_operator.core.traffic import Plan, refusal, rolled_out_version, safe_plan, trouble

_STATES = {
    VersionState.NOT_FOUND: Reason.VERSION_NOT_FOUND,
    VersionState.UNREACHABLE: Reason.REGISTRY_UNAVAILABLE,
    VersionState.SECRET_MISSING: Reason.SECRET_MISSING,
    VersionState.SECRET_INVALID: Reason.SECRET_INVALID,
}


def obstacle(s: Situation) -> tuple[Reason, str] | None:
    """What keeps the version of the spec from being rolled out, apart from a pause."""
    if not s.target:
        return _nothing_accepted(s)
    entry = s.status.quarantine_of(s.target)
    if entry is not None:
        return Reason.QUARANTINED, (
            f"version {short(s.target)} is quarantined since {entry.at:%Y-%m-%d %H:%M} UTC ({entry.reason}: "
            f"{entry.message}); name another version, or annotate puzzlenet.dev/retry={s.target} to try it "
            "again"
        )
    check = s.facts.check
    if check.version == s.target and check.state in _STATES:
        return _STATES[check.state], check.message
    return None


def _nothing_accepted(s: Situation) -> tuple[Reason, str]:
    line, found = s.facts.model.spec.line, s.facts.decisions
    if isinstance(found, VersionCheck) and found.state in _STATES:
        return _STATES[found.state], f"spec.model.version is auto: {found.message}"
    return Reason.NO_ACCEPTED_VERSION, (
        f"spec.model.version is auto, and the registry has no accepted version of {line} "
        f"(lines/{line}/decisions/ in bucket {s.facts.model.spec.storage.bucket}); name the first version by its digest"
    )


def wait_for_kserve(s: Situation) -> Move | None:
    """Without KServe there is nothing to steer."""
    if s.facts.service is not Absence.NO_API:
        return None
    message = "the cluster does not know InferenceServices (serving.kserve.io/v1beta1): install KServe 0.20 or newer"
    return s.move(
        Reason.KSERVE_MISSING,
        message,
        plan=None,
        pace=Pace.BLOCKED,
        announce=True,
        flags={
            ConditionType.READY: Flag("False", Reason.KSERVE_MISSING, message),
            ConditionType.PROGRESSING: Flag("False", Reason.KSERVE_MISSING, message),
        },
    )


def refuse_foreign_service(s: Situation) -> Move | None:
    """An InferenceService that somebody else made is not taken over."""
    if s.service is None or not s.service.foreign:
        return None
    message = (
        f"an InferenceService named {s.facts.model.name} exists and was not made for this PuzzleModel; "
        "delete it or rename the PuzzleModel"
    )
    return s.move(
        Reason.REJECTED,
        message,
        plan=None,
        pace=Pace.BLOCKED,
        announce=True,
        flags={
            ConditionType.READY: Flag("False", Reason.REJECTED, message),
            ConditionType.PROGRESSING: Flag("False", Reason.REJECTED, message),
        },
    )


def adopt_what_serves(s: Situation) -> Move | None:
    """A status that was lost is rebuilt from what KServe shows: the version that serves is the champion."""
    if s.champion or s.service is None or s.status.challenger is not None:
        return None
    version = rolled_out_version(s.service)
    if not version:
        return None
    message = f"version {short(version)} already serves and is taken as the champion"
    return s.move(
        Reason.ADOPTED,
        message,
        phase=Phase.RESTORING,
        plan=safe_plan(s.service, version, None),
        pace=Pace.MOVING,
        announce=True,
        champion=champion_ref(s.service, version, s.now),
        weight=Weight(),
        history=s.history_with(version, "Adopted", message, None),
    )


def deploy_first_version(s: Situation) -> Move | None:
    """With nothing to compare to, the first version gets all traffic as soon as it is ready."""
    if s.champion:
        return None
    known = s.status.challenger
    since = known.since if known is not None and known.version == s.target else None
    if (blocked := obstacle(s)) is not None:
        return _pending(s, *blocked)
    if s.paused and s.service is None:
        return _pending(s, Reason.PAUSED, "spec.paused is true: nothing is deployed until it is false")
    if s.has_all_traffic(s.target):
        return _crown_first(s)
    since = since or s.now
    reason, message = _how_far(s, s.now - since)
    stuck = reason is not Reason.DEPLOYING
    return s.move(
        reason,
        message,
        phase=Phase.DEPLOYING,
        plan=safe_plan(s.service, s.target, None),
        pace=Pace.BLOCKED if stuck else Pace.MOVING,
        announce=True,
        next="serves once it is ready",
        challenger=VersionRef(version=s.target, since=since),
        flags={
            ConditionType.READY: Flag("False", reason, message),
            ConditionType.PROGRESSING: Flag("False" if stuck else "True", reason, message),
        },
    )


def _how_far(s: Situation, elapsed: timedelta) -> tuple[Reason, str]:
    """Where the first version stands."""
    version, limit = short(s.target), s.canary.progress_deadline
    why = f": {found}" if s.service is not None and (found := trouble(s.service, s.target)) else ""
    if s.service is not None and (refused := refusal(s.service, s.target)):
        return Reason.VERSION_REFUSED, f"version {version} never loads: {refused}"
    if elapsed > parse_duration(limit):
        return Reason.PROGRESS_DEADLINE, f"version {version} is not ready after {limit}{why}"
    return Reason.DEPLOYING, f"version {version} is being deployed{why}"


def _pending(s: Situation, reason: Reason, message: str) -> Move:
    return s.move(
        reason,
        message,
        phase=Phase.PENDING,
        plan=None,
        pace=Pace.BLOCKED,
        announce=True,
        challenger=None,
        flags={
            ConditionType.READY: Flag("False", reason, message),
            ConditionType.PROGRESSING: Flag("False", reason, message),
        },
    )


def _crown_first(s: Situation) -> Move:
    message = f"version {short(s.target)} is ready and serves all traffic as the first champion"
    return s.move(
        Reason.DEPLOYED,
        message,
        phase=Phase.STABLE,
        plan=Plan(s.target, None),
        pace=Pace.RESTING,
        announce=True,
        champion=champion_ref(s.service, s.target, s.now),
        challenger=None,
        weight=Weight(),
        history=s.history_with(s.target, "Deployed", message, None),
    )


def recreate_service(s: Situation) -> Move | None:
    """A deleted InferenceService comes back with the champion; a rollout starts again after that."""
    applied = s.status.applied
    replaced = s.service is not None and applied is not None and s.service.uid != applied.uid
    if not s.champion or not (s.facts.service is Absence.NONE or replaced):
        return None
    message = f"the InferenceService was deleted; it is made again with the champion {short(s.champion)}"
    if s.rollout is not None and s.phase in FORWARD:
        message += f", and the canary of {short(s.rollout.challenger)} starts again after that"
    return s.back_to_champion(Reason.RECREATED, message)
