"""The promises behind the verdict, by exact enumeration and by independent formulas, not by simulation.

Every small case is worked out over all that can happen: under the hypothesis that a test is to refute, the
mean of the evidence is at most 1 and the chance of ever reaching 1/alpha at most alpha.
"""

import itertools
import math
from collections.abc import Iterator
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from puzzle_operator.core.evidence import (
    EvidenceState,
    Increment,
    Margin,
    MetricConfig,
    MetricVerdict,
    assess,
    fresh,
    promotion,
    rollback,
    update,
)

# A loaded machine is slow, not wrong.
STEADY = settings(deadline=None, max_examples=60)
# (canary requests, champion requests) of the blocks of a small rollout, with a change of weight in it.
ROLLOUTS = [((2, 3), (3, 1)), ((1, 1),) * 4, ((0, 3), (2, 0), (3, 3)), ((1, 6), (4, 3))]


def outcomes(blocks: tuple[tuple[int, int], ...], p: float, q: float) -> Iterator[tuple[float, list[Increment]]]:
    """Every course of a rollout with canary rate p and champion rate q, with its chance."""
    one = [
        [
            (stats.binom.pmf(x, n, p) * stats.binom.pmf(y, m, q), Increment(n, x, m, y))
            for x in range(n + 1)
            for y in range(m + 1)
        ]
        for n, m in blocks
    ]
    for course in itertools.product(*one):
        chance = math.prod(float(step[0]) for step in course)
        if chance > 0.0:
            yield chance, [step[1] for step in course]


@pytest.mark.parametrize("blocks", ROLLOUTS)
@pytest.mark.parametrize(("p", "q"), [(0.1, 0.1), (0.7, 0.7), (0.05, 0.3), (1.0, 1.0), (0.0, 0.4)])
@pytest.mark.parametrize("alpha", [0.01, 0.25])
def test_a_canary_no_worse_than_the_champion_is_rarely_found_worse(
    blocks: tuple[tuple[int, int], ...], p: float, q: float, alpha: float
) -> None:
    """Stopped at the cap of the factors, the mean is at most 1; 1/alpha is ever reached with chance <= alpha.

    With alpha = 0.25 the cap is reached within these few requests, so that the scaling is put to the test.
    """
    config = MetricConfig("errors", block=1, block_scrapes=1, alpha_rollback=alpha)
    cap, mean, reached = 1.0 / alpha, 0.0, 0.0
    for chance, course in outcomes(blocks, p, q):
        state, highest, worth = fresh(config), 0.0, 1.0
        for increment in course:
            state = update(state, increment, config)
            value = math.exp(assess(state, config).log_e_rollback)
            worth = cap if highest >= cap - 1e-9 else min(value, cap)
            highest = max(highest, value)
        mean += chance * worth
        reached += chance * (highest >= 1.0 / alpha - 1e-9)
    assert mean <= 1.0 + 1e-9
    assert reached <= alpha + 1e-12
    if p == q:
        assert mean == pytest.approx(1.0, abs=1e-9)  # nothing is wasted either


@pytest.mark.parametrize("blocks", ROLLOUTS)
@pytest.mark.parametrize("rate", [0.1, 0.7])
def test_the_bound_for_many_bad_requests_is_as_valid(
    blocks: tuple[tuple[int, int], ...], rate: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rollback, "EXACT_UP_TO", 0)
    config = MetricConfig("errors", block=1, block_scrapes=1)
    mean = 0.0
    for chance, course in outcomes(blocks, rate, rate):
        state = fresh(config)
        for increment in course:
            state = update(state, increment, config)
        mean += chance * math.exp(assess(state, config).log_e_rollback)
    assert 0.2 < mean <= 1.0 + 1e-12


