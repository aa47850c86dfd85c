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
