"""Explanations: what is missing, how long it takes, and the honest "unknown"."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from puzzle_operator.api.analysis import MetricType
from puzzle_operator.api.conditions import Phase
from puzzle_operator.api.v1alpha1 import PuzzleModelSpec
from puzzle_operator.plugin.explain import Section, explain, lines
from puzzle_operator.plugin.snapshot import Snapshot
from puzzle_operator.plugin.text import Page
from puzzle_operator.plugin.tree import tree
from tests.builders import V2, a_model
from tests.unit.core.world import DOWN, World, a_canary, a_stable_world
from tests.unit.plugin.moments import a_waiting_world, an_idle_canary, an_open_canary, edited, plain, seen


def section(snapshot: Snapshot, heading: str) -> tuple[str, ...]:
    return next((found.sentences for found in explain(snapshot) if found.heading == heading), ())


def missing(world: World) -> tuple[str, ...]:
    return section(seen(world), "what is missing")


def test_a_held_canary_says_how_much_of_each_is_missing_and_for_how_long() -> None:
    world = a_canary(V2, step=2, requests_per_tick=20).run(3)
    assert missing(world) == (
        "weight: KServe shows the 50 % that are wanted; done",
        "time: 15s of 30s at this weight; 15s left",
        "requests: 32 of 50 in this step; 18 more, about 8s at 2.1 requests/s",
        "metrics: every one has data; done",
        "evidence: every metric passes; done",
    )


def test_the_forecast_of_requests_is_right_when_traffic_stays_as_it_is() -> None:
    model = a_model().analysis(minRequests=200)
    world = a_canary(V2, model=model, requests_per_tick=50).run(20)
    speed = seen(world).request_rate()
    assert speed is not None
    assert missing(world)[2] == "requests: 95 of 200 in this step; 105 more, about 1m50s at 0.95 requests/s"
    start = world.now
    while world.status.step == "1/2":
        world.tick()
    assert (world.now - start).total_seconds() == pytest.approx(105 / speed, rel=0.1)


def test_without_a_request_the_time_is_unknown_and_said_to_be() -> None:
    world = a_canary(V2, requests_per_tick=100)
    world.requests_per_tick = 0
    found = missing(world)[2]
    assert found.endswith("how long that takes is unknown: no request of the challenger was counted in this step yet")
    assert "requests/s" not in " ".join(section(seen(world), "what the evidence says"))


def test_requests_during_a_pause_do_not_make_the_rate_look_higher() -> None:
    world = a_canary(V2, model=a_model().analysis(minRequests=1000), requests_per_tick=100).run(20)
    before = seen(world).request_rate()
    world.model.paused()
    world.run(40)
    after = seen(world).request_rate()
    assert before is not None
    assert after is not None
    assert after == pytest.approx(before, rel=0.1)


def test_while_metrics_are_down_the_rate_is_that_of_before() -> None:
    world = a_canary(V2, requests_per_tick=100).run(3)
    world.prometheus = DOWN
    world.tick()
    before = seen(world).request_rate()
    assert before is not None
    world.run(20)
    assert seen(world).request_rate() == before
    assert missing(world)[3] == "metrics: errors: Prometheus did not answer; slow: Prometheus did not answer"
    assert "the step's clock has stood still for 1m40s" in section(seen(world), "why")


def test_the_evidence_names_the_requests_and_the_time_that_a_pass_takes() -> None:
    world = an_open_canary()
    assert missing(world)[4] == (
        "evidence: errors does not pass yet; about 590 more requests, about 12m33s at 0.77 requests/s"
    )
    assert section(seen(world), "what the evidence says") == (
        "errors: 1 of 116 (0.9 %) bad against 11 of 1,120 (1.0 %) of the champion: "
        "evidence 1.4 of 5 needed for a Pass: about 590 more requests, 12m33s",
    )


def test_evidence_against_is_said_and_a_pass_out_of_sight_too() -> None:
    world = an_open_canary(a_model().analysis(guards={"maxErrorRate": 1.0}))
    world.error_rates[V2] = 0.05
    world.run(40)
    snapshot = seen(world)
    (said,) = section(snapshot, "what the evidence says")
    assert "no number of requests is in sight that would give it: it looks worse than is tolerable" in said
    assert "of 100 needed to roll back" in said
    assert missing(world)[4] == (
        "evidence: errors does not pass yet, and at the present rates of bad requests no Pass is in sight"
    )
    assert section(snapshot, "what you can do")[-1].startswith("where what errors shows is acceptable: a larger")


@pytest.mark.parametrize(
    ("labelled", "time"),
    [
        (11, "about 590 more requests, about 2h12m at 0.77 requests/s"),
        (0, "about 590 more requests; not all of them count anything now, so the time is unknown"),
    ],
)
def test_a_metric_that_counts_less_than_every_request_takes_longer(labelled: int, time: str) -> None:
    snapshot = seen(an_open_canary())
    (errors,) = snapshot.status.metrics
    labels = errors.but(name="labels", challenger=errors.challenger.but(requests=labelled))
    model = replace(
        snapshot.model,
        status=snapshot.status.but(metrics=(labels,)),
        spec=_counting_labels(snapshot.model.spec),
    )
    found = section(replace(snapshot, model=model), "what is missing")
    assert found[4] == f"evidence: labels does not pass yet; {time}"


def _counting_labels(spec: PuzzleModelSpec) -> PuzzleModelSpec:
    (metric,) = spec.canary.analysis.metrics
    labels = metric.but(name="labels", type=MetricType.LABELLED_ERRORS)
    return spec.but(canary=spec.canary.but(analysis=spec.canary.analysis.but(metrics=(labels,))))


def test_who_has_to_consent_is_named_where_somebody_has_to() -> None:
    world = a_waiting_world()
    assert missing(world)[5:] == (
        "consent to promotion: of a person who may patch PuzzleModels in lyon (automation is Assisted)",
    )
    assert section(seen(world), "what you can do")[0] == (
        "`kubectl puzzle promote line-1 -n lyon` consents to promotion: nothing else is missing"
    )
    world.model.consenting(world.status.awaiting)
    assert missing(world)[5:] == ("consent to promotion: asked for by annotation; the operator has not answered yet",)
    assert missing(a_waiting_world("Manual")) == (
        "consent to the first traffic (10 %): of a person who may patch PuzzleModels in lyon (automation is Manual)",
    )
    assert len(missing(a_canary(V2))) == 5, "in Full nobody has to"


def test_consent_that_came_early_is_shown_as_given() -> None:
    world = an_idle_canary("Manual").run(20)
    assert section(seen(world), "what you can do")[0] == (
        "`kubectl puzzle promote line-1 -n lyon` consents to step 2 (50 %) already; it comes once the rest is there"
    )
    world.model.consenting(f"{V2}@weight-50")
    world.run(13)
    assert missing(world)[5:] == ("consent to step 2 (50 %): given 1m ago; done",)
    said = section(seen(world), "what you can do")[0]
    assert said.startswith(
        "`kubectl puzzle promote line-1 -n lyon --without-evidence` goes on to step 2 (50 %) at once"
    )


IF_NOT = "if the evidence does not come"


def test_the_deadline_says_when_and_what_then() -> None:
    clock, then, forecast = section(seen(an_open_canary()), IF_NOT)
    assert clock == (
        "inconclusive.deadline 24h is over in 23h57m, at 2026-11-24 14:00 UTC; "
        "pauses, outages and holds by the line do not count"
    )
    assert then == (
        "then (inconclusive.action Hold): it keeps its weight, and step 2 (50 %) comes with the evidence or by a "
        "person's decision"
    )
    assert forecast == "at the present rate the evidence comes before that"
    late = an_open_canary(a_model().canary(inconclusive={"deadline": "10m", "action": "Rollback"}))
    _, then, forecast = section(seen(late), IF_NOT)
    assert then == (
        "then (inconclusive.action Rollback): the challenger is taken back, and quarantined until "
        "`kubectl puzzle retry`"
    )
    assert forecast == "at the present rate the evidence comes after that"
    assert "more requests to the line shorten the wait" in section(seen(late), "what you can do")
    promote = section(seen(an_idle_canary("Manual", action="Promote").run(20)), IF_NOT)
    assert promote[1] == (
        "then (inconclusive.action Promote): step 2 (50 %) comes without the evidence after a person's consent; "
        "guards and a failing verdict still roll back"
    )


@pytest.mark.parametrize("how", ["paused", "blind"])
def test_the_deadline_stands_still_while_nothing_is_decided(how: str) -> None:
    world = an_idle_canary().run(12)
    before = section(seen(world), IF_NOT)[0]
    assert before.startswith("inconclusive.deadline 10m is over in 9m, at 2026-11-23 14:")
    if how == "paused":
        world.model.paused()
    else:
        world.prometheus = DOWN
    world.run(60)
    assert section(seen(world), IF_NOT)[0] == (
        "inconclusive.deadline 10m stands still, with 8m55s left: pauses, outages and holds by the line do not count"
    )


def test_after_the_deadline_a_person_is_told_what_to_decide() -> None:
    snapshot = seen(an_idle_canary().run(150))
    assert section(snapshot, IF_NOT)[0] == "inconclusive.deadline 10m is over at this step"
    force, abort, *_ = section(snapshot, "what you can do")
    assert force == (
        "`kubectl puzzle promote line-1 -n lyon --without-evidence` goes on to step 2 (50 %) at once; the risk: by "
        "errors, slow the version may be worse than tolerable, and then serves more people badly until a guard or a "
        "Fail takes it back"
    )
    assert abort.startswith("`kubectl puzzle abort")


def test_where_the_evidence_is_there_no_deadline_is_spoken_of() -> None:
    assert section(seen(a_waiting_world()), IF_NOT) == ()
    assert section(seen(a_stable_world()), IF_NOT) == ()


def test_nobody_is_told_to_go_on_without_metrics() -> None:
    world = a_canary(V2).run(2)
    world.prometheus = DOWN
    snapshot = seen(world.run(3))
    assert section(snapshot, "what is missing")[4] == "evidence: stands still until the metrics are back"
    assert not any("promote" in said for said in section(snapshot, "what you can do"))


def test_evidence_that_is_not_stored_is_called_unknown() -> None:
    world = a_canary(V2, requests_per_tick=100).run(2)
    snapshot = seen(world)
    nothing = tuple(item.but(evidence_for=None, bound_for=None) for item in snapshot.status.metrics)
    for metrics in ((), nothing):
        status = snapshot.status.but(metrics=metrics)
        forgetful = seen(_with(world, status.to_wire()))
        said = section(forgetful, "what the evidence says")[0]
        assert said == "errors: nothing stored yet; how many requests a verdict needs is unknown"


def _with(world: World, stored: object) -> World:
    world.stored = json.dumps(stored)
    return world


def test_a_starting_challenger_has_a_deadline() -> None:
    world = a_stable_world()
    world.model.version(V2)
    world.kserve.start_ticks = {V2: None}
    world.run(5)
    assert missing(world) == ("its pods must get ready within 4m40s (progressDeadline 5m), or it is rolled back",)


def test_a_bake_counts_down() -> None:
    world = a_stable_world()
    world.model.version(V2)
    world.until(Phase.BAKING).run(3)
    assert missing(world) == ("time: 10s of 1m baked; 50s left",)


def test_remedies_are_those_that_help_now() -> None:
    world = a_canary(V2, requests_per_tick=400).run(3)
    assert section(seen(world), "what you can do") == (
        "`kubectl puzzle abort line-1 -n lyon` names champion 111111111111 again",
        "`kubectl puzzle pause line-1 -n lyon` keeps the weight where it is",
    )
    world.model.paused()
    world.run(1)
    assert section(seen(world), "what you can do")[0] == "`kubectl puzzle resume line-1 -n lyon` lets it go on"
    failed = a_stable_world(error_rates={V2: 0.5})
    failed.model.version(V2)
    failed.until(Phase.ROLLED_BACK)
    assert section(seen(failed), "what you can do")[0] == (
        "`kubectl puzzle retry line-1 -n lyon` has version 222222222222 tried again"
    )
    assert section(seen(a_stable_world()), "what you can do") == ()


def test_an_operator_that_does_not_look_is_suspected() -> None:
    why = section(edited(seen(a_stable_world())), "why")
    assert why[0] == (
        "the operator has not looked at generation 2 of the spec yet (last at 1); if that lasts, it does not run"
    )


@pytest.mark.parametrize("automation", ["Full", "Assisted", "Manual"])
def test_every_moment_of_a_rollout_is_explained_within_80_columns(automation: str) -> None:
    world = a_stable_world(requests_per_tick=60, model=a_model().automation(automation))
    world.model.version(V2)
    phases = set()
    for _ in range(70):
        world.tick()
        snapshot = seen(world)
        world.model.consenting(world.status.awaiting)
        phases.add(snapshot.status.phase)
        text = [*plain(lines(snapshot, Page())), *plain(tree(snapshot, Page()))]
        assert max(len(line) for line in text) <= 80
        assert [found.heading for found in explain(snapshot)][:2] == ["what it does", "why"]
    assert phases >= {Phase.STARTING, Phase.CANARY, Phase.BAKING, Phase.STABLE}


def test_sections_without_a_word_are_left_out() -> None:
    assert all(isinstance(found, Section) and found.sentences for found in explain(seen(a_stable_world())))
