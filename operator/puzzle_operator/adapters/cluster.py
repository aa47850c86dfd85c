"""Reads a model's objects into facts, and writes what was decided: apply, one status, events."""

from __future__ import annotations

import base64
import binascii
import hashlib
import logging
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from puzzle_operator.api.base import JsonObject
from puzzle_operator.api.conditions import WARNINGS
from puzzle_operator.api.names import API_VERSION, GROUP, KIND, MODEL_LABEL, PLURAL, VERSION, VERSION_ANNOTATION
from puzzle_operator.api.resource import PuzzleModel
from puzzle_operator.core.facts import Absence, Pod, Revision, Service, Share
from puzzle_operator.core.replay.facts import ReplayJob
from puzzle_operator.core.retraining.facts import TrainingRun
from puzzle_operator.core.situation import Note
from puzzle_operator.manifests.metadata import MANAGED_BY_LABEL, MANAGER
from puzzle_operator.ports import Conflict, Credentials, Forbidden, PortError, Rejected, Unavailable

from .jobs import create_trainers_service, create_training_job, delete_training_job, list_training_jobs
from .kube import APPLY_PATCH, JSON_PATCH, MERGE_PATCH, Kube, NotFoundError
from .replays import find_replay_job

log = logging.getLogger("puzzle_operator")
_PLURALS = {"InferenceService": "inferenceservices", "ServiceAccount": "serviceaccounts"}
_HTTPS_ANNOTATION = "serving.kserve.io/s3-usehttps"
_REGION_ANNOTATION = "serving.kserve.io/s3-region"
_REVISION_LABEL = "serving.knative.dev/revision"
_GENERATION_LABEL = "serving.knative.dev/configurationGeneration"
_MAX_MESSAGE = 1000
_LEFTOVERS_S = 20.0
_REFUSED = 65
"""Exit code of `puzzlenet serve` for a version that is not what its digest says, or not signed as it must be."""


