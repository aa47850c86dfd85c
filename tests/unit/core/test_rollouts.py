"""Whole rollouts, told as stories: the pure core against KServe's traffic rules, with every status stored as
JSON."""

from __future__ import annotations

import pytest

from puzzle_operator.api.conditions import ConditionType, Outcome, Phase
from puzzle_operator.core.facts import VersionState
from tests.builders import V1, V2, V3, a_model
from tests.unit.core.kserve_model import KServe
from tests.unit.core.world import DOWN, World, a_canary, a_stable_world

READY, PROGRESSING = ConditionType.READY, ConditionType.PROGRESSING


def test_the_first_version_becomes_champion_once_it_is_ready() -> None:
    world = World()
    assert world.tick().status.phase is Phase.DEPLOYING
    assert world.condition(READY) == ("False", "Deploying")
    world.until(Phase.STABLE)
    assert world.status.champion is not None
    assert world.status.champion.version == V1
    assert world.condition(READY) == ("True", "Serving")
    assert world.reasons == ["Deploying", "Deployed"]
    assert [entry.outcome for entry in world.status.history] == ["Deployed"]


def test_a_first_version_that_never_gets_ready_says_so_and_keeps_trying() -> None:
    world = World(kserve=KServe(start_ticks={V1: None})).run(70)
    assert world.condition(READY) == ("False", "ProgressDeadlineExceeded")
    world.model.version(V2)
    world.until(Phase.STABLE)
    assert world.status.champion is not None
    assert world.status.champion.version == V2


def test_a_first_version_that_knative_has_given_up_is_tried_again() -> None:
    world = World(kserve=KServe(gives_up={V1: 3}))
    world.until(Phase.STABLE, limit=20)
    assert world.kserve.gives_up[V1] == 0


def test_a_champion_that_knative_gives_up_after_its_service_was_deleted_comes_back() -> None:
    world = a_stable_world()
    world.model.version(V2)
    world.until(Phase.CANARY)
    world.kserve.gives_up[V1] = 2
    world.kserve.delete()
    world.until(Phase.RESTORING)
    world.until(Phase.CANARY, limit=30)
    assert world.kserve.gives_up[V1] == 0
    assert world.status.champion is not None
    assert world.status.champion.version == V1


def test_a_challenger_that_knative_gives_up_has_its_deadline() -> None:
    world = a_stable_world(kserve=KServe(gives_up={V2: 1}))
    world.model.version(V2)
    world.until(Phase.ROLLED_BACK)
    entry = world.status.quarantine_of(V2)
    assert entry is not None and entry.reason == "ProgressDeadlineExceeded"


def test_a_good_challenger_climbs_the_steps_bakes_and_becomes_champion() -> None:
    world = a_stable_world()
    world.model.version(V2)
    world.until(Phase.BAKING).until(Phase.STABLE)
    assert world.status.champion is not None
    assert world.status.champion.version == V2
    assert world.status.rollout is not None
    assert world.status.rollout.outcome is Outcome.PROMOTED
    assert world.kserve.share(V2) == 100
    assert world.reasons[2:] == [
        "ChallengerStarting",
        "CanaryStarted",
        "StepAdvanced",
        "Promoted",
        "BakeCompleted",
        "NewChampion",
    ]


@pytest.mark.parametrize(
    ("rate", "tick", "hours"), [(10.0, 15.0, 1.0), (0.5, 60.0, 24.0)], ids=["10 requests/s", "0.5 requests/s"]
)
def test_the_default_spec_promotes_a_healthy_version(rate: float, tick: float, hours: float) -> None:
    """With 0.5 % errors on both sides; how often chance makes it longer is in docs/evidence.md."""
    world = a_stable_world(
        model=a_model().with_default_canary(),
        tick_seconds=tick,
        requests_per_tick=round(rate * tick),
        error_rates={V1: 0.005, V2: 0.005},
    )
    world.model.version(V2)
    began = world.now
    world.until(Phase.BAKING, limit=round(hours * 3600 / tick))
    assert (world.now - began).total_seconds() <= hours * 3600