@pytest.mark.parametrize("blocks", ROLLOUTS)
@pytest.mark.parametrize("q", [0.0, 0.02, 0.3])
@pytest.mark.parametrize("margin", [Margin(1.5, 0.002), Margin(3.0, 0.1), Margin(1.2, 0.0)])
def test_a_canary_at_the_margin_is_rarely_found_tolerable(
    blocks: tuple[tuple[int, int], ...], q: float, margin: Margin
) -> None:
    p, mean = min(1.0, margin.ratio * q + margin.excess), 0.0
    for chance, course in outcomes(blocks, p, q):
        logs = promotion.start()
        for increment in course:
            logs = promotion.step(logs, increment, margin)
        mean += chance * math.exp(promotion.log_evidence(logs))
    assert mean <= 1.0 + 1e-12


@pytest.mark.parametrize("blocks", ROLLOUTS)
@pytest.mark.parametrize("q", [0.0, 0.02, 0.3, 0.9])
def test_a_canary_worse_by_what_is_negligible_is_rarely_found_seriously_worse(
    blocks: tuple[tuple[int, int], ...], q: float
) -> None:
    config = MetricConfig("errors", block=1, block_scrapes=1, negligible=0.1)
    mean = 0.0
    for chance, course in outcomes(blocks, q + config.negligible, q):
        state = fresh(config)
        for increment in course:
            state = update(state, increment, config)
        mean += chance * math.exp(assess(state, config).log_e_serious)
    assert mean <= 1.0 + 1e-12


def test_bursts_that_hit_whoever_is_routed_there_prove_nothing() -> None:
    """Which requests are bad may be as lumpy as it likes: only routing has to be random.

    Ten requests of which a fixed half is bad, each routed to the canary with chance 1/3.
    """
    config = MetricConfig("errors", block=1, block_scrapes=1, alpha_rollback=0.2)
    mean = 0.0
    for routed in itertools.product([0, 1], repeat=10):
        n, x = sum(routed), sum(routed[:5])
        state = update(fresh(config), Increment(n, x, 10 - n, 5 - x), config)
        value = math.exp(assess(state, config).log_e_rollback)
        mean += math.prod(1 / 3 if to else 2 / 3 for to in routed) * min(value, 1.0 / config.alpha_rollback)
    assert mean == pytest.approx(1.0, abs=1e-9)


@STEADY
@given(n=st.integers(0, 30), m=st.integers(0, 30), data=st.data())
def test_hypergeometric_is_counting(n: int, m: int, data: st.DataObject) -> None:
    bad = data.draw(st.integers(0, n + m))
    first, chances = rollback.hypergeometric(n, m, bad)
    ways = [math.comb(n, first + i) * math.comb(m, bad - first - i) for i in range(len(chances))]
    assert sum(ways) == math.comb(n + m, bad)  # nothing left out
    assert chances == pytest.approx([math.log(way / sum(ways)) for way in ways], rel=1e-9, abs=1e-9)


def exact_evidence(blocks: list[Increment], config: MetricConfig) -> Fraction:
    """The rollback evidence without scaling, in rational numbers, straight from the definition.

    Sum over every point in time at which a part of the stake may be bet, of that part times the likelihood
    ratios r^x / E[r^X] from there on, with binomial coefficients; nothing is shared with the code under test
    but the schedule of the reserve.
    """
    left = [Fraction(rollback.reserve(0))]
    seen = 0
    for block in blocks:
        seen += block.canary_requests
        left.append(Fraction(rollback.reserve(seen)))
    value = left[-1]
    for ratio, part in rollback.bets(config):
        r, own = Fraction(ratio), (1 - left[0]) * Fraction(part)
        for i, block in enumerate(blocks):
            own += (left[i] - left[i + 1]) * Fraction(part)
            n, m = block.canary_requests, block.champion_requests
            bad = block.canary_bad + block.champion_bad
            ways = {k: math.comb(n, k) * math.comb(m, bad - k) for k in range(max(0, bad - m), min(n, bad) + 1)}
            mean = sum((count * r**k for k, count in ways.items()), Fraction(0)) / sum(ways.values())
            own *= r**block.canary_bad / mean
        value += own
    return value


def small_blocks(most_bad: int = 3) -> st.SearchStrategy[Increment]:
    return st.tuples(st.integers(0, 30), st.integers(0, most_bad), st.integers(0, 30), st.integers(0, most_bad)).map(
        lambda v: Increment(max(v[0], v[1]), v[1], max(v[2], v[3]), v[3])
    )


