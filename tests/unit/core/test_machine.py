"""The state machine walked through all orders of events that hypothesis can think of, with what must always
hold.

Versions: 1 and 2 are good, 3 fails half of its requests, 4 never gets ready, 5 crashes as soon as it has
traffic.
"""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from puzzle_operator.api.canary import InconclusiveAction
from puzzle_operator.api.conditions import Phase, Verdict
from puzzle_operator.api.status import read_status
from puzzle_operator.core.approval import consent_value, gate_ahead, needs_consent
from puzzle_operator.core.facts import VersionState
from puzzle_operator.core.holds import hold_of
from puzzle_operator.core.record import Decision
from tests.builders import a_model, digest
from tests.unit.core.kserve_model import KServe
from tests.unit.core.test_holds import AWAY, a_monitor
from tests.unit.core.world import ABSENT, DOWN, World

GOOD, ALSO_GOOD, FAILING, NEVER_READY, CRASHING = (digest(n) for n in range(1, 6))
VERSIONS = [GOOD, ALSO_GOOD, FAILING, NEVER_READY, CRASHING]
REST = {Phase.STABLE, Phase.ROLLED_BACK}


class Rollouts(RuleBasedStateMachine):
    """People, Prometheus, the registry and KServe do what they like; the operator must keep its promises."""

    def __init__(self) -> None:
        super().__init__()
        self.world = self.a_world(
            model=a_model().canary(bake="10s", progressDeadline="60s").steps(10, 50, min_duration="5s"),
            kserve=KServe(start_ticks={NEVER_READY: None}),
            error_rates={FAILING: 0.5, CRASHING: 0.5},
        )
        self.world.on_pass = self.check_pass
        self.shares: dict[tuple[str, datetime], int] = {}
        """The least that a version had while it was quarantined; once retried, it is quarantined anew."""
        self.wanted = 0
        self.hand_edit = False

    def a_world(self, **fields: Any) -> World:
        """The world that all of it happens in."""
        return World(**fields)

    # ------------------------------------------------------------ what may happen

    @initialize(first=st.sampled_from([GOOD, ALSO_GOOD]))
    def deploy(self, first: str) -> None:
        self.world.model.version(first)
        self.world.run(6)

    @rule(ticks=st.integers(1, 12))
    def time_passes(self, ticks: int) -> None:
        for _ in range(ticks):
            self._crash_or_heal()
            self.world.tick()

    @rule(version=st.sampled_from(VERSIONS))
    def somebody_names_a_version(self, version: str) -> None:
        self.world.model.version(version)

    @rule(paused=st.booleans())
    def somebody_pauses(self, paused: bool) -> None:
        self.world.model.paused(paused)

    @rule(automation=st.sampled_from(["Full", "Full", "Assisted", "Manual"]))
    def somebody_changes_the_automation(self, automation: str) -> None:
        self.world.model.automation(automation)

    @rule(action=st.sampled_from(["Hold", "Rollback", "Promote"]), deadline=st.sampled_from(["10s", "5m", "24h"]))
    def somebody_sets_the_inconclusive_policy(self, action: str, deadline: str) -> None:
        self.world.model.canary(inconclusive={"deadline": deadline, "action": action})

    @rule(
        version=st.sampled_from(VERSIONS),
        gate=st.sampled_from(["weight-10", "weight-50", "weight-60", "promotion"]),
        without_evidence=st.booleans(),
    )
    def somebody_consents_to_anything(self, version: str, gate: str, without_evidence: bool) -> None:
        self.world.model.consenting(consent_value(version, gate, without_evidence=without_evidence))

    @precondition(lambda self: self.world.status.awaiting)
    @rule()
    def somebody_consents_to_what_waits(self) -> None:
        self.world.model.consenting(self.world.status.awaiting)

    @rule(weights=st.sampled_from([(10, 50), (5, 20, 80), (99,), (30, 60)]))
    def somebody_edits_the_steps(self, weights: tuple[int, ...]) -> None:
        self.world.model.steps(*weights, min_duration="5s")

    @rule(state=st.sampled_from([None, None, DOWN, ABSENT]))
    def prometheus_comes_and_goes(self, state: object) -> None:
        self.world.prometheus = state  # type: ignore[assignment]

    @rule(
        healthy=st.sampled_from([True, None, False]),
        drifting=st.lists(st.sampled_from(VERSIONS), max_size=2),
        heard=st.booleans(),
    )
    def the_monitor_says_anything(self, healthy: bool | None, drifting: list[str], heard: bool) -> None:
        self.world.monitor = a_monitor(healthy, *drifting) if heard else AWAY

    @rule(kinds=st.sampled_from([["InputUnhealthy", "ChallengerDrift"], ["ChallengerDrift"], []]))
    def somebody_chooses_what_holds(self, kinds: list[str]) -> None:
        self.world.model.analysis(holdOn=kinds)

    @rule(state=st.sampled_from([VersionState.FOUND, VersionState.FOUND, VersionState.UNREACHABLE]))
    def the_registry_comes_and_goes(self, state: VersionState) -> None:
        self.world.registry = state

    @rule(rate=st.sampled_from([0, 20, 200]))
    def the_line_changes_its_speed(self, rate: int) -> None:
        self.world.requests_per_tick = rate

    @rule(lag=st.integers(1, 4))
    def kserve_gets_slow(self, lag: int) -> None:
        self.world.kserve.lag = lag

    @rule()
    def somebody_deletes_the_service(self) -> None:
        self.world.kserve.delete()
        self.shares.clear()

    @rule(percent=st.sampled_from([0, 30, 100, None]))
    def somebody_edits_the_percentage(self, percent: int | None) -> None:
        if self.world.kserve.uid is not None and self.world.kserve.percent != percent:
            self.world.kserve.percent = percent
            self.world.kserve.generation += 1
            self.hand_edit = True

    @precondition(lambda self: self.world.status.quarantined)
    @rule()
    def somebody_asks_for_a_retry(self) -> None:
        self.world.model.retrying(self.world.status.quarantined[0].version)
        self.shares.clear()

    def _crash_or_heal(self) -> None:
        """The crashing version crashes while it has traffic."""
        kserve = self.world.kserve
        if kserve.share(CRASHING) > 0:
            kserve.broken.add(CRASHING)
            kserve.restarts[CRASHING] = 9
        elif not any(r.version == CRASHING for r in kserve.revisions):
            kserve.broken.discard(CRASHING)
            kserve.restarts.pop(CRASHING, None)

    # ------------------------------------------------------------ what must always hold

    def check_pass(self, world: World, decision: Decision) -> None:
        status = decision.status
        wanted = status.weight.wanted if status.weight else 0
        judged = status.phase in {Phase.CANARY, Phase.BAKING, Phase.PROMOTING}
        steps_edited = status.reason == "StepsEdited"
        if judged and wanted > self.wanted and status.reason != "BakeCompleted":
            self._check_grounds(world, decision, first=self.wanted == 0, edited=steps_edited)
        if status.verdict is Verdict.UNKNOWN and judged:
            assert wanted <= self.wanted, "more weight on Unknown"
        self.wanted = wanted
        if decision.plan is not None and decision.plan.percent != 0 and status.champion is not None:
            assert status.quarantine_of(decision.plan.version) is None, "traffic planned for a quarantined version"
        failing = status.verdict is Verdict.FAIL and status.active is not None
        assert not failing or wanted == 0, "a failing challenger keeps its weight"

    def _check_grounds(self, world: World, decision: Decision, *, first: bool, edited: bool) -> None:
        """More weight needs a Pass, or a person's decision or policy; and consent where the spec asks for it."""
        status, before = decision.status, read_status(json.loads(world.before))[0]
        spec = world.model.build().spec
        said = " ".join(note.message for note in decision.notes)
        hold = hold_of(world.facts(), before)
        if hold is not None and not edited:
            approval = before.active.approval if before.active is not None else None
            forced = "without waiting for evidence" in said or (approval is not None and approval.without_evidence)
            assert forced, f"{self.wanted} → more while {hold.reason}: {said}"
        if not first and not edited:
            by_person = "without waiting for evidence" in said
            by_policy = spec.canary.inconclusive.action is InconclusiveAction.PROMOTE and "inconclusive after" in said
            allowed = status.verdict is Verdict.PASS or (status.verdict is Verdict.HOLD and (by_person or by_policy))
            assert allowed, f"{self.wanted} → more on {status.verdict}: {said}"
        gate = gate_ahead(before.phase, before.active, spec.canary.steps)
        if gate is not None and needs_consent(spec.automation, gate) and not edited:
            consented = before.active is not None and before.active.approval is not None
            assert consented or "somebody consents" in said, f"{gate} without consent: {said}"

    @invariant()
    def a_quarantined_version_never_gains_traffic(self) -> None:
        if self.hand_edit:  # KServe has obeyed somebody else for a moment
            self.hand_edit = False
            self.shares.clear()
            return
        for entry in self.world.status.quarantined:
            share, since = self.world.kserve.share(entry.version), (entry.version, entry.at)
            assert share <= self.shares.get(since, 100), f"{entry.version[:9]} gained traffic"
            self.shares[since] = share

    @invariant()
    def there_is_one_challenger_at_most(self) -> None:
        champion = self.world.status.champion
        if champion is not None:
            others = [v for v in VERSIONS if v != champion.version and self.world.kserve.share(v)]
            assert len(others) <= 1

    @invariant()
    def the_status_survives_storage(self) -> None:
        assert self.world.model.build().unreadable_status == ()

    def teardown(self) -> None:
        """When everything is well again, the machine comes to rest where the spec wants it."""
        world = self.world
        world.prometheus, world.registry, world.requests_per_tick = None, VersionState.FOUND, 200
        world.monitor = a_monitor(True)
        world.kserve.lag = 1
        world.model.paused(False).automation("Full")
        for _ in range(250):
            self._crash_or_heal()
            world.tick()
        status = world.status
        assert status.phase in REST, f"{status.phase}: {status.message}"
        assert status.champion is not None
        target = world.model.body["spec"]["model"]["version"]
        assert world.kserve.share(status.champion.version) == 100
        assert status.champion.version == target or status.quarantine_of(target) is not None
        assert status.champion.version in {GOOD, ALSO_GOOD}


TestRollouts = Rollouts.TestCase
TestRollouts.settings = settings(
    max_examples=60,
    stateful_step_count=20,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
