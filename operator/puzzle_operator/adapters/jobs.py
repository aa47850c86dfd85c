"""Training Jobs and their pods: read into facts, made, and removed."""

from __future__ import annotations

import re
from datetime import UTC, datetime

from puzzle_operator.api.base import JsonObject
from puzzle_operator.api.names import MODEL_LABEL, RUN_LABEL
from puzzle_operator.api.resource import PuzzleModel
from puzzle_operator.core.retraining.facts import TrainerPod, TrainingRun
from puzzle_operator.manifests.training_job import COUNTER_LABEL, TRIGGER_ANNOTATION
from puzzle_operator.ports import Conflict, Rejected, Unavailable

from .job_states import container_state, is_ours, job_state, pending, unschedulable
from .kube import Kube, NotFoundError

_JOB_LABEL = "batch.kubernetes.io/job-name"
_INDEX_ANNOTATION = "batch.kubernetes.io/job-completion-index"
_NUMBER = re.compile(r"\d+")
_MAX_MESSAGE = 1000


async def list_training_jobs(kube: Kube, model: PuzzleModel) -> tuple[TrainingRun, ...]:
    """The Jobs that belong to this model, with the pods of its newest run."""
    found = await kube.get(_path(model.namespace), labelSelector=f"{MODEL_LABEL}={model.name},{RUN_LABEL}")
    jobs = [item for item in found.get("items", []) if is_ours(item, model)]
    if not jobs:
        return ()
    newest = max(jobs, key=_counter)["metadata"]["labels"][RUN_LABEL]
    stored = model.status.retraining
    runs = {newest, stored.run if stored is not None and stored.run else newest}
    selector = f"{RUN_LABEL} in ({','.join(sorted(runs))})"
    pods = await kube.get(f"/api/v1/namespaces/{model.namespace}/pods", labelSelector=selector)
    return read_jobs(jobs, pods.get("items", []))


async def create_training_job(kube: Kube, model: PuzzleModel, job: JsonObject) -> None:
    """Make the Job, unless it exists."""
    await _create(kube, model, _path(model.namespace), job)


async def create_trainers_service(kube: Kube, model: PuzzleModel, service: JsonObject) -> None:
    """Make the Service by which workers find each other, unless it exists."""
    await _create(kube, model, f"/api/v1/namespaces/{model.namespace}/services", service)


async def _create(kube: Kube, model: PuzzleModel, path: str, obj: JsonObject) -> None:
    kind, name = obj["kind"], obj["metadata"]["name"]
    try:
        await kube.post(path, obj)
    except NotFoundError as exc:
        raise Unavailable(f"{kind} {name} cannot be made: its namespace is not there") from exc
    except Conflict as exc:
        try:
            live = await kube.get(f"{path}/{name}")
        except NotFoundError:
            raise exc from None  # it goes away just now: the next pass makes it
        if not is_ours(live, model):
            message = f"a {kind} named {name} exists and was not made for this PuzzleModel; delete it"
            raise Rejected(message) from exc


async def delete_training_job(kube: Kube, namespace: str, name: str) -> None:
    """Delete the Job; its pods follow."""
    try:
        await kube.delete(f"{_path(namespace)}/{name}", propagationPolicy="Background")
    except NotFoundError:
        return


def read_jobs(jobs: list[JsonObject], pods: list[JsonObject]) -> tuple[TrainingRun, ...]:
    """Jobs with their pods as facts, in a stable order."""
    return tuple(sorted((_run(item, pods) for item in jobs), key=lambda run: (run.counter, run.name)))


def _run(item: JsonObject, pods: list[JsonObject]) -> TrainingRun:
    meta, (state, failed) = item["metadata"], job_state(item)
    own = [pod for pod in pods if (pod["metadata"].get("labels") or {}).get(_JOB_LABEL) == meta["name"]]
    read = sorted((_pod(pod) for pod in own), key=lambda pod: (pod.created, pod.name), reverse=True)
    return TrainingRun(
        name=meta["name"],
        uid=meta["uid"],
        run=meta["labels"][RUN_LABEL],
        counter=_counter(item),
        state=state,
        created=_time(meta.get("creationTimestamp")),
        trigger=str((meta.get("annotations") or {}).get(TRIGGER_ANNOTATION, "")),
        reason=str(failed.get("reason", "")),
        message=str(failed.get("message", ""))[:_MAX_MESSAGE],
        failed_worker=_first_of((item.get("status") or {}).get("failedIndexes")),
        deleting=bool(meta.get("deletionTimestamp")),
        pods=tuple(read),
    )


def _pod(item: JsonObject) -> TrainerPod:
    status = item.get("status") or {}
    ended = container_state(item).get("terminated") or {}
    code = ended.get("exitCode")
    return TrainerPod(
        name=item["metadata"]["name"],
        phase=str(status.get("phase") or "Pending"),
        created=_time(item["metadata"].get("creationTimestamp")),
        pending=pending(item)[:_MAX_MESSAGE],
        unschedulable=bool(unschedulable(item)),
        exit_code=int(code) if code is not None else None,
        last_words=str(ended.get("message") or _eviction(status)),
        worker=_first_of((item["metadata"].get("annotations") or {}).get(_INDEX_ANNOTATION)) or 0,
    )


def _eviction(status: JsonObject) -> str:
    """Why the kubelet put the pod out, such as for a volume that is over its limit."""
    return str(status.get("message") or "") if status.get("reason") == "Evicted" else ""


def _first_of(indexes: str | None) -> int | None:
    """The first of indexes as a Job's status lists them: `1,3-5`."""
    found = _NUMBER.match(indexes or "")
    return int(found[0]) if found else None


def _counter(item: JsonObject) -> int:
    text = str((item["metadata"].get("labels") or {}).get(COUNTER_LABEL, ""))
    return int(text) if text.isdigit() else 0


def _time(text: str | None) -> datetime:
    return datetime.fromisoformat(text.replace("Z", "+00:00")) if text else datetime.fromtimestamp(0, UTC)


def _path(namespace: str) -> str:
    return f"/apis/batch/v1/namespaces/{namespace}/jobs"
