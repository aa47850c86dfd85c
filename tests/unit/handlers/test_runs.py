"""Retraining's part of a pass over fake ports: what is read, when a Job is made, what a refusal leads to."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from typing import Any

from puzzle_operator.api.base import JsonObject
from puzzle_operator.core.facts import VersionCheck, VersionState
from puzzle_operator.core.retraining.facts import DecisionRecord, Decisions, JobState, TrainerPod, TrainingRun
from puzzle_operator.ports import Credentials, Forbidden, Rejected
from puzzle_operator.settings import Settings
from tests.builders import T0, V1, V2, a_model
from tests.unit.core.factory import a_retrained_model, words
from tests.unit.handlers.test_passes import Fake, a_reconciler, at_rest, serving

SETTINGS = replace(Settings(), trainer_image="puzzle-model:1", moving_interval=1.0)


def run(fake: Fake) -> float | None:
    return asyncio.run(a_reconciler(fake, SETTINGS).run("lyon", "line-1"))


def asked(**retraining: Any) -> Fake:
    """A model at rest that somebody has just asked to retrain."""
    builder = a_retrained_model(**retraining)
    fake = at_rest(builder)
    fake.secret = Credentials("key", "secret", https=False)
    builder.annotated("puzzlenet.dev/retrain", "new camera")
    fake.calls.clear()
    return fake


def of(fake: Fake) -> JsonObject:
    assert fake.body is not None
    found: JsonObject = fake.body["status"]["retraining"]
    return found


def job(fake: Fake, state: JobState = JobState.ACTIVE, said: str = "") -> TrainingRun:
    name = of(fake)["run"]
    pods = (TrainerPod("p", "Running", T0, last_words=said),)
    return TrainingRun(name, "u1", name, 1, state, T0, pods=pods)


def test_without_retraining_nobody_reads_jobs_or_decisions() -> None:
    fake = at_rest(a_model())
    run(fake)
    assert fake.calls == []


def test_the_run_is_stored_before_its_job_is_made() -> None:
    fake = asked()
    assert run(fake) == SETTINGS.moving_interval
    assert fake.calls == ["jobs", "status", "event RetrainTriggered", "clear puzzlenet.dev/retrain"]
    fake.calls.clear()
    run(fake)
    assert f"job {of(fake)['run']}" in fake.calls
    assert fake.made[0]["metadata"]["name"] == of(fake)["run"]
    assert "--insecure" in fake.made[0]["spec"]["template"]["spec"]["containers"][0]["args"]


def test_several_workers_have_their_service_before_their_job() -> None:
    fake = asked(job={"workers": 4})
    run(fake)
    fake.calls.clear()
    run(fake)
    made = [call for call in fake.calls if call.startswith(("service", "job "))]
    assert made == ["service line-1-trainers", f"job {of(fake)['run']}"]


def test_a_refused_job_is_told_once_and_rollouts_go_on() -> None:
    fake = asked()
    run(fake)
    fake.refuse_job = Rejected("exceeded quota")
    for _ in range(3):
        assert run(fake) == SETTINGS.blocked_interval
    assert fake.calls.count("event RetrainPending") == 1
    assert of(fake)["pending"] == "exceeded quota"
    assert fake.body is not None
    assert fake.body["status"]["reason"] == "Serving"
    fake.refuse_job = None
    run(fake)
    assert len(fake.made) == 1


def test_a_missing_secret_makes_no_job() -> None:
    fake = asked()
    run(fake)
    fake.secret = None
    run(fake)
    assert "Secret puzzle-s3" in of(fake)["pending"]
    assert fake.made == []


def test_without_the_right_to_read_jobs_nothing_begins_and_the_pass_goes_on() -> None:
    fake = asked()
    fake.no_jobs = Forbidden("may not list jobs")
    assert run(fake) == SETTINGS.resting_interval
    assert "may not list jobs" in of(fake)["blocked"]
    assert "run" not in of(fake)


def test_the_registry_is_asked_for_what_a_pod_could_not_say() -> None:
    fake = asked()
    run(fake)
    run(fake)
    fake.jobs = (job(fake),)
    fake.calls.clear()
    run(fake)
    assert not any(call.startswith("decisions") for call in fake.calls)
    fake.jobs = (job(fake, JobState.SUCCEEDED),)
    fake.decided = Decisions((DecisionRecord("k", "Refused", V2, of(fake)["run"], "GateRefused: too slow"),))
    run(fake)
    assert "decisions, fresh" in fake.calls
    assert of(fake)["outcome"] == "GateRefused"


def test_how_far_a_run_is_stands_in_the_status_while_its_pod_runs() -> None:
    fake = asked()
    run(fake)
    run(fake)
    fake.jobs = (job(fake),)
    run(fake)
    assert of(fake)["message"] == "train: epoch 3, of 10"
    waiting = replace(fake.jobs[0].pods[0], phase="Pending", pending="no node", unschedulable=True)
    fake.jobs = (replace(fake.jobs[0], pods=(waiting,)),)
    fake.calls.clear()
    run(fake)
    assert not any(call.startswith("progress") for call in fake.calls)
    assert of(fake)["message"] == "no node"


def test_a_pod_that_said_it_all_needs_no_registry() -> None:
    fake = asked()
    run(fake)
    run(fake)
    fake.jobs = (job(fake, JobState.SUCCEEDED, words("GateRefused")),)
    fake.calls.clear()
    run(fake)
    assert not any(call.startswith("decisions") for call in fake.calls)


def test_auto_checks_the_version_that_it_stands_for() -> None:
    builder = a_model().version("auto")
    fake = Fake(builder.body, decided=Decisions((DecisionRecord("k", "Accepted", V1),)))
    asyncio.run(a_reconciler(fake, SETTINGS).run("lyon", "line-1"))
    assert fake.applied[-1]["spec"]["predictor"]["annotations"]["puzzlenet.dev/version"] == V1
    fake.seen = serving()
    run(fake)
    run(fake)
    assert fake.body is not None
    assert fake.body["status"]["champion"]["version"] == V1
    fake.decided = VersionCheck("", VersionState.UNREACHABLE, "down")
    run(fake)
    assert fake.body["status"]["target"] == V1


def test_a_command_for_tests_is_a_list_of_words() -> None:
    settings = Settings.from_environment({"PUZZLE_TRAINER_COMMAND": json.dumps(["python3", "-c", "a, b"])})
    assert settings.trainer_words() == ("python3", "-c", "a, b")
    for bad in ("python3 train.py", '{"a": 1}', "[1]"):
        try:
            Settings.from_environment({"PUZZLE_TRAINER_COMMAND": bad})
        except ValueError as exc:
            assert "PUZZLE_TRAINER_COMMAND" in str(exc)
        else:
            raise AssertionError(bad)