class KubeCluster:
    """The `Cluster` port over a real API server."""

    def __init__(self, kube: Kube, clock: Callable[[], float] = time.monotonic) -> None:
        self._kube = kube
        self._clock = clock
        self._leftovers_since: dict[str, float] = {}

    async def model(self, namespace: str, name: str) -> JsonObject | None:
        try:
            return await self._kube.get(_model_path(namespace, name))
        except NotFoundError as exc:
            if not exc.known_kind:
                # An API server that starts does not serve custom resources yet: that says of no model that it is gone.
                raise Unavailable("the Kubernetes API does not know PuzzleModels") from exc
            return None

    async def identity(self) -> str | None:
        try:
            found = await self._kube.get(f"/apis/apiextensions.k8s.io/v1/customresourcedefinitions/{PLURAL}.{GROUP}")
        except (PortError, NotFoundError):
            return None
        return str(found["metadata"]["uid"])

    async def service(self, model: PuzzleModel) -> Service | Absence:
        path = f"/apis/serving.kserve.io/v1beta1/namespaces/{model.namespace}/inferenceservices/{model.name}"
        selector = f"{MODEL_LABEL}={model.name}"
        of_revisions = f"/apis/serving.knative.dev/v1/namespaces/{model.namespace}/revisions"
        try:
            found = await self._kube.get(path)
        except NotFoundError as exc:
            if not exc.known_kind:
                return Absence.NO_API
            self._wait_for_leftovers(model, await self._list(of_revisions, selector))
            return Absence.NONE
        self._leftovers_since.pop(model.key, None)
        if found["metadata"].get("deletionTimestamp"):
            raise Unavailable("the InferenceService is being deleted", retry_after=1.0)
        revisions = await self._list(of_revisions, selector)
        pods = await self._list(f"/api/v1/namespaces/{model.namespace}/pods", selector)
        return read_service(model, found, revisions, pods)

    def _wait_for_leftovers(self, model: PuzzleModel, revisions: list[JsonObject]) -> None:
        """Let the garbage collection of a deleted InferenceService end before anything of its name is made again.

        Otherwise KServe shows the traffic of the old Knative service, which is about to go, as that of the new one, and
        a rollout begins on it. Only for a while: revisions may have been orphaned.
        """
        if not revisions:
            self._leftovers_since.pop(model.key, None)
            return
        since = self._leftovers_since.setdefault(model.key, self._clock())
        if self._clock() - since < _LEFTOVERS_S:
            names = ", ".join(str(one["metadata"]["name"]) for one in revisions[:3])
            raise Unavailable(f"the InferenceService was deleted, and its revisions go: {names}", retry_after=1.0)

    async def _list(self, path: str, selector: str) -> list[JsonObject]:
        try:
            items = (await self._kube.get(path, labelSelector=selector)).get("items", [])
        except NotFoundError:
            return []  # Knative is not there, or not yet
        return sorted(items, key=lambda item: str(item["metadata"]["name"]))

    async def apply(self, obj: JsonObject) -> JsonObject:
        api, meta = obj["apiVersion"], obj["metadata"]
        root = f"/apis/{api}" if "/" in api else f"/api/{api}"
        path = f"{root}/namespaces/{meta['namespace']}/{_PLURALS[obj['kind']]}/{meta['name']}"
        try:
            live = await self._kube.patch(path, obj, APPLY_PATCH, fieldManager=MANAGER, force="true")
            if _has_foreign_share(obj, live):
                # Server-side apply leaves alone what somebody else set and we do not mention.
                drop = {"spec": {"predictor": {"canaryTrafficPercent": None}}}
                live = await self._kube.patch(path, drop, MERGE_PATCH, fieldManager=MANAGER)
        except NotFoundError as exc:
            raise Unavailable(f"{obj['kind']} {meta['name']} cannot be written: not found") from exc
        return live

    async def drop_revision(self, namespace: str, name: str) -> None:
        try:
            await self._kube.delete(f"/apis/serving.knative.dev/v1/namespaces/{namespace}/revisions/{name}")
        except NotFoundError:
            return

    async def write_status(self, model: PuzzleModel, status: JsonObject) -> None:
        # The resource version makes the API server refuse the write (409) when the object has moved on; the
        # status is replaced whole, because a merge would keep fields that are gone.
        patch = [
            {"op": "replace", "path": "/metadata/resourceVersion", "value": model.resource_version},
            {"op": "add", "path": "/status", "value": status},
        ]
        path = f"{_model_path(model.namespace, model.name)}/status"
        try:
            await self._kube.patch(path, patch, JSON_PATCH, fieldManager=MANAGER)
        except NotFoundError as exc:
            raise Conflict(f"PuzzleModel {model.key} is gone") from exc

    async def clear_annotation(self, model: PuzzleModel, name: str) -> None:
        path = "/metadata/annotations/" + name.replace("~", "~0").replace("/", "~1")
        patch = [{"op": "test", "path": path, "value": model.annotations[name]}, {"op": "remove", "path": path}]
        try:
            await self._kube.patch(_model_path(model.namespace, model.name), patch, JSON_PATCH, fieldManager=MANAGER)
        except (NotFoundError, Rejected):
            return  # gone, or somebody has asked for something else: the next pass hears it
        except Forbidden as exc:
            log.warning("%s: the annotation %s stays, though it was heard: %s", model.key, name, exc)

    async def emit(self, model: PuzzleModel, note: Note, at: datetime) -> None:
        stamp = at.astimezone(UTC)
        text = f"{model.uid}{note.reason}{note.message}{stamp.isoformat()}"
        name = f"{model.name}.{hashlib.sha256(text.encode()).hexdigest()[:16]}"
        seconds = stamp.strftime("%Y-%m-%dT%H:%M:%SZ")
        event = {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"name": name, "namespace": model.namespace},
            "involvedObject": {
                "apiVersion": API_VERSION,
                "kind": KIND,
                "name": model.name,
                "namespace": model.namespace,
                "uid": model.uid,
            },
            "reason": str(note.reason),
            "message": note.message[:_MAX_MESSAGE],
            "type": "Warning" if note.reason in WARNINGS else "Normal",
            "firstTimestamp": seconds,
            "lastTimestamp": seconds,
            "eventTime": stamp.strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
            "count": 1,
            "action": str(note.reason),
            "source": {"component": MANAGER},
            "reportingComponent": f"{GROUP}/{MANAGER}",
            "reportingInstance": MANAGER,
        }
        try:
            await self._kube.post(f"/api/v1/namespaces/{model.namespace}/events", event)
        except (Conflict, NotFoundError):
            return  # told before, or the namespace is going

    async def training_jobs(self, model: PuzzleModel) -> tuple[TrainingRun, ...]:
        return await list_training_jobs(self._kube, model)

    async def replay_job(self, model: PuzzleModel, name: str) -> ReplayJob | None:
        return await find_replay_job(self._kube, model, name)

    async def create_job(self, model: PuzzleModel, job: JsonObject) -> None:
        await create_training_job(self._kube, model, job)

    async def create_service(self, model: PuzzleModel, service: JsonObject) -> None:
        await create_trainers_service(self._kube, model, service)

    async def delete_job(self, namespace: str, name: str) -> None:
        await delete_training_job(self._kube, namespace, name)

    async def credentials(self, namespace: str, secret: str) -> Credentials | None:
        try:
            found = await self._kube.get(f"/api/v1/namespaces/{namespace}/secrets/{secret}")
        except NotFoundError:
            return None
        annotations = found["metadata"].get("annotations") or {}
        return Credentials(
            access_key=_secret_text(found, secret, "AWS_ACCESS_KEY_ID"),
            secret_key=_secret_text(found, secret, "AWS_SECRET_ACCESS_KEY"),
            https=str(annotations.get(_HTTPS_ANNOTATION, "1")) not in {"0", "false"},
            region=str(annotations.get(_REGION_ANNOTATION) or "us-east-1"),
        )


