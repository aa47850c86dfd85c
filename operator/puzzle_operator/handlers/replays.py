"""Shadow replay's part of a pass: its Job is read, and made.

A right that is missing concerns the replay alone: a rollout goes on without.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass

from puzzle_operator.api.conditions import Phase
from puzzle_operator.api.resource import PuzzleModel
from puzzle_operator.core.facts import Missing, MissingKind
from puzzle_operator.core.record import Decision
from puzzle_operator.core.replay.facts import ReplayJob
from puzzle_operator.core.replay.refusal import job_refused
from puzzle_operator.manifests.replay_job import replay_job
from puzzle_operator.ports import PermanentFailure, Ports
from puzzle_operator.settings import Settings

from .trainers import trainer_of

log = logging.getLogger("puzzle_operator")


@dataclass(frozen=True, slots=True)
class Replays:
    """Reads the Job of a replay, and makes the one that is decided on."""

    ports: Ports
    settings: Settings

    async def observe(self, model: PuzzleModel) -> ReplayJob | Missing | None:
        """The Job of the replay that is stored; None where there is none, or nobody waits for it."""
        rollout = model.status.active
        replay = rollout.replay if rollout is not None else None
        if model.status.phase is not Phase.STARTING or replay is None or replay.job is None or not replay.is_going_on:
            return None
        try:
            return await self.ports.cluster.replay_job(model, replay.job)
        except PermanentFailure as exc:
            log.warning("%s: Job %s cannot be read: %s", model.key, replay.job, exc)
            return Missing(MissingKind.UNAVAILABLE, str(exc))

    async def carry_out(self, model: PuzzleModel, decision: Decision) -> Decision:
        """Make the Job that is to be; the decision as it is then to be stored."""
        if decision.replay is None:
            return decision
        job = replay_job(model, decision.replay, trainer_of(self.settings))
        try:
            await self.ports.cluster.create_job(model, job)
        except PermanentFailure as exc:
            log.warning("%s: the Job of a replay: %s", model.key, exc)
            return job_refused(decision, str(exc), self.ports.clock())
        log.info("%s: Job %s shows labelled pieces to the challenger", model.key, decision.replay.job)
        return decision
