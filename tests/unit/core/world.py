"""A world for the pure core: KServe's rules, cameras that send requests, a Prometheus, a clock, and an
operator.

Every pass goes through the status as it is stored (JSON and back), so whatever a rollout needs to remember is
proven to survive an operator that is killed between any two passes.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from puzzle_operator.api.conditions import ConditionType, Phase
from puzzle_operator.api.status import Applied, PuzzleModelStatus, read_status
from puzzle_operator.core.facts import (
    NO_MONITOR,
    Absence,
    Counter,
    Facts,
    Missing,
    MissingKind,
    Reading,
    Service,
    VersionCheck,
    VersionState,
)
from puzzle_operator.core.monitor import MonitorState
from puzzle_operator.core.rollout import Decision, decide
from puzzle_operator.core.situation import Note
from tests.builders import T0, ModelBuilder, a_model
from tests.unit.core.kserve_model import KServe

DOWN = Missing(MissingKind.UNAVAILABLE, "Prometheus did not answer")
ABSENT = Missing(MissingKind.ABSENT, "no such series")


@dataclass
class World:
    """Time goes in ticks of `tick_seconds`; in each tick requests flow, KServe works, the operator makes one
    pass."""

    model: ModelBuilder = field(default_factory=a_model)
    kserve: KServe = field(default_factory=KServe)
    requests_per_tick: int = 200
    error_rates: dict[str, float] = field(default_factory=dict)
    tick_seconds: float = 5.0
    skew: timedelta = timedelta(0)
    """How far the operator's clock is ahead of Prometheus's."""
    prometheus: Missing | None = None
    monitor: MonitorState | Missing = NO_MONITOR
    registry: VersionState = VersionState.FOUND
    kserve_installed: bool = True
    ticks: int = 0
    totals: dict[str, list[float]] = field(default_factory=dict)
    served: dict[str, int] = field(default_factory=dict)
    notes: list[Note] = field(default_factory=list)
    writes: int = 0
    stored: str = "{}"
    before: str = "{}"
    """What was stored when the last pass began."""
    on_pass: Callable[[World, Decision], None] | None = None

    # ------------------------------------------------------------ time

    def tick(self) -> Decision:
        self.ticks += 1
        self._flow()
        self.kserve.tick()
        return self.operate()

    def operate(self) -> Decision:
        """One pass of an operator that knows nothing but what is stored."""
        self.before = self.stored
        decision = decide(self.facts())
        status = decision.status
        if decision.plan is not None:
            self.kserve.apply(decision.plan)
            uid = self.kserve.uid or ""
            status = status.but(applied=Applied(hash="h", generation=self.kserve.generation, uid=uid))
        for revision in decision.drop:
            self.kserve.drop(revision)
        text = json.dumps(status.to_wire(), sort_keys=True)
        if text != self.stored:
            self.writes += 1
        self.stored = text
        self.notes += decision.notes
        for name in decision.clear:
            self.model.annotated(name, None)
        if self.on_pass is not None:
            self.on_pass(self, decision)
        return decision

    def run(self, ticks: int) -> World:
        for _ in range(ticks):
            self.tick()
        return self

    def until(self, phase: Phase, limit: int = 200) -> World:
        for _ in range(limit):
            if self.tick().status.phase is phase:
                return self
        raise AssertionError(f"never {phase} in {limit} ticks: {self.status.phase}: {self.status.message}")

    def _flow(self) -> None:
        versions = {r.name: r.version for r in self.kserve.revisions}
        for share in self.kserve.traffic:
            count = round(self.requests_per_tick * share.percent / 100)
            version = versions.get(share.revision, "")
            counter = self.totals.setdefault(share.revision, [0.0, 0.0])
            counter[0] += count
            counter[1] += count * self.error_rates.get(version, 0.0)
            self.served[version] = self.served.get(version, 0) + count

    # ------------------------------------------------------------ what is seen

    @property
    def now(self) -> datetime:
        return self.at(self.ticks)

    def at(self, tick: int) -> datetime:
        """When a tick is."""
        return T0 + timedelta(seconds=tick * self.tick_seconds)

    def facts(self) -> Facts:
        self.model.with_status(json.loads(self.stored))
        model = self.model.build()
        service = self.kserve.seen() if self.kserve_installed else Absence.NO_API
        reading = self._reading(service) if self.prometheus is None else self.prometheus
        version = model.spec.model.version
        return Facts(
            model=model,
            now=self.now + self.skew,
            service=service,
            check=VersionCheck(version, self.registry, f"{self.registry}"),
            readings={metric.name: reading for metric in model.spec.canary.analysis.metrics},
            guard=reading,
            monitor=self.monitor,
        )

    def _reading(self, service: Service | Absence) -> Reading:
        counters = tuple(
            Counter(f"{name}-pod", name, total, float(int(bad)))
            for name, (total, bad) in sorted(self.totals.items())
            if total
        )
        pods = service.pods if isinstance(service, Service) else ()
        return Reading(counters, frozenset(pod.revision for pod in pods if pod.ready), self.now)

    @property
    def status(self) -> PuzzleModelStatus:
        return read_status(json.loads(self.stored))[0]

    @property
    def observed(self) -> int:
        """The challenger's share as the status shows it."""
        return self.status.weight.observed if self.status.weight else 0

    @property
    def reasons(self) -> list[str]:
        return [str(note.reason) for note in self.notes]

    def condition(self, kind: ConditionType) -> tuple[str, str]:
        found = self.status.condition(kind)
        assert found is not None
        return found.status, found.reason


def a_stable_world(**fields: Any) -> World:
    """Version 1 serves as the champion and has answered requests."""
    return World(**fields).until(Phase.STABLE).run(3)


def a_canary(version: str, *, step: int = 1, **fields: Any) -> World:
    """A rollout of `version` at a step that KServe shows."""
    world = a_stable_world(**fields)
    world.model.version(version)
    world.until(Phase.CANARY)
    for _ in range(200):
        steps, rollout = world.model.body["spec"]["canary"]["steps"], world.status.active
        if world.status.step == f"{step}/{len(steps)}" and rollout is not None and rollout.step_started_at:
            return world
        world.tick()
    raise AssertionError(f"step {step} was never reached: {world.status.message}")