def test_without_a_bake_the_last_step_leads_to_all_traffic_at_once() -> None:
    world = a_stable_world(model=a_model().canary(bake="0s"))
    world.model.version(V2)
    world.until(Phase.PROMOTING).until(Phase.STABLE)
    assert world.kserve.percent is None
    assert "BakeCompleted" not in world.reasons


def test_the_champion_keeps_its_pods_during_the_bake() -> None:
    world = a_stable_world()
    world.model.version(V2)
    world.until(Phase.BAKING).run(3)
    assert (world.kserve.share(V2), world.kserve.share(V1)) == (99, 1)
    assert "line-1-predictor-00001" in world.kserve.named()


def test_a_failing_challenger_is_taken_back_quarantined_and_holds_no_pods() -> None:
    world = a_canary(V2, error_rates={V2: 0.15})
    world.until(Phase.ROLLED_BACK)
    assert world.kserve.share(V1) == 100
    assert world.status.quarantine_of(V2) is not None
    assert world.condition(ConditionType.ROLLED_BACK)[0] == "True"
    assert world.condition(ConditionType.CANARY_HEALTHY) == ("False", "Failing")
    named = {r.version for r in world.kserve.revisions if r.name in world.kserve.named()}
    assert named == {V1}, "a revision that a route names keeps its pods"


def test_the_status_tells_how_long_a_bad_canary_had_traffic() -> None:
    world = a_canary(V2, error_rates={V2: 0.5})
    world.until(Phase.ROLLED_BACK)
    rollout = world.status.rollout
    assert rollout is not None and rollout.first_traffic_at and rollout.zero_traffic_at and rollout.decided_at
    assert rollout.first_traffic_at < rollout.decided_at < rollout.zero_traffic_at
    assert "TrafficWithdrawn" in world.reasons


def test_the_error_rate_guard_is_quicker_than_the_evidence() -> None:
    world = a_canary(V2, error_rates={V2: 1.0}, requests_per_tick=300)
    world.until(Phase.ROLLING_BACK)
    cause = world.status.rollout.cause if world.status.rollout else None
    assert cause is not None and cause.reason == "GuardErrorRate"
    assert "more than the 20.0% allowed" in cause.message


def test_a_crashing_challenger_is_taken_back_with_prometheus_down() -> None:
    world = a_canary(V2, prometheus=None)
    world.prometheus = DOWN
    world.kserve.restarts[V2] = 9
    world.until(Phase.ROLLED_BACK)
    assert world.status.rollout is not None and world.status.rollout.cause is not None
    assert world.status.rollout.cause.reason == "GuardRestarts"


def test_a_version_that_its_server_refuses_is_not_waited_for() -> None:
    world = a_stable_world()
    world.kserve.refused[V2] = "it is not signed"
    world.model.version(V2)
    began = world.ticks
    world.until(Phase.ROLLED_BACK)
    assert world.served.get(V2, 0) == 0
    rollout = world.status.rollout
    assert rollout is not None and rollout.cause is not None and rollout.cause.reason == "VersionRefused"
    assert "it is not signed" in rollout.cause.message
    assert (world.ticks - began) * world.tick_seconds < 60, "the deadline of progress is ten minutes"
    assert {"VersionRefused", "RolledBack"} <= set(world.reasons)
    assert [entry.version for entry in world.status.quarantined] == [V2]


def test_a_first_version_that_its_server_refuses_says_so_and_serves_once_it_is_put_right() -> None:
    world = World()
    world.kserve.refused[V1] = "it is not signed"
    world.run(5)
    assert world.condition(ConditionType.READY) == ("False", "VersionRefused")
    assert "it is not signed" in (world.status.message or "")
    assert world.reasons.count("VersionRefused") == 1
    world.kserve.refused.clear()
    world.until(Phase.STABLE)


