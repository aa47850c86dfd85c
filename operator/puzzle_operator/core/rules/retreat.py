"""Every way back: what takes traffic from a challenger, and how the champion's manifest is put back
afterwards.

Taking back means the champion's manifest with a share of 0 for whatever is newest. The share moves at once;
the champion's new revision starts meanwhile, takes over when it is ready, and only then are the challenger's
pods let go: a revision that a route names, even at 0 per cent, keeps its pods (Knative counts it as
reachable), and the pods of a failed version must not hold memory or a GPU. See ADR 0004.

One case is not instant by itself. Knative touches no route while one of its revisions is not ready
(`traffic.go`, errUnreadyRevision), so a crash-looping challenger would keep its share until the champion's
new revision is up. Its revision is deleted then, which makes Knative fall back to the champion's within a
second.
"""

from __future__ import annotations

from datetime import timedelta

from puzzle_common.durations import format_duration, parse_duration
from puzzle_operator.api.canary import InconclusiveAction
from puzzle_operator.api.conditions import ConditionType, Outcome, Phase, Reason, Verdict
from puzzle_operator.api.status import MAX_QUARANTINED, Cause, Quarantine, Rollout, Weight
from puzzle_operator.core.approval import given
from puzzle_operator.core.names import short
from puzzle_operator.core.situation import AT_REST, FORWARD, Flag, Move, Pace, Situation, champion_ref
from puzzle_operator.core.traffic import (
    Plan,
    is_settled_on,
    newest_revision,
    observed_share,
    pods_of,
    ready_revision,
    refusal,
    rolled_out_version,
    trouble,
)

from .deploying import obstacle

UNREADY_GRACE = timedelta(seconds=60)
"""How long a challenger with traffic may be without a ready pod: a pod that is moved takes a while to start."""


def roll_back_on_refusal(s: Situation) -> Move | None:
    """A version that its own server refuses, as altered or not signed, is not waited for."""
    if s.rollout is None or s.service is None or s.phase not in FORWARD:
        return None
    why = refusal(s.service, s.rollout.challenger)
    if not why:
        return None
    message = f"version {short(s.rollout.challenger)} never loads: {why}"
    return take_back(s, Reason.VERSION_REFUSED, why).noting(Reason.VERSION_REFUSED, message)


def roll_back_on_restarts(s: Situation) -> Move | None:
    """Crashing pods need no metrics to be believed."""
    if s.rollout is None or s.service is None or s.phase not in FORWARD:
        return None
    pods = pods_of(s.service, s.rollout.challenger)
    restarts, most = sum(pod.restarts for pod in pods), s.canary.analysis.guards.max_restarts
    looping = next((pod for pod in pods if pod.waiting == "CrashLoopBackOff"), None)
    if looping is not None and s.phase is not Phase.STARTING:
        return take_back(s, Reason.GUARD_RESTARTS, f"pod {looping.name} is in a crash loop: {looping.message}")
    if restarts > most:
        return take_back(s, Reason.GUARD_RESTARTS, f"{restarts} restarts of its pods, more than the {most} allowed")
    return None


def roll_back_on_error_rate(s: Situation) -> Move | None:
    """A challenger that mostly fails is not given time to prove it."""
    seen, guards = s.judgement, s.canary.analysis.guards
    if seen is None or seen.requests < guards.min_guard_requests:
        return None
    requests, failed, which = seen.requests, seen.failed, ""
    if failed <= guards.max_error_rate * requests and seen.fails_lately(guards.max_error_rate):
        requests, failed, which = seen.recent.canary_requests, seen.recent.canary_bad, "the last "
    if failed <= guards.max_error_rate * requests:
        return None
    return take_back(
        s,
        Reason.GUARD_ERROR_RATE,
        f"{failed} of {which}{requests} responses failed ({failed / requests:.1%}), more than the "
        f"{guards.max_error_rate:.1%} allowed",
    )


def roll_back_when_unready(s: Situation) -> Move | None:
    """Requests that no pod is ready to take are answered by nobody who counts them: Prometheus would show an idle
    version."""
    if s.rollout is None or s.rollout.unready_since is None or s.service is None or s.phase not in FORWARD:
        return None
    # A version that sleeps at zero replicas starts anew with every request after a pause, and may take its time.
    sleeps = s.facts.model.spec.serving.min_replicas == 0
    grace = parse_duration(s.canary.progress_deadline) if sleeps else UNREADY_GRACE
    if s.now - s.rollout.unready_since < grace:
        return None
    why = trouble(s.service, s.rollout.challenger)
    message = f"none of its pods was ready for {format_duration(grace)}" + (f": {why}" if why else "")
    return take_back(s, Reason.GUARD_UNREADY, message)


def roll_back_on_evidence(s: Situation) -> Move | None:
    """A Fail rolls back whatever the phase, paused or not."""
    if s.judgement is None or s.judgement.verdict is not Verdict.FAIL:
        return None
    return take_back(s, Reason.EVIDENCE_AGAINST, s.judgement.message)


