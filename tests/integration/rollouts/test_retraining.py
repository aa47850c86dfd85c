"""Retraining against the real API server: Jobs that are made, wait, end, are lost; and what the gate accepts goes live.

The trainer is a few lines of Python that end as the request says (trainer.py); training for real is tests/stage.
"""

from __future__ import annotations

import copy
import io
import json
import time
from collections.abc import Iterator
from typing import Any

import pytest
from kubernetes import client

from puzzle_operator.api.names import RETRAIN_ANNOTATION
from tests.harness.models import Namespace
from tests.harness.settings import Settings
from tests.integration.rollouts.conftest import BUCKET, Operator, Versions
from tests.integration.rollouts.traffic import Traffic

LEARNER = "line-7"
SMALL = {"requests": {"cpu": "10m", "memory": "32Mi"}, "limits": {"memory": "128Mi"}}


@pytest.fixture(scope="module")
def learner(
    space: Namespace, operator: Operator, manifest: dict[str, Any], versions: Versions
) -> Iterator[dict[str, Any]]:
    """The manifest of a model that is retrained; its `auto` stands for version 1."""
    wanted = copy.deepcopy(manifest)
    wanted["metadata"]["name"] = LEARNER
    wanted["spec"].update(
        line=LEARNER,
        model={"version": "auto"},
        retraining={
            "enabled": True,
            "triggers": {"drift": "Never"},
            "cooldown": "0s",
            "budget": {"runs": 100, "per": "1h"},
            "job": {"gpus": 0, "resources": SMALL, "deadline": "5m", "backoffLimit": 0},
        },
    )
    accept(versions, versions("answers", 1), "by-hand")
    space.apply(wanted)
    yield wanted
    space.remove(LEARNER)
    for item in versions.store.list_objects(BUCKET, prefix=f"lines/{LEARNER}/", recursive=True):
        versions.store.remove_object(BUCKET, str(item.object_name))


@pytest.fixture
def resting(space: Namespace, operator: Operator, learner: dict[str, Any]) -> Namespace:
    """The model serves, and no run is going on; its spec is as it was."""
    if operator.process is None:
        operator.start()
    space.patch(LEARNER, {"spec": learner["spec"]})
    space.until(lambda: space.status(LEARNER).get("phase") in {"Stable", "RolledBack"}, "the model rests", 120)
    space.until(lambda: bool(space.host(LEARNER)), "KServe names the host", 60)
    space.until(lambda: "outcome" in retraining(space) or "run" not in retraining(space), "no run is going on", 120)
    space.forget_events()
    return space


def accept(versions: Versions, version: str, run: str) -> None:
    """What a trainer writes when its version passes the gate."""
    stamp = f"{time.time_ns():020}"
    record = {"schema": 1, "at": stamp, "line": LEARNER, "kind": "Accepted", "version": version, "run": run}
    text = json.dumps(record).encode()
    versions.store.put_object(
        BUCKET, f"lines/{LEARNER}/decisions/{stamp}-{version[7:15]}.json", io.BytesIO(text), len(text)
    )


def retraining(space: Namespace) -> dict[str, Any]:
    found: dict[str, Any] = space.status(LEARNER).get("retraining") or {}
    return found


def ask(space: Namespace, text: str) -> int:
    """Ask for a run; the number that it will have."""
    counter = int(retraining(space).get("counter", 0)) + 1
    space.patch(LEARNER, {"metadata": {"annotations": {RETRAIN_ANNOTATION: text}}})
    space.until(lambda: retraining(space).get("counter") == counter, f"run {counter} is stored", 60)
    return counter


def ended(space: Namespace, counter: int, seconds: float = 120) -> dict[str, Any]:
    space.until(
        lambda: retraining(space).get("counter") == counter and "outcome" in retraining(space),
        f"run {counter} has ended",
        seconds,
    )
    return retraining(space)


def jobs(space: Namespace) -> list[Any]:
    listed: Any = client.BatchV1Api().list_namespaced_job(space.name, label_selector=f"puzzlenet.dev/model={LEARNER}")
    return list(listed.items)


