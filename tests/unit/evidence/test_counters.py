"""Counters to increments: nothing twice, nothing invented, whatever pods, scrapes and the operator do."""

import json
from collections.abc import Mapping

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from puzzle_operator.core.evidence import CounterState, Increment, Reading, Sample, tally

START = 1_000_000.0
Pods = Mapping[str, Sample]


def reading(after: float, canary: Pods | None = None, champion: Pods | None = None) -> Reading:
    return Reading(START + after, canary or {}, champion or {})


def follow(*readings: Reading, since: float | None = START, **options: float) -> list[Increment]:
    """What each reading added; the state goes through the wire every time, as if the operator restarted."""
    state, added = CounterState(since=since), []
    for one in readings:
        result = tally(state, one, **options)  # type: ignore[arg-type]
        state = CounterState.from_wire(json.loads(json.dumps(result.state.to_wire())))
        assert state == result.state
        added.append(result.increment)
    return added


def test_pods_from_before_the_rollout_count_from_where_they_are_first_seen() -> None:
    old = START - 500
    assert follow(
        reading(5, champion={"a": Sample(900, 9, old)}), reading(10, champion={"a": Sample(950, 11, old)})
    ) == [Increment(), Increment(0, 0, 50, 2)]


def test_a_pod_born_in_the_rollout_counts_whole() -> None:
    assert follow(reading(5, {"c": Sample(7, 1, START + 1)})) == [Increment(7, 1, 0, 0)]


def test_a_pod_of_unknown_birth_counts_from_first_sight() -> None:
    assert follow(reading(5, {"c": Sample(7, 1)}), reading(10, {"c": Sample(9, 1)})) == [
        Increment(),
        Increment(2, 0, 0, 0),
    ]


def test_a_counter_that_fell_has_restarted_and_counts_from_zero() -> None:
    assert follow(reading(5, {"c": Sample(70, 3)}), reading(10, {"c": Sample(4, 1)}))[1] == Increment(4, 1, 0, 0)


def test_a_restart_that_has_overtaken_the_old_value_is_seen_by_its_start() -> None:
    first, second = Sample(70, 3, START - 9), Sample(90, 5, START + 6)
    assert follow(reading(5, {"c": first}), reading(60, {"c": second}))[1] == Increment(90, 5, 0, 0)


def test_a_start_time_that_only_jitters_is_no_restart() -> None:
    first, second = Sample(70, 3, START - 9), Sample(90, 5, START - 8.2)
    assert follow(reading(5, {"c": first}), reading(60, {"c": second}))[1] == Increment(20, 2, 0, 0)


def test_a_pod_that_missed_scrapes_is_not_counted_again() -> None:
    born = START + 1
    assert follow(
        reading(5, {"c": Sample(10, 0, born)}),
        reading(10, {}),
        reading(15, {"c": Sample(30, 2, born)}),
    ) == [Increment(10, 0, 0, 0), Increment(), Increment(20, 2, 0, 0)]


def test_a_pod_that_was_forgotten_is_not_counted_again() -> None:
    born = START + 1
    later = 5 + 3601.0
    added = follow(
        reading(5, {"c": Sample(10, 0, born)}),
        reading(later, {}),
        reading(later + 5, {"c": Sample(30, 2, born)}),
        reading(later + 10, {"c": Sample(31, 2, born)}),
    )
    assert added[2:] == [Increment(), Increment(1, 0, 0, 0)]


def test_a_replaced_pod_and_its_successor_both_count() -> None:
    assert follow(
        reading(5, {"c-1": Sample(10, 1, START)}),
        reading(10, {"c-2": Sample(4, 1, START + 7)}),
    ) == [Increment(10, 1, 0, 0), Increment(4, 1, 0, 0)]


@pytest.mark.parametrize("late", [5.0, 3.0])
def test_a_late_or_repeated_scrape_counts_nothing(late: float) -> None:
    state = tally(CounterState(since=START), reading(5, {"c": Sample(10, 1, START)})).state
    again = tally(state, reading(late, {"c": Sample(12, 1, START)}))
    assert (again.stale, again.increment, again.state) == (True, Increment(), state)


def test_an_outage_loses_nothing() -> None:
    assert follow(reading(5, {"c": Sample(10, 1, START)}), reading(605, {"c": Sample(1010, 51, START)}))[
        1
    ] == Increment(1000, 50, 0, 0)


