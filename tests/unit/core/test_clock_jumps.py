"""Rollouts whose operator is started on a machine with a wrong clock, and again when it is right.

While it runs its clock does not jump (adapters/clock.py).
"""

from __future__ import annotations

from datetime import timedelta

import pytest

from puzzle_operator.api.conditions import Phase
from tests.builders import V2, a_model
from tests.unit.core.world import DOWN, a_canary, a_stable_world


@pytest.mark.parametrize("phase", [Phase.STARTING, Phase.CANARY, Phase.BAKING])
def test_a_clock_that_was_ahead_for_a_while_neither_shortens_nor_delays_a_rollout(phase: Phase) -> None:
    """As an operator sees it that is started while the clock is hours ahead, and again when it is right."""
    steps = [{"weight": 20, "minDuration": "3m"}, {"weight": 50, "minDuration": "3m"}]
    took = []
    for hours in (0, 6):
        world = a_stable_world(model=a_model().canary(steps=steps, bake="3m"))
        world.model.version(V2)
        world.until(phase).run(3)
        world.skew, world.prometheus = timedelta(hours=hours), DOWN  # its scrapes look old, or are not there
        world.run(5)
        world.skew, world.prometheus = timedelta(0), None
        began = world.ticks
        world.until(Phase.STABLE, limit=400)
        assert world.status.champion is not None and world.status.champion.version == V2
        took.append(world.ticks - began)
    undisturbed, disturbed = took
    assert abs(disturbed - undisturbed) <= 8, took


def test_a_guard_that_began_to_count_while_the_clock_was_ahead_does_not_wait_until_that_time_comes() -> None:
    world = a_canary(V2)
    world.skew = timedelta(hours=6)
    world.kserve.broken.add(V2)
    world.run(2)
    world.skew = timedelta(0)
    world.until(Phase.ROLLING_BACK, limit=20)
    rollout = world.status.rollout
    assert rollout is not None and rollout.cause is not None and rollout.cause.reason == "GuardUnready"