def roll_back_on_deadline(s: Situation) -> Move | None:
    """A challenger that never gets ready."""
    if s.rollout is None or s.service is None or s.phase is not Phase.STARTING:
        return None
    if ready_revision(s.service, s.rollout.challenger) is not None:
        return None
    if s.now - s.rollout.started_at <= parse_duration(s.canary.progress_deadline):
        return None
    why = trouble(s.service, s.rollout.challenger)
    message = f"not ready after {s.canary.progress_deadline}" + (f": {why}" if why else "")
    return take_back(s, Reason.PROGRESS_DEADLINE, message)


def roll_back_when_inconclusive(s: Situation) -> Move | None:
    """The deadline is over without a conclusion, and the spec wants the champion back then."""
    if s.judgement is None or s.paused or s.hold is not None or not s.is_inconclusive:
        return None
    approval = given(s)
    decided = approval is not None and approval.without_evidence
    if decided or s.canary.inconclusive.action is not InconclusiveAction.ROLLBACK:
        return None
    why = f"inconclusive after {s.canary.inconclusive.deadline} at this step: {s.judgement.message}"
    return take_back(s, Reason.INCONCLUSIVE, why)


def withdraw_on_new_spec(s: Situation) -> Move | None:
    """The spec names another version. A bake is finished first, unless the spec goes back to the champion."""
    if s.rollout is None or s.phase not in FORWARD or s.target == s.rollout.challenger:
        return None
    if s.target == s.champion:
        return take_back(s, Reason.ABORTED, "the spec names the champion again", quarantine=False)
    if s.phase in {Phase.BAKING, Phase.PROMOTING}:
        return None
    return take_back(s, Reason.SUPERSEDED, f"the spec names {short(s.target)} now", quarantine=False)


def take_back(s: Situation, reason: Reason, why: str, *, quarantine: bool = True) -> Move:
    """Traffic to 0 now; the version is quarantined when it failed."""
    rollout = s.going
    challenger = short(rollout.challenger)
    said = Reason.ROLLED_BACK if quarantine else reason
    message = f"challenger {challenger} is taken back at {s.observed} %: {why}"
    status = s.status
    if quarantine:
        entry = Quarantine(version=rollout.challenger, reason=reason, message=why, at=s.now)
        others = tuple(item for item in status.quarantined if item.version != rollout.challenger)
        status = status.but(quarantined=(*others, entry)[-MAX_QUARANTINED:])
    cause = Cause(reason=reason, message=why, quarantine=quarantine)
    outcome = "RolledBack" if quarantine else str(reason)
    return s.move(
        said,
        message,
        phase=Phase.ROLLING_BACK,
        plan=_withdrawal(s, rollout, cause),
        pace=Pace.MOVING,
        next="the champion's manifest is put back",
        rollout=rollout.but(cause=cause, decided_at=s.now, frozen_since=None),
        quarantined=status.quarantined,
        weight=Weight(wanted=0, observed=s.observed),
        history=s.history_with(rollout.challenger, outcome, why, s.champion),
    ).noting(said, message)


def finish_rolling_back(s: Situation) -> Move | None:
    """Wait until KServe shows no traffic on the challenger, then free its pods."""
    if s.phase is not Phase.ROLLING_BACK or s.rollout is None:
        return None
    rollout = s.rollout
    if rollout.zero_traffic_at is None:
        return s.move(
            Reason.ROLLING_BACK,
            f"challenger {short(rollout.challenger)} still has {s.observed} %",
            plan=_withdrawal(s, rollout, rollout.cause),
            pace=Pace.MOVING,
            next="the champion's manifest is put back",
            drop=_stuck_revisions(s, rollout),
        )
    message = f"challenger {short(rollout.challenger)} has no traffic any more{_took(rollout)}"
    return s.move(
        Reason.RESTORING,
        message,
        phase=Phase.RESTORING,
        plan=_withdrawal(s, rollout, rollout.cause),
        pace=Pace.MOVING,
        next="the champion's manifest is put back, which frees the challenger's pods",
        rollout=s.ended(_outcome(rollout)),
        weight=Weight(),
    ).noting(Reason.TRAFFIC_WITHDRAWN, message)


def _withdrawal(s: Situation, rollout: Rollout, cause: Cause | None) -> Plan:
    """What takes the traffic away. A superseded challenger only makes room: the newer one's manifest follows,
    and the champion need not be started in between.

    Once KServe has rolled the challenger out, 0 % would be 0 % for the champion and all for the challenger: then the
    champion is asked for as after a promotion, at 0 until it is ready and at 100 from then on.
    """
    if s.service is not None and rolled_out_version(s.service) == rollout.challenger:
        return s.champion_plan()
    superseded = cause is not None and cause.reason == Reason.SUPERSEDED
    healthy = s.service is not None and all(
        revision.ready for revision in s.service.revisions if revision.version == rollout.challenger
    )
    makes_room = superseded and (healthy or s.observed == 0)
    return Plan(rollout.challenger if makes_room else s.champion, 0)


