"""The verdict on a challenger: readings and what is remembered of them in, one `Judgement` out.

The rest of the machine knows only this interface. How a verdict comes about is the business of `evidence`;
how many requests a step needs at least is the spec's. Fail and Pass come from evidence alone: Pass when every
metric shows that what the next step could do is tolerable. Unknown outranks Hold and Pass: without data
nothing is passed, whatever was seen before.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from puzzle_operator.api.analysis import Analysis
from puzzle_operator.api.canary import Canary
from puzzle_operator.api.conditions import Verdict
from puzzle_operator.api.status import MetricMemory, MetricStatus, Rollout

from .evidence import Increment, counters, settle
from .facts import Facts, Missing, MissingKind, Reading, Service
from .metric import Look, Seen, begin_bake, config_of, count, remembered, sides, source_of, state_of
from .traffic import pods_of, version_of

GUARD = "@requests"
"""Name under which the responses that guards and sample counts look at are remembered."""
GUARD_WINDOW = 100
"""Responses of the challenger that a guard looks back to: few enough for a late failure to show at once, and so many
that a share of errors far below the limit does not exceed it by chance, however often it is looked at."""
SCRAPE_GRACE = timedelta(seconds=60)
"""How long a new pod may take until its metrics are scraped."""


@dataclass(frozen=True, slots=True)
class Judgement:
    """What is known of the challenger now."""

    verdict: Verdict
    message: str
    metrics: tuple[MetricStatus, ...]
    memory: tuple[MetricMemory, ...]
    requests: int
    """Responses of the challenger in this rollout."""
    failed: int
    """Responses with a code of 400 or more among them."""
    step_requests: int
    """Responses of the challenger in this step."""
    nearest: float
    """Evidence against the challenger as a fraction of what a rollback needs, on a log scale, 0 to 1."""
    passing: float = 0.0
    """Evidence for the metric that is furthest from its Pass, as a fraction of what it needs, likewise."""
    absent: bool = False
    """Unknown because a source has no such series, rather than because it is down."""
    recent: Increment = field(default_factory=Increment)
    """Responses of the last hundred or two of the challenger's, and the champion's at that time."""

    def fails_lately(self, limit: float) -> bool:
        """Whether more than `limit` of the recent responses failed, and it is not the same with the champion."""
        seen = self.recent
        canary = seen.canary_bad > limit * seen.canary_requests
        return seen.canary_requests >= GUARD_WINDOW and canary and seen.champion_bad <= limit * seen.champion_requests


def start_memory(facts: Facts, service: Service, rollout: Rollout, champion: str) -> tuple[MetricMemory, ...]:
    """Marks of all counters before the first traffic: everything after them belongs to this rollout."""
    found = {GUARD: facts.guard, **facts.readings}
    since = rollout.started_at.timestamp()
    sources = {metric.name: source_of(metric) for metric in facts.model.spec.canary.analysis.metrics}
    memory = []
    for name, reading in found.items():
        if isinstance(reading, Reading):
            start = counters.CounterState(since=since)
            seen = counters.tally(start, sides(service, champion, rollout.challenger, reading), counted=False)
            memory.append(MetricMemory(name=name, source=sources.get(name), counters=seen.state.to_wire()))
    return tuple(memory)


def last_look(memory: tuple[MetricMemory, ...]) -> datetime | None:
    """When responses were last counted."""
    for item in memory:
        at = item.counters.get("at") if item.name == GUARD else None
        if isinstance(at, int | float):
            return datetime.fromtimestamp(at, UTC)
    return None


def settle_memory(rollout: Rollout, canary: Canary) -> tuple[MetricMemory, ...]:
    """Close every open block of evidence: no block may span two weights."""
    metrics = {metric.name: metric for metric in canary.analysis.metrics}
    return tuple(
        item.but(evidence=settle(state_of(item), config_of(metrics[item.name], canary, rollout)).to_wire())
        if item.name in metrics and item.evidence
        else item
        for item in rollout.memory
    )


def start_bake_memory(rollout: Rollout, canary: Canary) -> tuple[MetricMemory, ...]:
    """From the promotion on, every metric is also held against what the champion's rate makes tolerable.

    With 99 % of the traffic on one side a comparison alone would learn next to nothing.
    """
    metrics = {metric.name: metric for metric in canary.analysis.metrics}
    return tuple(
        begin_bake(item, config_of(metrics[item.name], canary, rollout)) if item.name in metrics else item
        for item in settle_memory(rollout, canary)
    )


def judge(facts: Facts, service: Service, rollout: Rollout, champion: str, counted: bool) -> Judgement:
    """Fold the readings into what is remembered, and say what it all means.

    `counted` is False while KServe does not show the wanted weight: such requests belong to no step.
    """
    canary = facts.model.spec.canary
    memory = {item.name: item for item in rollout.memory}
    seen = []
    for metric in canary.analysis.metrics:
        reading = usable(facts, service, rollout, champion, facts.readings.get(metric.name))
        before = remembered(memory.get(metric.name), metric)
        found = Look(metric, canary, service, rollout, champion, counted).at(reading, before)
        memory[metric.name] = found.memory
        seen.append(found)
    guard = usable(facts, service, rollout, champion, facts.guard)
    totals, recent, memory[GUARD] = _totals_after(memory.get(GUARD), guard, service, rollout, champion)
    step_requests = max(0, totals.canary_requests - rollout.step_base_requests)
    unknown = [item.missing for item in seen if item.missing is not None]
    if isinstance(guard, Missing):
        unknown.append(guard)
    verdict, message = _overall(canary.analysis, seen, guard, step_requests)
    promoted = rollout.promoted_at is not None
    if promoted and verdict is Verdict.HOLD:
        # What it needed to pass it has shown; a bake looks for reasons to go back, and there is none.
        verdict, message = Verdict.PASS, "nothing speaks against it since the promotion"
    wanted = {GUARD, *(metric.name for metric in canary.analysis.metrics)}
    return Judgement(
        verdict=verdict,
        message=message,
        metrics=tuple(item.status for item in seen),
        memory=tuple(item for name, item in sorted(memory.items()) if name in wanted),
        requests=totals.canary_requests,
        failed=totals.canary_bad,
        step_requests=step_requests,
        nearest=max((item.against for item in seen), default=0.0),
        passing=1.0 if promoted else min((item.towards for item in seen), default=0.0),
        absent=bool(unknown) and all(item.kind is MissingKind.ABSENT for item in unknown),
        recent=recent,
    )


def usable(
    facts: Facts,
    service: Service,
    rollout: Rollout | None,
    champion: str,
    reading: Reading | Missing | None,
) -> Reading | Missing:
    """The reading, or `Missing` when it lacks a side that runs and therefore ought to be in it.

    A version without ready pods, or without a response, is idle, not unknown. A challenger's pod gets a minute
    until its first scrape.
    """
    if reading is None:
        return Missing(MissingKind.UNAVAILABLE, "the metric was not read")
    if isinstance(reading, Missing):
        return reading
    sides = [champion]
    first_traffic = rollout.first_traffic_at if rollout is not None else None
    if rollout is not None and first_traffic is not None and facts.now - first_traffic > SCRAPE_GRACE:
        sides.append(rollout.challenger)
    for version in sides:
        running = {pod.revision for pod in pods_of(service, version) if pod.ready}
        seen = reading.scraped | {counter.revision for counter in reading.counters}
        if running and not running & seen and not _is_idle(facts, running):
            side = "champion" if version == champion else "challenger"
            names = ", ".join(sorted(running))
            return Missing(MissingKind.ABSENT, f"there is no series of the {side}'s revision {names}")
    return reading


def _is_idle(facts: Facts, running: set[str]) -> bool:
    """Whether these revisions are scraped and have answered nothing: many counters only exist from then on."""
    guard = facts.guard
    if isinstance(guard, Missing):
        return False
    return bool(running & guard.scraped) and all(c.revision not in running for c in guard.counters)


def champion_requests(service: Service, champion: str, reading: Reading) -> float:
    """Requests that the champion has ever been counted with in this reading."""
    return sum(c.total for c in reading.counters if version_of(service, c.revision) == champion)


def _totals_after(
    memory: MetricMemory | None,
    reading: Reading | Missing,
    service: Service,
    rollout: Rollout,
    champion: str,
) -> tuple[Increment, Increment, MetricMemory]:
    """Responses since the first traffic and of late, without any judgement: what guards and sample counts look at.

    Late are the last closed window and the open one; one closes at `GUARD_WINDOW` responses of the challenger.
    """
    memory = memory or MetricMemory(name=GUARD)
    totals, closed, opened = (_stored(memory, key) for key in ("n", "closed", "open"))
    added, memory = count(memory, reading, service, rollout, champion, True)
    if not added.is_empty:
        totals, opened = totals + added, opened + added
        if opened.canary_requests >= GUARD_WINDOW:
            closed, opened = opened, Increment()
        windows = {"closed": closed.as_list(), "open": opened.as_list()}
        memory = memory.but(evidence={"n": totals.as_list(), **windows})
    return totals, closed + opened, memory


def _stored(memory: MetricMemory, key: str) -> Increment:
    try:
        return Increment(*(int(value) for value in memory.evidence.get(key, (0, 0, 0, 0))))
    except (ValueError, TypeError):  # somebody edited it into nonsense
        return Increment()


def _overall(analysis: Analysis, seen: list[Seen], guard: Reading | Missing, step_requests: int) -> tuple[Verdict, str]:
    statuses = [item.status for item in seen]
    for outranking in (Verdict.FAIL, Verdict.UNKNOWN):
        for item in statuses:
            if item.verdict is outranking:
                return outranking, item.message
    if isinstance(guard, Missing):
        return Verdict.UNKNOWN, f"responses: {guard.reason}"
    held = [item for item in statuses if item.verdict is Verdict.HOLD]
    missing = analysis.min_requests - step_requests
    least = f"{step_requests} of {analysis.min_requests} requests in this step; {missing} more are needed"
    if held:
        slowest = max(held, key=lambda item: math.inf if item.needed is None else item.needed)
        also = f"; {least}" if slowest.needed is not None and missing > slowest.needed else ""
        return Verdict.HOLD, slowest.message + also
    if missing > 0:
        return Verdict.HOLD, least
    weakest = min(seen, key=lambda item: item.assessment.log_e_promote)
    others = f"all {len(seen)} metrics pass; " if len(seen) > 1 else ""
    return Verdict.PASS, others + weakest.status.message
