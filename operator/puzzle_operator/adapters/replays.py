"""The Job of a shadow replay: read into facts. It is made and deleted as training Jobs are."""

from __future__ import annotations

from puzzle_operator.api.base import JsonObject
from puzzle_operator.api.names import REPLAY_LABEL
from puzzle_operator.api.resource import PuzzleModel
from puzzle_operator.core.replay.facts import ReplayJob

from .job_states import container_state, is_ours, job_state, pending
from .kube import Kube, NotFoundError

_MAX_MESSAGE = 500


async def find_replay_job(kube: Kube, model: PuzzleModel, name: str) -> ReplayJob | None:
    """The Job of this name, if it is the model's, with its newest pod."""
    try:
        job = await kube.get(f"/apis/batch/v1/namespaces/{model.namespace}/jobs/{name}")
    except NotFoundError:
        return None
    if not is_ours(job, model):
        return None
    path = f"/api/v1/namespaces/{model.namespace}/pods"
    pods = await kube.get(path, labelSelector=f"{REPLAY_LABEL}={name}")
    return read_replay_job(job, pods.get("items", []))


def read_replay_job(job: JsonObject, pods: list[JsonObject]) -> ReplayJob:
    """A Job with its pods as facts."""
    meta, (state, failed) = job["metadata"], job_state(job)
    pod = max(pods, key=lambda item: str(item["metadata"].get("creationTimestamp") or ""), default={})
    return ReplayJob(
        name=meta["name"],
        uid=meta["uid"],
        state=state,
        deleting=bool(meta.get("deletionTimestamp")),
        pending=pending(pod)[:_MAX_MESSAGE],
        last_words=str((container_state(pod).get("terminated") or {}).get("message") or ""),
        reason=": ".join(filter(None, (failed.get("reason"), failed.get("message"))))[:_MAX_MESSAGE],
    )
