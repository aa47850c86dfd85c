"""Traffic to judge: what both versions answered, minute by minute, in worlds whose truth is known."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class World:
    """One scenario. Rates are per second, error rates are fractions, times are minutes.

    Attributes:
        name: for the table.
        rate: requests per second, both versions together.
        champion: error rate of the champion.
        weights: the canary's share in equal parts of the time.
        minutes: length of the rollout.
        look: minutes between two looks.
        bursts: mean requests that one cause (a bad camera, a bad batch) spoils at once; 0: independent.
        daily: whether traffic and error rate of both follow the time of day.
        outage: first and last minute without Prometheus; counters go on behind it.
        from_minute: when the canary's fault begins; as good as the champion before.
    """

    name: str = "base"
    rate: float = 2.0
    champion: float = 0.005
    weights: tuple[float, ...] = (0.10, 0.25, 0.50)
    minutes: int = 60
    look: int = 1
    bursts: float = 0.0
    daily: bool = False
    outage: tuple[int, int] | None = None
    from_minute: int = 0

    @property
    def looks(self) -> int:
        return self.minutes // self.look

    def weight(self, look: int) -> float:
        return self.weights[look * len(self.weights) // self.looks]


@dataclass(frozen=True)
class Look:
    """What can be seen at one look.

    Attributes:
        minute: minutes since the start.
        added: (runs, 4) canary requests, canary bad, champion requests, champion bad in this interval.
        visible: whether Prometheus answers.
        new_weight: whether the weight changes after this look.
    """

    minute: int
    added: Ints
    visible: bool
    new_weight: bool


def stream(world: World, canary: float, runs: int, rng: np.random.Generator) -> Iterator[Look]:
    """The looks of `runs` rollouts of a canary with error rate `canary`."""
    for look in range(world.looks):
        minute = (look + 1) * world.look
        weight = world.weight(look)
        phase = math.sin(2.0 * math.pi * minute / 1440.0) if world.daily else 0.0
        mean = world.rate * 60.0 * world.look * (1.0 + 0.8 * phase)
        champion = world.champion * (1.0 + 0.8 * math.sin(4.0 * math.pi * minute / 1440.0) * world.daily)
        mine = champion * canary / world.champion if minute > world.from_minute else champion
        total = rng.poisson(mean, runs)
        n = rng.binomial(total, weight)
        m = total - n
        if world.bursts:
            x, y = _bursts(world.bursts, champion, mine, n, m, rng)
        else:
            x, y = rng.binomial(n, mine), rng.binomial(m, champion)
        dark = world.outage is not None and world.outage[0] < minute <= world.outage[1]
        change = look + 1 < world.looks and world.weight(look + 1) != weight
        yield Look(minute, np.stack([n, x, m, y], axis=1), not dark, change)


def _bursts(
    size: float, champion: float, canary: float, n: Ints, m: Ints, rng: np.random.Generator
) -> tuple[Ints, Ints]:
    """Bad requests that come in bursts: each cause spoils a geometric number of requests, routed at random.

    What is worse about the canary is its own and comes one by one.
    """
    causes = rng.poisson((n + m) * champion / size)
    spoilt = np.where(causes > 0, rng.negative_binomial(np.maximum(causes, 1), 1.0 / size) + causes, 0)
    spoilt = np.minimum(spoilt, n + m)
    theirs = rng.hypergeometric(n, m, spoilt)
    extra = rng.binomial(n - theirs, max(canary - champion, 0.0))
    return theirs + extra, spoilt - theirs


def information_bound(world: World, canary: float, alpha: float) -> float:
    """Minutes until the canary's requests carry log(1/alpha) nats against the champion's known error rate.

    Wald's bound: no test of level alpha has a shorter mean time to detection, even one that knows both rates.
    """
    if canary <= world.champion:
        return math.inf
    need, p, q = math.log(1.0 / alpha), canary, world.champion
    each = p * math.log(p / q) + ((1.0 - p) * math.log((1.0 - p) / (1.0 - q)) if p < 1.0 else 0.0)
    for look in range(world.looks):
        gain = each * world.rate * 60.0 * world.look * world.weight(look)
        if gain >= need:
            return (look + need / gain) * world.look
        need -= gain
    return math.inf
