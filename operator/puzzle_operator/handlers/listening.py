"""The monitor's part of a pass: tell it what is wanted, hear what it has seen. An outage changes nothing else."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from puzzle_operator.api.resource import PuzzleModel
from puzzle_operator.core.facts import NO_MONITOR, Missing
from puzzle_operator.core.monitor import MonitorState
from puzzle_operator.core.situation import AT_REST
from puzzle_operator.manifests.decisions import decision_records
from puzzle_operator.manifests.monitor_settings import monitor_settings, run_images
from puzzle_operator.ports import PortError, Ports

from .registered import Registered

_HTTPS_FOR = 600.0
"""Seconds for which is remembered whether a store speaks https."""


@dataclass(frozen=True, slots=True)
class Heard:
    """What the monitor says, and how many pictures it was told to expect between two false alarms."""

    state: MonitorState | Missing
    run_images: int | None = None


@dataclass(frozen=True, slots=True)
class Listening:
    """Talks to the monitor for all models."""

    ports: Ports
    registered: Registered
    _https: dict[tuple[str, str], tuple[float, bool]] = field(default_factory=dict)
    _told: set[tuple[str, str]] = field(default_factory=set)

    async def observe(self, model: PuzzleModel) -> Heard:
        """Never raises for an outage, and never waits for long."""
        if self.ports.monitor is None:
            return Heard(NO_MONITOR)
        before = model.status.drift.run_images if model.status.drift else None
        rate = None
        # A rollout is not made to wait for a number that only matters at rest.
        if model.spec.drift.expected_run_images is None and model.status.phase in AT_REST:
            rate = await self.ports.metrics.picture_rate(model)
        images = run_images(model.spec.drift, rate, before)
        https, owner = await self._speaks_https(model), await self.registered.owner()
        settings = monitor_settings(model, images, https=https, owner=owner)
        self._told.add((model.namespace, model.name))
        state = await self.ports.monitor.ask(model.namespace, model.name, settings)
        await self.ports.monitor.tell(model.namespace, model.name, decision_records(model))
        return Heard(state, images)

    async def forget(self, namespace: str, name: str) -> None:
        """The model is gone: nothing of it is watched any more. One that was never told of is not ours to take away."""
        if (namespace, name) in self._told:
            self._told.discard((namespace, name))
            await self.registered.gone(namespace, name)

    async def _speaks_https(self, model: PuzzleModel) -> bool:
        key = (model.namespace, model.spec.storage.secret_ref.name)
        known = self._https.get(key)
        if known is None or time.monotonic() - known[0] > _HTTPS_FOR:
            try:
                found = await self.ports.cluster.credentials(*key)
            except PortError:
                return known[1] if known else False
            if found is None:
                return False
            known = self._https[key] = (time.monotonic(), found.https)
        return known[1]
