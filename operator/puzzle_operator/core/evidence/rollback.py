"""Evidence that the canary is worse than the champion.

One block of scrapes holds n requests of the canary, m of the champion, and x + y = z bad ones. If both
versions are equally good and requests are routed at random, then which of the z bad requests went to the
canary is a draw without replacement: x is hypergeometric (n + m, n, z), whatever the bad rate is, however it
moves with the time of day, and however bad requests come in bursts. For an odds ratio r > 1 the likelihood
ratio

    f(x) = r^x / E[r^X],   X hypergeometric

therefore has mean 1, and mean at most 1 for a canary that is better. It is the sequential form of Fisher's
exact test and, for rare bad requests, the conditional e-value of Lindon & Malek, "Anytime-valid inference
for multinomial count data", NeurIPS 2022, arXiv:2011.03567. The running product is a supermartingale; by
Ville's inequality it ever reaches 1/alpha with a chance of at most alpha, however often one looks.

Three things are added, none of which costs validity:

* *Mixture.* How bad a bad canary is, is not known: the stake is divided over several r.
* *Reserve.* A canary may start well and go bad later (a leak, a new day). A product that has lost for an
  hour would need as long to recover, so a part of the stake is kept back and bet bit by bit as requests
  come, by a schedule that depends on their number only. The idea is that of e-detectors: Shin, Ramdas &
  Rinaldo, NEJSDS 2024, arXiv:2203.03532.
* *No overshoot.* Only reaching 1/alpha matters, so what a product would gain beyond it is worth nothing.
  Each factor is cut off there and scaled up until its mean is 1 again: Fischer & Ramdas, "Improving the
  (approximate) sequential probability ratio test by avoiding overshoot", 2024, arXiv:2410.16076.

With enough traffic a difference of one in a million can be proven, and nobody minds it. So a second, weaker
test has to agree (`step_serious`), whose hypothesis is "the canary's bad rate p is at most the champion's q
plus d": for a bet b > 0 the factor exp(-d b n) (1 + b)^x (1 - b n/m)^y has mean at most 1 then, because
1 + v <= exp(v) for every request and n p b - m q b n/m - d b n = n b (p - q - d) <= 0.

What was measured for each is in docs/evidence.md.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from .logs import log_of, log_sum
from .types import Increment, MetricConfig

_RESERVE = 0.15
# Canary requests by which the reserve has shrunk to 1/sqrt(2); it goes with the square root of requests, so
# that at every scale of time a similar part of it is still there to bet.
RESERVE_SCALE = 200.0
# Bad requests in one block up to which their exact distribution is summed (about 3 ms). Beyond, a bound of
# the same mean is used, which costs nothing and little power: sums of draws without replacement are less
# spread than with it (Hoeffding, JASA 58, 1963, theorem 4), so E[r^X] <= (r n + m)^z / (n + m)^z.
EXACT_UP_TO = 2000
# (risk ratio bet on, part of the stake) of the second test.
SERIOUS_BETS = ((1.4, 0.1), (2.0, 0.15), (4.0, 0.25), (9.0, 0.35), (25.0, 0.15))


def bets(config: MetricConfig) -> tuple[tuple[float, float], ...]:
    """(odds ratio bet on, part of the stake). The first gains on every canary beyond the margin."""
    return ((config.max_risk_ratio**1.5, 0.08), (4.0, 0.3), (9.0, 0.47), (25.0, 0.15))


def start(config: MetricConfig) -> tuple[float, ...]:
    """Logarithms of the stakes before the first request."""
    return tuple(math.log((1.0 - _RESERVE) * part) for _, part in bets(config))


def start_serious() -> tuple[float, ...]:
    """As `start`, for `step_serious`."""
    return tuple(math.log((1.0 - _RESERVE) * part) for _, part in SERIOUS_BETS)


def reserve(canary_requests: int) -> float:
    """What is not yet bet after so many canary requests."""
    return _RESERVE / math.sqrt(1.0 + canary_requests / RESERVE_SCALE)


def log_evidence(logs: Sequence[float], canary_requests: int) -> float:
    """Logarithm of everything owned, bet or not, after so many canary requests in closed blocks."""
    return log_sum((*logs, math.log(reserve(canary_requests))))


def step(logs: Sequence[float], block: Increment, requests_before: int, config: MetricConfig) -> tuple[float, ...]:
    """The stakes after one more block.

    Args:
        logs: logarithms of the stakes, one for each of `bets`.
        block: what the block holds.
        requests_before: canary requests in all blocks before this one.
        config: alpha_rollback and the bets.
    """
    after = requests_before + block.canary_requests
    spent = reserve(requests_before) - reserve(after)
    staked = [log_sum((log, log_of(spent * part))) for log, (_, part) in zip(logs, bets(config), strict=True)]
    bad = block.canary_bad + block.champion_bad
    if bad == 0 or block.canary_requests == 0 or block.champion_requests == 0:
        return tuple(staked)
    if bad > EXACT_UP_TO:
        share = block.canary_requests / (block.canary_requests + block.champion_requests)
        return tuple(
            log + block.canary_bad * math.log(ratio) - bad * math.log(ratio * share + 1.0 - share)
            for log, (ratio, _) in zip(staked, bets(config), strict=True)
        )
    first, chances = hypergeometric(block.canary_requests, block.champion_requests, bad)
    wins = [_log_factors(ratio, first, chances) for ratio, _ in bets(config)]
    kept = math.log(reserve(after))
    outcomes = [
        log_sum((*(log + win[i] for log, win in zip(staked, wins, strict=True)), kept)) for i in range(len(chances))
    ]
    before = log_sum((*staked, kept))
    scale = log_scale_to_cap(chances, outcomes, before, -math.log(config.alpha_rollback))
    seen = block.canary_bad - first
    # The unbet reserve cannot be scaled in place (its schedule is fixed): what it gains is bet as well.
    gain = log_of(math.expm1(scale)) + kept
    return tuple(
        log_sum((log + win[seen] + scale, gain + math.log(part)))
        for log, win, (_, part) in zip(staked, wins, bets(config), strict=True)
    )


def step_serious(logs: Sequence[float], block: Increment, requests_before: int, negligible: float) -> tuple[float, ...]:
    """The stakes that the canary is worse by more than `negligible`, after one more block; else as `step`."""
    spent = reserve(requests_before) - reserve(requests_before + block.canary_requests)
    staked = (log_sum((log, log_of(spent * part))) for log, (_, part) in zip(logs, SERIOUS_BETS, strict=True))
    if block.canary_requests == 0 or block.champion_requests == 0:
        return tuple(staked)
    share = block.canary_requests / (block.canary_requests + block.champion_requests)
    factors = []
    for ratio, _ in SERIOUS_BETS:
        # The bet that is best for a canary `ratio` times as bad; 1 - b n/m is then 1 / lift.
        lift = ratio * share + 1.0 - share
        bet = ratio / lift - 1.0
        factors.append(
            block.canary_bad * math.log(ratio / lift)
            - block.champion_bad * math.log(lift)
            - negligible * bet * block.canary_requests
        )
    return tuple(log + factor for log, factor in zip(staked, factors, strict=True))


def hypergeometric(canary: int, champion: int, bad: int) -> tuple[int, list[float]]:
    """(first, log P(first), log P(first + 1), ...): how many of `bad` requests are the canary's, by chance.

    Args:
        canary: canary requests.
        champion: champion requests.
        bad: bad ones among both; at most canary + champion.
    """
    first, last = max(0, bad - champion), min(bad, canary)
    log_p = _log_choose(canary, first) + _log_choose(champion, bad - first) - _log_choose(canary + champion, bad)
    chances = [log_p]
    for k in range(first, last):
        log_p += math.log((canary - k) * (bad - k)) - math.log((k + 1) * (champion - bad + k + 1))
        chances.append(log_p)
    # Rounding of lgamma would otherwise grow with the number of blocks; the sum is 1 by definition.
    total = log_sum(chances)
    return first, [chance - total for chance in chances]


def log_scale_to_cap(chances: Sequence[float], outcomes: Sequence[float], before: float, cap: float) -> float:
    """log b >= 0 such that the mean of min(b * outcome, exp(cap)) is exp(before). All are logarithms.

    `outcomes` must not decrease and have mean exp(before). 0 when nothing reaches the cap, or when the cap
    was reached before (the verdict has been given).
    """
    if before >= cap or outcomes[-1] <= cap:
        return 0.0
    cut = next(i for i, outcome in enumerate(outcomes) if outcome > cap)
    scale = 0.0
    while cut > 0:
        # Outcomes from `cut` on count as the cap, those before are scaled. With too few cut, b comes out too
        # small, never too large, so going down one by one ends at the solution.
        tail = math.fsum(math.exp(chance + cap - before) for chance in chances[cut:])
        head = log_sum([chances[i] + outcomes[i] - before for i in range(cut)])
        scale = math.log(1.0 - tail) - head
        if scale + outcomes[cut - 1] <= cap:
            break
        cut -= 1
    return max(scale, 0.0)


def _log_factors(ratio: float, first: int, chances: Sequence[float]) -> list[float]:
    """log f(x) of the module's docstring for x = first, first + 1, ..."""
    powers = [(first + i) * math.log(ratio) for i in range(len(chances))]
    mean = log_sum([power + chance for power, chance in zip(powers, chances, strict=True)])
    return [power - mean for power in powers]


def _log_choose(n: int, k: int) -> float:
    return math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)