def jobs_of(space: Namespace, counter: int) -> list[Any]:
    return [job for job in jobs(space) if job.metadata.labels["puzzlenet.dev/run-counter"] == str(counter)]


def condition(space: Namespace) -> tuple[str, str]:
    found = next(c for c in space.status(LEARNER)["conditions"] if c["type"] == "Retraining")
    return found["status"], found["reason"]


def test_a_request_becomes_one_job_and_its_refusal_has_the_numbers(resting: Namespace) -> None:
    counter = ask(resting, "outcome=GateRefused seconds=2")
    assert RETRAIN_ANNOTATION not in resting.get(LEARNER)["metadata"]["annotations"]
    resting.until(lambda: condition(resting)[0] == "True", "the condition says that a run is going on", 60)
    found = ended(resting, counter)
    assert found["outcome"] == "GateRefused"
    assert "champion 0.710, challenger 0.985" in found["message"]
    (job,) = jobs_of(resting, counter)
    assert job.metadata.name == found["run"]
    assert {"RetrainTriggered", "RetrainStarted", "RetrainRefused"} <= set(resting.reasons(LEARNER))
    assert resting.status(LEARNER)["phase"] == "Stable"


def test_the_api_server_admits_the_job_under_the_restricted_standard(resting: Namespace) -> None:
    """A dry run in a namespace that enforces the standard would refuse it; the pod says that it would pass."""
    counter = ask(resting, "outcome=DataRefused")
    assert ended(resting, counter)["outcome"] == "DataRefused"
    (job,) = jobs_of(resting, counter)
    spec = job.spec.template.spec
    assert spec.security_context.run_as_non_root
    assert spec.automount_service_account_token is False
    assert spec.containers[0].security_context.read_only_root_filesystem
    rules = job.spec.pod_failure_policy.rules
    assert [rule.action for rule in rules] == ["Ignore", "FailJob"]


@pytest.mark.parametrize(
    ("told", "sentence"), [("outcome=Crash", "no space left on device"), ("usage=wrong", "exit code 2")]
)
def test_a_run_that_fails_says_why(resting: Namespace, told: str, sentence: str) -> None:
    found = ended(resting, ask(resting, told))
    assert found["outcome"] == "Failed"
    assert sentence in found["message"]
    assert "RetrainFailed" in resting.reasons(LEARNER)


def test_an_operator_that_is_killed_makes_no_second_job(resting: Namespace, operator: Operator) -> None:
    before = int(retraining(resting).get("counter", 0))
    resting.patch(LEARNER, {"metadata": {"annotations": {RETRAIN_ANNOTATION: "outcome=GateRefused seconds=8"}}})
    for _ in range(4):
        time.sleep(1)
        operator.restart()
    ended(resting, before + 1)
    assert len(jobs_of(resting, before + 1)) == 1
    assert len([job for job in jobs(resting) if job.status.active]) == 0


def test_a_job_without_a_node_says_what_it_waits_for(resting: Namespace, learner: dict[str, Any]) -> None:
    job = {**learner["spec"]["retraining"]["job"], "gpus": 1, "nodeSelector": {"puzzle-test/pool": "gpu"}}
    resting.patch(LEARNER, {"spec": {"retraining": {"job": job}}})
    counter = ask(resting, "outcome=GateRefused")
    try:
        resting.until(lambda: condition(resting) == ("True", "RetrainPending"), "it says that it waits", 60)
        assert retraining(resting)["pod"] == "Pending"
        assert "node" in retraining(resting)["pending"]
        # With the fallback it goes on without a GPU, outside of the pool.
        resting.patch(LEARNER, {"spec": {"retraining": {"job": {"cpuFallback": True}}}})
        found = ended(resting, counter, 180)
        assert found["cpu"] is True
        assert found["outcome"] == "GateRefused"
        assert [job.metadata.name for job in jobs_of(resting, counter)] == [found["run"] + "-cpu"]
    finally:
        clear = {"gpus": 0, "cpuFallback": False, "nodeSelector": {"puzzle-test/pool": None}}
        resting.patch(LEARNER, {"spec": {"retraining": {"job": clear}}})