def test_a_crashing_revision_that_holds_the_route_is_deleted() -> None:
    world = a_canary(V2)
    world.kserve.start_ticks[V1] = 10  # the champion's new revision is slow to come up
    world.kserve.broken.add(V2)
    world.kserve.restarts[V2] = 9
    world.until(Phase.RESTORING, limit=6)
    assert world.kserve.share(V2) == 0
    assert V2 not in {r.version for r in world.kserve.revisions}


def test_a_challenger_that_never_gets_ready_is_quarantined_at_the_deadline() -> None:
    world = a_stable_world(kserve=KServe(start_ticks={V2: None}))
    world.model.version(V2)
    world.until(Phase.ROLLED_BACK)
    entry = world.status.quarantine_of(V2)
    assert entry is not None and entry.reason == "ProgressDeadlineExceeded"
    assert world.served.get(V2, 0) == 0
    assert V2 not in {r.version for r in world.kserve.revisions}, "Knative would keep its pods for ten minutes"


def test_a_failure_during_the_bake_reverses_the_promotion() -> None:
    world = a_stable_world(model=a_model().canary(bake="10m"))
    world.model.version(V2)
    world.until(Phase.BAKING).run(3)
    world.error_rates[V2] = 0.5
    world.until(Phase.ROLLED_BACK)
    assert world.kserve.share(V1) == 100
    assert world.status.champion is not None and world.status.champion.version == V1


def a_baking_world() -> World:
    """Version 2 is promoted on a line that sees a piece or two in a hundred fail."""
    metrics = [{"name": "errors", "type": "ErrorRate", "maxRiskRatio": 1.5, "negligible": 0.01}]
    world = a_stable_world(model=a_model().canary(bake="2h").analysis(metrics=metrics), requests_per_tick=1000)
    world.error_rates = {V1: 0.01, V2: 0.01}
    world.model.version(V2)
    return world.until(Phase.BAKING).run(5)


def test_a_promoted_version_that_turns_bad_is_found_by_what_the_champion_was_like() -> None:
    world = a_baking_world()
    world.error_rates[V2] = 0.08  # far below the guard, and next to 1 % of champion requests nothing to compare with
    world.until(Phase.ROLLED_BACK, 60)
    cause = world.status.rollout.cause if world.status.rollout else None
    assert cause is not None and "since promotion" in cause.message


def test_a_world_that_turns_bad_for_both_is_no_reason_to_go_back() -> None:
    world = a_baking_world()
    world.error_rates.update({V1: 0.15, V2: 0.04})
    world.run(200)
    assert world.status.phase is Phase.BAKING


def test_a_newer_version_supersedes_the_challenger_which_is_not_quarantined() -> None:
    world = a_canary(V2)
    world.model.version(V3)
    shares = []
    world.on_pass = lambda w, _d: shares.append((w.kserve.share(V2), w.kserve.share(V3)))
    world.until(Phase.STABLE)
    assert world.status.champion is not None and world.status.champion.version == V3
    assert world.status.quarantined == ()
    assert "Superseded" in world.reasons
    assert not any(old and new for old, new in shares), "two challengers had traffic at once"


def test_a_challenger_superseded_while_it_starts_costs_no_restart_of_the_champion() -> None:
    world = a_stable_world(kserve=KServe(start_ticks={V2: None}))
    world.model.version(V2)
    world.until(Phase.STARTING)
    world.model.version(V3)
    world.until(Phase.CANARY)
    assert [r.version for r in world.kserve.revisions] == [V1, V3]


def test_a_newer_version_waits_for_the_end_of_a_bake() -> None:
    world = a_stable_world()
    world.model.version(V2)
    world.until(Phase.BAKING)
    world.model.version(V3)
    world.until(Phase.STARTING)
    assert world.status.champion is not None and world.status.champion.version == V2
    assert "Superseded" not in world.reasons