@STEADY
@given(st.lists(small_blocks(), max_size=6))
def test_the_evidence_is_the_textbook_formula(blocks: list[Increment]) -> None:
    # So strict a bound is never near, and nothing is scaled.
    config = MetricConfig("errors", block=1, block_scrapes=1, alpha_rollback=1e-300)
    state = fresh(config)
    for block in blocks:
        state = update(state, block, config)
    counted = [block for block in blocks if not block.is_empty]
    expected = exact_evidence(counted, config)
    assert assess(state, config).log_e_rollback == pytest.approx(math.log(expected), rel=1e-9, abs=1e-9)


@STEADY
@given(
    chances=st.lists(st.floats(0.01, 1.0), min_size=2, max_size=8),
    steps=st.lists(st.floats(0.0, 3.0), min_size=8, max_size=8),
    before=st.floats(-3.0, 4.5),
)
def test_cutting_at_the_cap_keeps_the_mean(chances: list[float], steps: list[float], before: float) -> None:
    cap = 4.6
    p = [chance / math.fsum(chances) for chance in chances]
    raw = list(itertools.accumulate(steps[: len(p)]))
    shift = before - math.log(math.fsum(w * math.exp(v) for w, v in zip(p, raw, strict=True)))
    values = [v + shift for v in raw]
    scale = rollback.log_scale_to_cap([math.log(w) for w in p], values, before, cap)
    mean = math.fsum(w * math.exp(min(v + scale, cap)) for w, v in zip(p, values, strict=True))
    assert scale >= 0.0
    assert mean == pytest.approx(math.exp(before), rel=1e-9)


@STEADY
@given(st.lists(small_blocks(), min_size=2, max_size=6), st.randoms())
def test_the_order_of_promotion_blocks_does_not_matter(blocks: list[Increment], random: object) -> None:
    margin = Margin(1.5, 0.002)

    def after(ordered: list[Increment]) -> tuple[float, ...]:
        logs = promotion.start()
        for block in ordered:
            logs = promotion.step(logs, block, margin)
        return logs

    assert after(blocks) == pytest.approx(after(blocks[::-1]), rel=1e-9, abs=1e-9)


@STEADY
@given(st.permutations([Increment(10, 1, 90, 0), Increment(10, 0, 90, 1), Increment(10, 0, 90, 0)]))
def test_the_order_of_scrapes_of_one_block_does_not_matter(scrapes: list[Increment]) -> None:
    config = MetricConfig("errors", block=25)
    state = fresh(config)
    for scrape in scrapes:
        state = update(state, scrape, config)
    assert state.pending == Increment()
    expected = exact_evidence([Increment(30, 1, 270, 1)], config)
    assert assess(state, config).log_e_rollback == pytest.approx(math.log(expected))


@STEADY
@given(st.lists(small_blocks(), max_size=10), st.integers(1, 8), st.integers(1, 4))
def test_a_canary_without_a_bad_request_never_fails(blocks: list[Increment], size: int, scrapes: int) -> None:
    config = MetricConfig("errors", alpha_rollback=0.5, negligible=0.0, block=size, block_scrapes=scrapes)
    state = fresh(config)
    for block in blocks:
        state = update(state, Increment(block.canary_requests, 0, block.champion_requests, block.champion_bad), config)
        found = assess(state, config)
        assert found.verdict is not MetricVerdict.FAIL
        assert found.log_e_rollback <= 1e-9


@STEADY
@given(st.lists(small_blocks(), max_size=10), st.integers(1, 8), st.integers(1, 4))
def test_the_wire_changes_nothing(blocks: list[Increment], size: int, scrapes: int) -> None:
    config = MetricConfig("errors", shares=(0.25, 1.0), block=size, block_scrapes=scrapes)
    state = fresh(config)
    for block in blocks:
        state = update(state, block, config)
        assert EvidenceState.from_wire(state.to_wire()) == state
