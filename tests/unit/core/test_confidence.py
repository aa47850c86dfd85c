"""Metrics of type Confidence: what the spec may name is what the monitor counts, and a verdict comes of it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from puzzle_monitor.core.accuracy import BOUNDS
from puzzle_operator.api.analysis import CONFIDENCE_BOUNDS, Metric, MetricType
from puzzle_operator.api.conditions import Phase
from puzzle_operator.core.facts import Counter, Facts, Reading
from puzzle_operator.core.metric import source_of
from tests.builders import V1, V2, a_model
from tests.unit.core.world import World, a_stable_world

UNSURE = {"name": "unsure", "type": "Confidence", "below": 0.6, "maxRiskRatio": 2.0, "negligible": 0.1}


class Recorded(World):
    """A world whose answers are on record, some of them unsure; every answer is one of the right code."""

    unsure: dict[str, float] = {V1: 0.05}  # noqa: RUF012
    silent = False
    """Whether the challenger's records do not arrive."""

    def facts(self) -> Facts:
        facts = super().facts()
        versions = {revision.name: revision.version for revision in self.kserve.revisions}
        counters = tuple(
            Counter(name, name, total, float(int(total * self.unsure.get(versions.get(name, ""), 0.0))), lasting=True)
            for name, (total, _) in sorted(self.totals.items())
            if total and not (self.silent and versions.get(name) == V2)
        )
        reading = Reading(counters, frozenset(counter.revision for counter in counters), self.now)
        return replace(facts, readings={**facts.readings, "unsure": reading})


def rolled_out(unsure: float, *, silent: bool = False) -> Recorded:
    rest = a_stable_world(model=a_model().analysis(metrics=[UNSURE]))
    world = Recorded(model=rest.model, kserve=rest.kserve, stored=rest.stored, ticks=rest.ticks, totals=rest.totals)
    world.unsure, world.silent = {V1: 0.05, V2: unsure}, silent
    world.model.version(V2)
    return world


def test_the_bounds_of_the_spec_are_those_of_the_monitors_histogram() -> None:
    assert CONFIDENCE_BOUNDS == BOUNDS


def test_a_version_that_is_unsure_far_more_often_is_taken_back() -> None:
    world = rolled_out(0.5).until(Phase.ROLLED_BACK)
    cause = world.status.rollout.cause if world.status.rollout else None
    assert cause is not None
    assert cause.reason == "EvidenceAgainst"
    assert "canary requests unsure" in cause.message


def test_a_version_that_is_as_sure_becomes_the_champion() -> None:
    world = rolled_out(0.05).until(Phase.STABLE)
    assert world.status.champion is not None and world.status.champion.version == V2


def test_a_version_whose_predictions_do_not_arrive_is_unknown() -> None:
    world = rolled_out(0.05, silent=True).until(Phase.CANARY).run(60)
    assert (world.status.phase, world.status.reason, world.kserve.share(V2)) == (Phase.CANARY, "HeldMetricsStale", 10)
    assert "there is no series of the challenger's revision" in (world.status.message or "")


@pytest.mark.parametrize(
    ("metric", "known"),
    [
        (Metric(name="errors", type=MetricType.ERROR_RATE), "e812934ec361"),
        (Metric(name="slow", type=MetricType.LATENCY, slo="250ms"), "72186f368850"),
    ],
)
def test_an_operator_before_this_one_remembers_other_metrics_by_the_same_hash(metric: Metric, known: str) -> None:
    assert source_of(metric) == known


def test_another_bound_is_another_metric() -> None:
    one = Metric(name="unsure", type=MetricType.CONFIDENCE, below=0.6)
    assert source_of(one) != source_of(one.but(below=0.9))
