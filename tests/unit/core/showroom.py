"""A world in which people label pieces: a monitor that keeps pictures, Jobs of replays, an operator that is killed."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from typing import Any

from puzzle_operator.api.conditions import Phase
from puzzle_operator.api.replay import ReplayStatus
from puzzle_operator.core.facts import Facts, Missing, MissingKind, Reading
from puzzle_operator.core.monitor import Labels, MonitorState
from puzzle_operator.core.record import Decision
from puzzle_operator.core.replay.facts import ReplayJob, Showing
from puzzle_operator.core.retraining.facts import JobState
from tests.unit.core.world import World

AWAY = Missing(MissingKind.UNAVAILABLE, "the monitor does not answer")


def compared(
    right: int = 180, canary: int = 4, champion: int = 5, both: int = 3, *, errors: int = 0, error: str = ""
) -> str:
    """The last words of a Job that has compared so many pieces."""
    counts = {
        "bothRight": right,
        "onlyChallengerWrong": canary,
        "onlyChampionWrong": champion,
        "bothWrong": both,
        "championErrors": 0,
        "challengerErrors": errors,
    }
    return json.dumps({"outcome": "Compared", "message": "compared", "error": error, **counts})


EQUAL, WORSE = compared(), compared(right=120, canary=70, champion=2, both=3)


@dataclass
class Showroom(World):
    """Jobs end after `job_ticks` with what `results` says of the challenger; without an entry they find both equal."""

    labelled: int = 500
    away: Missing | None = None
    """Why the monitor does not answer."""
    can_train: bool = True
    scrape_ticks: int = 1
    """So many ticks ago everything was scraped; below 0: nobody knows when."""
    job_ticks: int | None = 2
    results: dict[str, str] = field(default_factory=dict)
    jobs: dict[str, ReplayJob] = field(default_factory=dict)
    ages: dict[str, int] = field(default_factory=dict)
    shown: dict[str, Showing] = field(default_factory=dict)
    created: list[str] = field(default_factory=list)
    killed_after_job: bool = False
    unreadable: Missing | None = None

    def tick(self) -> Decision:
        for name, job in self.jobs.items():
            self.ages[name] += 1
            if job.state is JobState.ACTIVE and self.job_ticks is not None and self.ages[name] >= self.job_ticks:
                said = self.results.get(self.shown[name].challenger_version, EQUAL)
                self.jobs[name] = replace(job, state=JobState.SUCCEEDED, last_words=said)
        return super().tick()

    def operate(self) -> Decision:
        decision = super().operate()
        for name in decision.remove:
            self.jobs.pop(name, None)
        if decision.replay is not None:
            self._make(decision.replay)
            if self.killed_after_job:
                self.killed_after_job, self.stored = False, self.before
        return decision

    def _make(self, showing: Showing) -> None:
        if showing.job in self.jobs:
            return
        self.created.append(showing.job)
        self.shown[showing.job] = showing
        self.ages[showing.job] = 0
        self.jobs[showing.job] = ReplayJob(showing.job, f"uid-{len(self.created)}", JobState.ACTIVE)

    def facts(self) -> Facts:
        facts = super().facts()
        labels = Labels(self.labelled, self.labelled, self.labelled * 2000)
        seen = self.monitor if isinstance(self.monitor, MonitorState) else MonitorState(at=self.now)
        guard = facts.guard
        if isinstance(guard, Reading) and self.scrape_ticks >= 0:
            guard = replace(guard, complete=self.at(self.ticks - self.scrape_ticks))
        rollout = facts.model.status.active
        stored = rollout.replay if rollout is not None else None
        asked = stored is not None and stored.is_going_on and stored.job is not None
        found = self.unreadable or (self.jobs.get(stored.job or "") if stored is not None and asked else None)
        return replace(
            facts,
            guard=guard,
            monitor=self.away or replace(seen, labels=labels),
            can_train=self.can_train,
            replay=found if asked else None,
        )

    @property
    def knows_its_job(self) -> bool:
        """Whether the status has seen the Job: one that is deleted before that looks as if it was never made."""
        rollout = self.status.rollout
        uids = {job.uid for job in self.jobs.values()}
        return rollout is not None and rollout.replay is not None and rollout.replay.job_uid in uids

    @property
    def replay(self) -> ReplayStatus:
        found = self.status.rollout.replay if self.status.rollout is not None else None
        assert found is not None, f"no word of a replay: {self.status.message}"
        return found


def a_showroom(**fields: Any) -> Showroom:
    """Version 1 serves, and pieces of it are labelled."""
    world = Showroom(**fields)
    world.until(Phase.STABLE).run(3)
    return world
