"""Counts of labels live in the monitor's database: pods that come and go do not count them again."""

from __future__ import annotations

from datetime import timedelta

from puzzle_operator.api.status import MetricMemory, Rollout
from puzzle_operator.core.facts import Counter, Pod, Reading, Revision, Service
from puzzle_operator.core.metric import count
from tests.builders import T0, V1, V2, after

OLD, NEW = "line-1-predictor-00001", "line-1-predictor-00002"


def a_service(pod: str, started: float) -> Service:
    pods = (Pod("old-a", OLD, True, started=T0 - timedelta(days=1)), Pod(pod, NEW, True, started=after(started)))
    return Service("u", 1, True, True, revisions=(Revision(OLD, V1, 1, True), Revision(NEW, V2, 2, True)), pods=pods)


def labelled(at: float, total: float, bad: float) -> Reading:
    counters = (Counter(OLD, OLD, 900.0, 9.0, lasting=True), Counter(NEW, NEW, total, bad, lasting=True))
    return Reading(counters, frozenset({OLD, NEW}), after(at))


def test_labels_are_counted_once_when_every_pod_of_the_challenger_was_replaced() -> None:
    rollout, memory = Rollout(challenger=V2, started_at=T0), MetricMemory(name="wrong")
    counted = []
    for reading, service in (
        (labelled(10, 0, 0), a_service("new-a", 5)),
        (labelled(60, 40, 3), a_service("new-a", 5)),
        (labelled(120, 42, 3), a_service("new-b", 100)),
        (labelled(180, 50, 4), a_service("new-b", 100)),
    ):
        fresh, memory = count(memory, reading, service, rollout, V1, counted=True)
        counted.append((fresh.canary_requests, fresh.canary_bad, fresh.champion_requests))
    assert counted == [(0, 0, 0), (40, 3, 0), (2, 0, 0), (8, 1, 0)]


def test_what_a_champion_was_labelled_before_the_rollout_is_no_evidence_in_it() -> None:
    rollout = Rollout(challenger=V2, started_at=T0)
    fresh, _ = count(MetricMemory(name="wrong"), labelled(10, 0, 0), a_service("new-a", 5), rollout, V1, counted=True)
    assert fresh.champion_requests == 0


def test_a_database_that_was_put_back_to_yesterday_is_not_counted_whole_again() -> None:
    rollout, memory = Rollout(challenger=V2, started_at=T0), MetricMemory(name="wrong")
    counted = []
    for at, total in ((10, 0.0), (60, 40.0), (120, 31.0), (180, 35.0)):
        reading = labelled(at, total, 0.0)
        fresh, memory = count(memory, reading, a_service("new-a", 5), rollout, V1, counted=True)
        counted.append(fresh.canary_requests)
    assert counted == [0, 40, 0, 4]


def test_a_pod_that_goes_takes_its_requests_out_of_a_sum_and_nothing_is_counted_again() -> None:
    """A Counters metric without the label pod: one series to a revision, the sum over its pods."""
    rollout, memory = Rollout(challenger=V2, started_at=T0), MetricMemory(name="blur")
    both = (Pod("old-a", OLD, True, started=T0 - timedelta(days=1)), Pod("old-b", OLD, True, started=T0))
    counted = []
    for at, total, pods in ((10, 1000.0, both), (60, 1040.0, both), (120, 560.0, both[:1]), (180, 570.0, both[:1])):
        service = Service("u", 1, True, True, revisions=(Revision(OLD, V1, 1, True),), pods=pods)
        reading = Reading((Counter(OLD, OLD, total, 0.0),), frozenset({OLD}), after(at))
        fresh, memory = count(memory, reading, service, rollout, V1, counted=True)
        counted.append(fresh.champion_requests)
    assert counted == [0, 40, 0, 10], "560 that were counted long ago are no new requests"
