"""The Job of a shadow replay: read into facts. It is made and deleted as training Jobs are."""

from __future__ import annotations

from puzzle_operator.api.base import JsonObject
from puzzle_operator.api.names import REPLAY_LABEL
from puzzle_operator.api.resource import PuzzleModel
from puzzle_operator.core.replay.facts import ReplayJob
from puzzle_operator.core.retraining.facts import JobState
from puzzle_operator.manifests.training_job import CONTAINER

from .kube import Kube, NotFoundError

_MAX_MESSAGE = 500
_HARMLESS = frozenset({"", "PodInitializing", "ContainerCreating"})


async def find_replay_job(kube: Kube, model: PuzzleModel, name: str) -> ReplayJob | None:
    """The Job of this name, if it is the model's, with its newest pod."""
    try:
        job = await kube.get(f"/apis/batch/v1/namespaces/{model.namespace}/jobs/{name}")
    except NotFoundError:
        return None
    owners = job["metadata"].get("ownerReferences") or []
    if not any(owner.get("controller") and owner.get("uid") == model.uid for owner in owners):
        return None
    path = f"/api/v1/namespaces/{model.namespace}/pods"
    pods = await kube.get(path, labelSelector=f"{REPLAY_LABEL}={name}")
    return read_replay_job(job, pods.get("items", []))


def read_replay_job(job: JsonObject, pods: list[JsonObject]) -> ReplayJob:
    """A Job with its pods as facts."""
    meta, conditions = job["metadata"], (job.get("status") or {}).get("conditions") or []
    ended = {c["type"]: c for c in conditions if c.get("status") == "True" and c.get("type") in {"Complete", "Failed"}}
    failed = ended.get("Failed") or {}
    state = JobState.SUCCEEDED if "Complete" in ended else JobState.FAILED if failed else JobState.ACTIVE
    pod = max(pods, key=lambda item: str(item["metadata"].get("creationTimestamp") or ""), default={})
    return ReplayJob(
        name=meta["name"],
        uid=meta["uid"],
        state=state,
        deleting=bool(meta.get("deletionTimestamp")),
        pending=_pending(pod)[:_MAX_MESSAGE],
        last_words=str((_container(pod).get("terminated") or {}).get("message") or ""),
        reason=": ".join(filter(None, (failed.get("reason"), failed.get("message"))))[:_MAX_MESSAGE],
    )


def _container(pod: JsonObject) -> JsonObject:
    statuses = (pod.get("status") or {}).get("containerStatuses") or []
    state: JsonObject = next((c.get("state") or {} for c in statuses if c.get("name") == CONTAINER), {})
    return state


def _pending(pod: JsonObject) -> str:
    conditions = (pod.get("status") or {}).get("conditions") or []
    scheduled: JsonObject = next((c for c in conditions if c.get("type") == "PodScheduled"), {})
    if scheduled.get("status") == "False":
        return str(scheduled.get("message") or scheduled.get("reason") or "it cannot be scheduled")
    waiting = _container(pod).get("waiting") or {}
    if str(waiting.get("reason", "")) in _HARMLESS:
        return ""
    return ": ".join(filter(None, (waiting.get("reason"), waiting.get("message"))))
