"""From counters as Prometheus shows them to what was really added, counted once and only once.

Evidence is only as good as its counts. Counters restart with their container, pods are replaced and scaled,
scrapes come late, twice or not at all, and the operator itself may be killed between two of them. The rules,
each with its reason, are those of `_side`; the principle is that a request may be lost but is never counted
twice, and never invented. The state holds one pair of numbers for each pod and lives in `.status`, next to
the evidence that was made of it: both are written in one patch, so a killed operator repeats a whole step or
none.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType

from .types import Increment, JsonObject

# Prometheus forgets a series 5 minutes after its last scrape. A pod that was not seen for an hour does not
# come back, and remembering every pod of a long rollout would bloat the status.
FORGET_AFTER_S = 3600.0
# Start times come from different clocks and roundings; the same container must not look restarted.
_SAME_START_S = 1.0


@dataclass(frozen=True, slots=True)
class Sample:
    """The counters of one pod, as scraped.

    Attributes:
        requests: all requests since the counter began.
        bad: bad ones among them; 0 when the series does not exist yet.
        started: when the counter began at 0 (start of the container), in Unix seconds; None: not known.
        outlives: whether it outlives containers: a sum over pods, or a count in a database. When it falls something
            has left it; it has not begun again.
    """

    requests: float
    bad: float
    started: float | None = None
    outlives: bool = False


@dataclass(frozen=True, slots=True)
class Reading:
    """One look at Prometheus.

    Attributes:
        at: time of the newest scrape in it, in Unix seconds; not the time of the query.
        canary: samples by pod (or by whatever else has a counter of its own).
        champion: the same.
    """

    at: float
    canary: Mapping[str, Sample] = field(default_factory=dict)
    champion: Mapping[str, Sample] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Baseline:
    """Up to where a pod's counters have been counted; `seen` is the time of the last scrape that had it."""

    requests: int
    bad: int
    started: float | None
    seen: float


@dataclass(frozen=True, slots=True)
class CounterState:
    """What has been counted.

    Attributes:
        since: start of the rollout in Unix seconds; counters that began later are counted from 0. None: every
            counter is counted from where it is first seen.
        at: time of the last reading that counted, None before the first.
        canary: baselines by pod.
        champion: the same.
    """

    since: float | None = None
    at: float | None = None
    canary: Mapping[str, Baseline] = field(default_factory=lambda: MappingProxyType({}))
    champion: Mapping[str, Baseline] = field(default_factory=lambda: MappingProxyType({}))

    def to_wire(self) -> JsonObject:
        """As JSON values, for `.status`. `from_wire` gives back exactly the same state."""
        return {
            "since": self.since,
            "at": self.at,
            "canary": {key: _row(base) for key, base in sorted(self.canary.items())},
            "champion": {key: _row(base) for key, base in sorted(self.champion.items())},
        }

    @classmethod
    def from_wire(cls, wire: Mapping[str, object] | None, since: float | None = None) -> CounterState:
        """Read back `to_wire`; nothing, or an empty object, is a start at `since`.

        Raises:
            ValueError: if the object is not of this form.
        """
        if not wire:
            return cls(since=since)
        try:
            return cls(
                since=_time(wire.get("since")),
                at=_time(wire.get("at")),
                canary=_baselines(wire.get("canary")),
                champion=_baselines(wire.get("champion")),
            )
        except (TypeError, ValueError, AttributeError) as error:
            raise ValueError(f"counters: cannot read {wire!r}: {error}") from error


@dataclass(frozen=True, slots=True)
class Tally:
    """What a reading came to.

    Attributes:
        state: what to remember.
        increment: what it added on both sides.
        stale: whether the reading was no newer than the last one; nothing was counted then.
        notes: what was unusual, one sentence each, in a fixed order.
    """

    state: CounterState
    increment: Increment
    stale: bool = False
    notes: tuple[str, ...] = ()


