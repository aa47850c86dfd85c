"""Retraining's part of a pass: what is read for it, and what becomes of its Jobs.

An outage of the registry, or a right that is missing, concerns retraining alone: a rollout goes on without it.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass

from puzzle_operator.api.resource import PuzzleModel
from puzzle_operator.core.facts import Missing, MissingKind, VersionCheck
from puzzle_operator.core.record import Decision
from puzzle_operator.core.retraining.facts import Decisions, JobState, TrainingRun
from puzzle_operator.core.retraining.refusal import job_refused
from puzzle_operator.core.retraining.results import last_words
from puzzle_operator.manifests.training_job import Store, training_job
from puzzle_operator.manifests.training_team import trainers_service
from puzzle_operator.ports import PermanentFailure, Ports, Rejected
from puzzle_operator.settings import Settings

from .trainers import trainer_of

log = logging.getLogger("puzzle_operator")
Jobs = tuple[TrainingRun, ...] | Missing | None


@dataclass(frozen=True, slots=True)
class Runs:
    """Reads what retraining looks at, and carries out what it decides."""

    ports: Ports
    settings: Settings

    async def observe(self, model: PuzzleModel) -> tuple[Jobs, Decisions | VersionCheck | None]:
        """The model's Jobs and its line's decisions; None where nobody needs them."""
        jobs = await self._jobs(model)
        ended = _ended(model, jobs)
        untold = ended is not None and last_words(ended) is None
        if not model.spec.model.is_auto and not untold:
            return jobs, None
        return jobs, await self.ports.registry.decisions(model, fresh=ended is not None)

    async def progress(self, model: PuzzleModel, jobs: Jobs) -> str:
        """How far the run is that is going on. Not asked in a rollout: a store that is away must not slow it down."""
        stored = model.status.retraining
        if stored is None or not stored.is_running or stored.run is None or not isinstance(jobs, tuple):
            return ""
        if model.status.active is not None:
            return ""
        pods = [pod for job in jobs if job.run == stored.run and job.state is JobState.ACTIVE for pod in job.pods]
        if not any(pod.phase == "Running" for pod in pods):
            return ""
        return await self.ports.registry.progress(model, stored.run)

    async def _jobs(self, model: PuzzleModel) -> Jobs:
        stored = model.status.retraining
        if not model.spec.retraining.enabled and (stored is None or not stored.is_running):
            return None
        try:
            return await self.ports.cluster.training_jobs(model)
        except PermanentFailure as exc:
            log.warning("%s: training Jobs cannot be read: %s", model.key, exc)
            return Missing(MissingKind.UNAVAILABLE, str(exc))

    async def carry_out(self, model: PuzzleModel, decision: Decision) -> Decision:
        """Remove Jobs and make the one that is to be; the decision as it is then to be stored."""
        for name in decision.remove:
            log.info("%s: deleting Job %s", model.key, name)
            try:
                await self.ports.cluster.delete_job(model.namespace, name)
            except PermanentFailure as exc:
                log.warning("%s: Job %s cannot be deleted: %s", model.key, name, exc)
        if decision.train is None:
            return decision
        try:
            store = await self._store(model)
            job = training_job(model, decision.train, trainer_of(self.settings), store)
            if model.spec.retraining.job.workers > 1:
                await self.ports.cluster.create_service(model, trainers_service(model))
            await self.ports.cluster.create_job(model, job)
        except PermanentFailure as exc:
            log.warning("%s: the Job of run %s: %s", model.key, decision.train.run, exc)
            return job_refused(decision, str(exc))
        log.info("%s: Job %s of run %s", model.key, job["metadata"]["name"], decision.train.run)
        return decision

    async def _store(self, model: PuzzleModel) -> Store:
        secret = model.spec.storage.secret_ref.name
        credentials = await self.ports.cluster.credentials(model.namespace, secret)
        if credentials is None:
            raise Rejected(f"Secret {secret} (spec.storage.secretRef.name) does not exist in {model.namespace}")
        return Store(credentials.https, credentials.region)


def _ended(model: PuzzleModel, jobs: Jobs) -> TrainingRun | None:
    """The Job of the run that the status holds to be going on, once it has ended."""
    stored = model.status.retraining
    if stored is None or not stored.is_running or not isinstance(jobs, tuple):
        return None
    return next((job for job in jobs if job.run == stored.run and job.state is not JobState.ACTIVE), None)