def read_service(model: PuzzleModel, found: JsonObject, revisions: list[JsonObject], pods: list[JsonObject]) -> Service:
    """An InferenceService with its revisions and pods as facts, in a stable order.

    Raises:
        Unavailable: if it belongs to a PuzzleModel of this name that was deleted; garbage collection takes
        it.
    """
    meta = found["metadata"]
    status = found.get("status") or {}
    predictor = (status.get("components") or {}).get("predictor") or {}
    conditions = status.get("conditions") or []
    ready = any(c.get("type") == "Ready" and c.get("status") == "True" for c in conditions)
    return Service(
        uid=meta["uid"],
        generation=int(meta.get("generation", 0)),
        observed=bool(predictor),
        ready=ready,
        latest_created=predictor.get("latestCreatedRevision", ""),
        latest_ready=predictor.get("latestReadyRevision", ""),
        latest_rolled_out=predictor.get("latestRolledoutRevision", ""),
        traffic=tuple(
            Share(target.get("revisionName", ""), int(target.get("percent") or 0))
            for target in predictor.get("traffic") or []
        ),
        revisions=tuple(_revision(item) for item in revisions),
        pods=tuple(_pod(item) for item in pods if _is_serving(item)),
        message=_why_not(conditions),
        foreign=_is_foreign(model, meta),
        labels_intact=_is_labelled(model, meta) and bool(_controller(meta).get("uid") == model.uid),
    )


def _controller(meta: JsonObject) -> JsonObject:
    return next((owner for owner in meta.get("ownerReferences") or [] if owner.get("controller")), {})


def _is_labelled(model: PuzzleModel, meta: JsonObject) -> bool:
    labels = meta.get("labels") or {}
    return labels.get(MANAGED_BY_LABEL) == MANAGER and labels.get(MODEL_LABEL) == model.name


def _has_foreign_share(wanted: JsonObject, live: JsonObject) -> bool:
    """Whether a canary's share is set that we did not ask for: by hand, at rest."""
    ours, theirs = ((obj.get("spec") or {}).get("predictor") or {} for obj in (wanted, live))
    return "canaryTrafficPercent" in theirs and "canaryTrafficPercent" not in ours


def _is_foreign(model: PuzzleModel, meta: JsonObject) -> bool:
    owner = _controller(meta)
    if owner.get("uid") == model.uid:
        return False
    if owner.get("kind") == KIND and owner.get("name") == model.name:
        raise Unavailable("the InferenceService of a deleted PuzzleModel is still being removed", retry_after=1.0)
    return bool(owner) or not _is_labelled(model, meta)


