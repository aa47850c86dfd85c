"""The nouns of a verdict: what one scrape added, what was set, what is known so far, what it means.

They are plain frozen values, apart from the mathematics (`rollback`, `promotion`) and from the judging
(`judge`), so that status, events, metrics and tests can speak of them without importing how a verdict comes
about.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

JsonObject = dict[str, Any]


class MetricVerdict(enum.Enum):
    """What the evidence of one metric allows. `HOLD` is not a failure: more requests are needed."""

    PASS = "Pass"  # noqa: S105 - a verdict, not a password
    FAIL = "Fail"
    HOLD = "Hold"


@dataclass(frozen=True, slots=True)
class Increment:
    """What one scrape added to the counters of one metric, on both sides.

    Raises:
        ValueError: unless requests >= bad >= 0 on both sides.
    """

    canary_requests: int = 0
    canary_bad: int = 0
    champion_requests: int = 0
    champion_bad: int = 0

    def __post_init__(self) -> None:
        for side, requests, bad in (
            ("canary", self.canary_requests, self.canary_bad),
            ("champion", self.champion_requests, self.champion_bad),
        ):
            if not 0 <= bad <= requests:
                raise ValueError(f"{side}: {bad} bad of {requests} requests; need requests >= bad >= 0")

    def __add__(self, other: Increment) -> Increment:
        return Increment(
            self.canary_requests + other.canary_requests,
            self.canary_bad + other.canary_bad,
            self.champion_requests + other.champion_requests,
            self.champion_bad + other.champion_bad,
        )

    @property
    def is_empty(self) -> bool:
        """Whether no request was added on either side."""
        return self.canary_requests == 0 and self.champion_requests == 0

    def as_list(self) -> list[int]:
        """[canary requests, canary bad, champion requests, champion bad]."""
        return [self.canary_requests, self.canary_bad, self.champion_requests, self.champion_bad]


@dataclass(frozen=True, slots=True)
class MetricConfig:
    """How one metric is judged. Rates and shares are fractions, not per cent.

    A canary is *tolerable* when its bad rate is at most `max_risk_ratio` times the champion's, plus
    `negligible`.

    Attributes:
        name: the metric, as it appears in sentences.
        alpha_rollback: chance that a canary as good as the champion is ever rolled back by this metric. With
            several metrics, the chance for all of them divided by their number.
        alpha_promote: chance that a canary that is not tolerable is ever promoted. Not to be divided: every
            metric has to pass, so the one that is not tolerable bounds the chance alone.
        max_risk_ratio: see above; more than 1.
        negligible: bad rate that nobody minds, as an absolute fraction of requests. Because of it a service
            without any bad request is promotable.
        alpha_negligible: chance that a canary that is worse by no more than `negligible` is rolled back.
        alpha_advance: as `alpha_promote`, for a step that is not the last: its harm is bounded by the weight,
            and rollback stays armed.
        shares: the traffic share that each Pass would lead to: weights of the steps after the first, and 1.0.
        block: requests on the quieter side that close a block of scrapes (see `judge.update`).
        block_scrapes: scrapes after which a block closes in any case.
        bad_noun: how sentences call a bad request.

    Raises:
        ValueError: naming the field, when a value is out of its range.
    """

    name: str
    alpha_rollback: float = 0.01
    alpha_promote: float = 0.05
    max_risk_ratio: float = 1.5
    negligible: float = 0.002
    alpha_advance: float = 0.2
    alpha_negligible: float = 0.05
    shares: tuple[float, ...] = (1.0,)
    block: int = 5
    block_scrapes: int = 20
    bad_noun: str = "bad"

    def __post_init__(self) -> None:
        for field in ("alpha_rollback", "alpha_promote", "alpha_advance", "alpha_negligible"):
            value = getattr(self, field)
            if not 0.0 < value < 1.0:
                raise ValueError(f"{self.name}: {field} is {value}; it must lie between 0 and 1")
        if not 1.0 < self.max_risk_ratio < math.inf:
            raise ValueError(f"{self.name}: max_risk_ratio is {self.max_risk_ratio}; it must be more than 1")
        if not 0.0 <= self.negligible < 1.0:
            raise ValueError(f"{self.name}: negligible is {self.negligible}; it must lie in [0, 1)")
        if not self.shares or any(not 0.0 < share <= 1.0 for share in self.shares):
            raise ValueError(f"{self.name}: shares {self.shares} must be fractions in (0, 1], at least one")
        if self.block < 1 or self.block_scrapes < 1:
            raise ValueError(f"{self.name}: block and block_scrapes must be at least 1")


@dataclass(frozen=True, slots=True)
class Margin:
    """What is still tolerable: a canary bad rate of `ratio` times the champion's plus `excess`."""

    ratio: float
    excess: float


