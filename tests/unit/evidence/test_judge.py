"""The verdict over a rollout: what is judged how, what people read, and what survives the wire."""

import json
import math
from dataclasses import replace

import pytest

from puzzle_operator.core.evidence import (
    Assessment,
    EvidenceState,
    Increment,
    Margin,
    MetricConfig,
    MetricVerdict,
    assess,
    fresh,
    margin_for,
    settle,
    update,
)
from puzzle_operator.core.evidence.sentences import evidence, percent, requests_rounded

ERRORS = MetricConfig("errors", shares=(0.25, 0.5, 1.0))
QUIET = Increment(30, 0, 270, 0)


def after(*increments: Increment, config: MetricConfig = ERRORS) -> EvidenceState:
    state = fresh(config)
    for increment in increments:
        state = update(state, increment, config)
    return state


def test_a_canary_with_fifteen_times_the_errors_fails_and_says_why() -> None:
    found = assess(after(Increment(310, 14, 2790, 9)), ERRORS)
    assert found.verdict is MetricVerdict.FAIL
    assert found.sentence == (
        "errors: 14 of 310 canary requests bad (4.5 %) against 9 of 2,790 (0.3 %) of the champion: evidence over a "
        "million of the 100 needed to roll back"
    )


def test_nothing_seen_holds_and_says_what_is_needed() -> None:
    found = assess(fresh(ERRORS), ERRORS)
    assert found.verdict is MetricVerdict.HOLD
    assert found.log_e_rollback == pytest.approx(0.0)
    assert found.sentence == (
        "errors: 0 of 0 canary requests bad against 0 of 0 of the champion: evidence 1 of the 20 needed to be "
        "promoted (about 2,600 more canary requests), 1 of the 100 needed to roll back"
    )


def test_without_a_bad_request_early_steps_pass_before_the_last() -> None:
    state = after(*[QUIET] * 20)
    assert [assess(state, ERRORS, share).verdict for share in ERRORS.shares] == [
        MetricVerdict.PASS,
        MetricVerdict.HOLD,
        MetricVerdict.HOLD,
    ]
    assert assess(state, ERRORS, 0.25).sentence == (
        "errors: 0 of 600 canary requests bad (0.0 %) against 0 of 5,400 (0.0 %) of the champion: evidence 21 of "
        "the 5 needed to go to 25 %"
    )


def test_the_forecast_of_requests_needed_comes_true() -> None:
    state = after(*[QUIET] * 12)
    needed = assess(state, ERRORS).requests_needed
    assert needed is not None
    blocks = math.ceil(needed / 30)
    assert assess(after(*[QUIET] * (12 + blocks)), ERRORS).verdict is MetricVerdict.PASS
    assert assess(after(*[QUIET] * (12 + round(0.7 * blocks))), ERRORS).verdict is MetricVerdict.HOLD


def test_a_canary_too_bad_to_pass_has_no_forecast() -> None:
    found = assess(after(Increment(3000, 52, 27_000, 270)), ERRORS)
    assert found.verdict is MetricVerdict.HOLD
    assert found.requests_needed is None
    assert "needed to be promoted (not to be expected at these rates)" in found.sentence


def test_a_certain_but_negligible_difference_is_no_reason_to_roll_back() -> None:
    found = assess(after(Increment(100_000, 90, 900_000, 200)), ERRORS, 0.25)
    assert found.log_e_rollback > found.log_bound
    assert found.verdict is MetricVerdict.PASS
    held = assess(after(Increment(2000, 5, 18_000, 0)), ERRORS)
    assert held.verdict is MetricVerdict.HOLD
    assert "worse, but not clearly by more than the 0.2 % that are negligible" in held.sentence


def test_fail_outranks_pass() -> None:
    """Both are proven: a long good time, then a fault."""
    state = after(*[QUIET] * 600, *[Increment(30, 3, 270, 0)] * 5)
    found = assess(state, ERRORS)
    assert found.log_e_promote >= found.log_bound_promote
    assert found.verdict is MetricVerdict.FAIL


def test_short_scrapes_are_gathered_until_a_block_is_worth_judging() -> None:
    state = after(Increment(2, 0, 18, 0), Increment(2, 1, 18, 0))
    assert state.pending == Increment(4, 1, 36, 0)
    assert assess(state, ERRORS).log_e_rollback == pytest.approx(0.0)
    closed = update(state, Increment(1, 0, 9, 0), ERRORS)
    assert closed.pending == Increment()
    assert assess(closed, ERRORS).log_e_rollback > 0.5


def test_a_block_closes_after_so_many_scrapes_in_any_case() -> None:
    config = replace(ERRORS, block_scrapes=3)
    state = after(Increment(0, 0, 9, 0), Increment(1, 1, 9, 0), config=config)
    assert state.pending_scrapes == 2
    assert update(state, Increment(0, 0, 9, 0), config).pending_scrapes == 0


