"""How long a canary still takes: requests, time, and the deadline after which the evidence is not waited for.

Rates are those at which the challenger really answered in this step. What cannot be known from that is said to be
unknown: a forecast that is made up costs more trust than none.
"""

from __future__ import annotations

from datetime import timedelta

from puzzle_common.durations import parse_duration
from puzzle_operator.api.analysis import Metric, MetricType
from puzzle_operator.api.canary import InconclusiveAction
from puzzle_operator.api.conditions import Phase, Verdict
from puzzle_operator.api.status import MetricStatus

from . import gates
from .snapshot import Snapshot
from .text import age, more_requests, of_bound, rate, requests_a_second

_OF_REQUESTS = frozenset({MetricType.ERROR_RATE, MetricType.LATENCY})


def evidence(s: Snapshot) -> tuple[str, ...]:
    """A sentence for each metric. Of the rollout in progress only: the last one's evidence waits for nothing."""
    if s.status.active is None or s.status.phase is not Phase.CANARY:
        return ()
    stored = {metric.name: metric for metric in s.status.metrics}
    return tuple(_metric(metric, stored.get(metric.name), s) for metric in s.model.spec.canary.analysis.metrics)


def _metric(wanted: Metric, seen: MetricStatus | None, s: Snapshot) -> str:
    if seen is None or seen.evidence_for is None or seen.bound_for is None:
        return f"{wanted.name}: nothing stored yet; how many requests a verdict needs is unknown"
    ours, theirs = seen.challenger, seen.champion
    said = (
        f"{wanted.name}: {rate(ours.bad, ours.requests)} bad against {rate(theirs.bad, theirs.requests)} of the "
        f"champion: evidence {of_bound(seen.evidence_for, seen.bound_for)} needed for a Pass"
    )
    if seen.verdict is Verdict.HOLD:
        said += _missing(wanted, seen, s)
    if seen.evidence is not None and seen.bound is not None and (seen.verdict is Verdict.FAIL or seen.evidence > 1):
        said += f"; {of_bound(seen.evidence, seen.bound)} needed to roll back"
    return f"{said}; {_ENDS[seen.verdict]}" if seen.verdict in _ENDS else said


_ENDS = {
    Verdict.PASS: "done",
    Verdict.FAIL: "it is taken back",
    Verdict.UNKNOWN: "no data now, so it stands still",
}


def _missing(wanted: Metric, seen: MetricStatus, s: Snapshot) -> str:
    if seen.needed is None:
        return ", and no number of requests is in sight that would give it: it looks worse than is tolerable"
    speed = _rate_of(wanted, seen, s)
    time = f", {_duration(seen.needed, speed)}" if speed else ""
    return f": {more_requests(seen.needed)}{time}"


def _rate_of(wanted: Metric, seen: MetricStatus, s: Snapshot) -> float | None:
    """What the metric counts a second: not every request need be labelled, or counted by somebody's own PromQL."""
    speed = s.request_rate()
    if speed is None or wanted.type in _OF_REQUESTS or not s.status.samples:
        return speed
    return speed * seen.challenger.requests / s.status.samples or None


def _duration(requests: float, speed: float) -> str:
    return age(timedelta(seconds=requests / speed))


def how_long(requests: int, s: Snapshot, time: timedelta | None = None) -> str:
    """`about 5m43s at 2.6 requests/s`; `time` where something else than requests is awaited."""
    speed = s.request_rate()
    if speed is None:
        return "how long that takes is unknown: no request of the challenger was counted in this step yet"
    return f"about {age(time) if time else _duration(requests, speed)} at {requests_a_second(speed)}"


def time_to_pass(s: Snapshot) -> timedelta | None:
    """Until the slowest metric passes and the step has its requests, at the present rates; None: unknown."""
    speed, missing = s.request_rate(), gates.requests_missing(s.model)
    if speed is None or missing is None:
        return None
    slowest = timedelta(seconds=missing / speed)
    stored = {metric.name: metric for metric in s.status.metrics}
    for metric in s.model.spec.canary.analysis.metrics:
        seen = stored[metric.name]
        if seen.verdict is Verdict.HOLD and seen.needed:
            own = _rate_of(metric, seen, s)
            if own is None:
                return None
            slowest = max(slowest, timedelta(seconds=seen.needed / own))
    return slowest


