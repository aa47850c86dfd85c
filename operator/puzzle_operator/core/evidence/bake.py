"""Watching a version that has all the traffic: there is no champion to compare with any more.

After promotion the question changes from "worse than the champion is" to "worse than the champion was": the
bad rate is held against a ceiling that was fixed at promotion, the highest rate that was still tolerable.
That is weaker than a comparison, and it says so: when the world turns bad for reasons of its own, the new
version gets the blame. Leaving a few per cent of traffic with the champion keeps the comparison, and `judge`,
in force; this module is for when that is not wanted.

For a ceiling c a bet b > 0 has the factor (1 + b)^x exp(-b c n) on n requests with x bad ones, whose mean is
at most exp(b p n - b c n) <= 1 for any rate p <= c. Ville's inequality as in `rollback`, mixture and reserve
as there. Half of alpha goes to the ceiling being right, half to the watch.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .bounds import rate_bounds
from .logs import log_of, log_sum
from .rollback import reserve
from .sentences import evidence, percent
from .types import EvidenceState, JsonObject, MetricConfig

# (times by which the rate is bet to exceed the ceiling, less one; part of the stake)
BETS = ((1.0, 0.2), (3.0, 0.4), (9.0, 0.3), (30.0, 0.1))


@dataclass(frozen=True, slots=True)
class BakeState:
    """What is remembered of one metric while a promoted version is watched.

    Attributes:
        ceiling: the bad rate that is still tolerable, fixed at promotion.
        logs: logarithms of the stakes.
        requests: since promotion.
        bad: of them.
    """

    ceiling: float
    logs: tuple[float, ...]
    requests: int = 0
    bad: int = 0

    def to_wire(self) -> JsonObject:
        """As JSON values, for `.status`. `from_wire` gives back exactly the same state."""
        return {"ceiling": self.ceiling, "logs": list(self.logs), "n": [self.requests, self.bad]}

    @classmethod
    def from_wire(cls, wire: Mapping[str, Any]) -> BakeState:
        """Read back `to_wire`.

        Raises:
            ValueError: if the object is not of this form.
        """
        try:
            requests, bad = (int(value) for value in wire["n"])
            state = cls(float(wire["ceiling"]), tuple(float(v) for v in wire["logs"]), requests, bad)
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"bake: cannot read {wire!r}: {error!r}") from error
        if len(state.logs) != len(BETS):
            raise ValueError(f"bake: {len(state.logs)} logarithms, not {len(BETS)}")
        return state


@dataclass(frozen=True, slots=True)
class BakeVerdict:
    """Whether to go back to the champion, with the numbers."""

    fails: bool
    log_e: float
    log_bound: float
    sentence: str


def start_bake(canary: EvidenceState, config: MetricConfig) -> BakeState:
    """Begin to watch, from what the canary phase taught about the champion.

    The ceiling is `max_risk_ratio` times the champion's rate plus `negligible`, with the champion's rate at
    its upper bound: what is not known for sure is not held against the new version. Where the champion
    served nothing there is no ceiling (1.0), and no Fail.
    """
    total = canary.total
    highest = rate_bounds(total.champion_bad, total.champion_requests, config.alpha_rollback / 2.0).high
    ceiling = min(1.0, config.max_risk_ratio * highest + config.negligible)
    first = 1.0 - reserve(0)
    return BakeState(ceiling, tuple(math.log(first * part) for _, part in BETS))


def update_bake(state: BakeState, requests: int, bad: int) -> BakeState:
    """The state after more requests of the promoted version.

    Raises:
        ValueError: unless requests >= bad >= 0.
    """
    if not 0 <= bad <= requests:
        raise ValueError(f"bake: {bad} bad of {requests} requests; need requests >= bad >= 0")
    spent = reserve(state.requests) - reserve(state.requests + requests)
    logs = tuple(
        log_sum((log, log_of(spent * part))) + bad * math.log1p(bet) - bet * state.ceiling * requests
        for log, (bet, part) in zip(state.logs, BETS, strict=True)
    )
    return BakeState(state.ceiling, logs, state.requests + requests, state.bad + bad)


def assess_bake(state: BakeState, config: MetricConfig) -> BakeVerdict:
    """Whether the promoted version is worse than tolerable. A look changes nothing."""
    log_e = log_sum((*state.logs, math.log(reserve(state.requests))))
    bound = -math.log(config.alpha_rollback / 2.0)
    return BakeVerdict(
        fails=log_e >= bound,
        log_e=log_e,
        log_bound=bound,
        sentence=(
            f"{config.name}: {state.bad:,} of {state.requests:,} requests since promotion {config.bad_noun}"
            f"{percent(state.bad, state.requests)}, tolerable is {100 * state.ceiling:.2g} %: evidence "
            f"{evidence(log_e)} of the {evidence(bound)} needed to go back"
        ),
    )
