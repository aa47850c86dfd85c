"""Exit codes, which pipelines rely on, and the patches behind the verbs that change something."""

from __future__ import annotations

import json

import pytest

from puzzle_operator.api.conditions import ConditionType, Phase
from puzzle_operator.core.facts import VersionState
from puzzle_operator.plugin.changes import RefusedError, abort, retry, set_paused
from puzzle_operator.plugin.standing import Exit, standing
from tests.builders import V1, V2, V3, a_model
from tests.unit.core.factory import Factory
from tests.unit.core.world import DOWN, World, a_canary, a_stable_world
from tests.unit.plugin.moments import a_waiting_world, an_idle_canary, carry_out, edited, seen


def a_failure() -> World:
    world = a_stable_world(error_rates={V2: 0.5})
    world.model.version(V2)
    return world.until(Phase.ROLLED_BACK)


def test_a_champion_with_all_traffic_is_0() -> None:
    found = standing(seen(a_stable_world()))
    assert found.code is Exit.SETTLED
    assert found.is_final


def test_a_rollout_in_progress_is_4_from_start_to_bake_and_0_after_it() -> None:
    world = a_stable_world()
    world.model.version(V2)
    codes: list[Exit] = []
    for _ in range(60):
        world.tick()
        code = standing(seen(world)).code
        if not codes or codes[-1] is not code:
            codes.append(code)
    assert codes == [Exit.MOVING, Exit.SETTLED]


def test_a_rollback_is_1_and_says_why() -> None:
    found = standing(seen(a_failure()))
    assert found.code is Exit.REFUSED
    assert found.sentence.startswith("version 222222222222 was rolled back: 10 of 20 responses failed")


def test_an_edit_that_the_operator_has_not_seen_is_in_progress_and_not_the_old_success() -> None:
    assert standing(edited(seen(a_stable_world()))).code is Exit.MOVING
    assert standing(seen(World())).code is Exit.MOVING


def test_who_waits_for_a_version_is_told_when_the_spec_names_another() -> None:
    world = a_canary(V2)
    world.model.version(V1)
    world.until(Phase.STABLE)
    assert standing(seen(world)).code is Exit.SETTLED
    found = standing(seen(world), awaited=V2)
    assert found.code is Exit.REFUSED
    assert found.sentence == "the spec names 111111111111 now instead of 222222222222"


@pytest.mark.parametrize("what", ["metrics", "paused", "version"])
def test_what_waits_for_somebody_is_5_and_waiting_goes_on(what: str) -> None:
    if what == "version":
        world = a_stable_world()
        world.model.version(V2)
        world.registry = VersionState.NOT_FOUND
    else:
        world = a_canary(V2)
    if what == "metrics":
        world.prometheus = DOWN
    if what == "paused":
        world.model.paused()
    world.run(2)
    found = standing(seen(world))
    assert found.code is Exit.BLOCKED
    assert not found.is_final


@pytest.mark.parametrize("automation", ["Manual", "Assisted"])
def test_who_waits_is_told_at_once_that_a_persons_consent_is_missing(automation: str) -> None:
    world = a_waiting_world(automation)
    found = standing(seen(world))
    assert found.code is Exit.BLOCKED
    assert found.is_final
    assert found.sentence.startswith(f"automation is {automation}: ")
    assert found.sentence.endswith("; `kubectl puzzle promote line-1 -n lyon` consents")
    world.model.consenting(world.status.awaiting)
    answered = standing(seen(world))
    assert (answered.code, answered.is_final) == (Exit.MOVING, False), "asked for, not answered yet"
    world.tick()
    assert standing(seen(world)).code is Exit.MOVING


def test_an_inconclusive_canary_waits_for_a_persons_decision() -> None:
    world = an_idle_canary().run(60)
    assert standing(seen(world)).code is Exit.MOVING
    found = standing(seen(world.run(100)))
    assert found.code is Exit.BLOCKED
    assert found.is_final
    assert found.sentence.startswith("still inconclusive after 10m at this step: errors: 0 of 0")
    assert (
        "promote line-1 -n lyon --without-evidence` or `kubectl puzzle abort line-1 -n lyon` decides" in found.sentence
    )
    world.requests_per_tick = 200
    assert standing(seen(world.run(10))).code is Exit.MOVING


def test_an_inconclusive_canary_that_is_taken_back_is_1() -> None:
    world = an_idle_canary(action="Rollback").until(Phase.ROLLED_BACK)
    assert standing(seen(world)).code is Exit.REFUSED


