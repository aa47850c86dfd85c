"""Models that were deleted while nobody looked: taken off the monitor, and never one that may be somebody else's."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

import pytest

from puzzle_operator.api.base import JsonObject
from puzzle_operator.core.facts import Missing, MissingKind
from puzzle_operator.core.monitor import Registration
from puzzle_operator.handlers.registered import Registered
from puzzle_operator.ports import Forbidden, Ports, Unavailable
from puzzle_operator.settings import Settings
from tests.builders import T0, a_model
from tests.unit.handlers.test_passes import Fake

OURS = "cluster-1/"
AWAY = Missing(MissingKind.UNAVAILABLE, "away")


@dataclass
class World(Fake):
    """A cluster with some models."""

    there: set[tuple[str, str]] = field(default_factory=set)
    trouble: dict[str, Exception] = field(default_factory=dict)

    async def model(self, namespace: str, name: str) -> JsonObject | None:
        if name in self.trouble:
            raise self.trouble[name]
        return a_model(name, namespace).body if (namespace, name) in self.there else None


def a_world(*entries: tuple[str, str, str]) -> World:
    return World(None, registrations=tuple(Registration(*entry) for entry in entries))


def sweep(world: World, settings: Settings | None = None) -> bool:
    ports = Ports(cluster=world, metrics=world, registry=world, clock=lambda: T0, monitor=world)
    return asyncio.run(Registered(ports, settings or Settings()).sweep())


def test_what_is_gone_is_taken_off_and_the_rest_stays() -> None:
    world = a_world(("lyon", "line-1", OURS), ("lyon", "line-2", OURS), ("metz", "line-1", OURS))
    world.there = {("lyon", "line-1")}
    assert sweep(world)
    assert world.forgotten == [("lyon", "line-2"), ("metz", "line-1")]


@pytest.mark.parametrize("owner", ["", "cluster-2/", "cluster-1/blue", "cluster-1"])
def test_what_another_cluster_class_or_an_older_operator_registered_stays(owner: str) -> None:
    world = a_world(("lyon", "line-1", owner))
    assert sweep(world)
    assert world.forgotten == []


def test_only_namespaces_that_are_watched_are_looked_at() -> None:
    world = a_world(("lyon", "line-1", OURS), ("metz", "line-1", OURS))
    assert sweep(world, Settings(watch_namespaces=("metz",)))
    assert world.forgotten == [("metz", "line-1")]


def test_the_class_is_part_of_whose_it_is() -> None:
    world = a_world(("lyon", "line-1", OURS), ("lyon", "line-2", "cluster-1/blue"))
    assert sweep(world, Settings(operator_class="blue"))
    assert world.forgotten == [("lyon", "line-2")]


@pytest.mark.parametrize("error", [Unavailable("the API does not answer"), Forbidden("no right")])
def test_nothing_is_taken_off_because_it_could_not_be_looked_up(error: Exception) -> None:
    world = a_world(("lyon", "line-1", OURS), ("lyon", "line-2", OURS))
    world.trouble = {"line-1": error}
    assert not sweep(world), "it is looked at again"
    assert world.forgotten == [("lyon", "line-2")]


def test_a_cluster_that_does_not_say_what_it_is_has_nothing_taken_off() -> None:
    world = a_world(("lyon", "line-1", OURS), ("lyon", "line-2", "None/"))
    world.cluster = None
    assert not sweep(world)
    assert world.forgotten == []


def test_a_monitor_that_is_away_is_asked_again() -> None:
    world = a_world()
    world.registrations = AWAY
    assert not sweep(world)
    world = a_world(("lyon", "line-1", OURS))
    world.deaf = AWAY
    assert not sweep(world)
    assert world.forgotten == [("lyon", "line-1")]