def pass_in_words(s: Snapshot) -> str:
    """What is missing of the evidence, all metrics together."""
    stored = {metric.name: metric for metric in s.status.metrics}
    wanted = [metric.name for metric in s.model.spec.canary.analysis.metrics]
    if any(name not in stored for name in wanted):
        return "evidence: nothing stored yet; how many requests it takes is unknown"
    if s.status.verdict is Verdict.UNKNOWN:
        return "evidence: stands still until the metrics are back"
    held = [stored[name] for name in wanted if stored[name].verdict is not Verdict.PASS]
    if not held:
        return "evidence: every metric passes; done"
    names = ", ".join(metric.name for metric in held)
    lacking = f"evidence: {names} {'does' if len(held) == 1 else 'do'} not pass yet"
    if any(metric.needed is None for metric in held):
        return f"{lacking}, and at the present rates of bad requests no Pass is in sight"
    missing, time = max(metric.needed or 0 for metric in held), time_to_pass(s)
    if time is None and s.request_rate() is not None:
        return f"{lacking}; {more_requests(missing)}; not all of them count anything now, so the time is unknown"
    return f"{lacking}; {more_requests(missing)}, {how_long(missing, s, time)}"


def deadline(s: Snapshot) -> tuple[str, ...]:
    """When a canary that is neither good nor bad is inconclusive, and what becomes of it then."""
    policy = s.model.spec.canary.inconclusive
    if s.status.phase is not Phase.CANARY or s.status.verdict is Verdict.PASS or s.status.active is None:
        return ()
    spent, found = s.at_step_since(), [_then(s, policy.action)]
    if spent is None:
        return (f"inconclusive.deadline {policy.deadline} counts from when KServe shows the weight", *found)
    left = parse_duration(policy.deadline) - spent
    if left <= timedelta(0):
        return (f"inconclusive.deadline {policy.deadline} is over at this step", *found)
    if s.status.active.frozen_since is not None:
        clock = f"inconclusive.deadline {policy.deadline} stands still, with {age(left)} left: pauses, outages and "
        return (f"{clock}holds by the line do not count", *found)
    when = f"{s.now + left:%Y-%m-%d %H:%M} UTC"
    clock = f"inconclusive.deadline {policy.deadline} is over in {age(left)}, at {when}"
    clock += "; pauses, outages and holds by the line do not count"
    return (clock, *found, *_in_time(s, left))


def is_late(s: Snapshot) -> bool:
    """Whether the evidence is expected after the deadline, or not at all as far as anybody can say."""
    spent, time = s.at_step_since(), time_to_pass(s)
    if s.status.phase is not Phase.CANARY or s.status.verdict is not Verdict.HOLD or spent is None:
        return False
    return time is None or time > parse_duration(s.model.spec.canary.inconclusive.deadline) - spent


def _in_time(s: Snapshot, left: timedelta) -> tuple[str, ...]:
    time = time_to_pass(s)
    if time is None or s.status.verdict is not Verdict.HOLD:
        return ()
    return (f"at the present rate the evidence comes {'before' if time <= left else 'after'} that",)


def _then(s: Snapshot, action: InconclusiveAction) -> str:
    gate = gates.gate(s.model)
    following = gates.label(s.model, gate) if gate else "the next step"
    if action is InconclusiveAction.ROLLBACK:
        what = "the challenger is taken back, and quarantined until `kubectl puzzle retry`"
    elif action is InconclusiveAction.PROMOTE:
        asked = " after a person's consent" if gates.waits_for_person(s.model) else ""
        what = f"{following} comes without the evidence{asked}; guards and a failing verdict still roll back"
    else:
        what = f"it keeps its weight, and {following} comes with the evidence or by a person's decision"
    return f"then (inconclusive.action {action}): {what}"
