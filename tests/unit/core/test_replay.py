"""Shadow replay: labelled pieces judge a challenger before it gets traffic, and never stand in its way for long."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from puzzle_operator.api.conditions import Phase, Verdict
from puzzle_operator.api.replay import ReplayOutcome, ReplayStatus
from puzzle_operator.api.status import Rollout
from puzzle_operator.core.evidence import Pairs
from puzzle_operator.core.metric import config_of as metric_config
from puzzle_operator.core.replay.verdict import Said, config_of, judged, read_words
from puzzle_operator.core.retraining.facts import JobState
from tests.builders import T0, V1, V2, V3, a_model
from tests.unit.core.showroom import AWAY, EQUAL, WORSE, Showroom, a_showroom, compared
from tests.unit.core.world import World, a_stable_world


def starting(**fields: object) -> Showroom:
    """Version 2 is about to be shown pieces."""
    world = a_showroom(**fields)
    world.model.version(V2)
    return world


# ------------------------------------------------------------ the story


def test_a_good_challenger_is_shown_pieces_and_goes_on() -> None:
    world = starting()
    world.until(Phase.CANARY)
    assert world.replay.outcome is ReplayOutcome.PASSED
    assert (world.replay.pieces, world.replay.challenger_wrong, world.replay.champion_wrong) == (192, 7, 8)
    assert world.reasons.count("Replaying") == world.reasons.count("ReplayPassed") == 1
    assert len(world.created) == 1
    world.until(Phase.STABLE, 400)
    assert world.status.champion is not None and world.status.champion.version == V2


def test_a_worse_one_is_refused_without_any_traffic() -> None:
    world = starting(results={V2: WORSE})
    world.until(Phase.ROLLED_BACK)
    assert world.served.get(V2, 0) == 0
    rollout = world.status.rollout
    assert rollout is not None and rollout.first_traffic_at is None and rollout.cause is not None
    assert rollout.cause.reason == "ReplayFailed" and "73" in rollout.cause.message
    assert [reason for reason in world.reasons if reason in {"ReplayFailed", "RolledBack"}] == [
        "ReplayFailed",
        "RolledBack",
    ]
    assert world.status.quarantined[0].version == V2
    assert "evidence over a million of the 300 needed to refuse it" in world.status.quarantined[0].message


def test_somebody_may_retry_and_turn_the_replay_off() -> None:
    world = starting(results={V2: WORSE})
    world.until(Phase.ROLLED_BACK)
    world.model.retrying(V2)
    world.until(Phase.STARTING).until(Phase.ROLLED_BACK)
    assert len(set(world.created)) == 2
    world.model.canary(replay={"pieces": 0}).retrying(V2)
    world.until(Phase.CANARY)
    assert len(world.created) == 2


def test_a_failed_replay_takes_back_in_a_pause_too() -> None:
    world = starting(results={V2: WORSE}, job_ticks=4)
    world.until(Phase.STARTING)
    while not world.jobs:
        world.tick()
    world.model.paused()
    world.until(Phase.ROLLING_BACK)


def test_the_job_is_told_whom_to_ask_and_what_is_new_to_the_champion() -> None:
    world = starting()
    world.until(Phase.CANARY)
    (showing,) = world.shown.values()
    assert (showing.champion_version, showing.challenger_version) == (V1, V2)
    assert (showing.champion, showing.challenger) == ("line-1-predictor-00001", "line-1-predictor-00002")
    champion = world.status.champion
    assert champion is not None and showing.since == champion.since


def test_a_person_consents_after_the_replay_and_sees_it() -> None:
    world = starting()
    world.model.automation("Manual")
    for _ in range(30):
        world.tick()
    assert (world.status.phase, world.status.reason) == (Phase.STARTING, "AwaitingApproval")
    assert world.replay.outcome is ReplayOutcome.PASSED


# ------------------------------------------------------------ nothing to show, nothing to wait for


def ticks_until_traffic(world: World) -> int:
    world.model.version(V2)
    before = world.ticks
    world.until(Phase.CANARY)
    return world.ticks - before


def test_without_labels_or_a_monitor_nothing_is_slower() -> None:
    plain = ticks_until_traffic(a_stable_world())
    for fields in ({"labelled": 0}, {"away": AWAY}, {"can_train": False}):
        world = a_showroom(**fields)
        assert ticks_until_traffic(world) == plain
        assert world.created == []


@pytest.mark.parametrize(
    ("fields", "why"),
    [({"labelled": 0}, "no labelled piece with a picture"), ({"away": AWAY}, "the monitor does not answer")],
)
def test_a_skipped_replay_is_told_once(fields: dict[str, object], why: str) -> None:
    world = starting(**fields)
    world.until(Phase.CANARY).run(20)
    assert world.replay.outcome is ReplayOutcome.SKIPPED and why in world.replay.message
    assert world.reasons.count("ReplaySkipped") == 1


def test_where_it_is_not_set_up_or_turned_off_nobody_speaks_of_it() -> None:
    world = starting(can_train=False)
    world.until(Phase.CANARY)
    assert world.status.rollout is not None and world.status.rollout.replay is None
    world = a_showroom()
    world.model.canary(replay={"pieces": 0}).version(V2)
    world.until(Phase.CANARY)
    assert "Replay" not in " ".join(world.reasons)


# ------------------------------------------------------------ what goes wrong around it


@pytest.mark.parametrize(
    ("said", "why"),
    [
        (json.dumps({"outcome": "Skipped", "message": "the champion could not be reached"}), "could not be reached"),
        ("Traceback: no such file", "no such file"),
        ("", "it left no message"),
        (compared(0, 0, 0, 0), "no piece was compared"),
    ],
)
def test_a_job_without_a_result_stands_in_nobodys_way(said: str, why: str) -> None:
    world = starting(results={V2: said})
    world.until(Phase.CANARY)
    assert world.replay.outcome is ReplayOutcome.SKIPPED and why in world.replay.message
    assert world.reasons.count("ReplaySkipped") == 1


def test_a_job_that_does_not_end_is_given_up_at_the_deadline_and_removed() -> None:
    world = starting(job_ticks=None)
    world.model.canary(replay={"deadline": "30s"})
    world.until(Phase.STARTING)
    while not world.jobs:
        world.tick()
    (name,) = world.jobs
    world.jobs[name] = replace(world.jobs[name], pending="0/1 nodes are available")
    world.until(Phase.CANARY, 30)
    assert "did not end within 30s: 0/1 nodes are available" in world.replay.message
    world.tick()
    assert world.jobs == {}


def test_a_job_that_somebody_deletes_is_not_made_again() -> None:
    world = starting(job_ticks=None)
    world.until(Phase.STARTING)
    while not (world.jobs and world.replay.job_uid):
        world.tick()
    world.jobs.clear()
    world.until(Phase.CANARY)
    assert "deleted" in world.replay.message and len(world.created) == 1


def test_an_operator_killed_right_after_the_job_was_made_makes_no_second() -> None:
    world = starting(killed_after_job=True)
    world.until(Phase.CANARY)
    assert len(world.created) == 1 and world.replay.outcome is ReplayOutcome.PASSED


def test_a_job_is_removed_only_after_its_result_is_stored() -> None:
    world = starting()
    world.until(Phase.STARTING)
    seen = []
    while world.status.phase is Phase.STARTING:
        decision = world.tick()
        stored = json.loads(world.before)["rollout"].get("replay", {})
        if decision.remove:
            assert stored["outcome"] == "Passed"
            seen.append(decision.remove)
    world.tick()
    assert seen or world.jobs == {}
    assert world.jobs == {} and world.replay.job is None


def test_a_rollout_that_is_withdrawn_takes_its_job_along() -> None:
    world = starting(job_ticks=None)
    world.until(Phase.STARTING)
    while not world.jobs:
        world.tick()
    world.model.version(V3)
    world.until(Phase.CANARY)
    assert len(world.created) == 2 and len(world.jobs) <= 1
    world.run(3)
    assert world.jobs == {}


def test_jobs_that_cannot_be_read_are_waited_for_until_the_deadline() -> None:
    world = starting(job_ticks=None)
    world.model.canary(replay={"deadline": "30s"})
    world.until(Phase.STARTING)
    while not world.jobs:
        world.tick()
    world.unreadable = AWAY
    world.until(Phase.CANARY, 30)
    assert "cannot be read" in world.replay.message


def test_an_edit_that_turns_it_off_ends_one_that_goes_on() -> None:
    world = starting(job_ticks=None)
    world.until(Phase.STARTING)
    while not world.jobs:
        world.tick()
    world.model.canary(replay={"pieces": 0})
    world.until(Phase.CANARY, 20)
    assert world.replay.outcome is ReplayOutcome.SKIPPED


# ------------------------------------------------------------ counters


@pytest.mark.parametrize(("scrape_ticks", "least", "most"), [(0, 0, 1), (3, 3, 5), (-1, 12, 13)])
def test_traffic_waits_until_every_replayed_request_is_scraped(scrape_ticks: int, least: int, most: int) -> None:
    world = starting(scrape_ticks=scrape_ticks)
    world.until(Phase.STARTING)
    ended = 0
    while world.tick().status.phase is Phase.STARTING:
        if (
            world.status.rollout
            and world.status.rollout.replay
            and world.status.rollout.replay.finished_at
            and not ended
        ):
            ended = world.ticks
    assert least <= (world.ticks - ended if ended else 0) <= most


# ------------------------------------------------------------ the verdict

CANARY = a_model().build().spec.canary


def verdict(pairs: Pairs) -> ReplayStatus:
    return judged(ReplayStatus(), Said(pairs, ""), pairs, CANARY)


def test_alpha_is_divided_among_the_metrics_and_a_replay_that_was_judged() -> None:
    rollout = Rollout(challenger=V2, started_at=T0)
    metric = CANARY.analysis.metrics[0]
    alpha = CANARY.analysis.alpha
    assert config_of(CANARY).alpha_rollback == pytest.approx(alpha / 3)
    assert metric_config(metric, CANARY, rollout).alpha_rollback == pytest.approx(alpha / 2)
    skipped = rollout.but(replay=ReplayStatus(outcome=ReplayOutcome.SKIPPED))
    assert metric_config(metric, CANARY, skipped).alpha_rollback == pytest.approx(alpha / 2)
    passed = rollout.but(replay=ReplayStatus(outcome=ReplayOutcome.PASSED))
    assert metric_config(metric, CANARY, passed).alpha_rollback == pytest.approx(alpha / 3)


def test_what_is_tolerable_is_what_the_spec_says_of_wrong_labels() -> None:
    metrics = [{"name": "wrong", "type": "LabelledErrors", "maxRiskRatio": 1.2, "negligible": 0.3}]
    tolerant = a_model().analysis(metrics=metrics).build().spec.canary
    assert (config_of(tolerant).max_risk_ratio, config_of(tolerant).negligible) == (1.2, 0.3)
    worse = Pairs(both_right=160, canary_wrong=30, champion_wrong=2, both_wrong=8)
    assert verdict(worse).outcome is ReplayOutcome.FAILED
    assert judged(ReplayStatus(), Said(worse, ""), worse, tolerant).outcome is ReplayOutcome.PASSED


def test_equal_versions_pass_however_bad_both_are() -> None:
    assert verdict(Pairs(both_right=20, canary_wrong=10, champion_wrong=10, both_wrong=160)).outcome is (
        ReplayOutcome.PASSED
    )


def test_a_version_that_answers_nothing_but_errors_fails_with_its_words() -> None:
    said = read_words(compared(0, 100, 0, 10, errors=110, error="HTTP 415: this version accepts PNG only"))
    assert said is not None and said.pairs is not None
    found = judged(ReplayStatus(), said, said.pairs, CANARY)
    assert found.outcome is ReplayOutcome.FAILED
    assert "110 (100.0 %), 110 of them errors (HTTP 415: this version accepts PNG only)" in found.message


@pytest.mark.parametrize(
    "text",
    ["", "[]", "null", '"x"', '{"outcome": "Compared"}', EQUAL.replace("180", "-1"), EQUAL.replace("180", "true")],
)
def test_words_that_are_no_result_are_none(text: str) -> None:
    assert read_words(text) is None


def test_the_evidence_of_the_canary_begins_without_the_replay() -> None:
    world = starting()
    world.until(Phase.CANARY)
    assert world.status.verdict is Verdict.HOLD and not world.status.samples
    assert JobState.SUCCEEDED in {job.state for job in world.jobs.values()} or world.jobs == {}