def test_several_workers_find_each_other_and_one_that_is_lost_is_replaced(
    resting: Namespace, learner: dict[str, Any]
) -> None:
    resting.patch(LEARNER, {"spec": {"retraining": {"job": {"workers": 3, "backoffLimit": 1}}}})
    counter = ask(resting, "outcome=GateRefused seconds=15")
    core: Any = client.CoreV1Api()

    def pods() -> dict[str, list[Any]]:
        """Running pods by their index."""
        found: dict[str, list[Any]] = {}
        for pod in core.list_namespaced_pod(resting.name, label_selector=f"puzzlenet.dev/trains={LEARNER}").items:
            if pod.status.phase == "Running":
                found.setdefault(pod.metadata.annotations["batch.kubernetes.io/job-completion-index"], []).append(pod)
        return found

    try:
        resting.until(lambda: set(pods()) == {"0", "1", "2"}, "three workers run", 90)
        lost = pods()["1"][0].metadata
        core.delete_namespaced_pod(lost.name, resting.name, grace_period_seconds=0)
        found = ended(resting, counter)
        assert found["outcome"] == "GateRefused"
        assert "by 3 workers" in found["message"]
        (job,) = jobs_of(resting, counter)
        service = core.read_namespaced_service(f"{LEARNER}-trainers", resting.name)
        assert service.spec.cluster_ip == "None"
        assert service.metadata.owner_references[0].uid == job.metadata.owner_references[0].uid
        resting.until(lambda: not pods(), "nobody trains once the first has decided", 60)
    finally:
        resting.patch(LEARNER, {"spec": {"retraining": {"job": {"workers": 1, "backoffLimit": 0}}}})


def test_a_job_that_is_deleted_has_failed_and_is_not_made_again(resting: Namespace) -> None:
    counter = ask(resting, "outcome=GateRefused seconds=60")
    resting.until(lambda: len(jobs_of(resting, counter)) == 1, "the Job is there", 30)
    name = jobs_of(resting, counter)[0].metadata.name
    client.BatchV1Api().delete_namespaced_job(name, resting.name, propagation_policy="Background")
    found = ended(resting, counter, 60)
    assert (found["outcome"], found["message"]) == ("Failed", "its Job was deleted before it ended")
    assert jobs_of(resting, counter) == []


def test_old_jobs_are_removed(resting: Namespace) -> None:
    for _ in range(2):
        ended(resting, ask(resting, "outcome=GateRefused seconds=0"))
    resting.until(lambda: len(jobs(resting)) <= 3, "three Jobs are kept", 60)


def test_what_the_gate_accepts_becomes_the_champion(
    resting: Namespace, learner: dict[str, Any], versions: Versions, settings: Settings
) -> None:
    better = versions("answers", 77)
    counter = ask(resting, f"outcome=Accepted version={better}")
    found = ended(resting, counter)
    assert (found["outcome"], found["version"]) == ("Accepted", better)
    accept(versions, better, found["run"])
    with Traffic(settings.ingress_url, resting.host(LEARNER)) as traffic:
        traffic.wait_for_answers()
        resting.until_outcome(LEARNER, better, "Promoted", 240)
    resting.until(lambda: resting.champion(LEARNER) == better, "it is the champion", 60)
    assert resting.status(LEARNER)["target"] == better
    assert {"RetrainSucceeded", "ChallengerAccepted", "NewChampion"} <= set(resting.reasons(LEARNER))


def test_what_is_rolled_back_is_not_meant_any_more(resting: Namespace, versions: Versions, settings: Settings) -> None:
    champion, worse = resting.champion(LEARNER), versions("fails", 78)
    accept(versions, worse, "by-hand")
    with Traffic(settings.ingress_url, resting.host(LEARNER)) as traffic:
        traffic.wait_for_answers()
        resting.until_outcome(LEARNER, worse, "RolledBack", 240)
    resting.until(lambda: resting.status(LEARNER)["phase"] == "Stable", "the champion is meant again", 120)
    assert (resting.champion(LEARNER), resting.status(LEARNER)["target"]) == (champion, champion)