def _revision(item: JsonObject) -> Revision:
    meta = item["metadata"]
    ready: JsonObject = _condition(item, "Ready")
    return Revision(
        name=meta["name"],
        version=(meta.get("annotations") or {}).get(VERSION_ANNOTATION, ""),
        generation=int((meta.get("labels") or {}).get(_GENERATION_LABEL, 0)),
        ready=ready.get("status") == "True",
        message=" ".join(filter(None, (ready.get("reason"), ready.get("message"))))[:_MAX_MESSAGE],
    )


def _is_serving(pod: JsonObject) -> bool:
    meta = pod["metadata"]
    return _REVISION_LABEL in (meta.get("labels") or {}) and not meta.get("deletionTimestamp")


def _pod(item: JsonObject) -> Pod:
    status = item.get("status") or {}
    serving = status.get("containerStatuses") or []
    starting = status.get("initContainerStatuses") or []
    waiting, message = _waiting([*serving, *starting])
    return Pod(
        name=item["metadata"]["name"],
        revision=item["metadata"]["labels"][_REVISION_LABEL],
        ready=_condition(item, "Ready").get("status") == "True",
        restarts=sum(int(c.get("restartCount", 0)) for c in serving),
        waiting=waiting,
        message=message,
        refused=any(_is_refusal(container) for container in serving),
        started=_counting_since(serving),
    )


def _counting_since(containers: list[JsonObject]) -> datetime | None:
    """Start of queue-proxy; without one, of the youngest container."""
    starts = {
        str(c.get("name")): at
        for c in containers
        if (at := ((c.get("state") or {}).get("running") or {}).get("startedAt"))
    }
    text = starts.get("queue-proxy") or max(starts.values(), default=None)
    return datetime.fromisoformat(text.replace("Z", "+00:00")) if text else None


def _waiting(containers: list[JsonObject]) -> tuple[str, str]:
    """The first container that waits for a reason worth telling, or has just failed, with how it ended last time.

    A container that crashes is seen waiting for its next start, ended, or running for a moment: all three tell the
    same story.
    """
    for container in containers:
        state = container.get("state") or {}
        waiting = state.get("waiting") or {}
        last = _failed_end(state) or _failed_end(container.get("lastState") or {})
        reason = str(waiting.get("reason", ""))
        if reason in {"", "PodInitializing", "ContainerCreating"}:
            reason = "" if container.get("ready") else str(last.get("reason", ""))
        if reason:
            ended = (last.get("message") or "").strip().splitlines()
            said = ended[-1] if ended else (waiting.get("message") or last.get("reason") or "")
            return reason, f"container {container.get('name')}: {said}"[:300]
    return "", ""


def _is_refusal(container: JsonObject) -> bool:
    state = container.get("state") or {}
    last = _failed_end(state) or _failed_end(container.get("lastState") or {})
    return not container.get("ready") and last.get("exitCode") == _REFUSED


def _failed_end(state: JsonObject) -> JsonObject:
    ended: JsonObject = state.get("terminated") or {}
    return ended if ended.get("exitCode", 1) else {}


def _condition(item: JsonObject, kind: str) -> JsonObject:
    conditions: list[JsonObject] = (item.get("status") or {}).get("conditions") or []
    return next((c for c in conditions if c.get("type") == kind), {})


def _why_not(conditions: list[JsonObject]) -> str:
    for condition in sorted(conditions, key=lambda c: str(c.get("type"))):
        if condition.get("status") == "False" and condition.get("message"):
            return f"{condition['type']}: {condition['message']}"[:_MAX_MESSAGE]
    return "KServe has not reported it ready yet"


def _model_path(namespace: str, name: str) -> str:
    return f"/apis/{GROUP}/{VERSION}/namespaces/{namespace}/{PLURAL}/{name}"


def _secret_text(found: JsonObject, secret: str, key: str) -> str:
    raw: Any = (found.get("data") or {}).get(key)
    try:
        text = base64.b64decode(raw or "", validate=True).decode()
    except (binascii.Error, UnicodeDecodeError) as exc:
        raise Rejected(f"Secret {secret}: key {key} is not text") from exc
    if not text:
        raise Rejected(f"Secret {secret} lacks the key {key}")
    return text
