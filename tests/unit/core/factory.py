"""A world for retraining: a line that drifts and is labelled, Jobs that take their time, an operator that is killed, a
clock that jumps, around the world of rollouts."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from puzzle_operator.api.conditions import Phase
from puzzle_operator.api.monitoring import DriftPhase, Harm
from puzzle_operator.api.names import RETRAIN_ANNOTATION
from puzzle_operator.api.retraining import RetrainingStatus
from puzzle_operator.api.status import read_status
from puzzle_operator.core.facts import Facts, Missing, MissingKind, VersionCheck, VersionState
from puzzle_operator.core.monitor import InputHealth, Labels, MonitorState, VersionDrift, VersionLabels
from puzzle_operator.core.retraining.auto import resolve
from puzzle_operator.core.retraining.facts import (
    DecisionRecord,
    Decisions,
    JobState,
    TrainerPod,
    TrainingRun,
)
from puzzle_operator.core.retraining.names import job_of
from puzzle_operator.core.rollout import Decision
from tests.builders import V1, ModelBuilder, a_model, digest
from tests.unit.core.world import World

OUTAGE = VersionCheck("", VersionState.UNREACHABLE, "the registry does not answer")
NO_GPU = "0/1 nodes are available: 1 Insufficient nvidia.com/gpu."


def words(outcome: str, version: str | None = None, message: str = "as told") -> str:
    """A trainer's termination message."""
    return json.dumps({"outcome": outcome, "version": version, "message": message, "metrics": {"p_value": 0.01}})


