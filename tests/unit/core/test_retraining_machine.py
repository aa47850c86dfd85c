"""Retraining through all orders of events that hypothesis can think of, with what must always hold.

Versions that runs make are good or fail half of their requests; the clock jumps, the operator is killed between storing
a run and making its Job, the registry goes away, people ask, Jobs end as they like.
"""

from __future__ import annotations

import json
from datetime import datetime, timedelta

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from puzzle_operator.api.conditions import Phase
from puzzle_operator.api.retraining import RetrainingPhase, RetrainingStatus
from puzzle_operator.core.facts import Missing, MissingKind
from puzzle_operator.core.retraining.facts import DecisionRecord, JobState
from puzzle_operator.core.rollout import Decision
from tests.builders import V1, digest
from tests.unit.core.factory import NO_GPU, Factory, a_retrained_model, words
from tests.unit.core.world import World

COOLDOWN, PER, RUNS = timedelta(minutes=10), timedelta(hours=2), 2
REST = {Phase.STABLE, Phase.ROLLED_BACK}


class Retrainings(RuleBasedStateMachine):
    """The world does what it likes; retraining must keep its promises."""

    wild = True
    """Whether clocks jump and statuses are lost: then nobody can keep a promise about spans of time."""

    def __init__(self) -> None:
        super().__init__()
        model = a_retrained_model(
            schedule="*/20 * * * *",
            triggers={"drift": "Harmful", "accuracyBelow": 0.95, "newLabels": 500},
            cooldown="10m",
            budget={"runs": RUNS, "per": "2h"},
            job={"cpuFallback": True, "deadline": "30m"},
        )
        model.canary(bake="10s", progressDeadline="60s").steps(50, min_duration="5s").version("auto")
        self.world = Factory(model=model)
        self.world.on_pass = self.check_pass
        self.world.records.append(DecisionRecord("k0", "Accepted", V1))
        self.made = 0
        self.counter = 0
        self.starts: list[datetime] = []

    @initialize()
    def deploy(self) -> None:
        self.world.until(Phase.STABLE)
        self.world.labelled(0)

    # ------------------------------------------------------------ what may happen

    @rule(ticks=st.integers(1, 12))
    def time_passes(self, ticks: int) -> None:
        self.world.run(ticks)

    @rule(minutes=st.sampled_from([5, 15, 45, 180]))
    def nobody_looks_for_a_while(self, minutes: int) -> None:
        self.world.skip(minutes / 60)

    @precondition(lambda self: self.wild)
    @rule(hours=st.sampled_from([-50, -3, -0.2, 0.2, 3, 50]))
    def the_clock_jumps(self, hours: float) -> None:
        self.world.jump += timedelta(hours=hours)

    @rule(harmful=st.sampled_from(["Yes", "Yes", "No", "Unknown"]), healthy=st.sampled_from([True, True, False, None]))
    def the_line_drifts(self, harmful: str, healthy: bool | None) -> None:
        self.world.drifts("Confirmed", harmful, healthy=healthy)

    @rule(pictures=st.sampled_from([0, 400, 600, 5000]), wrong=st.sampled_from([0, 30]))
    def people_label(self, pictures: int, wrong: int) -> None:
        self.world.labelled(pictures, labelled=100, wrong=wrong)

    @rule(pictures=st.integers(5_000, 100_000), minutes=st.sampled_from([0, 5, 15, 15]))
    def a_run_goes_by(self, pictures: int, minutes: int) -> None:
        """Labels ask for one, and it comes to nothing."""
        self.world.labelled(pictures)
        self.world.run(5)
        if self.world.active:
            self.world.ends(words("GateRefused"))
        self.world.run(2)
        self.world.skip(minutes / 60)

    @rule()
    def the_monitor_goes_away(self) -> None:
        self.world.monitor = Missing(MissingKind.UNAVAILABLE, "it does not answer")

    @rule(text=st.sampled_from(["a", "b", ""]))
    def somebody_asks(self, text: str) -> None:
        self.world.ask(text)

    @rule(up=st.booleans())
    def the_registry_comes_and_goes(self, up: bool) -> None:
        self.world.registry_up = up

    @rule(visible=st.sampled_from([True, True, False]))
    def jobs_are_seen_or_not(self, visible: bool) -> None:
        self.world.jobs_visible = visible

    @rule()
    def the_operator_is_killed_before_it_acts(self) -> None:
        self.world.killed_before_jobs = True

    @rule(automation=st.sampled_from(["Full", "Full", "Manual"]))
    def somebody_changes_the_automation(self, automation: str) -> None:
        self.world.model.automation(automation)

    @rule(enabled=st.sampled_from([True, True, False]))
    def somebody_switches_it(self, enabled: bool) -> None:
        self.world.model.retraining(enabled=enabled)
        self.world.model.body["metadata"]["generation"] += 1

    @precondition(lambda self: self.world.active)
    @rule(good=st.booleans())
    def the_run_is_accepted(self, good: bool) -> None:
        self.made += 1
        version = digest(f"{self.made:03}")
        if not good:
            self.world.error_rates[version] = 0.5
        self.world.accepts(version)

    @precondition(lambda self: self.world.active)
    @rule(said=st.sampled_from([words("GateRefused"), words("DataRefused"), words("Failed"), "", "noise"]))
    def the_run_ends_otherwise(self, said: str) -> None:
        self.world.ends(said, state=JobState.SUCCEEDED if "Refused" in said else JobState.FAILED, reason="Backoff")

    @precondition(lambda self: self.world.active)
    @rule()
    def no_node_has_a_gpu(self) -> None:
        self.world.pod(phase="Pending", pending=NO_GPU, unschedulable=True)

    @precondition(lambda self: self.world.jobs)
    @rule()
    def somebody_deletes_the_jobs(self) -> None:
        """Jobs that were seen: one that goes before anybody saw it is made again, under its name."""
        state = self.world.status.retraining
        if state is not None and (not state.is_running or state.job_uid is not None):
            self.world.jobs.clear()

    @precondition(lambda self: self.wild and self.world.jobs and self.world.jobs_visible)
    @rule()
    def the_status_of_retraining_is_lost(self) -> None:
        if self.world.status.retraining is not None:
            stored = json.loads(self.world.stored)
            stored.pop("retraining")
            self.counter = 0
            self.world.stored = json.dumps(stored)

    # ------------------------------------------------------------ what must always hold

    def check_pass(self, world: World, decision: Decision) -> None:
        assert isinstance(world, Factory)
        state = decision.status.retraining
        if decision.train is not None:
            assert state is not None
            assert decision.train.run == state.run
            assert world.before_run() == state.run, "a Job whose run was not stored before"
        if state is None or state.counter == self.counter or not world.jobs_visible:
            return
        assert state.counter > self.counter, "the counter fell"
        self.counter = state.counter
        if not self.wild and state.started_at is not None:
            self._check_start(state, state.started_at)

    def _check_start(self, state: RetrainingStatus, at: datetime) -> None:
        """Budget and cooldown, while the clock goes as it should."""
        self.starts.append(at)
        counted = [start for start in self.starts if at - start < PER]
        assert len(counted) <= RUNS, "more runs than the budget allows"
        if state.kind != "request" and self.world.ended_at:
            assert at - max(self.world.ended_at) >= COOLDOWN, "the cooldown was cut short"

    @invariant()
    def there_is_one_job_at_most(self) -> None:
        assert len(self.world.active) <= 1, [job.name for job in self.world.active]

    @invariant()
    def no_name_is_used_twice(self) -> None:
        assert len(self.world.created) == len(set(self.world.created))

    @invariant()
    def the_status_survives_storage(self) -> None:
        assert self.world.model.build().unreadable_status == ()

    def teardown(self) -> None:
        """When everything is well again, runs end, nothing is left waiting, and the champion is what was accepted last
        and did not fail."""
        world = self.world
        self.wild = True  # the budget is another one from here on
        world.jump = max(world.jump, timedelta(0))
        world.registry_up = world.jobs_visible = True
        world.killed_before_jobs = False
        world.model.automation("Full")
        world.model.body["spec"]["retraining"].update(enabled=True, budget={"runs": 100, "per": "1m"})
        world.model.body["spec"]["retraining"].pop("schedule")
        world.labelled(0, labelled=0).drifts("None", "No")
        for _ in range(120):
            world.tick()
            if world.active:
                world.ends(words("GateRefused"))
        world.skip(120)
        for _ in range(120):
            world.tick()
            if world.active:
                world.ends(words("GateRefused"))
        status = world.status
        assert status.phase in REST, f"{status.phase}: {status.message}"
        assert status.retraining is not None
        assert status.retraining.phase in {RetrainingPhase.IDLE, RetrainingPhase.COOLDOWN}, status.retraining
        assert status.champion is not None
        wanted = [r.version for r in reversed(world.records) if world.error_rates.get(r.version, 0) == 0]
        assert status.champion.version == wanted[0]


TestRetrainings = Retrainings.TestCase
TestRetrainings.settings = settings(
    max_examples=25,
    stateful_step_count=25,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)


class CalmRetrainings(Retrainings):
    """The same with clocks that go as they should."""

    wild = False


TestCalmRetrainings = CalmRetrainings.TestCase
TestCalmRetrainings.settings = TestRetrainings.settings
