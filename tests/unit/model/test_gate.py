"""The gate: exact p-values, each rule refuses alone, and an even challenger is not called worse."""

from dataclasses import replace
from math import comb

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from puzzlenet.errors import PuzzleNetError
from puzzlenet.gate import Answers, Cost, Paired, Role, Rules, Verdict, at_least, decide, noticeable_loss

COST = Cost(latency_s=0.003, bytes=1000)
RULES = Rules()


def _pair(role: Role, both: int, won: int, lost: int, neither: int = 0, name: str = "set") -> Paired:
    """A set of two classes in turns, with so many pictures that both, one or none of the two gets right."""
    champion = [True] * both + [False] * won + [True] * lost + [False] * neither
    challenger = [True] * both + [True] * won + [False] * lost + [False] * neither
    truth = tuple("ab"[index % 2] for index in range(len(champion)))
    wrong = {"a": "b", "b": "a"}

    def answers(right: list[bool]) -> Answers:
        called = tuple(label if hit else wrong[label] for label, hit in zip(truth, right, strict=True))
        return Answers(called=called, confidence=(0.9,) * len(called))

    return Paired(name=name, role=role, truth=truth, champion=answers(champion), challenger=answers(challenger))


def _decide(*sets: Paired, rules: Rules = RULES, challenger: Cost = COST) -> Verdict:
    return decide(sets, rules, COST, challenger)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 400), st.integers(0, 400), st.sampled_from([0.5, 0.1, 0.3]))
def test_binomial_tails_are_exact(hits: int, throws: int, chance: float) -> None:
    expected = float(stats.binom.sf(hits - 1, throws, chance))
    assert at_least(hits, throws, chance) == pytest.approx(expected, rel=1e-9, abs=1e-14)


def test_the_p_value_is_mcnemars() -> None:
    verdict = _decide(_pair("golden", both=180, won=3, lost=12))
    exact = sum(comb(15, k) for k in range(12, 16)) / 2**15
    assert verdict.sets[0].p_worse == pytest.approx(exact)
    assert (verdict.sets[0].won, verdict.sets[0].lost) == (3, 12)


def test_a_better_challenger_that_forgets_nothing_is_accepted() -> None:
    verdict = _decide(_pair("target", both=30, won=60, lost=2), _pair("golden", both=290, won=5, lost=5))
    assert verdict.accepted and "p=" in verdict.sentence


def test_it_must_win_on_the_new_pictures() -> None:
    verdict = _decide(_pair("target", both=95, won=3, lost=2), _pair("golden", both=300, won=0, lost=0))
    assert (
        not verdict.accepted and "not shown to be better" in verdict.sentence and "won 3 and lost 2" in verdict.sentence
    )


def test_forgetting_is_refused_with_numbers() -> None:
    verdict = _decide(
        _pair("target", both=30, won=60, lost=2), _pair("golden", both=280, won=2, lost=18, name="line-1")
    )
    assert not verdict.accepted
    assert "line-1: worse: 0.993 → 0.940, won 2 and lost 18 of 300" in verdict.sentence


def test_a_loss_within_the_margin_is_tolerated_however_sure_it_is() -> None:
    lost = _pair("golden", both=4980, won=0, lost=20)
    assert not _decide(lost, rules=replace(RULES, margin=0.003)).accepted
    assert _decide(lost, rules=replace(RULES, margin=0.005)).accepted


def test_every_golden_set_counts_alone_and_all_of_them_together() -> None:
    one, two = (_pair("golden", both=190, won=1, lost=6, name=name) for name in ("line-1", "line-2"))
    assert _decide(one).accepted and _decide(two).accepted
    together = _decide(one, two)
    assert not together.accepted and together.refusals[0].startswith("all golden sets: worse")


def test_a_gain_elsewhere_does_not_pay_for_a_line_that_is_lost() -> None:
    verdict = _decide(
        _pair("golden", both=150, won=0, lost=50, name="line-1"),
        _pair("golden", both=100, won=100, lost=0, name="line-2"),
    )
    assert not verdict.accepted and any(reason.startswith("line-1: worse") for reason in verdict.refusals)


