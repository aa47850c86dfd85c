"""The clock of the operator's machine jumps by hours and back, and the store goes away, on the real KServe.

`make test` has the store away for some seconds; `make faults` for a minute. The same with the real trainer in the
middle of a training: tests/e2e/test_faults.py.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.harness.faults import store_away
from tests.harness.models import Namespace
from tests.harness.settings import Settings
from tests.integration.rollouts.conftest import MODEL, Operator, Versions
from tests.integration.rollouts.test_retraining import (
    LEARNER,
    ask,
    ended,
    jobs_of,
    learner,
    resting,
    retraining,
)
from tests.integration.rollouts.traffic import Traffic

OUTAGE = float(os.environ.get("PUZZLE_FAULTS_OUTAGE_SECONDS", "15"))
__all__ = ["learner", "resting"]  # fixtures


@pytest.fixture
def clock(operator: Operator) -> Iterator[Operator]:
    """The operator, on a machine whose clock a test sets; right again afterwards."""
    yield operator
    operator.jump(0)
    operator.restart()


def report(what: str, traffic: Traffic) -> None:
    answered, lost = sum(traffic.answered.values()), sum(traffic.lost.values())
    print(f"\n{what}: {answered + lost} requests sent, {lost} lost {dict(traffic.lost) or ''}")
    assert lost == 0


@pytest.mark.timeout(600)
def test_a_rollout_through_clocks_that_jump_and_one_without_a_store(
    stable: Namespace, traffic: Traffic, versions: Versions, clock: Operator
) -> None:
    new, first = versions("answers", 501), versions("answers", 1)
    stable.patch(
        MODEL,
        {"spec": {"canary": {"steps": [{"weight": 20, "minDuration": "25s"}, {"weight": 50, "minDuration": "5s"}]}}},
    )
    jump_through(stable, clock, new)
    report("clock 6 h ahead, 6 h back, right again in mid-rollout: promoted", traffic)
    stable.until(lambda: stable.status(MODEL)["phase"] == "Stable", "it rests", 60)
    unknown = versions("answers", 502)
    with store_away(stable):
        stable.set_version(MODEL, unknown)
        stable.until(lambda: stable.status(MODEL)["reason"] == "RegistryUnavailable", "nothing starts without it", 60)
        assert stable.champion(MODEL) == new
        stable.set_version(MODEL, new)
    stable.set_version(MODEL, first)
    stable.until(lambda: stable.observed(MODEL) == 20, "it has its first traffic", 120)
    with store_away(stable):
        began = time.monotonic()
        while time.monotonic() - began < OUTAGE:
            assert stable.status(MODEL)["phase"] in {"Canary", "Baking", "Promoting", "Stable"}
            time.sleep(1)
    stable.until_outcome(MODEL, first, "Promoted", 240)
    report(f"store away before a start, and for {OUTAGE:.0f} s in mid-canary: promoted", traffic)


def jump_through(stable: Namespace, clock: Operator, new: str) -> None:
    """progressDeadline is 40 s, and the step that begins before the second jump takes 25 s."""
    stable.set_version(MODEL, new)
    stable.until(lambda: stable.status(MODEL)["phase"] == "Starting", "the challenger starts", 30)
    clock.jump(6)
    # Scrapes look six hours old to a machine whose clock is ahead: nothing is given on that.
    time.sleep(10)
    assert stable.status(MODEL)["phase"] in {"Starting", "Canary"}, stable.status(MODEL)
    clock.jump(0)
    stable.until(lambda: stable.observed(MODEL) == 20, "it has its first traffic", 60)
    began = time.monotonic()
    clock.jump(6)
    time.sleep(8)
    assert stable.observed(MODEL) == 20, "six hours of the clock are no 25 s at a step"
    clock.jump(-6)
    time.sleep(8)
    clock.jump(0)
    stable.until_outcome(MODEL, new, "Promoted", 240)
    assert time.monotonic() - began >= 25


@pytest.mark.timeout(600)
def test_a_clock_that_jumps_makes_no_second_job_and_serves_no_schedule_twice(
    resting: Namespace, learner: dict[str, Any], settings: Settings, clock: Operator
) -> None:
    due = datetime.now(UTC) + timedelta(hours=3)
    change = {"schedule": f"{due.minute} {due.hour} * * *", "cooldown": "12h"}
    with Traffic(settings.ingress_url, resting.host(LEARNER)) as traffic:
        traffic.wait_for_answers()
        counter = ask(resting, "outcome=GateRefused seconds=20")
        resting.until(lambda: len(jobs_of(resting, counter)) == 1, "its Job is there", 30)
        resting.patch(LEARNER, {"spec": {"retraining": change}})
        for hours in (14, -14, 0):
            clock.jump(hours)
            time.sleep(4)
        assert ended(resting, counter)["outcome"] == "GateRefused"
        assert len(jobs_of(resting, counter)) == 1

        for hours in (4, 14, 0):  # past the schedule and the cooldown, and back
            clock.jump(hours)
            time.sleep(6)
        assert retraining(resting)["counter"] == counter, "a jump of the clock began a run"
        resting.patch(LEARNER, {"spec": {"retraining": {"cooldown": "0s"}}})
        clock.jump(4)
        clock.restart()  # a new process believes the clock: the schedule is due now
        assert ended(resting, counter + 1)["outcome"] == "GateRefused"
        for hours in (0, 4):
            clock.jump(hours)
            clock.restart()
            time.sleep(10)
        assert retraining(resting)["counter"] == counter + 1, "the schedule was served twice"
        assert len(jobs_of(resting, counter + 1)) == 1
    resting.patch(LEARNER, {"spec": {"retraining": {"schedule": None}}})
    report("clock 14 h ahead, 14 h back, over a schedule and back: one Job each", traffic)


def patience(stable: Namespace, deadline: str | None) -> dict[str, Any]:
    """Have Knative give up a revision of the model after so long, None: as ever. Metadata of the revision that comes of
    it."""
    before = stable.revisions(MODEL)[-1]["metadata"]["name"]
    annotations = {"serving.knative.dev/progress-deadline": deadline}
    stable.patch_inference_service(MODEL, {"spec": {"predictor": {"annotations": annotations}}})
    stable.until(lambda: stable.revisions(MODEL)[-1]["metadata"]["name"] != before, "there is a new revision", 30)
    made: dict[str, Any] = stable.revisions(MODEL)[-1]["metadata"]
    return made


def until_it_serves(stable: Namespace, revision: str) -> None:
    stable.until(lambda: stable.observed_weights(MODEL) == {revision: 100}, f"{revision} has all traffic", 150)


def pods_of_revision(stable: Namespace, revision: str) -> set[str]:
    """Names of its pods."""
    listed: Any = stable.core.list_namespaced_pod(
        stable.name, label_selector=f"serving.knative.dev/revision={revision}"
    )
    return {pod.metadata.name for pod in listed.items}


@pytest.mark.timeout(400)
def test_a_revision_that_knative_has_given_up_is_started_anew(stable: Namespace, traffic: Traffic) -> None:
    """With the store away no pod gets its version, and Knative tries no more after the progress deadline.

    As a rule: once the revision's deployment is scaled to zero, Knative takes that for progress, and may want its pod
    back before it has noted that the revision failed. Either way another pod tries, of a revision by the same name.
    """
    with store_away(stable):
        tried = patience(stable, "15s")
        stable.until(lambda: bool(pods_of_revision(stable, tried["name"])), "it has a pod", 30)
        first = pods_of_revision(stable, tried["name"])
        stable.until(lambda: bool(pods_of_revision(stable, tried["name"]) - first), "another pod tries", 120)
        assert stable.revisions(MODEL)[-1]["metadata"]["name"] == tried["name"]
    until_it_serves(stable, tried["name"])
    report("a revision given up by Knative while the store was away: started anew", traffic)
    until_it_serves(stable, patience(stable, None)["name"])