def test_a_champion_that_is_not_ready_is_5() -> None:
    world = a_stable_world()
    status = world.status
    unready = [
        condition.but(status="False", message="pods are evicted")
        if condition.type is ConditionType.READY
        else condition
        for condition in status.conditions
    ]
    world.stored = json.dumps(status.but(conditions=tuple(unready)).to_wire())
    found = standing(seen(world))
    assert found.code is Exit.BLOCKED
    assert found.sentence == "champion 111111111111 is not ready: pods are evicted"


def test_retry_lets_the_operator_try_again() -> None:
    world = a_failure()
    world.error_rates = {}
    change = retry(seen(world).model, None)
    assert change.sentences[0] == "version 222222222222 leaves the quarantine"
    assert change.exact
    carry_out(world, change.patch)
    assert standing(seen(world)).code is Exit.MOVING, "asked for, not answered yet"
    world.until(Phase.BAKING).until(Phase.STABLE)
    assert seen(world).champion == V2


def test_retry_takes_the_first_digits_of_a_version() -> None:
    model = seen(a_failure()).model
    for spelled in ("2222", "sha256:22222", V2):
        patch = retry(model, spelled).patch
        assert patch == {"metadata": {"annotations": {"puzzlenet.dev/retry": V2}}}


def test_retry_refuses_what_it_cannot_mean() -> None:
    model = seen(a_failure()).model
    with pytest.raises(RefusedError, match="no quarantined version of lyon/line-1 begins with 3333; there are 2222"):
        retry(model, "3333")
    with pytest.raises(RefusedError, match="too short"):
        retry(model, "22")
    with pytest.raises(RefusedError, match="no version of lyon/line-1 is quarantined"):
        retry(seen(a_stable_world()).model, None)


def test_retry_asks_which_one_when_the_spec_names_none_of_several() -> None:
    world = a_failure()
    world.error_rates = {V3: 0.5}
    world.model.version(V3)
    world.tick()
    world.until(Phase.ROLLED_BACK)
    world.model.version(V1)
    with pytest.raises(RefusedError, match="several versions"):
        retry(seen(world).model, None)
    assert "the spec names 111111111111" in retry(seen(world).model, "3333").sentences[1]


def test_abort_takes_the_challenger_back_without_a_quarantine() -> None:
    world = a_canary(V2, step=2)
    change = abort(seen(world).model)
    assert change.sentences[:2] == (
        "spec.model.version: 222222222222 becomes 111111111111, the champion",
        "challenger 222222222222 (50 % now) loses its traffic at once",
    )
    carry_out(world, change.patch)
    world.until(Phase.STABLE)
    assert world.status.quarantined == ()
    assert seen(world).share_of(V1) == 100
    again = abort(seen(world).model)
    assert again.patch is None
    assert again.sentences == ("the spec names champion 111111111111 already",)


def test_abort_after_a_rollback_promises_no_traffic_to_take_back() -> None:
    assert abort(seen(a_failure()).model).sentences[1] == "the champion serves on; no rollout is in progress"


def test_abort_before_the_first_champion_is_refused() -> None:
    with pytest.raises(RefusedError, match="no champion to go back to"):
        abort(seen(World()).model)


def test_pause_and_resume_move_one_field_and_say_what_it_means() -> None:
    world = a_canary(V2)
    change = set_paused(seen(world).model, True)
    assert change.patch == {"spec": {"paused": True}}
    assert change.sentences == (
        "spec.paused becomes true: the challenger stays at 10 %; guards and a failing verdict still roll back",
    )
    carry_out(world, change.patch)
    assert set_paused(seen(world).model, True).patch is None
    world.run(20)
    assert world.status.step == "1/2"
    carry_out(world, set_paused(seen(world).model, False).patch)
    world.until(Phase.BAKING)


def test_a_line_without_an_accepted_version_is_5_since_nothing_moves() -> None:
    world = Factory(model=a_model().version("auto"))
    found = standing(seen(world.run(3)))
    assert (world.status.reason, found.code) == ("NoAcceptedVersion", Exit.BLOCKED)
    assert "the registry has no accepted version of line-1" in found.sentence


def test_a_first_version_that_does_not_get_ready_in_its_time_is_5() -> None:
    world = World(model=a_model().canary(progressDeadline="30s"))
    world.kserve.start_ticks[V1] = None
    assert standing(seen(world.run(3))).code is Exit.MOVING
    found = standing(seen(world.run(20)))
    assert (found.code, found.is_final) == (Exit.BLOCKED, False)