@dataclass(frozen=True, slots=True)
class MarginEvidence:
    """Logarithms of the stakes, one for each bet, that the canary keeps within `margin`."""

    margin: Margin
    logs: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class EvidenceState:
    """All that is remembered of one metric: a few floats and nine integers.

    Attributes:
        rollback: logarithms of the stakes, one for each bet, that the canary is worse than the champion.
        serious: the same that it is worse by more than what is negligible.
        promote: the same that it keeps within each margin.
        total: requests since the start, those of the open block included.
        pending: the open block, not yet part of the evidence.
        pending_scrapes: scrapes in the open block.
    """

    rollback: tuple[float, ...] = ()
    serious: tuple[float, ...] = ()
    promote: tuple[MarginEvidence, ...] = ()
    total: Increment = Increment()
    pending: Increment = Increment()
    pending_scrapes: int = 0

    @property
    def judged_canary_requests(self) -> int:
        """Canary requests in closed blocks."""
        return self.total.canary_requests - self.pending.canary_requests

    def to_wire(self) -> JsonObject:
        """As JSON values, for `.status`. `from_wire` gives back exactly the same state."""
        return {
            "r": list(self.rollback),
            "s": list(self.serious),
            "p": [[item.margin.ratio, item.margin.excess, *item.logs] for item in self.promote],
            "n": self.total.as_list(),
            "b": [*self.pending.as_list(), self.pending_scrapes],
        }

    @classmethod
    def from_wire(cls, wire: Mapping[str, Any] | None) -> EvidenceState:
        """Read back `to_wire`; nothing, or an empty object, is a fresh start.

        Raises:
            ValueError: if the object is not of this form (saying which key).
        """
        if not wire:
            return cls()
        pending = _numbers(wire, "b", 5)
        return cls(
            rollback=tuple(_numbers(wire, "r")),
            serious=tuple(_numbers(wire, "s")),
            promote=tuple(
                MarginEvidence(Margin(row[0], row[1]), tuple(row[2:]))
                for row in (_floats("p", row, 2) for row in wire.get("p", []))
            ),
            total=Increment(*(int(value) for value in _numbers(wire, "n", 4))),
            pending=Increment(*(int(value) for value in pending[:4])),
            pending_scrapes=int(pending[4]) if pending else 0,
        )


def _numbers(wire: Mapping[str, Any], key: str, length: int | None = None) -> list[float]:
    values = _floats(key, wire.get(key, []), 0)
    if length is not None and values and len(values) != length:
        raise ValueError(f"evidence: {key!r} has {len(values)} numbers, not {length}")
    return values


def _floats(key: str, values: object, least: int) -> list[float]:
    if not isinstance(values, Sequence) or isinstance(values, str) or len(values) < least:
        raise ValueError(f"evidence: {key!r} is {values!r}, not a list of at least {least} numbers")
    if any(isinstance(value, bool) or not isinstance(value, int | float) for value in values):
        raise ValueError(f"evidence: {key!r} holds something that is no number: {values!r}")
    return [float(value) for value in values]


@dataclass(frozen=True, slots=True)
class Assessment:
    """The verdict of one metric, with every number that a person needs to check it.

    Attributes:
        log_e_rollback: natural logarithm of the evidence that the canary is worse than the champion.
        log_e_serious: the same for it being worse by more than what is negligible.
        log_e_promote: the same for the canary being tolerable (at the margin of the share asked for).
        log_bound: evidence needed to roll back, log(1/alpha_rollback).
        log_bound_promote: evidence needed to pass, log(1/alpha_promote) or log(1/alpha_advance).
        requests_needed: canary requests expected to be missing until a Pass; 0 when the evidence is there,
            None when the canary looks too bad for it.
        sentence: all of it for a person.
    """

    verdict: MetricVerdict
    log_e_rollback: float
    log_e_serious: float
    log_e_promote: float
    log_bound: float
    log_bound_promote: float
    canary_requests: int
    canary_bad: int
    champion_requests: int
    champion_bad: int
    requests_needed: int | None
    sentence: str

    @property
    def evidence_rollback(self) -> float:
        """The evidence itself (1 says nothing), at most 1e12: for status and metrics."""
        return math.exp(min(self.log_e_rollback, math.log(1e12)))

    @property
    def evidence_promote(self) -> float:
        """The evidence itself (1 says nothing), at most 1e12: for status and metrics."""
        return math.exp(min(self.log_e_promote, math.log(1e12)))
