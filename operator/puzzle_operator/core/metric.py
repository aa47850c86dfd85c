"""One metric of a canary: what a reading adds to its evidence, and what that comes to."""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import dataclass
from itertools import accumulate

from puzzle_operator.api.analysis import Metric, MetricType
from puzzle_operator.api.base import JsonObject
from puzzle_operator.api.canary import Canary
from puzzle_operator.api.conditions import Verdict
from puzzle_operator.api.status import Bounds, MetricMemory, MetricStatus, Rollout, Side

from .evidence import (
    Assessment,
    BakeState,
    EvidenceState,
    Increment,
    MetricConfig,
    MetricVerdict,
    assess,
    assess_bake,
    counters,
    quantile_bounds,
    start_bake,
    update,
    update_bake,
)
from .facts import Missing, Reading, Service
from .traffic import version_of

_NOUNS = {
    MetricType.ERROR_RATE: "failed",
    MetricType.LATENCY: "slow",
    MetricType.LABELLED_ERRORS: "wrong",
    MetricType.CONFIDENCE: "unsure",
    MetricType.COUNTERS: "bad",
}
_ADVANCE_ALPHA = 0.2
"""As promotionAlpha, for a step that is not the last: see `MetricConfig.alpha_advance`."""
_QUANTILE = 0.95
_LARGEST = 1e12
"""Evidence is shown up to here; JSON knows no infinity."""


def config_of(metric: Metric, canary: Canary, rollout: Rollout) -> MetricConfig:
    """How the evidence judges one metric of the spec. A replay that was judged has spent a part of alpha."""
    tests = len(canary.analysis.metrics) + int(rollout.replay is not None and rollout.replay.is_judged)
    shares = tuple(step.weight / 100 for step in canary.steps[1:])
    return MetricConfig(
        metric.name,
        alpha_rollback=canary.analysis.alpha / tests,
        alpha_promote=canary.analysis.promotion_alpha,
        alpha_advance=max(_ADVANCE_ALPHA, canary.analysis.promotion_alpha),
        max_risk_ratio=metric.max_risk_ratio,
        negligible=metric.negligible,
        shares=(*shares, 1.0),
        bad_noun=_NOUNS[metric.type],
    )


def source_of(metric: Metric) -> str:
    """Short hash of what the metric counts. Margins are not part of it: they judge the same counts otherwise."""
    counted = [metric.type, metric.slo, metric.bad, metric.total]
    # Appended, so that other metrics keep the hash under which an operator before this one remembers them.
    text = json.dumps(counted if metric.below is None else [*counted, metric.below])
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def remembered(memory: MetricMemory | None, metric: Metric) -> MetricMemory:
    """What is known of the metric; nothing, counting from here, when it was added or edited in mid-canary.

    The marks of one counter say nothing of another: their difference would look like requests.
    """
    source = source_of(metric)
    if memory is not None and memory.source == source:
        return memory
    return MetricMemory(name=metric.name, source=source, counters=counters.CounterState(since=None).to_wire())


def following_share(canary: Canary, step: int) -> float:
    """Where a Pass at this step leads, as a fraction of traffic."""
    return canary.steps[step + 1].weight / 100 if step + 1 < len(canary.steps) else 1.0


def sides(service: Service, champion: str, challenger: str, reading: Reading) -> counters.Reading:
    """A reading by part played, with the time at which each pod began to count."""
    began = {pod.name: pod.started.timestamp() for pod in service.pods if pod.started}
    first = {
        revision.name: min(
            (p.started.timestamp() for p in service.pods if p.revision == revision.name and p.started),
            default=None,
        )
        for revision in service.revisions
    }
    found: dict[str, dict[str, counters.Sample]] = {champion: {}, challenger: {}}
    for counter in reading.counters:
        version = version_of(service, counter.revision)
        if version in found:
            started = None if counter.lasting else began.get(counter.series, first.get(counter.revision))
            outlives = counter.lasting or counter.series == counter.revision
            found[version][counter.series] = counters.Sample(counter.total, counter.bad, started, outlives)
    return counters.Reading(reading.at.timestamp(), canary=found[challenger], champion=found[champion])


@dataclass(frozen=True, slots=True)
class Seen:
    """One metric after a look."""

    memory: MetricMemory
    status: MetricStatus
    assessment: Assessment
    missing: Missing | None

    @property
    def against(self) -> float:
        return _fraction(self.assessment.log_e_rollback, self.assessment.log_bound)

    @property
    def towards(self) -> float:
        return _fraction(self.assessment.log_e_promote, self.assessment.log_bound_promote)


def _fraction(log_e: float, log_bound: float) -> float:
    return min(1.0, max(0.0, log_e / log_bound))


