"""Moves that wait for a person, and how a person consents to them."""

from __future__ import annotations

import pytest

from puzzle_operator.api.conditions import ConditionType, Phase, Verdict
from puzzle_operator.api.names import PROMOTE_ANNOTATION
from puzzle_operator.api.v1alpha1 import Automation
from puzzle_operator.core.approval import consent_value, needs_consent
from tests.builders import V2, V3, a_model
from tests.unit.core.world import DOWN, World, a_canary, a_stable_world


def a_waiting_world(automation: str = "Assisted") -> World:
    """Everything is in order with version 2, and a person has to say so."""
    world = a_stable_world(model=a_model().automation(automation))
    world.model.version(V2)
    for _ in range(200):
        world.tick()
        if world.status.awaiting:
            return world
    raise AssertionError(f"nothing waits: {world.status.message}")


def test_assisted_climbs_by_itself_and_waits_before_promotion() -> None:
    world = a_waiting_world()
    assert world.status.awaiting == f"{V2}@promotion"
    assert (world.status.step, world.status.verdict, world.observed) == ("2/2", Verdict.PASS, 50)
    assert world.condition(ConditionType.PROGRESSING) == ("False", "AwaitingApproval")
    world.run(500)
    assert (world.status.phase, world.observed) == (Phase.CANARY, 50)
    assert world.reasons.count("AwaitingApproval") == 1


def test_consent_promotes_and_is_used_up() -> None:
    world = a_waiting_world()
    world.model.consenting(world.status.awaiting)
    world.tick()
    assert world.status.phase is Phase.BAKING
    assert world.model.build().promote is None, "the annotation is taken away"
    assert world.status.awaiting is None
    assert world.status.active is not None and world.status.active.approval is None
    world.until(Phase.STABLE)
    assert world.status.champion is not None and world.status.champion.version == V2


def test_manual_waits_before_the_first_traffic_and_at_every_step() -> None:
    world = a_waiting_world("Manual")
    gates = []
    for _ in range(3):
        assert world.status.awaiting is not None
        gates.append(world.status.awaiting.partition("@")[2])
        world.run(20)
        assert world.status.awaiting is not None, "it waits on"
        world.model.consenting(world.status.awaiting)
        for _ in range(60):
            if world.tick().status.awaiting or world.status.phase is Phase.BAKING:
                break
    assert gates == ["weight-10", "weight-50", "promotion"]
    assert world.status.phase is Phase.BAKING


def test_a_waiting_challenger_without_consent_has_no_traffic() -> None:
    world = a_waiting_world("Manual")
    assert (world.status.phase, world.kserve.share(V2)) == (Phase.STARTING, 0)
    world.run(100)
    assert world.served.get(V2, 0) == 0


def test_consent_that_came_early_waits_for_the_evidence() -> None:
    world = a_waiting_world("Manual")
    world.model.consenting(world.status.awaiting)
    world.until(Phase.CANARY)
    world.requests_per_tick = 0
    world.model.consenting(f"{V2}@weight-50")
    world.run(50)
    assert (world.status.verdict, world.observed) == (Verdict.HOLD, 10)
    world.requests_per_tick = 200
    for _ in range(60):
        world.tick()
    assert world.observed == 50


def test_without_evidence_a_person_goes_on_at_once_where_it_is_held() -> None:
    world = a_canary(V2)
    world.requests_per_tick = 0
    world.run(30)
    world.model.consenting(consent_value(V2, "weight-50", without_evidence=True))
    world.tick()
    assert world.status.weight is not None and world.status.weight.wanted == 50
    advanced = next(note.message for note in reversed(world.notes) if note.reason == "StepAdvanced")
    assert "by a person's decision without waiting for evidence" in advanced


def test_nobody_can_consent_to_going_on_without_metrics() -> None:
    world = a_canary(V2)
    world.prometheus = DOWN
    world.run(5)
    world.model.consenting(consent_value(V2, "weight-50", without_evidence=True))
    world.run(50)
    assert (world.status.verdict, world.observed) == (Verdict.UNKNOWN, 10)


def test_consent_keeps_no_failing_challenger_alive() -> None:
    world = a_waiting_world()
    world.error_rates[V2] = 0.15
    world.until(Phase.ROLLED_BACK)
    world.model.consenting(f"{V2}@promotion")
    world.run(50)
    assert world.status.quarantine_of(V2) is not None
    assert world.kserve.share(V2) == 0


@pytest.mark.parametrize(
    ("value", "why"),
    [
        ("yes", "is no sha256:"),
        (f"{V2}@weight-50", "is before promotion"),
        (f"{V3}@promotion", "is before promotion"),
        (f"{V2}@promotion,now", "is no sha256:"),
    ],
    ids=["nonsense", "a step that was taken", "another version", "an unknown option"],
)
def test_consent_to_something_else_is_ignored_and_said_so(value: str, why: str) -> None:
    world = a_waiting_world()
    world.model.consenting(value)
    world.run(3)
    note = next(note for note in world.notes if note.reason == "ApprovalIgnored")
    assert why in note.message
    assert world.model.build().promote is None
    assert world.status.awaiting == f"{V2}@promotion"


def test_consent_at_rest_is_ignored() -> None:
    world = a_stable_world()
    world.model.consenting(f"{V2}@promotion")
    decision = world.tick()
    assert decision.clear == (PROMOTE_ANNOTATION,)
    assert "nothing waits" in next(note.message for note in world.notes if note.reason == "ApprovalIgnored")


def test_consent_heard_twice_after_a_crash_is_the_same_consent() -> None:
    world = a_waiting_world("Manual")
    world.model.consenting(world.status.awaiting)
    stored = world.stored
    world.tick()
    assert world.status.phase is Phase.CANARY
    world.model.consenting(f"{V2}@weight-10")  # the operator died before it took the annotation away
    assert stored != world.stored
    world.run(2)
    assert "ApprovalIgnored" not in world.reasons
    assert world.reasons.count("Approved") == 1
    assert world.model.build().promote is None
    assert world.status.phase is Phase.CANARY


def test_consent_to_a_weight_is_none_to_what_an_edit_makes_of_the_step() -> None:
    world = a_waiting_world("Manual")
    world.model.consenting(world.status.awaiting)
    world.until(Phase.CANARY)
    world.model.consenting(f"{V2}@weight-50").steps(10, 90)
    world.run(100)
    assert (world.status.awaiting, world.observed) == (f"{V2}@weight-90", 10)


def test_a_person_outranks_the_deadline() -> None:
    world = a_canary(V2, model=a_model().canary(inconclusive={"deadline": "10m", "action": "Rollback"}))
    world.requests_per_tick = 0
    world.run(118)
    world.model.consenting(consent_value(V2, "weight-50", without_evidence=True))
    world.run(4)
    assert world.status.weight is not None and world.status.weight.wanted == 50


@pytest.mark.parametrize(
    ("automation", "gate", "waits"),
    [
        (Automation.FULL, "promotion", False),
        (Automation.ASSISTED, "weight-10", False),
        (Automation.ASSISTED, "promotion", True),
        (Automation.MANUAL, "weight-10", True),
    ],
)
def test_what_waits_for_a_person(automation: Automation, gate: str, waits: bool) -> None:
    assert needs_consent(automation, gate) is waits
