"""Shadow replay's part of a pass over fake ports: stored before its Job is made, and no refusal stops a rollout."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

from puzzle_operator.api.base import JsonObject
from puzzle_operator.api.conditions import Phase
from puzzle_operator.api.replay import ReplayStatus
from puzzle_operator.api.status import PuzzleModelStatus, Rollout, VersionRef, Weight
from puzzle_operator.core.facts import Counter, Missing, Reading, Revision, Service, Share
from puzzle_operator.core.monitor import Labels, MonitorState
from puzzle_operator.core.replay.facts import ReplayJob
from puzzle_operator.core.retraining.facts import JobState
from puzzle_operator.handlers.reconcile import Reconciler
from puzzle_operator.handlers.telemetry import Telemetry
from puzzle_operator.ports import Forbidden, Ports, Rejected
from puzzle_operator.settings import Settings
from tests.builders import T0, V1, V2, a_model, after
from tests.unit.core.showroom import EQUAL, WORSE
from tests.unit.handlers.test_passes import Fake

SETTINGS = replace(Settings(), trainer_image="puzzle-model:1", monitor_url="http://monitor:8090")


class Showing(Fake):
    """A challenger that is ready, metrics of the champion, and a monitor with labelled pieces."""

    async def read(self, model: Any, revisions: frozenset[str]) -> Any:
        found: Reading | Missing = Reading(
            (Counter("a", "r1", 100, 0),), frozenset({"r1", "r2"}), after(99), "", after(99)
        )
        return {metric.name: found for metric in model.spec.canary.analysis.metrics}, found


def ready() -> Service:
    return Service(
        uid="u",
        generation=1,
        observed=True,
        ready=True,
        latest_created="r2",
        latest_ready="r2",
        latest_rolled_out="r1",
        traffic=(Share("r1", 100), Share("r2", 0)),
        revisions=(Revision("r1", V1, 1, True), Revision("r2", V2, 2, True)),
    )


def a_fake() -> Showing:
    status = PuzzleModelStatus(
        phase=Phase.STARTING,
        champion=VersionRef(version=V1, since=T0),
        challenger=VersionRef(version=V2, since=T0),
        rollout=Rollout(challenger=V2, started_at=T0, ready_at=T0),
        weight=Weight(),
    )
    fake = Showing(a_model().version(V2).with_status(status).body, ready())
    fake.heard = MonitorState(T0, labels=Labels(50, 50, 5000))
    return fake


def run(fake: Fake) -> None:
    ports = Ports(cluster=fake, metrics=fake, registry=fake, clock=lambda: after(100), monitor=fake)
    fake.calls.clear()
    asyncio.run(Reconciler(ports, SETTINGS, Telemetry()).run("lyon", "line-1"))


def of(fake: Fake) -> JsonObject:
    assert fake.body is not None
    found: JsonObject = fake.body["status"]["rollout"]["replay"]
    return found


def phase(fake: Fake) -> str:
    assert fake.body is not None
    return str(fake.body["status"]["phase"])


def ended(fake: Fake, said: str) -> ReplayJob:
    return ReplayJob(of(fake)["job"], "j1", JobState.SUCCEEDED, last_words=said)


def test_it_is_stored_before_its_job_is_made() -> None:
    fake = a_fake()
    run(fake)
    assert fake.made == [] and "event Replaying" in fake.calls
    name = of(fake)["job"]
    run(fake)
    assert [job["metadata"]["name"] for job in fake.made] == [name]
    assert fake.calls.index(f"look at {name}") < fake.calls.index(f"job {name}")
    fake.replaying = ReplayJob(name, "j1", JobState.ACTIVE)
    run(fake)
    assert len(fake.made) == 1 and of(fake)["jobUid"] == "j1"


def test_a_good_result_gives_traffic_and_then_the_job_goes() -> None:
    fake = a_fake()
    run(fake)
    run(fake)
    fake.replaying = ended(fake, EQUAL)
    name = of(fake)["job"]
    run(fake)
    assert "event ReplayPassed" in fake.calls and f"delete {name}" not in fake.calls
    run(fake)
    assert f"delete {name}" in fake.calls and "job" not in of(fake)


def test_a_bad_result_takes_the_challenger_back() -> None:
    fake = a_fake()
    run(fake)
    run(fake)
    fake.replaying = ended(fake, WORSE)
    run(fake)
    assert phase(fake) == "RollingBack"
    told = [call for call in fake.calls if call.startswith("event")]
    assert told[:2] == ["event ReplayFailed", "event RolledBack"]


def test_a_job_that_is_refused_is_told_once_and_the_rollout_goes_on() -> None:
    fake = a_fake()
    run(fake)
    fake.refuse_job = Rejected("exceeded quota")
    run(fake)
    assert "exceeded quota" in of(fake)["message"] and "event ReplaySkipped" in fake.calls
    run(fake)
    assert phase(fake) == "Canary" and "event ReplaySkipped" not in fake.calls
    assert not any(call.startswith("delete") for call in fake.calls)


def test_without_the_right_to_read_it_the_pass_goes_on() -> None:
    fake = a_fake()
    run(fake)
    fake.no_jobs = Forbidden("may not get jobs")
    run(fake)
    assert phase(fake) == "Starting" and fake.made == []


def test_where_no_replay_goes_on_nobody_reads_jobs() -> None:
    fake = a_fake()
    fake.heard = MonitorState(T0)
    run(fake)
    assert not any(call.startswith("look at") for call in fake.calls) and phase(fake) == "Canary"
    assert ReplayStatus.model_validate(of(fake)).outcome == "Skipped"