def test_naming_the_champion_again_aborts() -> None:
    world = a_canary(V2)
    world.model.version(V1)
    world.until(Phase.STABLE)
    assert world.kserve.share(V1) == 100
    assert world.status.quarantined == ()
    assert world.status.rollout is not None and world.status.rollout.outcome is Outcome.ABORTED


def test_naming_the_champion_again_during_the_bake_aborts_too() -> None:
    world = a_stable_world()
    world.model.version(V2)
    world.until(Phase.BAKING)
    world.model.version(V1)
    world.until(Phase.STABLE)
    assert world.kserve.share(V1) == 100


def test_edited_steps_keep_the_weight_that_was_earned() -> None:
    world = a_canary(V2, step=2)
    world.model.steps(5, 40, 80)
    world.tick()
    assert (world.status.step, world.kserve.percent) == ("2/3", 40)
    assert "StepsEdited" in world.reasons
    world.until(Phase.BAKING)


def test_a_step_below_all_new_ones_goes_to_the_first() -> None:
    world = a_canary(V2, step=1)
    world.model.steps(30, 60)
    world.tick()
    assert (world.status.step, world.kserve.percent) == ("1/2", 30)


def test_a_quarantined_version_is_refused_until_somebody_asks_for_a_retry() -> None:
    world = a_canary(V2, error_rates={V2: 0.5})
    world.until(Phase.ROLLED_BACK).run(30)
    assert world.status.phase is Phase.ROLLED_BACK
    assert world.reasons.count("Quarantined") == 1
    world.error_rates.clear()
    world.model.retrying(V2)
    world.until(Phase.STARTING)
    assert "Retried" in world.reasons
    assert world.model.build().retry is None, "the annotation is taken away, so that it can be set again"
    world.until(Phase.STABLE)
    assert world.kserve.share(V2) == 100


def test_a_retry_of_something_else_changes_nothing() -> None:
    world = a_canary(V2, error_rates={V2: 0.5})
    world.until(Phase.ROLLED_BACK)
    world.model.retrying(V3)
    world.run(5)
    assert world.status.quarantine_of(V2) is not None
    assert "Retried" not in world.reasons


def test_from_rolled_back_the_champion_in_the_spec_is_stable_again() -> None:
    world = a_canary(V2, error_rates={V2: 0.5})
    world.until(Phase.ROLLED_BACK)
    world.model.version(V1)
    assert world.tick().status.phase is Phase.STABLE


def test_the_version_quarantined_before_never_gets_traffic_in_the_next_canary() -> None:
    world = a_canary(V2, error_rates={V2: 0.5})
    world.until(Phase.ROLLED_BACK)
    leaked = world.served[V2]
    world.model.version(V3)
    world.until(Phase.STABLE)
    assert world.served[V2] == leaked


def test_a_deleted_inference_service_comes_back_with_the_champion_and_then_the_challenger() -> None:
    world = a_canary(V2)
    world.kserve.delete()
    world.tick()
    assert (world.kserve.template, world.kserve.percent) == (V1, None)
    assert "Recreated" in world.reasons
    world.until(Phase.CANARY).until(Phase.STABLE)
    assert world.kserve.share(V2) == 100


def test_an_inference_service_replaced_behind_our_back_is_treated_as_deleted() -> None:
    world = a_stable_world()
    world.kserve.uid = "somebody-elses"
    world.tick()
    assert "Recreated" in world.reasons
    world.until(Phase.STABLE)


def test_a_template_edited_by_hand_gets_no_traffic_beyond_what_kserve_gave_it() -> None:
    world = a_stable_world()
    world.kserve.template = V3
    world.kserve._new_revision(V3)
    world.tick()
    assert world.status.phase is Phase.RESTORING
    world.until(Phase.STABLE)
    assert world.served.get(V3, 0) == 0
    assert world.kserve.share(V1) == 100


