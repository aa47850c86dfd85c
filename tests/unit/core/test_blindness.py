"""What no metric shows: nobody ready to answer, a weight that KServe lost, an operator that was not there."""

from __future__ import annotations

import pytest

from puzzle_operator.api.conditions import Phase
from puzzle_operator.core.facts import Share
from tests.builders import V1, V2, a_model
from tests.unit.core.world import World, a_canary, a_stable_world


def a_baking_world() -> World:
    world = a_stable_world(model=a_model().canary(bake="10m"))
    world.model.version(V2)
    return world.until(Phase.BAKING).run(4)


@pytest.mark.parametrize("where", ["canary", "bake"])
def test_a_challenger_without_a_ready_pod_is_taken_back_though_nothing_is_counted(where: str) -> None:
    world = a_canary(V2) if where == "canary" else a_baking_world()
    world.kserve.broken.add(V2)
    world.totals = {name: total for name, total in world.totals.items() if name.endswith("00001")}
    world.until(Phase.ROLLED_BACK, 60)
    cause = world.status.rollout.cause if world.status.rollout else None
    assert cause is not None and cause.reason == "GuardUnready"
    assert world.kserve.share(V1) == 100


def test_a_pod_that_is_moved_in_time_costs_nothing() -> None:
    world = a_canary(V2)
    world.kserve.broken.add(V2)
    world.run(8)
    world.kserve.broken.discard(V2)
    world.until(Phase.STABLE)
    assert world.status.champion is not None and world.status.champion.version == V2


def test_a_version_that_sleeps_may_take_its_time_to_wake() -> None:
    world = a_canary(V2, model=a_model().serving(minReplicas=0))
    world.kserve.broken.add(V2)
    world.run(24)
    assert world.status.phase is Phase.CANARY, "2 of 5 minutes"
    world.until(Phase.ROLLED_BACK, 60)


def lose_the_weight(world: World) -> None:
    """KServe shows everything on the champion and does not get round to what it was asked for."""
    names = {r.version: r.name for r in world.kserve.revisions}
    world.kserve.traffic = (Share(names[V2], 0), Share(names[V1], 100))
    world.kserve.pending = 10_000


def test_a_bake_of_which_kserve_shows_nothing_is_none() -> None:
    world = a_baking_world()
    lose_the_weight(world)
    world.run(130)
    assert world.status.phase is Phase.BAKING
    world.kserve.pending = 0
    world.run(60)
    assert world.status.phase is Phase.BAKING, "5 of 10 minutes"
    world.until(Phase.STABLE, 80)


def test_the_deadline_does_not_run_while_kserve_shows_no_weight() -> None:
    world = a_canary(V2, model=a_model().canary(inconclusive={"deadline": "5m", "action": "Rollback"}))
    world.requests_per_tick = 0
    lose_the_weight(world)
    world.run(100)
    assert world.status.phase is Phase.CANARY
    assert world.status.quarantined == ()


@pytest.mark.parametrize("action", ["Promote", "Rollback"])
def test_time_without_an_operator_is_no_time_at_the_step(action: str) -> None:
    world = a_canary(V2, model=a_model().canary(inconclusive={"deadline": "1h", "action": action}))
    world.requests_per_tick = 0
    world.run(5)
    world.ticks += 1000  # 83 minutes
    world.run(3)
    assert (world.status.phase, world.observed) == (Phase.CANARY, 10)


def test_a_bake_is_not_over_because_nobody_looked() -> None:
    world = a_baking_world()
    world.ticks += 1000
    world.run(3)
    assert world.status.phase is Phase.BAKING


def test_the_deadline_leaves_a_step_the_time_that_it_takes() -> None:
    canary = {"inconclusive": {"deadline": "10s", "action": "Rollback"}}
    world = a_canary(V2, model=a_model().canary(**canary).steps(10, 50, min_duration="10m"))
    world.requests_per_tick = 0
    world.run(60)
    assert world.status.phase is Phase.CANARY
    world.until(Phase.ROLLED_BACK, 100)