@dataclass(frozen=True, slots=True)
class Look:
    """One metric about to be looked at."""

    metric: Metric
    canary: Canary
    service: Service
    rollout: Rollout
    champion: str
    counted: bool

    def at(self, reading: Reading | Missing, before: MetricMemory) -> Seen:
        """Count what is new, and assess."""
        # Cold caches make a pod slow; nothing excuses its errors.
        warm_up = self.canary.analysis.warm_up_requests if self.metric.type is MetricType.LATENCY else 0
        fresh, after = count(before, reading, self.service, self.rollout, self.champion, self.counted, warm_up)
        config = config_of(self.metric, self.canary, self.rollout)
        state, bake = state_of(after), _bake(before)
        if isinstance(reading, Reading) and after.counters != before.counters and self.counted:
            state = update(state, fresh, config)
            after = after.but(evidence=state.to_wire())
            if bake is not None:
                bake = bake.plus(fresh)
                after = after.but(bake=bake.to_wire())
        assessment = assess(state, config, following_share(self.canary, self.rollout.step), self._weight())
        status = self._status(assessment, reading)
        if bake is not None and (fall := bake.verdict(config)) is not None:
            status = status.but(verdict=Verdict.FAIL, message=fall)
        return Seen(after, status, assessment, reading if isinstance(reading, Missing) else None)

    def _weight(self) -> float:
        """The challenger's share now, for the forecast."""
        return self.canary.steps[min(self.rollout.step, len(self.canary.steps) - 1)].weight / 100

    def _status(self, seen: Assessment, reading: Reading | Missing) -> MetricStatus:
        verdict = Verdict(seen.verdict.value)
        message = seen.sentence
        histograms: dict[str, Bounds | None] = {}
        if isinstance(reading, Missing):
            if seen.verdict is not MetricVerdict.FAIL:
                verdict, message = Verdict.UNKNOWN, f"{self.metric.name}: {reading.reason}"
        else:
            message += f" ({reading.note})" if reading.note else ""
            for version in (self.champion, self.rollout.challenger):
                histograms[version] = _p95(self.service, version, reading)
        champion = _side(seen.champion_requests, seen.champion_bad)
        challenger = _side(seen.canary_requests, seen.canary_bad)
        return MetricStatus(
            name=self.metric.name,
            verdict=verdict,
            champion=champion.but(p95=histograms.get(self.champion)),
            challenger=challenger.but(p95=histograms.get(self.rollout.challenger)),
            max_risk_ratio=self.metric.max_risk_ratio,
            evidence=_shown(seen.log_e_rollback),
            bound=_shown(seen.log_bound),
            evidence_for=_shown(seen.log_e_promote),
            bound_for=_shown(seen.log_bound_promote),
            needed=seen.requests_needed,
            message=message,
        )


def _p95(service: Service, version: str, reading: Reading) -> Bounds | None:
    """Bounds of the 95th percentile of a version's latency, over all of its revisions' present pods."""
    counts: dict[float, int] = {}
    for revision, histogram in reading.histograms.items():
        if version_of(service, revision) == version:
            for bound, count in histogram:
                counts[bound] = counts.get(bound, 0) + count
    edges = sorted(counts)
    if not edges or not math.isinf(edges[-1]) or counts[edges[-1]] == 0:
        return None
    found = quantile_bounds(edges, list(accumulate((counts[edge] for edge in edges), max)), _QUANTILE)
    return Bounds(low=found.low, high=None if math.isinf(found.high) else found.high)


@dataclass(frozen=True, slots=True)
class _Bake:
    """The promoted version, and the 1 % of requests that the champion still answers, against one ceiling."""

    challenger: BakeState
    champion: BakeState

    def plus(self, added: Increment) -> _Bake:
        return _Bake(
            update_bake(self.challenger, added.canary_requests, added.canary_bad),
            update_bake(self.champion, added.champion_requests, added.champion_bad),
        )

    def to_wire(self) -> JsonObject:
        return {"challenger": self.challenger.to_wire(), "champion": self.champion.to_wire()}

    def verdict(self, config: MetricConfig) -> str | None:
        """Why to go back. When the champion, too, looks worse than it was, the world has changed and not the model."""
        seen, other = assess_bake(self.challenger, config), assess_bake(self.champion, config)
        return seen.sentence if seen.fails and other.log_e <= 0.0 else None


def _bake(memory: MetricMemory) -> _Bake | None:
    """What was remembered since the promotion; None before it, or when somebody has edited it into nonsense."""
    try:
        return _Bake(*(BakeState.from_wire(memory.bake[side]) for side in ("challenger", "champion")))
    except (KeyError, ValueError, TypeError):
        return None


def begin_bake(memory: MetricMemory, config: MetricConfig) -> MetricMemory:
    """The memory of a metric whose challenger is promoted now."""
    start = start_bake(state_of(memory), config)
    return memory.but(bake=_Bake(start, start).to_wire())


def count(
    memory: MetricMemory,
    reading: Reading | Missing,
    service: Service,
    rollout: Rollout,
    champion: str,
    counted: bool,
    warm_up: int = 0,
) -> tuple[Increment, MetricMemory]:
    """What a reading added since the last one, and the marks to count from next time."""
    if isinstance(reading, Missing):
        return Increment(), memory
    since = rollout.started_at.timestamp()
    try:
        state = counters.CounterState.from_wire(memory.counters, since)
    except ValueError:  # somebody edited it into nonsense: count from here
        state = counters.CounterState(since=None)
    found = sides(service, champion, rollout.challenger, reading)
    seen = counters.tally(state, found, counted=counted, warmup=warm_up)
    if seen.stale:
        return Increment(), memory
    return seen.increment, memory.but(counters=seen.state.to_wire())


def state_of(memory: MetricMemory) -> EvidenceState:
    """Remembered evidence; a fresh start when somebody has edited it into nonsense."""
    try:
        return EvidenceState.from_wire(memory.evidence)
    except (ValueError, TypeError):
        return EvidenceState()


def _side(requests: int, bad: int) -> Side:
    return Side(requests=requests, bad=bad, rate=round(bad / requests, 6) if requests else None)


def _shown(log: float) -> float:
    return float(f"{min(_LARGEST, math.exp(min(log, 60.0))):.4g}")
