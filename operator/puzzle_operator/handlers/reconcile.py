"""One pass over one model: observe, decide, apply, record. The only writer of a PuzzleModel's status.

Every pass begins with what is stored, so a pass that was cut off anywhere is simply made again: names and
manifests follow from the model, server-side apply repeats harmlessly, and the status is written last, in one
write that the API server refuses when somebody wrote in between.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass, field, replace

from puzzle_common.durations import parse_duration
from puzzle_operator.api.base import JsonObject
from puzzle_operator.api.conditions import Phase, Reason
from puzzle_operator.api.resource import InvalidResourceError, PuzzleModel
from puzzle_operator.api.status import Applied, PuzzleModelStatus
from puzzle_operator.core.facts import Facts, Missing, MissingKind, Reading, Service, VersionCheck, VersionState
from puzzle_operator.core.record import Decision, refused
from puzzle_operator.core.retraining.auto import resolve
from puzzle_operator.core.retraining.facts import Decisions
from puzzle_operator.core.rollout import decide
from puzzle_operator.core.situation import Note, Pace
from puzzle_operator.manifests.inference_service import Recording, fingerprint, objects_for
from puzzle_operator.ports import PermanentFailure, PortError, Ports
from puzzle_operator.settings import Settings

from .listening import Listening
from .registered import Registered
from .replays import Replays
from .runs import Runs
from .telemetry import Telemetry

log = logging.getLogger("puzzle_operator")
_NOT_READ = Missing(MissingKind.UNAVAILABLE, "not read")
_READING_PHASES = frozenset({Phase.STARTING, Phase.CANARY, Phase.BAKING})


@dataclass(frozen=True, slots=True)
class Reconciler:
    """Makes passes."""

    ports: Ports
    settings: Settings
    telemetry: Telemetry
    registered: Registered = field(init=False)
    listening: Listening = field(init=False)

    def __post_init__(self) -> None:
        """The monitor's part remembers a little between passes."""
        object.__setattr__(self, "registered", Registered(self.ports, self.settings))
        object.__setattr__(self, "listening", Listening(self.ports, self.registered))

    @property
    def _recording(self) -> Recording | None:
        url = self.settings.monitor_url
        return Recording(url, self.settings.monitor_secret) if url else None

    @property
    def runs(self) -> Runs:
        """Retraining's part of a pass."""
        return Runs(self.ports, self.settings)

    @property
    def replays(self) -> Replays:
        """Shadow replay's part of a pass."""
        return Replays(self.ports, self.settings)

    async def run(self, namespace: str, name: str) -> float | None:
        """One pass; seconds until the next one is due, or None when the model is gone.

        Raises:
            Unavailable: if the Kubernetes API does not do what is needed; nothing was decided.
        """
        body = await self.ports.cluster.model(namespace, name)
        if body is None or body["metadata"].get("deletionTimestamp"):
            self.telemetry.forget(namespace, name)
            await self.listening.forget(namespace, name)
            return None
        try:
            model = PuzzleModel.parse(body)
        except InvalidResourceError as exc:
            # Not reachable through the API server, which knows the same types; an older one's object may be.
            log.error("%s/%s: %s", namespace, name, exc)
            self.telemetry.failed("invalid")
            return self.settings.resting_interval
        if model.operator_class != self.settings.operator_class:
            self.telemetry.forget(namespace, name)
            return None
        try:
            facts = await self.observe(model)
            decision = decide(facts)
            status, extra = await self._apply(model, facts, decision)
            await self._drop(model, decision.drop)
            decision = await self.replays.carry_out(model, replace(decision, status=status))
            decision = await self.runs.carry_out(model, decision)
            status = decision.status
        except PermanentFailure as exc:
            log.warning("%s: %s", model.key, exc)
            self.telemetry.failed("refused")
            decision = refused(model, self.ports.clock(), str(exc))
            status, extra = decision.status, ()
        decision = replace(decision, status=status, notes=(*extra, *decision.notes))
        await self._record(model, decision, body.get("status") or {})
        for name in decision.clear:
            await self.ports.cluster.clear_annotation(model, name)
        return self._delay(model, decision.pace)

    async def observe(self, model: PuzzleModel) -> Facts:
        """The one snapshot that a pass decides on; nothing else reads."""
        service, (jobs, decisions), heard, replay = await asyncio.gather(
            self.ports.cluster.service(model),
            self.runs.observe(model),
            self.listening.observe(model),
            self.replays.observe(model),
        )
        target = resolve(model, model.status, decisions if isinstance(decisions, Decisions) else None)
        check, progress = await asyncio.gather(self._check(model, target), self.runs.progress(model, jobs))
        if self.ports.monitor is not None:
            self.telemetry.heard(heard.state)
        readings: dict[str, Reading | Missing] = {}
        guard: Reading | Missing = _NOT_READ
        if isinstance(service, Service) and model.status.phase in _READING_PHASES:
            revisions = frozenset(revision.name for revision in service.revisions)
            found, guard = await self.ports.metrics.read(model, revisions)
            readings = dict(found)
            self.telemetry.read(readings.values())
        return Facts(
            model=model,
            now=self.ports.clock(),
            service=service,
            check=check,
            readings=readings,
            guard=guard,
            monitor=heard.state,
            run_images=heard.run_images,
            decisions=decisions,
            jobs=jobs,
            replay=replay,
            progress=progress,
            can_train=bool(self.settings.trainer_image),
        )

    async def _check(self, model: PuzzleModel, version: str) -> VersionCheck:
        """The registry is only asked about a version that is to be started."""
        rollout, champion = model.status.active, model.status.champion
        serves = champion is not None and champion.version == version
        if not version or serves or (rollout is not None and rollout.challenger == version):
            return VersionCheck(version, VersionState.NOT_ASKED)
        check = await self.ports.registry.check(model, version)
        self.telemetry.checked(check.state)
        return check

    async def _apply(
        self, model: PuzzleModel, facts: Facts, decision: Decision
    ) -> tuple[PuzzleModelStatus, tuple[Note, ...]]:
        """Bring the InferenceService to the plan, if it is not there; tell a hand edit from a decision."""
        if decision.plan is None:
            return decision.status, ()
        objects = objects_for(model, decision.plan, self._recording)
        wanted, last = fingerprint(objects), model.status.applied
        service = facts.service if isinstance(facts.service, Service) else None
        same = last is not None and last.hash == wanted
        if same and last is not None and service is not None and service.is_as_left(last):
            return decision.status, ()
        for obj in objects:
            live = await self.ports.cluster.apply(obj)
        meta = live["metadata"]
        applied = Applied(hash=wanted, generation=int(meta["generation"]), uid=meta["uid"])
        notes: tuple[Note, ...] = ()
        edited = same and service is not None and last is not None and service.uid == last.uid
        if edited and service is not None and applied.generation != service.generation:
            message = "somebody edited the InferenceService; it says again what was decided"
            notes = (Note(Reason.DRIFT_CORRECTED, message),)
        percent = decision.plan.percent
        share = "all traffic" if percent is None else f"{percent} %"
        log.info("%s: applied %s with %s", model.key, decision.plan.version[:19], share)
        return decision.status.but(applied=applied), notes

    async def _drop(self, model: PuzzleModel, revisions: tuple[str, ...]) -> None:
        """Delete revisions that hold a route or pods, or that Knative is to start anew."""
        for revision in revisions:
            log.info("%s: deleting revision %s: it is not ready", model.key, revision)
            try:
                await self.ports.cluster.drop_revision(model.namespace, revision)
            except PermanentFailure as exc:
                log.warning("%s: %s", model.key, exc)

    async def _record(self, model: PuzzleModel, decision: Decision, stored: JsonObject) -> None:
        """One write, none when nothing changed; events only after it."""
        wire = decision.status.to_wire()
        if wire != stored:
            await self.ports.cluster.write_status(model, wire)
        self.telemetry.decided(model, decision)
        for note in decision.notes:
            log.info("%s: %s: %s", model.key, note.reason, note.message)
            try:
                await self.ports.cluster.emit(model, note, self.ports.clock())
            except PortError as exc:
                # The status has it all; an event that cannot be written must not cost the ones after it.
                log.warning("%s: the event %s was not written: %s", model.key, note.reason, exc)

    def _delay(self, model: PuzzleModel, pace: Pace) -> float:
        if pace is Pace.JUDGING:
            return parse_duration(model.spec.canary.analysis.interval).total_seconds()
        return {
            Pace.MOVING: self.settings.moving_interval,
            Pace.BLOCKED: self.settings.blocked_interval,
            Pace.RESTING: self.settings.resting_interval,
        }[pace]