def test_what_comes_before_the_weight_is_settled_is_skipped_not_saved_up() -> None:
    state = tally(CounterState(since=START), reading(5, {"c": Sample(10, 1, START)})).state
    skipped = tally(state, reading(10, {"c": Sample(30, 5, START)}), counted=False)
    assert skipped.increment == Increment()
    assert tally(skipped.state, reading(15, {"c": Sample(32, 5, START)})).increment == Increment(2, 0, 0, 0)


def test_warm_up_requests_do_not_count() -> None:
    born = START + 1
    readings = [reading(at, {"c": Sample(*n, born)}) for at, n in ((5, (4, 4)), (10, (12, 5)), (15, (25, 6)))]
    assert follow(*readings, warmup=10) == [Increment(), Increment(), Increment(13, 1, 0, 0)]


def test_a_container_that_restarts_warms_up_again() -> None:
    old, new = reading(5, {"c": Sample(50, 0, START - 1)}), reading(10, {"c": Sample(8, 3, START + 6)})
    later = reading(15, {"c": Sample(20, 3, START + 6)})
    last = reading(20, {"c": Sample(30, 4, START + 6)})
    assert follow(old, new, later, last, warmup=10)[1:] == [Increment(), Increment(), Increment(10, 1, 0, 0)]


def test_a_bad_request_that_is_seen_before_its_request_is_counted_later() -> None:
    old = START - 1
    added = follow(
        reading(5, {"c": Sample(10, 0, old)}),
        reading(10, {"c": Sample(10, 1, old)}),
        reading(15, {"c": Sample(12, 1, old)}),
    )
    assert added == [Increment(), Increment(), Increment(2, 1, 0, 0)]


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -1.0])
def test_a_senseless_counter_is_left_out_with_a_note(value: float) -> None:
    result = tally(CounterState(since=START), reading(5, {"c": Sample(value, 0, START)}))
    assert result.increment == Increment()
    assert result.notes[0].startswith("c: counters ")


def test_a_restart_is_noted() -> None:
    state = tally(CounterState(), reading(5, {"c": Sample(10, 1)})).state
    assert tally(state, reading(10, {"c": Sample(3, 1)})).notes == ("c: its counters restarted; counted from 0",)


@pytest.mark.parametrize("wire", [{"at": "now"}, {"canary": {"c": [1, 2]}, "champion": {}}, {"canary": 3}])
def test_a_state_that_cannot_be_read_is_refused(wire: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="counters: cannot read"):
        CounterState.from_wire(wire)


# One pod's life between two scrapes: (requests, bad ones among them, whether it restarts first, whether the
# scrape misses it).
LIVES = st.lists(
    st.tuples(st.integers(0, 50), st.integers(0, 50), st.booleans(), st.booleans()), min_size=1, max_size=12
)


@settings(deadline=None)
@given(st.dictionaries(st.sampled_from(["a", "b", "c"]), LIVES, min_size=1), st.booleans())
def test_never_negative_never_twice(lives: dict[str, list[tuple[int, int, bool, bool]]], dated: bool) -> None:
    """Whatever happens, the sum of increments is at most what was served; and all of it without restarts."""
    counters = dict.fromkeys(lives, (0, 0))
    started = dict.fromkeys(lives, START)
    served = bad = 0
    exact = dated
    state, total = CounterState(since=START), Increment()
    steps = max(map(len, lives.values()))
    for step in range(steps + 1):
        at = START + 5.0 * (step + 1)
        seen = {}
        for pod, life in lives.items():
            new, new_bad, restarts, missed = life[step] if step < len(life) else (0, 0, False, False)
            if restarts:
                counters[pod], started[pod] = (0, 0), at - 2.0
                exact = False
            new_bad = min(new, new_bad)
            counters[pod] = (counters[pod][0] + new, counters[pod][1] + new_bad)
            served, bad = served + new, bad + new_bad
            if not missed or step == steps:
                requests, errors = counters[pod]
                seen[pod] = Sample(requests, errors, started[pod] if dated else None)
        result = tally(state, Reading(at, seen, {}))
        state, total = result.state, total + result.increment
        assert total.canary_requests <= served
        assert total.canary_bad <= bad
    if exact:
        assert (total.canary_requests, total.canary_bad) == (served, bad)