def tally(state: CounterState, reading: Reading, *, counted: bool = True, warmup: int = 0) -> Tally:
    """Count what `reading` added since `state`.

    Args:
        state: what has been counted before.
        reading: what Prometheus shows. One that is no newer than the last is stale and changes nothing.
        counted: False moves the baselines without counting: for the time in which the observed weight is not
            yet the wanted one.
        warmup: first requests of a container that are not counted (compilation, cold caches), and what came
            with them in the same scrape; the same for both sides. It looks at how many requests there were and
            never at bad ones, which is what keeps the evidence fair.
    """
    if state.at is not None and reading.at <= state.at:
        return Tally(state, Increment(), stale=True)
    canary = _side(state, reading, state.canary, reading.canary, warmup)
    champion = _side(state, reading, state.champion, reading.champion, warmup)
    increment = Increment(canary.requests, canary.bad, champion.requests, champion.bad)
    moved = replace(state, at=reading.at, canary=canary.baselines, champion=champion.baselines)
    return Tally(moved, increment if counted else Increment(), notes=(*canary.notes, *champion.notes))


@dataclass(frozen=True, slots=True)
class _Counted:
    requests: int
    bad: int
    baselines: Mapping[str, Baseline]
    notes: tuple[str, ...]


def _side(
    state: CounterState,
    reading: Reading,
    known: Mapping[str, Baseline],
    samples: Mapping[str, Sample],
    warmup: int,
) -> _Counted:
    """One side: every pod against its baseline.

    A pod that is gone keeps its baseline for a while, so that one that only missed a scrape is not counted
    from 0 when it is back. Its last requests before it went are lost to Prometheus as well.
    """
    requests = bad = 0
    notes = []
    baselines = {key: base for key, base in known.items() if reading.at - base.seen <= FORGET_AFTER_S}
    for key, sample in sorted(samples.items()):
        if not all(math.isfinite(value) and value >= 0.0 for value in (sample.requests, sample.bad)):
            notes.append(f"{key}: counters {sample.requests} and {sample.bad} make no sense; left out")
            continue
        base = _baseline(state, reading, known.get(key), sample, warmup)
        if base.seen < 0.0:
            notes.append(f"{key}: its counters restarted; counted from 0")
        new, new_bad = _whole(sample.requests) - base.requests, _whole(sample.bad) - base.bad
        # Two series of one scrape may be a request apart. What does not fit now is counted next time.
        counted_bad = min(new_bad, new)
        requests, bad = requests + new, bad + counted_bad
        started = sample.started if sample.started is not None else base.started
        baselines[key] = Baseline(_whole(sample.requests), base.bad + counted_bad, started, reading.at)
    return _Counted(requests, bad, MappingProxyType(baselines), tuple(notes))


def _baseline(state: CounterState, reading: Reading, known: Baseline | None, sample: Sample, warmup: int) -> Baseline:
    """From where this sample is counted. `seen` is -1 for a counter that restarted."""
    here = Baseline(_whole(sample.requests), _whole(sample.bad), sample.started, reading.at)
    before = _counted_up_to(state, reading, known, sample, here)
    return before if before.requests >= warmup else replace(here, seen=before.seen)


def _counted_up_to(
    state: CounterState, reading: Reading, known: Baseline | None, sample: Sample, here: Baseline
) -> Baseline:
    zero = replace(here, requests=0, bad=0)
    started = sample.started
    if known is None:
        # New to us is not new: it may have been there all along, unscraped. Only a counter that is known to
        # have begun inside this rollout, and recently enough not to be one that was forgotten, counts whole.
        begun = started is not None and state.since is not None and started >= state.since
        recent = started is not None and reading.at - started <= FORGET_AFTER_S
        return zero if begun and recent else here
    fell = _whole(sample.requests) < known.requests or _whole(sample.bad) < known.bad
    if sample.outlives:
        return here if fell else known
    again = (
        started is not None
        and known.started is not None
        and abs(started - known.started) > _SAME_START_S
        and started > known.started
    )
    # The second sign catches a restart after which the counter has already overtaken its old value.
    return replace(zero, seen=-1.0) if fell or again else known


def _whole(value: float) -> int:
    return int(value + 0.5)


def _row(base: Baseline) -> list[float | int | None]:
    return [base.requests, base.bad, base.started, base.seen]


def _baselines(rows: object) -> Mapping[str, Baseline]:
    if not isinstance(rows, Mapping):
        raise TypeError(f"baselines are {rows!r}, not an object")
    return MappingProxyType(
        {
            str(key): Baseline(int(requests), int(bad), _time(started), float(seen))
            for key, (requests, bad, started, seen) in rows.items()
        }
    )


def _time(value: object) -> float | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{value!r} is no time")
    return float(value)