@dataclass
class Factory(World):
    """The world of rollouts with everything that retraining looks at."""

    jobs: dict[str, TrainingRun] = field(default_factory=dict)
    records: list[DecisionRecord] = field(default_factory=list)
    registry_up: bool = True
    jobs_visible: bool = True
    can_train: bool = True
    monitor: MonitorState | Missing = field(default_factory=lambda: Missing(MissingKind.ABSENT, "no monitor"))
    jump: timedelta = timedelta(0)
    created: list[str] = field(default_factory=list)
    """Names of all Jobs that were ever made, in order."""
    begun_at: list[datetime] = field(default_factory=list)
    ended_at: list[datetime] = field(default_factory=list)
    """When runs were seen to have ended."""
    progress: str = ""
    """How far the run is, by what its trainer wrote."""
    killed_before_jobs: bool = False
    """The next pass that makes or removes a Job is cut off before it does."""

    @property
    def now(self) -> Any:
        return super().now + self.jump

    def facts(self) -> Facts:
        facts = super().facts()
        monitor = replace(self.monitor, at=self.now) if isinstance(self.monitor, MonitorState) else self.monitor
        decided = Decisions(tuple(reversed(self.records))) if self.registry_up else OUTAGE
        target = resolve(facts.model, facts.model.status, decided if isinstance(decided, Decisions) else None)
        return replace(
            facts,
            check=replace(facts.check, version=target),
            monitor=monitor,
            jobs=tuple(self.jobs.values()) if self.jobs_visible else Missing(MissingKind.UNAVAILABLE, "forbidden"),
            decisions=decided,
            can_train=self.can_train,
            progress=self.progress,
        )

    def operate(self) -> Decision:
        decision = super().operate()
        state = self.status.retraining
        if state is not None and state.finished_at is not None and state.finished_at not in self.ended_at:
            self.ended_at.append(state.finished_at)
        if self.killed_before_jobs and (decision.train is not None or decision.remove):
            self.killed_before_jobs = False
            return decision
        for name in decision.remove:
            self.jobs.pop(name, None)
        if decision.train is not None:
            self.make(decision.train)
        return decision

    def before_run(self) -> str | None:
        """The run that was stored when the last pass began."""
        found = read_status(json.loads(self.before))[0].retraining
        return found.run if found is not None else None

    def make(self, run: RetrainingStatus) -> None:
        name = job_of(run)
        if name in self.jobs:
            return
        self.created.append(name)
        self.begun_at.append(self.now)
        size = self.model.build().spec.retraining.job.workers
        pods = tuple(TrainerPod(f"{name}-{worker}-x", "Running", self.now, worker=worker) for worker in range(size))
        self.jobs[name] = TrainingRun(
            name, f"uid-{len(self.created)}", run.run or "", run.counter, JobState.ACTIVE, self.now, pods=pods
        )

    # ------------------------------------------------------------ what happens

    def skip(self, hours: float) -> Factory:
        """Time in which nobody looks."""
        self.ticks += round(hours * 3600 / self.tick_seconds)
        return self

    def drifts(self, phase: str = "Confirmed", harmful: str = "Yes", *, healthy: bool | None = True) -> Factory:
        champion = self.status.champion.version if self.status.champion else V1
        drift = VersionDrift(champion, DriftPhase(phase), Harm(harmful), message="score 3.1 over 2.0")
        health = InputHealth(healthy, message="too dark since 14:00" if healthy is False else "")
        self.monitor = replace(self._monitor(), drift=(drift,), input=health)
        return self

    def labelled(self, pictures: int, *, labelled: int = 0, wrong: int = 0) -> Factory:
        champion = self.status.champion.version if self.status.champion else V1
        accuracy = VersionLabels(champion, labelled, wrong, None, 3600.0)
        labels = Labels(pictures, pictures, pictures * 2000)
        self.monitor = replace(self._monitor(), accuracy=(accuracy,), labels=labels)
        return self

    def _monitor(self) -> MonitorState:
        return self.monitor if isinstance(self.monitor, MonitorState) else MonitorState(at=self.now)

    def ask(self, text: str | None = "because") -> Factory:
        self.model.annotated(RETRAIN_ANNOTATION, text)
        return self

    @property
    def active(self) -> list[TrainingRun]:
        return [job for job in self.jobs.values() if job.state is JobState.ACTIVE]

    def pod(self, worker: int = 0, **fields: Any) -> Factory:
        """Another state of a pod of the running Job."""
        (job,) = self.active
        pods = tuple(replace(pod, **fields) if pod.worker == worker else pod for pod in job.pods)
        self.jobs[job.name] = replace(job, pods=pods)
        return self

    def ends(
        self,
        said: str = "",
        *,
        state: JobState = JobState.SUCCEEDED,
        reason: str = "",
        record: DecisionRecord | None = None,
        failed_worker: int | None = None,
    ) -> Factory:
        """The running Job ends."""
        (job,) = self.active
        phase = "Succeeded" if state is JobState.SUCCEEDED else "Failed"
        code = 0 if state is JobState.SUCCEEDED else 1
        pods = tuple(replace(pod, phase=phase, last_words=said, exit_code=code) for pod in job.pods)
        self.jobs[job.name] = replace(job, state=state, reason=reason, pods=pods, failed_worker=failed_worker)
        if record is not None:
            self.records.append(record)
        return self

    def accepts(self, version: str) -> Factory:
        """The running Job ends with a version that passed the gate, on record as such."""
        (job,) = self.active
        key = f"lines/line-1/decisions/{len(self.records):08}.json"
        return self.ends(words("Accepted", version), record=DecisionRecord(key, "Accepted", version, job.run))

    # ------------------------------------------------------------ what is seen

    @property
    def retraining(self) -> RetrainingStatus:
        found = self.status.retraining
        assert found is not None, "the status has no word on retraining"
        return found

    def until_job(self, limit: int = 40) -> TrainingRun:
        for _ in range(limit):
            self.tick()
            if self.active:
                return self.active[0]
        raise AssertionError(f"no Job in {limit} ticks: {self.status.retraining}")

    def until_retraining(self, holds: Callable[[RetrainingStatus], bool], limit: int = 60) -> Factory:
        for _ in range(limit):
            self.tick()
            if self.status.retraining is not None and holds(self.status.retraining):
                return self
        raise AssertionError(f"never in {limit} ticks: {self.status.retraining}")


def a_retrained_model(**spec: Any) -> ModelBuilder:
    return a_model().retraining(enabled=True, **spec)


def a_factory(model: ModelBuilder | None = None, **fields: Any) -> Factory:
    """Version 1 serves; its line is watched."""
    world = Factory(model=model or a_retrained_model(), **fields)
    world.until(Phase.STABLE)
    world.monitor = MonitorState(at=world.now, input=InputHealth(True))
    world.run(2)
    return world


NEW, NEWER = digest("a"), digest("b")
