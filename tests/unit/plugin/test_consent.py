"""`promote`: what a person may decide, what nobody may, and that the operator does what was said."""

from __future__ import annotations

from dataclasses import replace

import pytest

from puzzle_operator.api.conditions import Phase
from puzzle_operator.api.names import PROMOTE_ANNOTATION
from puzzle_operator.plugin.changes import RefusedError
from puzzle_operator.plugin.consent import promote
from tests.builders import V1, V2, V3
from tests.unit.core.world import DOWN, World, a_canary, a_stable_world
from tests.unit.plugin.moments import a_waiting_world, an_idle_canary, an_open_canary, carry_out, seen


def consent(world: World, without_evidence: bool = False) -> tuple[str, ...]:
    """Promote, and carry it out."""
    change = promote(seen(world).model, without_evidence)
    assert change.exact, "decided on what was read"
    carry_out(world, change.patch)
    return change.sentences


def refusal(world: World, without_evidence: bool = False) -> str:
    with pytest.raises(RefusedError) as refused:
        promote(seen(world).model, without_evidence)
    return str(refused.value)


def test_consent_to_what_waits_is_followed_at_the_next_look() -> None:
    world = a_waiting_world()
    assert consent(world) == (
        "consent to promotion of challenger 222222222222",
        "nothing else is missing: the operator goes on at its next look",
    )
    world.tick()
    assert world.status.phase is Phase.BAKING
    assert "ApprovalIgnored" not in world.reasons


def test_in_manual_every_gate_takes_a_command_of_its_own() -> None:
    world = a_waiting_world("Manual")
    said = []
    for _ in range(3):
        said.append(consent(world)[0])
        for _ in range(60):
            if world.tick().status.awaiting or world.status.phase is Phase.BAKING:
                break
    assert said == [
        "consent to the first traffic (10 %) of challenger 222222222222",
        "consent to step 2 (50 %) of challenger 222222222222",
        "consent to promotion of challenger 222222222222",
    ]
    world.until(Phase.STABLE)
    assert seen(world).champion == V2


def test_consent_may_come_early_and_says_what_it_waits_for() -> None:
    world = an_idle_canary("Manual").run(20)
    assert consent(world)[1] == (
        "given early: it comes once there is enough evidence, which takes 50 more requests of the challenger"
    )
    world.run(20)
    assert world.observed == 10
    world.requests_per_tick = 200
    world.run(20)
    assert world.observed == 50


def test_consent_before_the_challenger_is_ready_comes_early_too() -> None:
    world = a_stable_world()
    world.model.version(V2).automation("Manual")
    world.kserve.start_ticks = {V2: 5}
    world.tick()
    assert consent(world)[1] == "given early: it comes once the challenger is ready and every metric has data"
    world.until(Phase.CANARY)


def test_without_evidence_goes_on_at_once_and_says_what_was_not_shown() -> None:
    world = an_open_canary()
    assert consent(world, without_evidence=True) == (
        "consent to step 2 (50 %) of challenger 222222222222, without waiting for evidence",
        "the operator goes on at its next look, minDuration or not, once KServe shows the present weight",
        "not shown to be tolerable so far: errors; see `kubectl puzzle explain`",
        "guards and a failing verdict still roll back",
    )
    world.tick()
    assert world.status.weight is not None and world.status.weight.wanted == 50


def test_before_the_first_traffic_there_is_no_evidence_to_go_without() -> None:
    world = a_waiting_world("Manual")
    change = promote(seen(world).model, True)
    assert change.patch == {"metadata": {"annotations": {PROMOTE_ANNOTATION: f"{V2}@weight-10"}}}


def test_consent_that_was_given_is_not_given_again_unless_it_says_more() -> None:
    world = an_idle_canary("Manual").run(20)
    consent(world)
    assert promote(seen(world).model, False).sentences == (
        "consent to step 2 (50 %) is given; the operator has not answered yet",
    )
    world.tick()
    again = promote(seen(world).model, False)
    assert again.patch is None
    assert again.sentences[0].startswith("consent to step 2 (50 %) is given already; next: 50 %")
    consent(world, without_evidence=True)
    world.tick()
    assert world.status.weight is not None and world.status.weight.wanted == 50


