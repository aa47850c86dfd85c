"""Evidence that the canary is good enough to be trusted with more traffic.

Absence of evidence for a rollback is no such evidence. What must be refuted is "the canary's bad rate is at
least r times the champion's plus d", the margin. A block holds n requests with x bad ones of the canary and
m with y bad ones of the champion. For any bet 0 < b < 1

    E = exp(d b n) (1 - b)^x (1 + b r n/m)^y

has mean at most 1 as long as that hypothesis is true: a request that is bad with chance p multiplies the mean
by 1 + p c <= exp(p c), c being the bet on it, so that the logarithm of the mean is at most

    d b n - n p b + m q b r n/m = -n b (p - r q - d) <= 0

for canary rate p and champion rate q. Nothing is asked of p and q but that they hold for the block; they may
be others in the next, because n/m is taken from the same block.

Of its two ways to win, the first makes a service without a single bad request promotable: with no bad
request on either side every canary request earns d b. A purely conditional test (d = 0: Lindon & Malek,
arXiv:2011.03567, mirrored) learns nothing from good requests. The second is the comparison with the
champion. Bets as test martingales: Waudby-Smith & Ramdas, JRSS-B 2024, arXiv:2010.09686; several run side by
side and their average counts (mixtures: Howard, Ramdas, McAuliffe & Sekhon, Ann. Stat. 49(2), 2021).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from .logs import log_sum
from .types import Increment, Margin

# (part of the stake that a bad canary request loses, part of the whole on this bet). Large bets pay when bad
# requests are rare, small ones when they are common. Chosen by simulation: docs/evidence.md.
BETS = ((0.08, 0.15), (0.2, 0.25), (0.35, 0.3), (0.6, 0.15), (0.97, 0.15))


def start() -> tuple[float, ...]:
    """Logarithms of the stakes before the first request."""
    return tuple(math.log(part) for _, part in BETS)


def step(logs: Sequence[float], block: Increment, margin: Margin) -> tuple[float, ...]:
    """The stakes after one more block.

    Without champion requests the champion's rate counts as 0: the canary has to keep within the excess alone.
    """
    if block.canary_requests == 0:
        return tuple(logs)
    odds = block.canary_requests / block.champion_requests if block.champion_requests else 0.0
    return tuple(
        log
        + margin.excess * bet * block.canary_requests
        + block.canary_bad * math.log1p(-bet)
        + block.champion_bad * math.log1p(bet * margin.ratio * odds)
        for log, (bet, _) in zip(logs, BETS, strict=True)
    )


def log_evidence(logs: Sequence[float]) -> float:
    """Logarithm of the evidence that the canary keeps within the margin."""
    return log_sum(logs)


def requests_needed(logs: Sequence[float], margin: Margin, total: Increment, share: float, bound: float) -> int | None:
    """Canary requests missing until the evidence is expected to reach `bound`, if rates stay as they look.

    An expectation for people, no part of the verdict. The rates are those seen, drawn towards each other by
    three bad requests' worth, so that few requests do not make wild promises.

    Args:
        logs: the stakes.
        margin: what has to be refuted.
        total: all requests so far.
        share: the canary's share of traffic from now on.
        bound: logarithm of the evidence needed.

    Returns:
        0 when it is reached; None when the canary looks too bad to reach it.
    """
    if log_evidence(logs) >= bound:
        return 0
    requests = total.canary_requests + total.champion_requests
    bad = total.canary_bad + total.champion_bad
    canary, champion = 0.0, 0.0
    if bad:
        prior = 3.0 * requests / bad
        canary = (total.canary_bad + 3.0) / (total.canary_requests + prior)
        champion = (total.champion_bad + 3.0) / (total.champion_requests + prior)
    odds = share / (1.0 - share) if share < 1.0 else 0.0
    missing = math.inf
    for log, (bet, _) in zip(logs, BETS, strict=True):
        gain = margin.excess * bet + canary * math.log1p(-bet)
        if odds > 0.0:
            gain += champion / odds * math.log1p(bet * margin.ratio * odds)
        if gain > 0.0:
            missing = min(missing, (bound - log) / gain)
    return math.ceil(missing) if missing < 1e12 else None
