"""The trainer's image in the pods of an Indexed Job, as the operator makes it: they find each other by name and train
together; one that is lost in the middle is replaced, and there is one decision."""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from kubernetes import client
from minio import Minio

from puzzle_operator.api.retraining import RetrainingStatus
from puzzle_operator.manifests.trainer_pod import Trainer
from puzzle_operator.manifests.training_job import Store, training_job
from puzzle_operator.manifests.training_team import trainers_service
from puzzlenet.manifest import verify
from puzzlenet.registry import Location, Registry
from puzzlenet.store.datasets import Datasets
from puzzlenet.store.decisions import Decisions
from tests.builders import a_model
from tests.harness.inspector import monitor_client
from tests.harness.models import Namespace
from tests.harness.settings import RELEASE, SYSTEM_NAMESPACE, Settings
from tests.integration.retraining.conftest import inspected, truth

LINE = "line-1"


@pytest.fixture(scope="module")
def registry(settings: Settings, champion: Path, home: Path) -> Iterator[Registry]:
    """A bucket of this test's own, with the champion and its data."""
    location = Location(endpoint=settings.s3_endpoint, bucket=f"test-{uuid.uuid4().hex[:12]}", secure=False)
    store = Minio(
        endpoint=location.endpoint,
        access_key=settings.s3_access_key,
        secret_key=settings.s3_secret_key,
        secure=False,
        region="us-east-1",
    )
    store.make_bucket(bucket_name=location.bucket)
    found = Registry.connect(location, os.environ)
    found.push(champion)
    Datasets(found.bucket).push_folder(home, LINE)
    yield found
    for item in list(store.list_objects(bucket_name=location.bucket, recursive=True)):
        store.remove_object(bucket_name=location.bucket, object_name=str(item.object_name))
    store.remove_bucket(bucket_name=location.bucket)


@pytest.fixture
def job(space: Namespace, registry: Registry, champion: Path) -> dict[str, Any]:
    """Job and Service as the operator makes them, with the installed trainer's image; nobody owns them here."""
    builder = a_model().retraining(
        enabled=True,
        epochs=30,
        gate={"margin": 0.05, "perClassRecallFloor": 0.7},
        job={
            "workers": 2,
            "gpus": 0,
            "backoffLimit": 1,
            "deadline": "10m",
            "resources": {"requests": {"cpu": "100m", "memory": "400Mi"}, "limits": {"memory": "2Gi"}},
        },
    )
    builder.body["metadata"]["namespace"] = space.name
    bucket = registry.bucket.location.bucket
    builder.body["spec"]["storage"] = {"endpoint": "minio.puzzle-system:9000", "bucket": bucket}
    builder.body["spec"]["dataQuality"] = {"minImages": 60}
    model = builder.build()
    deployed: Any = client.AppsV1Api().read_namespaced_deployment(RELEASE, SYSTEM_NAMESPACE)
    told = {entry.name: entry.value for entry in deployed.spec.template.spec.containers[0].env}
    trainer = Trainer(told["PUZZLE_TRAINER_IMAGE"], monitor_url=told["PUZZLE_MONITOR_URL"])
    run = RetrainingStatus(
        run=f"workers-{uuid.uuid4().hex[:6]}", counter=1, trigger="a test", champion=verify(champion).digest
    )
    service, found = trainers_service(model), training_job(model, run, trainer, Store(https=False))
    for made in (service, found):
        made["metadata"].pop("ownerReferences")
    core: Any = space.core
    core.create_namespaced_service(space.name, service)
    return found


def label_pieces(namespace: str) -> None:
    """Pieces of another product, looked at by an inspector."""
    pieces = inspected(
        1, 240, truth, id=f"{namespace}-{uuid.uuid4().hex[:6]}-{{number}}:0", namespace=namespace, model=LINE
    )
    with monitor_client("ingest") as handler:
        handler.post("/v1/predictions", json={"records": pieces.records}).raise_for_status()
        for name, picture in pieces.pictures.items():
            headers = {"Content-Type": "image/jpeg"}
            handler.put(f"/v1/predictions/{name}/image", content=picture, headers=headers).raise_for_status()
    with monitor_client("feedback") as inspector:
        inspector.post("/v1/feedback", json=pieces.labels).raise_for_status()


def pods_of(space: Namespace, index: int) -> list[Any]:
    """Pods of one worker, the oldest first."""
    selector = f"puzzlenet.dev/trains={LINE},batch.kubernetes.io/job-completion-index={index}"
    found: Any = space.core.list_namespaced_pod(space.name, label_selector=selector)
    return sorted(found.items, key=lambda pod: pod.metadata.creation_timestamp)


def log_of(space: Namespace, index: int) -> str:
    return str(space.core.read_namespaced_pod_log(pods_of(space, index)[-1].metadata.name, space.name))


def test_two_pods_train_together_and_outlive_the_loss_of_one(
    space: Namespace, registry: Registry, job: dict[str, Any], champion: Path
) -> None:
    label_pieces(space.name)
    name = job["metadata"]["name"]
    batch: Any = client.BatchV1Api()
    batch.create_namespaced_job(space.name, job)

    def epoch() -> int:
        progress = registry.bucket.document(f"runs/{name}/progress.json") or {}
        return int(progress.get("epoch", 0)) if progress.get("stage") == "train" else 0

    def ended() -> set[str]:
        return {
            c.type for c in batch.read_namespaced_job(name, space.name).status.conditions or [] if c.status == "True"
        }

    space.until(lambda: epoch() >= 2 or "Failed" in ended(), "they train", 240)
    assert "2 of 2 workers take part" in log_of(space, 0)
    lost = pods_of(space, 1)[-1].metadata.name
    space.core.delete_namespaced_pod(lost, space.name, grace_period_seconds=0)
    space.until(lambda: bool({"Complete", "Failed"} & ended()), "the Job has ended", 400)

    (pod,) = pods_of(space, 0)
    assert "Complete" in ended(), log_of(space, 0)[-3000:]
    assert log_of(space, 0).count("2 of 2 workers take part") == 2, "the new pod took the place of the lost one"
    said = json.loads(pod.status.container_statuses[0].state.terminated.message)
    assert said["outcome"] == "Accepted", said["message"]
    assert [record.run for record in Decisions(registry.bucket).log(LINE)] == [name]
    assert set(registry.versions()) == {verify(champion).digest, said["version"]}
    assert registry.document(said["version"], "provenance.json")["workers"] == 2
