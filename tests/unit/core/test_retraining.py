"""What asks for a run, what keeps it waiting, and what becomes of it."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from puzzle_operator.api.conditions import ConditionType, Phase
from puzzle_operator.api.retraining import RetrainingPhase, RunOutcome
from puzzle_operator.core.facts import VersionState
from puzzle_operator.core.retraining.facts import DecisionRecord, JobState
from tests.builders import V1, a_model
from tests.unit.core.factory import NEW, NEWER, NO_GPU, Factory, a_factory, a_retrained_model, words
from tests.unit.core.world import World

DRIFT = {"triggers": {"drift": "Harmful"}}


def condition(world: World) -> tuple[str, str]:
    return world.condition(ConditionType.RETRAINING)


def a_run(model: Any = None, **fields: Any) -> Factory:
    """A run whose Job is going on, begun by drift."""
    world = a_factory(model, **fields).drifts()
    world.until_job()
    world.tick()
    return world


# ---------------------------------------------------------------- triggers


def test_nothing_asks_and_nothing_is_written() -> None:
    world = a_factory()
    writes = world.writes
    world.run(20)
    assert world.writes == writes
    assert world.retraining.phase is RetrainingPhase.IDLE
    assert condition(world) == ("False", "NoTrigger")


def test_without_retraining_the_status_says_nothing_of_it() -> None:
    world = Factory(model=a_model()).until(Phase.STABLE)
    assert world.status.retraining is None
    assert condition(world) == ("False", "RetrainingDisabled")


def test_harmful_drift_begins_a_run_once_it_lasts() -> None:
    world = a_factory().drifts()
    world.run(6)  # 30 s after it was first seen
    assert not world.jobs
    job = world.until_job(2)
    assert job.run == "line-1-drift-1-" + job.run[-4:]
    world.tick()
    assert world.retraining.phase is RetrainingPhase.RUNNING
    assert world.retraining.champion == V1
    assert "score 3.1 over 2.0" in (world.retraining.trigger or "")
    assert condition(world) == ("True", "RetrainStarted")
    assert [r for r in world.reasons if r.startswith("Retrain")] == ["RetrainTriggered", "RetrainStarted"]


def test_drift_that_comes_and_goes_does_not_begin_one() -> None:
    world = a_factory()
    for _ in range(10):
        world.drifts().run(5)
        world.drifts("None", "No").run(2)
    assert not world.created


@pytest.mark.parametrize(
    ("wanted", "phase", "harmful", "begins"),
    [
        ("Harmful", "Confirmed", "Unknown", False),
        ("Harmful", "Suspected", "Yes", False),
        ("Confirmed", "Confirmed", "No", True),
        ("Never", "Confirmed", "Yes", False),
    ],
)
def test_which_drift_counts_is_the_specs_to_say(wanted: str, phase: str, harmful: str, begins: bool) -> None:
    world = a_factory(a_retrained_model(triggers={"drift": wanted})).drifts(phase, harmful)
    world.run(12)
    assert bool(world.created) is begins


def test_a_bad_feed_is_no_drift_of_the_world() -> None:
    world = a_factory().drifts(healthy=False)
    world.run(20)
    assert not world.created
    assert "too dark since 14:00" in (world.retraining.blocked or "")
    assert world.reasons.count("RetrainDeferred") == 1
    world.drifts(healthy=True)
    world.until_job()


@pytest.mark.parametrize(("wrong", "begins"), [(3, False), (40, True)])
def test_low_accuracy_needs_labels_enough_to_say_so(wrong: int, begins: bool) -> None:
    world = a_factory(a_retrained_model(triggers={"accuracyBelow": 0.97}))
    world.labelled(0, labelled=wrong * 10, wrong=wrong)  # nine in ten are right, either way
    world.run(12)
    assert bool(world.created) is begins


def test_new_labels_count_from_the_last_run_that_decided_something() -> None:
    model = a_retrained_model(triggers={"drift": "Never", "newLabels": 1000}, cooldown="1m", budget={"runs": 9})
    world = a_factory(model).labelled(999)
    world.run(3)
    assert not world.created
    world.labelled(1000)
    assert "labels" in world.until_job().run
    world.ends(words("Failed")).run(2)
    world.skip(1)
    world.until_job()  # no decision: they are as new as before
    world.labelled(1500)
    world.ends(words("DataRefused")).run(2)
    world.skip(1)
    world.run(5)
    assert len(world.created) == 2
    world.labelled(2000)
    world.until_job()


def test_new_data_is_a_quantity_of_bytes() -> None:
    world = a_factory(a_retrained_model(triggers={"newData": "1Mi"})).labelled(524)
    world.run(3)
    assert not world.created
    assert "data" in world.labelled(525).until_job().run


def test_the_schedule_is_served_once_for_each_of_its_times() -> None:
    model = a_retrained_model(schedule="0 15 * * *", cooldown="0s", budget={"runs": 50})
    world = a_factory(model)  # it is 14:00
    world.run(10)
    assert not world.created
    world.skip(1)
    assert "schedule" in world.until_job().run
    world.ends(words("GateRefused")).run(30)
    assert len(world.created) == 1
    assert world.retraining.next == "the schedule is due at 2026-11-24 15:00 UTC"
    world.skip(24 * 5)  # five times were missed: one run serves them
    world.until_job()
    world.ends(words("GateRefused")).run(30)
    assert len(world.created) == 2


def test_a_clock_that_goes_back_serves_no_time_twice() -> None:
    world = a_factory(a_retrained_model(schedule="0 15 * * *", cooldown="0s", budget={"runs": 50}))
    world.jump = timedelta(hours=2)
    world.until_job()
    world.ends(words("GateRefused")).run(2)
    world.jump = timedelta(0)
    world.skip(1.1)
    world.run(30)
    assert len(world.created) == 1


def test_a_schedule_without_sense_is_told() -> None:
    world = a_factory(a_retrained_model(schedule="0 3 31 2 *"))
    assert "spec.retraining.schedule '0 3 31 2 *' makes no sense" in (world.retraining.blocked or "")
    world.drifts().until_job()  # the other triggers go on


def test_a_person_asks_and_is_heard_once() -> None:
    world = a_factory(a_retrained_model(triggers={"drift": "Never"})).ask("new camera")
    assert "request" in world.until_job().run
    assert "new camera" in (world.retraining.trigger or "")
    assert "puzzlenet.dev/retrain" not in world.model.body["metadata"]["annotations"]
    world.ends(words("GateRefused")).run(20)
    assert len(world.created) == 1


def test_an_annotation_that_cannot_be_taken_away_is_heard_once() -> None:
    world = a_factory(a_retrained_model(triggers={"drift": "Never"}))
    for _ in range(40):
        world.ask("again and again").tick()
        if world.active:
            world.ends(words("GateRefused"))
    assert len(world.created) == 1


def test_a_request_is_refused_in_words_where_retraining_is_off() -> None:
    world = Factory(model=a_model()).until(Phase.STABLE)
    assert isinstance(world, Factory)
    world.ask().run(5)
    assert not world.created
    assert "spec.retraining.enabled is false" in world.notes[-1].message


# ---------------------------------------------------------------- what is in the way


def test_the_cooldown_holds_everybody_but_a_person() -> None:
    world = a_run()
    world.ends(words("GateRefused", NEW, "recall of cracked 0.71, floor 0.90")).run(3)
    world.run(30)
    assert len(world.created) == 1
    assert world.retraining.phase is RetrainingPhase.COOLDOWN
    assert condition(world) == ("False", "Cooldown")
    assert "recall of cracked 0.71" in (world.retraining.message or "")
    world.ask("I know better")
    world.until_job()


def test_after_the_cooldown_what_still_asks_is_heard() -> None:
    world = a_run()
    world.ends(words("GateRefused")).run(3)
    world.skip(12)
    world.until_job()


def test_the_budget_binds_everybody() -> None:
    world = a_factory(a_retrained_model(budget={"runs": 2, "per": "24h"}, triggers={"drift": "Never"}))
    for _ in range(2):
        world.ask("more").until_job()
        world.ends(words("GateRefused")).run(3)
    world.ask("more").run(10)
    assert len(world.created) == 2
    assert world.retraining.blocked_by == "Budget"
    world.skip(24)
    world.until_job()


def test_a_rollout_comes_first() -> None:
    world = a_factory(a_retrained_model()).drifts()
    world.model.version(NEW)
    world.until(Phase.CANARY)
    world.run(7)
    assert not world.created
    assert world.retraining.blocked_by == "Rollout"
    assert world.reasons.count("RetrainDeferred") == 1
    world.until(Phase.STABLE)
    world.drifts().until_job()


def test_manual_automation_waits_for_a_person() -> None:
    world = a_factory(a_retrained_model().automation("Manual")).drifts()
    world.run(20)
    assert not world.created
    assert "kubectl puzzle retrain" in (world.retraining.blocked or "")
    world.ask("as it says").until_job()


def test_an_operator_without_a_trainer_says_so() -> None:
    world = a_factory(can_train=False).drifts()
    world.run(20)
    assert "PUZZLE_TRAINER_IMAGE" in (world.retraining.blocked or "")


# ---------------------------------------------------------------- a run


def test_a_pod_that_waits_for_a_gpu_says_so() -> None:
    world = a_run()
    world.pod(phase="Pending", pending=NO_GPU, unschedulable=True).run(30)
    assert condition(world) == ("True", "RetrainPending")
    assert (world.retraining.pending or "").startswith("no node offers nvidia.com/gpu")
    assert world.reasons.count("RetrainPending") == 1
    assert len(world.created) == 1
    world.pod(phase="Running", pending="", unschedulable=False).tick()
    assert world.retraining.pending is None


def test_with_cpu_fallback_it_goes_on_without() -> None:
    world = a_run(a_retrained_model(job={"cpuFallback": True}))
    first = world.active[0].name
    world.pod(phase="Pending", pending=NO_GPU, unschedulable=True)
    for _ in range(20):
        world.tick()
        assert len(world.active) <= 1
    assert [job.name for job in world.active] == [f"{first}-cpu"]
    assert world.retraining.run == first
    world.accepts(NEW).run(3)
    assert world.retraining.outcome is RunOutcome.ACCEPTED


TEAM = {"workers": 3, "cpuFallback": True}


def test_of_several_workers_the_first_decides() -> None:
    world = a_run(a_retrained_model(job=TEAM))
    (job,) = world.active
    pods = tuple(replace(pod, last_words=words("Accepted", NEWER) if pod.worker else "") for pod in job.pods)
    world.jobs[job.name] = replace(job, pods=pods)
    world.run(2)
    assert world.retraining.is_running, "what another worker says counts for nothing"
    world.accepts(NEW).run(3)
    assert world.retraining.outcome is RunOutcome.ACCEPTED
    assert world.retraining.version == NEW


def test_a_worker_that_waits_is_named_and_the_run_goes_on_with_the_others() -> None:
    world = a_run(a_retrained_model(job=TEAM))
    world.progress = "train: epoch 3, of 10"
    world.pod(2, phase="Pending", pending=NO_GPU, unschedulable=True).run(40)
    assert (world.retraining.pending or "").startswith("worker 2 of 3 waits: no node offers nvidia.com/gpu")
    assert world.retraining.message == f"train: epoch 3, of 10; {world.retraining.pending}"
    assert world.retraining.pod == "Running"
    assert len(world.created) == 1, "the two that have their GPU keep it"
    world.pod(0, phase="Pending", pending=NO_GPU, unschedulable=True).run(20)
    assert [job.name for job in world.active] == [f"{world.created[0]}-cpu"]


def test_the_worker_that_failed_too_often_is_quoted() -> None:
    world = a_run(a_retrained_model(job=TEAM))
    (job,) = world.active
    pods = tuple(
        replace(pod, phase="Failed", exit_code=137, last_words="out of memory")
        if pod.worker == 1
        else replace(pod, phase="Failed", exit_code=1, last_words="told to end")
        for pod in job.pods
    )
    world.jobs[job.name] = replace(
        job, state=JobState.FAILED, reason="MaxFailedIndexesExceeded", pods=pods, failed_worker=1
    )
    world.run(2)
    assert world.retraining.outcome is RunOutcome.FAILED
    assert "worker 1 with exit code 137" in (world.retraining.message or "")
    assert "out of memory" in (world.retraining.message or "")


def test_a_killed_operator_makes_the_job_it_had_decided_on() -> None:
    world = a_factory().drifts()
    world.killed_before_jobs = True
    world.until_job()
    world.killed_before_jobs = True
    world.run(10)
    assert len(world.created) == 1


def test_a_lost_status_finds_its_job_again() -> None:
    world = a_run()
    run = world.retraining.run
    world.stored = "{}"
    world.until(Phase.STABLE)
    world.run(10)
    assert world.created == [run]
    assert (world.retraining.run, world.retraining.counter) == (run, 1)
    world.ends(words("GateRefused")).run(3)
    world.skip(13)
    world.drifts()
    assert world.until_job().counter == 2


def test_a_job_that_somebody_deletes_has_failed() -> None:
    world = a_run()
    world.jobs.clear()
    world.run(5)
    assert world.retraining.outcome is RunOutcome.FAILED
    assert len(world.created) == 1


def test_jobs_that_cannot_be_seen_are_waited_for() -> None:
    world = a_run()
    world.jobs_visible = False
    world.run(30)
    assert world.retraining.is_running
    assert len(world.created) == 1


@pytest.mark.parametrize(
    ("reason", "said", "sentence"),
    [
        ("DeadlineExceeded", "", "longer than spec.retraining.job.deadline"),
        ("BackoffLimitExceeded", "Traceback\nOSError: disk full", "disk full"),
        ("BackoffLimitExceeded", words("Failed", message="the store went away"), "the store went away"),
    ],
)
def test_why_a_run_failed_is_told(reason: str, said: str, sentence: str) -> None:
    world = a_run()
    world.ends(said, state=JobState.FAILED, reason=reason).run(2)
    assert world.retraining.outcome is RunOutcome.FAILED
    assert sentence in (world.retraining.message or "")
    assert "RetrainFailed" in world.reasons


def test_what_the_pod_could_not_say_is_on_record() -> None:
    world = a_run(a_retrained_model(cooldown="0s"))
    run = world.retraining.run or ""
    world.registry_up = False
    world.ends("").run(5)
    assert world.retraining.is_running, "nobody knows yet"
    world.registry_up = True
    world.records.append(DecisionRecord("lines/line-1/decisions/1.json", "Refused", "", run, "data refused: too dark"))
    world.tick()
    assert world.retraining.outcome is RunOutcome.DATA_REFUSED


def test_only_the_last_jobs_are_kept() -> None:
    world = a_factory(a_retrained_model(budget={"runs": 50}, triggers={"drift": "Never"}))
    for _ in range(6):
        world.ask("more").until_job()
        world.ends(words("GateRefused")).run(3)
    assert sorted(world.jobs) == sorted(world.created[-3:])


# ---------------------------------------------------------------- auto


def auto(**spec: Any) -> Factory:
    """`auto`, with version 1 accepted first."""
    world = Factory(model=a_retrained_model(**spec).version("auto"))
    world.records.append(DecisionRecord("lines/line-1/decisions/0.json", "Accepted", V1, "by-hand"))
    world.until(Phase.STABLE)
    world.labelled(0).run(3)
    assert world.status.champion is not None
    assert world.status.champion.version == V1
    return world


def test_an_accepted_version_is_rolled_out_and_becomes_champion() -> None:
    world = auto().drifts()
    world.until_job()
    world.accepts(NEW)
    world.until(Phase.CANARY)
    assert world.status.target == NEW
    assert {"RetrainSucceeded", "ChallengerAccepted"} <= set(world.reasons)
    world.until(Phase.STABLE)
    assert world.status.champion is not None
    assert world.status.champion.version == NEW


def test_an_accepted_version_that_is_worse_is_not_tried_again() -> None:
    world = auto(budget={"runs": 9})
    world.error_rates[NEW] = 0.5
    world.drifts().until_job()
    world.accepts(NEW)
    world.until(Phase.ROLLING_BACK)
    ended = world.now
    world.until(Phase.STABLE)
    world.run(30)
    assert world.status.phase is Phase.STABLE
    assert world.status.target == V1
    assert world.retraining.phase is RetrainingPhase.COOLDOWN
    assert len(world.created) == 1
    world.skip(13)
    world.until_job()
    assert world.now - ended > timedelta(hours=12)
    world.accepts(NEWER)
    world.until(Phase.CANARY)
    assert world.status.target == NEWER


def test_a_registry_that_is_down_changes_no_target() -> None:
    world = auto()
    world.records.append(DecisionRecord("lines/line-1/decisions/1.json", "Accepted", NEW))
    world.until(Phase.CANARY)
    world.registry_up = False
    world.until(Phase.STABLE)
    world.run(5)
    assert world.status.champion is not None
    assert (world.status.champion.version, world.status.target) == (NEW, NEW)


def test_auto_without_an_accepted_version_says_what_to_do() -> None:
    world = Factory(model=a_retrained_model().version("auto"))
    world.run(3)
    assert (world.status.phase, world.status.reason) == (Phase.PENDING, "NoAcceptedVersion")
    world.registry_up = False
    world.run(3)
    assert world.status.reason == "RegistryUnavailable"


def test_a_failed_successor_never_brings_a_predecessor_back() -> None:
    world = auto()
    world.records.append(DecisionRecord("lines/line-1/decisions/1.json", "Accepted", NEW))
    world.until(Phase.CANARY).until(Phase.STABLE)
    world.error_rates[NEWER] = 0.5
    world.records.append(DecisionRecord("lines/line-1/decisions/2.json", "Accepted", NEWER))
    world.until(Phase.ROLLING_BACK).until(Phase.STABLE)
    world.run(20)
    assert world.status.champion is not None
    assert world.status.champion.version == NEW
    assert world.status.phase is Phase.STABLE


def test_a_retried_version_is_meant_again() -> None:
    world = auto()
    world.error_rates[NEW] = 0.5
    world.records.append(DecisionRecord("lines/line-1/decisions/1.json", "Accepted", NEW))
    world.until(Phase.ROLLING_BACK).until(Phase.STABLE)
    world.error_rates[NEW] = 0.0
    world.model.retrying(NEW)
    world.until(Phase.CANARY).until(Phase.STABLE)
    assert world.status.champion is not None
    assert world.status.champion.version == NEW


def test_a_pinned_version_lets_the_accepted_one_wait() -> None:
    world = a_run()
    world.accepts(NEW).run(5)
    assert world.status.phase is Phase.STABLE
    assert condition(world) == ("False", "AcceptedVersionWaits")
    world.skip(13)
    world.run(20)
    assert len(world.created) == 1, "drift has been answered"
    world.model.version(NEW)
    world.until(Phase.CANARY).until(Phase.STABLE)
    world.run(3)
    assert condition(world)[1] != "AcceptedVersionWaits"


def test_an_accepted_version_that_is_not_in_the_registry_waits_for_it() -> None:
    world = auto()
    world.registry = VersionState.NOT_FOUND
    world.records.append(DecisionRecord("lines/line-1/decisions/1.json", "Accepted", NEW))
    world.run(5)
    assert world.status.reason == "VersionNotFound"
    world.registry = VersionState.FOUND
    world.until(Phase.CANARY)
