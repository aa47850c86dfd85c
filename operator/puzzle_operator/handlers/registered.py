"""Models that the monitor watches for this operator, and those among them that were deleted while nobody looked.

The monitor is told whose an entry is: the cluster (the uid of its resource definition) and the operator's class. Only
entries of this very owner are looked at, each is asked of the API server by name, and only a plain "there is none"
takes it away. Whatever cannot be known leaves everything as it is.
"""

from __future__ import annotations

import asyncio
import logging
import time
from dataclasses import dataclass, field

from puzzle_operator.core.facts import Missing
from puzzle_operator.ports import Monitor, PortError, Ports
from puzzle_operator.settings import Settings

log = logging.getLogger("puzzle_operator")
_AGAIN = 60.0
"""Seconds after which something that could not be found out is asked again."""
_EVERY = 3600.0
"""Seconds between two looks at everything."""


@dataclass
class Registered:
    """Knows this operator's mark, and sweeps."""

    ports: Ports
    settings: Settings
    _identity: str | None = None
    _asked_at: float | None = None
    _unsure: asyncio.Event = field(default_factory=asyncio.Event)

    async def owner(self) -> str | None:
        """This operator's mark on what it asks the monitor for; None where the cluster does not say what it is."""
        now = time.monotonic()
        if self._identity is None and (self._asked_at is None or now - self._asked_at >= _AGAIN):
            self._asked_at = now
            self._identity = await self.ports.cluster.identity()
        return f"{self._identity}/{self.settings.operator_class}"[:253] if self._identity else None

    async def gone(self, namespace: str, name: str) -> None:
        """A model was deleted. Where the monitor does not hear of it now, it is swept later."""
        if self.ports.monitor is None:
            return
        missing = await self.ports.monitor.forget(namespace, name)
        if missing is not None:
            log.warning("%s/%s is gone, and stays listed for now: %s", namespace, name, missing.reason)
            self._unsure.set()

    async def sweep(self) -> bool:
        """Look at everything once; False where something could not be found out."""
        monitor, owner = self.ports.monitor, await self.owner()
        if monitor is None or owner is None:
            return monitor is None
        found = await monitor.registered()
        if isinstance(found, Missing):
            return False
        watched = self.settings.watch_namespaces
        mine = [one for one in found if one.owner == owner and (not watched or one.namespace in watched)]
        done = [await self._look(monitor, one.namespace, one.name) for one in mine]
        return all(done)

    async def _look(self, monitor: Monitor, namespace: str, name: str) -> bool:
        try:
            there = await self.ports.cluster.model(namespace, name) is not None
        except PortError as exc:
            log.warning("%s/%s: whether it is still there is not known: %s", namespace, name, exc)
            return False
        if there:
            return True
        missing = await monitor.forget(namespace, name)
        if missing is None:
            log.info("%s/%s was deleted while nobody looked; the monitor watches it no more", namespace, name)
        return missing is None

    async def forever(self) -> None:
        """Sweep at the start, when something stayed open, and once in a while."""
        while self.ports.monitor is not None:
            self._unsure.clear()
            try:
                whole = await self.sweep()
            except Exception:
                log.exception("the models that the monitor watches could not be looked through; it is tried again")
                whole = False
            if not whole or self._unsure.is_set():
                await asyncio.sleep(_AGAIN)
                continue
            try:
                await asyncio.wait_for(self._unsure.wait(), _EVERY)
                await asyncio.sleep(_AGAIN)
            except TimeoutError:
                continue