def test_settling_closes_the_block_and_is_harmless_twice() -> None:
    state = settle(after(Increment(4, 1, 36, 0)), ERRORS)
    assert state.pending == Increment()
    assert settle(state, ERRORS) == state


def test_idle_scrapes_change_nothing() -> None:
    state = after(QUIET)
    assert update(state, Increment(), ERRORS) == state


def test_one_sided_blocks_prove_no_difference() -> None:
    alone = after(Increment(500, 50, 0, 0), config=replace(ERRORS, block_scrapes=1))
    assert assess(alone, ERRORS).log_e_rollback == pytest.approx(0.0)


def test_the_state_is_the_same_after_the_wire() -> None:
    state = after(Increment(31, 2, 279, 1), Increment(3, 0, 27, 0))
    assert EvidenceState.from_wire(json.loads(json.dumps(state.to_wire()))) == state


def test_the_state_is_small() -> None:
    state = after(*[Increment(31, 2, 279, 1)] * 50)
    assert len(json.dumps(state.to_wire())) < 700


@pytest.mark.parametrize("wire", [None, {}])
def test_no_wire_is_a_fresh_start(wire: dict[str, object] | None) -> None:
    once = update(EvidenceState.from_wire(wire), Increment(31, 2, 279, 1), ERRORS)
    assert once == after(Increment(31, 2, 279, 1))
    assert assess(EvidenceState.from_wire(wire), ERRORS) == assess(fresh(ERRORS), ERRORS)


@pytest.mark.parametrize(
    ("wire", "sentence"),
    [
        ({"r": "none"}, "'r' is 'none', not a list"),
        ({"r": [0.0, None]}, "'r' holds something that is no number"),
        ({"n": [1, 2, 3]}, "'n' has 3 numbers, not 4"),
        ({"p": [[1.5]]}, "'p' is .*, not a list of at least 2"),
    ],
)
def test_a_wire_that_cannot_be_read_names_the_key(wire: dict[str, object], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        EvidenceState.from_wire(wire)


def test_an_edited_margin_starts_anew_and_keeps_what_speaks_against_the_canary() -> None:
    state = after(*[Increment(30, 1, 270, 2)] * 10)
    edited = replace(ERRORS, negligible=0.01)
    assert assess(state, edited).log_e_promote == pytest.approx(0.0)
    assert assess(state, edited).log_e_rollback == assess(state, ERRORS).log_e_rollback
    assert assess(state, edited).log_e_serious == pytest.approx(0.0, abs=0.2)
    assert assess(state, ERRORS).log_e_serious > 2.0


def test_every_step_bounds_the_same_harm() -> None:
    assert margin_for(ERRORS, 1.0) == Margin(1.5, 0.002)
    for share in (0.1, 0.25, 0.5):
        margin = margin_for(ERRORS, share)
        for champion in (0.0, 0.01, 0.1):
            harm = share * (margin.ratio * champion + margin.excess - champion)
            assert harm == pytest.approx(0.5 * champion + 0.002)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("alpha_rollback", 0.0),
        ("alpha_promote", 1.0),
        ("alpha_advance", -1.0),
        ("alpha_negligible", 2.0),
        ("max_risk_ratio", 1.0),
        ("max_risk_ratio", math.inf),
        ("negligible", 1.0),
        ("shares", ()),
        ("shares", (0.0,)),
        ("block", 0),
        ("block_scrapes", 0),
    ],
)
def test_a_setting_out_of_range_is_named(field: str, value: object) -> None:
    with pytest.raises(ValueError, match=f"errors: .*{field}"):
        replace(ERRORS, **{field: value})  # type: ignore[arg-type]


@pytest.mark.parametrize("counts", [(1, 2, 0, 0), (0, 0, 1, 2), (1, -1, 0, 0)])
def test_an_impossible_increment_is_refused(counts: tuple[int, int, int, int]) -> None:
    with pytest.raises(ValueError, match="need requests >= bad >= 0"):
        Increment(*counts)


def test_evidence_for_status_is_a_finite_number() -> None:
    found: Assessment = assess(after(*[Increment(300, 200, 300, 1)] * 9), ERRORS)
    assert found.evidence_rollback == pytest.approx(1e12)
    assert 0.0 <= found.evidence_promote < 1e-6
    assert math.isfinite(found.log_e_promote)


def test_numbers_are_written_for_people() -> None:
    assert [evidence(math.log(value)) for value in (0.004, 0.5, 9.4, 9.96, 1234.4, 2e6)] == [
        "under 0.01",
        "0.5",
        "9.4",
        "10",
        "1,234",
        "over a million",
    ]
    assert [percent(*counts) for counts in ((0, 0), (0, 9), (1, 3), (1, 2000), (1, 20_000))] == [
        "",
        " (0.0 %)",
        " (33.3 %)",
        " (0.05 %)",
        " (0.005 %)",
    ]
    assert [requests_rounded(n) for n in (7, 99, 101, 2561, 123_456)] == [7, 99, 110, 2600, 130_000]