def test_kserve_falling_back_to_an_older_revision_is_healed() -> None:
    world = a_stable_world()
    world.model.version(V2)
    world.until(Phase.BAKING).until(Phase.STABLE)
    world.kserve.falls_back = True
    world.model.version(V3)
    world.until(Phase.RESTORING)
    assert "TrafficHealed" in world.reasons
    world.kserve.falls_back = False
    world.until(Phase.STABLE)
    assert world.status.champion is not None and world.status.champion.version == V3


def test_a_lost_status_is_rebuilt_from_what_serves() -> None:
    world = a_stable_world()
    world.stored = "{}"
    world.until(Phase.STABLE)
    assert world.status.champion is not None and world.status.champion.version == V1
    assert "Adopted" in world.reasons
    assert len(world.kserve.revisions) == 1, "re-applying the champion must not make a revision"


def test_a_lost_status_in_mid_canary_keeps_the_champion_and_starts_the_canary_again() -> None:
    world = a_canary(V2)
    world.stored = "{}"
    world.until(Phase.CANARY).until(Phase.STABLE)
    assert world.kserve.share(V2) == 100


def test_the_registry_decides_whether_anything_starts() -> None:
    cases = {
        VersionState.NOT_FOUND: "VersionNotFound",
        VersionState.UNREACHABLE: "RegistryUnavailable",
        VersionState.SECRET_MISSING: "SecretMissing",
        VersionState.SECRET_INVALID: "SecretInvalid",
    }
    for state, reason in cases.items():
        world = a_stable_world()
        world.registry = state
        world.model.version(V2)
        world.run(5)
        assert world.status.phase is Phase.STABLE
        assert world.condition(PROGRESSING) == ("False", reason)
        assert world.condition(READY) == ("True", "Serving")
        assert world.reasons.count(reason) == 1
        world.registry = VersionState.FOUND
        world.until(Phase.CANARY)


def test_a_missing_first_version_leaves_the_model_pending() -> None:
    world = World(registry=VersionState.NOT_FOUND).run(3)
    assert world.status.phase is Phase.PENDING
    assert world.kserve.uid is None
    world.registry = VersionState.FOUND
    world.until(Phase.STABLE)


def test_without_kserve_nothing_is_done_and_said_so() -> None:
    world = World(kserve_installed=False).run(3)
    assert world.condition(READY) == ("False", "KServeMissing")
    assert world.reasons == ["KServeMissing"]


def test_paused_from_the_start_deploys_nothing() -> None:
    world = World(model=a_model().paused()).run(3)
    assert (world.status.phase, world.status.reason) == (Phase.PENDING, "Paused")
    assert world.kserve.uid is None


def test_at_rest_nothing_is_written() -> None:
    world = a_stable_world().run(5)
    writes = world.writes
    world.run(50)
    assert world.writes == writes


def test_a_service_that_somebody_else_made_is_not_touched() -> None:
    world = a_stable_world()
    world.stored = "{}"
    service = world.kserve.seen()
    from dataclasses import replace

    from puzzle_operator.core.facts import Service
    from puzzle_operator.core.rollout import decide

    assert isinstance(service, Service)
    decision = decide(replace(world.facts(), service=replace(service, foreign=True)))
    assert decision.plan is None
    assert decision.status.reason == "Rejected"


@pytest.mark.parametrize("bake", ["10s", "0s"])
def test_a_challenger_that_has_just_taken_all_traffic_can_still_be_taken_back(bake: str) -> None:
    crashing = a_stable_world(model=a_model().canary(bake=bake))
    crashing.model.version(V2)
    crashing.until(Phase.PROMOTING)
    crashing.kserve.restarts[V2] = 9
    crashing.until(Phase.ROLLED_BACK)
    assert crashing.kserve.share(V1) == 100

    unwanted = a_stable_world(model=a_model().canary(bake=bake))
    unwanted.model.version(V2)
    unwanted.until(Phase.PROMOTING)
    unwanted.model.version(V1)
    unwanted.run(3).until(Phase.STABLE)
    assert unwanted.kserve.share(V1) == 100
    assert unwanted.status.champion is not None
    assert unwanted.status.champion.version == V1
