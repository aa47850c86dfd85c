"""What kopf watches, and whom it wakes. No decision is made here, and nothing of an event's body is used but
names.

Plain event handlers leave no mark on the objects: no finalizer, no annotation.
"""

from __future__ import annotations

from typing import Any

import kopf

from puzzle_operator.api.names import (
    GROUP,
    MODEL_LABEL,
    PLURAL,
    PROMOTE_ANNOTATION,
    RETRAIN_ANNOTATION,
    RETRY_ANNOTATION,
    RUN_LABEL,
    VERSION,
)

from .workers import Workers

_WISHES = (RETRY_ANNOTATION, PROMOTE_ANNOTATION, RETRAIN_ANNOTATION)
"""What people ask for by annotation."""


class Watch:
    """Registers the handlers on a kopf registry and keeps what was last seen of each object."""

    def __init__(self, registry: kopf.OperatorRegistry, workers: Workers) -> None:
        self._workers = workers
        self._seen: dict[str, object] = {}
        kopf.on.event(GROUP, VERSION, PLURAL, registry=registry, id="model")(self.model_event)
        kopf.on.event(
            "serving.kserve.io",
            "v1beta1",
            "inferenceservices",
            labels={MODEL_LABEL: kopf.PRESENT},
            registry=registry,
            id="service",
        )(self.service_event)
        kopf.on.event(
            "batch",
            "v1",
            "jobs",
            labels={MODEL_LABEL: kopf.PRESENT, RUN_LABEL: kopf.PRESENT},
            registry=registry,
            id="job",
        )(self.job_event)

    async def model_event(self, event: Any, **_: Any) -> None:
        """A PuzzleModel was made, edited or deleted. Our own writes of its status wake nobody."""
        meta = event["object"]["metadata"]
        annotations = meta.get("annotations") or {}
        wants = tuple(annotations.get(name) for name in _WISHES)
        self._wake_on_change(
            f"model/{meta['uid']}",
            event["type"],
            (meta.get("generation"), wants, meta.get("deletionTimestamp")),
            meta["namespace"],
            meta["name"],
        )

    async def service_event(self, event: Any, **_: Any) -> None:
        """KServe moved traffic, a revision got ready, or somebody edited or deleted the InferenceService."""
        body = event["object"]
        meta, status = body["metadata"], body.get("status") or {}
        predictor = (status.get("components") or {}).get("predictor") or {}
        ready = [c.get("status") for c in status.get("conditions") or [] if c.get("type") == "Ready"]
        seen = (
            meta.get("generation"),
            meta.get("deletionTimestamp"),
            repr(predictor.get("traffic")),
            predictor.get("latestReadyRevision"),
            predictor.get("latestCreatedRevision"),
            predictor.get("latestRolledoutRevision"),
            tuple(ready),
        )
        model = meta["labels"][MODEL_LABEL]
        self._wake_on_change(f"service/{meta['uid']}", event["type"], seen, meta["namespace"], model)

    async def job_event(self, event: Any, **_: Any) -> None:
        """A training Job was made, got or lost its pod, ended, or was deleted."""
        body = event["object"]
        meta, status = body["metadata"], body.get("status") or {}
        ended = [(c.get("type"), c.get("status")) for c in status.get("conditions") or []]
        seen = (
            meta.get("deletionTimestamp"),
            status.get("active"),
            status.get("ready"),
            status.get("failed"),
            status.get("succeeded"),
            tuple(sorted(ended)),
        )
        model = meta["labels"][MODEL_LABEL]
        self._wake_on_change(f"job/{meta['uid']}", event["type"], seen, meta["namespace"], model)

    def _wake_on_change(self, key: str, kind: str | None, seen: object, namespace: str, name: str) -> None:
        if kind == "DELETED":
            self._seen.pop(key, None)
        elif self._seen.get(key) == seen:
            return
        else:
            self._seen[key] = seen
        self._workers.wake(namespace, name)
