"""What Jobs of every kind and their pods have in common when they are read."""

from __future__ import annotations

from puzzle_operator.api.base import JsonObject
from puzzle_operator.api.resource import PuzzleModel
from puzzle_operator.core.retraining.facts import JobState
from puzzle_operator.manifests.trainer_pod import CONTAINER

_HARMLESS = frozenset({"", "PodInitializing", "ContainerCreating"})


def is_ours(item: JsonObject, model: PuzzleModel) -> bool:
    """Whether an object was made for this PuzzleModel."""
    owners = item["metadata"].get("ownerReferences") or []
    return any(owner.get("controller") and owner.get("uid") == model.uid for owner in owners)


def job_state(job: JsonObject) -> tuple[JobState, JsonObject]:
    """How far a Job is, and the condition that says why it failed; empty where it has not."""
    conditions = (job.get("status") or {}).get("conditions") or []
    ended = {c["type"]: c for c in conditions if c.get("status") == "True" and c.get("type") in {"Complete", "Failed"}}
    failed = ended.get("Failed") or {}
    return JobState.SUCCEEDED if "Complete" in ended else JobState.FAILED if failed else JobState.ACTIVE, failed


def container_state(pod: JsonObject) -> JsonObject:
    """The state of the trainer's container; empty where there is none yet."""
    statuses = (pod.get("status") or {}).get("containerStatuses") or []
    state: JsonObject = next((c.get("state") or {} for c in statuses if c.get("name") == CONTAINER), {})
    return state


def unschedulable(pod: JsonObject) -> str:
    """Why the scheduler has no place for a pod; empty where it has."""
    conditions = (pod.get("status") or {}).get("conditions") or []
    scheduled: JsonObject = next((c for c in conditions if c.get("type") == "PodScheduled"), {})
    if scheduled.get("status") != "False":
        return ""
    return str(scheduled.get("message") or scheduled.get("reason") or "it cannot be scheduled")


def pending(pod: JsonObject) -> str:
    """What a pod waits for, if that is worth a word."""
    if why := unschedulable(pod):
        return why
    waiting = container_state(pod).get("waiting") or {}
    if str(waiting.get("reason", "")) in _HARMLESS:
        return ""
    return ": ".join(filter(None, (waiting.get("reason"), waiting.get("message"))))
