"""The state machine of rollouts with replays in it, walked through all orders of events: labels come and go, Jobs hang,
fail and are deleted, and the operator is killed."""

from __future__ import annotations

from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import invariant, precondition, rule

from puzzle_operator.api.conditions import Phase
from puzzle_operator.api.replay import ReplayOutcome
from puzzle_operator.core.record import Decision
from tests.unit.core.showroom import AWAY, WORSE, Showroom
from tests.unit.core.test_machine import ALSO_GOOD, FAILING, Rollouts
from tests.unit.core.world import World


class ReplayedRollouts(Rollouts):
    """All that happens to rollouts, and what may happen to replays."""

    world: Showroom

    def a_world(self, **fields: Any) -> World:
        world = Showroom(**fields, results={FAILING: WORSE})
        world.model.canary(replay={"pieces": 200, "deadline": "30s"})
        return world

    @rule(pieces=st.sampled_from([0, 200, 200]))
    def somebody_edits_the_replay(self, pieces: int) -> None:
        self.world.model.canary(replay={"pieces": pieces, "deadline": "30s"})

    @rule(state=st.sampled_from([None, None, AWAY]))
    def the_monitor_is_away(self, state: Any) -> None:
        self.world.away = state

    @rule(labelled=st.sampled_from([0, 500, 500]))
    def people_label(self, labelled: int) -> None:
        self.world.labelled = labelled

    @rule(ticks=st.sampled_from([None, 1, 4]))
    def jobs_take_their_time(self, ticks: int | None) -> None:
        self.world.job_ticks = ticks

    @rule(result=st.sampled_from([WORSE, "no result", None]), version=st.sampled_from([ALSO_GOOD, FAILING]))
    def results_differ(self, result: str | None, version: str) -> None:
        if result is None:
            self.world.results.pop(version, None)
        else:
            self.world.results[version] = result

    @rule(state=st.sampled_from([None, AWAY]))
    def jobs_cannot_be_read(self, state: Any) -> None:
        self.world.unreadable = state

    @rule(ticks=st.sampled_from([-1, 0, 2]))
    def scrapes_are_late(self, ticks: int) -> None:
        self.world.scrape_ticks = ticks

    @rule()
    def the_operator_is_killed_after_making_a_job(self) -> None:
        self.world.killed_after_job = True

    @precondition(lambda self: self.world.knows_its_job)
    @rule()
    def somebody_deletes_the_job(self) -> None:
        self.world.jobs.clear()

    @rule(version=st.sampled_from([ALSO_GOOD, FAILING]))
    def a_quiet_hour(self, version: str) -> None:
        """Left alone for a while, most replays come to their end: else few would, with so much going on."""
        self.world.away = self.world.unreadable = None
        self.world.labelled, self.world.job_ticks = 500, 2
        self.world.model.paused(False).version(version)
        self.time_passes(12)

    def check_pass(self, world: World, decision: Decision) -> None:
        super().check_pass(world, decision)
        status = decision.status
        rollout = status.active
        wanted = status.weight.wanted if status.weight else 0
        if rollout is not None and rollout.replay is not None and wanted:
            assert rollout.replay.outcome in {ReplayOutcome.PASSED, ReplayOutcome.SKIPPED}, rollout.replay.message

    @invariant()
    def no_job_is_made_twice(self) -> None:
        assert len(self.world.created) == len(set(self.world.created))

    def teardown(self) -> None:
        self.world.unreadable = None
        self.world.job_ticks = 2
        super().teardown()
        assert self.world.jobs == {}, "a Job that nobody needs is left"
        assert self.world.status.phase is not Phase.STARTING


TestReplayedRollouts = ReplayedRollouts.TestCase
TestReplayedRollouts.settings = settings(
    max_examples=60,
    stateful_step_count=20,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
