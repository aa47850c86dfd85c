"""The way to the first traffic: a challenger starts beside the champion and is checked before it gets any."""

from __future__ import annotations

from puzzle_operator.api.conditions import ConditionType, Phase, Reason, Verdict
from puzzle_operator.api.status import Rollout, VersionRef, Weight
from puzzle_operator.core.canary import (
    SCRAPE_GRACE,
    champion_requests,
    start_memory,
    usable,
)
from puzzle_operator.core.facts import Missing, MissingKind
from puzzle_operator.core.names import short
from puzzle_operator.core.situation import (
    AT_REST,
    Flag,
    Move,
    Pace,
    Situation,
)
from puzzle_operator.core.traffic import Plan, observed_share, pods_of, rolled_out_version, safe_plan, trouble

from .deploying import obstacle
from .progress import metrics_found
from .replay import with_replay


def start_rollout(s: Situation) -> Move | None:
    """A new version in the spec, and KServe in a state to start from: everything on the champion."""
    service = s.service
    if s.phase not in AT_REST | {Phase.RESTORING} or s.target == s.champion or s.paused or service is None:
        return None
    if obstacle(s) is not None:
        return None
    ready = observed_share(service, s.champion) == 100 and rolled_out_version(service) == s.champion
    if not service.observed or not ready:
        return None
    message = f"challenger {short(s.target)} starts next to champion {short(s.champion)}, without traffic"
    return s.move(
        Reason.STARTING,
        message,
        phase=Phase.STARTING,
        plan=Plan(s.target, 0),
        pace=Pace.MOVING,
        next=f"gets {s.canary.steps[0].weight} % once it is ready and the metrics are found",
        rollout=Rollout(challenger=s.target, started_at=s.now),
        challenger=VersionRef(version=s.target, since=s.now),
        weight=Weight(),
        metrics=(),
        samples=None,
        verdict=None,
    ).noting(Reason.STARTING, message)


def wait_for_challenger(s: Situation) -> Move | None:
    """Until its revision is the latest ready one, the share stays 0: see `traffic`."""
    if s.phase is not Phase.STARTING or s.rollout is None or s.service is None:
        return None
    plan = Plan(s.rollout.challenger, 0)
    if safe_plan(s.service, s.rollout.challenger, 1).percent and s.service.observed:
        return None
    why = trouble(s.service, s.rollout.challenger)
    return s.move(
        Reason.STARTING,
        f"challenger {short(s.rollout.challenger)} is starting" + (f": {why}" if why else ""),
        plan=plan,
        pace=Pace.MOVING,
        next=f"gets {s.canary.steps[0].weight} % once it is ready and the metrics are found",
    )


def check_before_traffic(s: Situation) -> Move | None:
    """Every query must return data for the champion, or the rollout does not begin."""
    if s.phase is not Phase.STARTING or s.rollout is None or s.service is None:
        return None
    plan = Plan(s.rollout.challenger, 0)
    if s.paused:
        return s.move(
            Reason.PAUSED,
            "spec.paused is true: the challenger is ready and gets no traffic until it is false",
            plan=plan,
            pace=Pace.RESTING,
            announce=True,
            flags={ConditionType.PROGRESSING: Flag("False", Reason.PAUSED, "spec.paused is true")},
        )
    for name, found in (("responses", s.facts.guard), *s.facts.readings.items()):
        reading = usable(s.facts, s.service, None, s.champion, found)
        if isinstance(reading, Missing):
            return _await_scrape(s, plan, name, reading) or _refuse(s, plan, name, reading)
        if champion_requests(s.service, s.champion, reading) <= 0:
            return _wait_for_requests(s, plan, name)
    return None


def _await_scrape(s: Situation, plan: Plan, name: str, missing: Missing) -> Move | None:
    """Pods that have just started are not scraped yet: no reason to alarm anybody for a minute."""
    ready = s.going.ready_at or s.now
    if missing.kind is not MissingKind.ABSENT or s.now - ready >= SCRAPE_GRACE:
        return None
    return s.move(
        Reason.STARTING,
        f"metric {name} is awaited: {missing.reason}",
        plan=plan,
        pace=Pace.JUDGING,
        next=f"gets {s.canary.steps[0].weight} % once every metric has data for the champion",
    )


def _refuse(s: Situation, plan: Plan, name: str, missing: Missing) -> Move:
    absent = missing.kind is MissingKind.ABSENT
    reason = Reason.METRIC_ABSENT if absent else Reason.METRICS_UNAVAILABLE
    message = f"no traffic for the challenger: metric {name}: {missing.reason}"
    return s.move(
        reason,
        message,
        plan=plan,
        pace=Pace.JUDGING,
        announce=True,
        next="is tried again at every interval",
        verdict=Verdict.UNKNOWN,
        flags={
            ConditionType.METRICS_AVAILABLE: Flag("False", reason, message),
            ConditionType.PROGRESSING: Flag("False", reason, message),
        },
    )


def _wait_for_requests(s: Situation, plan: Plan, name: str) -> Move:
    idle = not any(pod.ready for pod in pods_of(s.service, s.champion)) if s.service else True
    asleep = " (it is scaled to zero)" if idle else ""
    message = (
        f"metric {name}: the champion has not answered a request yet{asleep}; "
        "without traffic there is nothing to compare"
    )
    return s.move(
        Reason.HELD_LOW_EVIDENCE,
        message,
        plan=plan,
        pace=Pace.JUDGING,
        announce=True,
        next=f"gets {s.canary.steps[0].weight} % once the champion has requests",
        verdict=Verdict.HOLD,
    )


def start_canary(s: Situation) -> Move | None:
    """The first share of traffic. Counters are marked now, so that everything counted later is of this
    canary."""
    if s.phase is not Phase.STARTING or s.rollout is None or s.service is None:
        return None
    weight = s.canary.steps[0].weight
    memory = start_memory(s.facts, s.service, s.rollout, s.champion)
    message = f"challenger {short(s.rollout.challenger)} gets {weight} % (step 1 of {len(s.canary.steps)})"
    return s.move(
        Reason.CANARY_STARTED,
        message,
        phase=Phase.CANARY,
        plan=safe_plan(s.service, s.rollout.challenger, weight),
        pace=Pace.MOVING,
        rollout=s.rollout.but(step=0, step_started_at=None, approval=None, memory=memory, replay=with_replay(s)),
        weight=Weight(wanted=weight, observed=s.observed),
        verdict=Verdict.HOLD,
        flags={ConditionType.METRICS_AVAILABLE: Flag("True", Reason.METRICS_FOUND, metrics_found(s))},
    ).noting(Reason.CANARY_STARTED, message)
