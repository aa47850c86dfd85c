"""Moments of rollouts that the operator's own rules played, as `kubectl puzzle` sees them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from puzzle_operator.core.facts import Absence, Service
from puzzle_operator.plugin.snapshot import Snapshot, Unread
from tests.builders import V1, V2, ModelBuilder, a_model
from tests.unit.core.world import World, a_canary, a_stable_world


def seen(world: World, service: Service | Absence | Unread | None = None) -> Snapshot:
    """The model as it is stored, and what KServe shows."""
    model = world.model.with_status(json.loads(world.stored)).build()
    return Snapshot(model, service if service is not None else world.kserve.seen(), world.now)


def edited(snapshot: Snapshot) -> Snapshot:
    """The same after an edit that the operator has not seen yet."""
    return replace(snapshot, model=replace(snapshot.model, generation=snapshot.model.generation + 1))


def plain(lines: Sequence[object]) -> list[str]:
    """Lines as a pipe shows them."""
    return [str(line) for line in lines]


def carry_out(world: World, patch: dict[str, Any] | None) -> World:
    """What the API server does with a merge patch of the fields that people write."""
    assert patch is not None
    spec = patch.get("spec", {})
    if "model" in spec:
        world.model.version(spec["model"]["version"])
    if "paused" in spec:
        world.model.paused(spec["paused"])
    for name, value in patch.get("metadata", {}).get("annotations", {}).items():
        world.model.annotated(name, value)
    return world


def a_waiting_world(automation: str = "Assisted") -> World:
    """Everything is in order with version 2, and a person has to say so."""
    world = a_stable_world(model=a_model().automation(automation))
    world.model.version(V2)
    for _ in range(200):
        world.tick()
        if world.status.awaiting:
            return world
    raise AssertionError(f"nothing waits: {world.status.message}")


def an_open_canary(model: ModelBuilder | None = None) -> World:
    """At 10 % with minDuration over, and hundreds of requests away from a Pass: both versions fail 1 in 100."""
    metrics = [{"name": "errors", "type": "ErrorRate", "maxRiskRatio": 1.5, "negligible": 0.002}]
    model = (model or a_model()).analysis(metrics=metrics)
    return a_canary(V2, model=model, requests_per_tick=40, error_rates={V1: 0.01, V2: 0.01}).run(30)


def an_idle_canary(automation: str = "Full", **inconclusive: str) -> World:
    """At 10 % on a line that has stopped, with a deadline of ten minutes."""
    model = a_model().canary(inconclusive={"deadline": "10m", **inconclusive})
    world = a_canary(V2, model=model)
    world.model.automation(automation)
    world.requests_per_tick = 0
    return world