def test_a_class_below_its_floor_is_refused_only_beyond_chance() -> None:
    low = _pair("target", both=10, won=50, lost=0, neither=40)
    verdict = _decide(low)
    assert not verdict.accepted and "recall of a is 0.6" in verdict.sentence
    assert _decide(_pair("target", both=20, won=65, lost=0, neither=15)).accepted  # 0.85 of 50 may be a 0.9


def test_a_class_that_was_never_good_does_not_block_what_makes_it_better() -> None:
    assert _decide(_pair("golden", both=50, won=10, lost=0, neither=40)).accepted


@pytest.mark.parametrize(
    ("rules", "cost", "sentence"),
    [
        (replace(RULES, max_latency_s=0.002), COST, "takes 3.0 ms"),
        (replace(RULES, max_bytes=999), COST, "1000 bytes"),
        (replace(RULES, min_images=1000), COST, "too few to judge on"),
    ],
)
def test_budgets_and_small_sets_refuse(rules: Rules, cost: Cost, sentence: str) -> None:
    verdict = _decide(_pair("golden", both=300, won=0, lost=0), rules=rules, challenger=cost)
    assert not verdict.accepted and sentence in verdict.sentence


def _said(count: int, right: float, confidence: float, before: float) -> Paired:
    """The challenger is right so often, and says how sure it is; the champion, equally right, says ``before``."""
    truth = tuple("ab"[index % 2] for index in range(count))
    hits = [index < round(right * count) for index in range(count)]
    called = tuple(label if hit else "c" for label, hit in zip(truth, hits, strict=True))
    old, new = (Answers(called=called, confidence=(sure,) * count) for sure in (before, confidence))
    return Paired(name="set", role="golden", truth=truth, champion=old, challenger=new)


def test_confidence_that_is_not_meant_is_refused_where_a_bound_is_given() -> None:
    bound = replace(RULES, max_ece=0.05, recall_floor=0.0)
    boastful = _said(300, right=0.8, confidence=0.99, before=0.8)
    verdict = _decide(boastful, rules=bound)
    assert not verdict.accepted and "calibration error is 0.190, allowed 0.05 (p=0.001" in verdict.sentence
    assert _decide(boastful, rules=replace(bound, max_ece=None)).accepted
    assert _decide(_said(300, right=0.8, confidence=0.99, before=0.99), rules=bound).accepted  # as before


def test_few_pictures_cannot_tell_a_calibration_error_from_chance() -> None:
    bound = replace(RULES, max_ece=0.05, recall_floor=0.0)
    assert _decide(_said(50, right=0.8, confidence=0.88, before=0.8), rules=bound).accepted
    assert not _decide(_said(1000, right=0.8, confidence=0.88, before=0.8), rules=bound).accepted


def test_nothing_to_judge_on_is_a_refusal() -> None:
    assert not _decide().accepted


def test_equally_good_challengers_are_called_worse_no_more_often_than_alpha() -> None:
    rng = np.random.default_rng(7)
    refused = 0
    for _ in range(400):
        discordant = int(rng.binomial(300, 0.06))
        lost = int(rng.binomial(discordant, 0.5))
        pair = _pair("golden", both=300 - discordant, won=discordant - lost, lost=lost)
        refused += not _decide(pair, rules=replace(RULES, recall_floor=0.0, margin=0.0)).accepted
    assert refused / 400 <= 0.05 + 3 * (0.05 * 0.95 / 400) ** 0.5


def test_the_report_says_which_loss_would_have_been_noticed() -> None:
    share = noticeable_loss(0, 300, 0.05)
    assert share == pytest.approx(5 / 300, abs=1e-6)  # 2^-5 is the first power below 0.05
    assert noticeable_loss(10, 300, 0.05) > share


@pytest.mark.parametrize(
    "change", [{"margin": -0.1}, {"alpha": 0.0}, {"recall_floor": 1.1}, {"max_ece": 0.0}, {"max_bytes": 0}]
)
def test_a_rule_that_cannot_be_is_named(change: dict[str, float]) -> None:
    with pytest.raises(PuzzleNetError, match="--"):
        Rules(**change)  # type: ignore[arg-type]