def _stuck_revisions(s: Situation, rollout: Rollout) -> tuple[str, ...]:
    """The challenger's revisions that keep traffic because they are not ready.

    Only once something newer exists: Knative makes a deleted revision again while it is the newest.
    """
    service = s.service
    newest = newest_revision(service) if service is not None else None
    if service is None or newest is None or s.observed == 0 or newest.version == rollout.challenger:
        return ()
    return tuple(r.name for r in service.revisions if r.version == rollout.challenger and not r.ready)


def _took(rollout: Rollout) -> str:
    if rollout.first_traffic_at is None or rollout.zero_traffic_at is None:
        return ""
    since_first = (rollout.zero_traffic_at - rollout.first_traffic_at).total_seconds()
    decided = rollout.decided_at or rollout.zero_traffic_at
    since_decision = (rollout.zero_traffic_at - decided).total_seconds()
    return f", {since_first:.1f} s after its first and {since_decision:.1f} s after the decision"


def _outcome(rollout: Rollout) -> Outcome:
    reason = rollout.cause.reason if rollout.cause else ""
    if reason == Reason.SUPERSEDED:
        return Outcome.SUPERSEDED
    return Outcome.ABORTED if reason == Reason.ABORTED else Outcome.ROLLED_BACK


def finish_restoring(s: Situation) -> Move | None:
    """The champion's manifest is back once its newest revision has all traffic."""
    if s.phase is not Phase.RESTORING:
        return None
    if not s.has_all_traffic(s.champion):
        why = trouble(s.service, s.champion) if s.service is not None else ""
        return s.move(
            Reason.RESTORING,
            f"the manifest of champion {short(s.champion)} is put back" + (f": {why}" if why else ""),
            plan=s.champion_plan(),
            pace=Pace.MOVING,
            next="rests once its newest revision has all traffic",
        )
    refused = s.status.quarantine_of(s.target) is not None
    message = f"champion {short(s.champion)} has all traffic; nothing else holds pods"
    return s.move(
        Reason.RESTORED,
        message,
        phase=Phase.ROLLED_BACK if refused else Phase.STABLE,
        plan=s.champion_plan(),
        pace=Pace.MOVING,
        champion=_seen(s),
        challenger=None,
    ).noting(Reason.RESTORED, message)


def _seen(s: Situation) -> object:
    since = s.status.champion.since if s.status.champion else None
    return champion_ref(s.service, s.champion, since or s.now)


def heal_traffic(s: Situation) -> Move | None:
    """Traffic, or a revision about to get it, on a version that nobody decided on: back to the champion.

    It happens after a hand edit, and when KServe falls back to an older revision (kserve#2097).
    """
    service = s.service
    if service is None or not service.observed or not service.latest_rolled_out or s.phase is Phase.RESTORING:
        return None
    if s.phase in AT_REST:
        astray = observed_share(service, s.champion) < 100 or not is_settled_on(service, s.champion)
    elif s.phase in {Phase.STARTING, Phase.CANARY, Phase.BAKING} and s.rollout is not None:
        astray = rolled_out_version(service) not in {s.champion, s.rollout.challenger}
    else:
        return None
    if not astray:
        return None
    shown = ", ".join(f"{share.percent} % {share.revision}" for share in service.traffic) or "nothing"
    message = f"KServe routes {shown}, which is not what was decided; back to the champion {short(s.champion)}"
    return s.back_to_champion(Reason.TRAFFIC_HEALED, message)


def rest(s: Situation) -> Move:
    """Nothing to do: the champion serves. The reason says whether something waits for a person."""
    message, reason, pace = f"champion {short(s.champion)} has all traffic", Reason.SERVING, Pace.RESTING
    flags: dict[ConditionType, Flag] = {}
    phase = Phase.STABLE
    if s.target != s.champion and (blocked := obstacle(s)) is not None:
        reason, message = blocked
        pace = Pace.BLOCKED
        phase = Phase.ROLLED_BACK if reason is Reason.QUARANTINED else Phase.STABLE
    elif s.paused:
        reason, message = Reason.PAUSED, "spec.paused is true: no new version is started"
    if reason is not Reason.SERVING:
        flags[ConditionType.PROGRESSING] = Flag("False", reason, message)
    return s.move(
        reason,
        message,
        phase=phase,
        plan=s.champion_plan(),
        pace=pace,
        announce=reason is not Reason.SERVING,
        champion=_seen(s),
        flags=flags,
    )


__all__ = [
    "finish_restoring",
    "finish_rolling_back",
    "heal_traffic",
    "rest",
    "roll_back_on_deadline",
    "roll_back_on_error_rate",
    "roll_back_on_evidence",
    "roll_back_on_refusal",
    "roll_back_on_restarts",
    "roll_back_when_inconclusive",
    "roll_back_when_unready",
    "take_back",
    "withdraw_on_new_spec",
]