def test_full_waits_for_nobody_but_says_for_what() -> None:
    assert refusal(an_open_canary()) == (
        "automation of lyon/line-1 is Full, so nothing waits for a person: step 2 (50 %) comes once there is enough "
        "evidence, which takes about 590 more requests of the challenger; --without-evidence goes on at once"
    )
    assert "comes once there are enough requests in this step, which takes 18 more requests" in refusal(
        a_canary(V2, step=2, requests_per_tick=20).run(3)
    )
    starting = a_stable_world()
    starting.model.version(V2)
    for force in (False, True):
        assert refusal(starting.until(Phase.STARTING), force).endswith(
            "comes once the challenger is ready and every metric has data, which nobody can skip"
        )


def test_a_pass_that_only_waits_for_time_is_told_with_what_comes_next() -> None:
    world = a_canary(V2, requests_per_tick=400).run(3)
    assert "step 2 (50 %) has its evidence; next: 50 % in 15s at the earliest" in refusal(world)


def test_assisted_waits_for_a_person_before_promotion_only() -> None:
    world = an_idle_canary("Assisted").run(20)
    assert "automation of lyon/line-1 is Assisted, so only promotion waits for a person: step 2" in refusal(world)


def test_a_verdict_that_is_not_in_sight_is_not_promised() -> None:
    snapshot = seen(an_open_canary())
    status = snapshot.status.but(metrics=(snapshot.status.metrics[0].but(needed=None),))
    with pytest.raises(RefusedError, match="how many requests that takes is not in sight"):
        promote(replace(snapshot.model, status=status), False)


@pytest.mark.parametrize("automation", ["Full", "Manual"])
def test_nobody_goes_on_without_metrics(automation: str) -> None:
    world = a_canary(V2).run(2)
    world.model.automation(automation)
    world.prometheus = DOWN
    world.run(3)
    assert refusal(world, without_evidence=True).startswith("a metric of lyon/line-1 has no data: nobody can go on")
    if automation == "Full":
        assert refusal(world).endswith("comes once the metrics are back")
    else:
        assert consent(world)[1] == "given early: it comes once the metrics are back"


def test_a_pause_comes_first() -> None:
    world = a_waiting_world()
    world.model.paused()
    for looked in (False, True):
        if looked:
            world.tick()
        assert refusal(world, True) == (
            "lyon/line-1 is paused, so that nothing goes on: `kubectl puzzle resume` comes first"
        )


def test_without_a_rollout_there_is_nothing_to_promote() -> None:
    assert refusal(a_stable_world()) == (
        "no rollout of lyon/line-1 is in progress: champion 111111111111 has all traffic"
    )
    failed = a_stable_world(error_rates={V2: 0.5})
    failed.model.version(V2)
    assert "is being taken back: " in refusal(failed.until(Phase.ROLLING_BACK))
    assert refusal(failed.until(Phase.ROLLED_BACK)).endswith(
        "version 222222222222 is quarantined, and `kubectl puzzle retry` has it tried again"
    )
    assert refusal(World()) == "no rollout of lyon/line-1 is in progress"


def test_what_is_promoted_already_is_said_to_be() -> None:
    world = a_stable_world()
    world.model.version(V2)
    world.until(Phase.BAKING).run(2)
    assert refusal(world, True).startswith("challenger 222222222222 of lyon/line-1 is promoted already; next: ")
    assert "is promoted already" in refusal(world.until(Phase.PROMOTING))


def test_an_edited_spec_has_precedence() -> None:
    for version in (V1, V3):
        world = a_waiting_world()
        world.model.version(version)
        assert "challenger 222222222222 is taken back" in refusal(world)
    world = a_waiting_world()
    world.model.steps(20, 60)
    assert "the steps of lyon/line-1 were edited, and the operator has not followed; try again" in refusal(world)
