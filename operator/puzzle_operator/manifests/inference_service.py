"""The InferenceService of a model, and the identity under which its predictors read the registry.

Knative makes a new revision whenever the predictor's template differs by a byte, and a revision restarts
pods. So everything here follows from the version and the spec alone: no times, no generations, no order that
may vary.
"""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import dataclass

from puzzle_common.durations import parse_duration
from puzzle_operator.api.base import JsonObject
from puzzle_operator.api.names import MODEL_LABEL, VERSION_ANNOTATION
from puzzle_operator.api.resource import PuzzleModel
from puzzle_operator.core.names import service_account, storage_uri
from puzzle_operator.core.traffic import Plan

from .metadata import owned

RUNTIMES = {"torchserve": "puzzlenet-torchserve"}
"""ClusterServingRuntimes of the chart, by `spec.serving.runtime`."""
_TOKEN_VOLUME = "monitor-token"  # noqa: S105 - a volume
_TOKEN_FOLDER = "/var/run/puzzle/monitor"  # noqa: S105 - a folder


@dataclass(frozen=True, slots=True)
class Recording:
    """Where predictions send records, and the Secret in the model's namespace that holds their token."""

    url: str
    secret: str


def inference_service(model: PuzzleModel, plan: Plan, recording: Recording | None = None) -> JsonObject:
    """One version and its share of traffic, as KServe takes it.

    `canaryTrafficPercent` is left out when the plan has none: server-side apply then removes ours.
    """
    serving = model.spec.serving
    predictor: JsonObject = {
        "serviceAccountName": service_account(model.name),
        "minReplicas": serving.min_replicas,
        "maxReplicas": serving.max_replicas,
        "timeout": math.ceil(parse_duration(serving.timeout).total_seconds()),
        "labels": {MODEL_LABEL: model.name},
        # Knative copies it to the revision: this is how a revision's version is known (a label has no room
        # for it).
        "annotations": {VERSION_ANNOTATION: plan.version},
        "model": {
            "modelFormat": {"name": "puzzlenet", "version": "1"},
            "runtime": RUNTIMES[serving.runtime],
            "protocolVersion": "v2",
            "storageUri": storage_uri(model.spec.storage.bucket, plan.version),
            "resources": {
                "requests": _texts(serving.resources.requests),
                "limits": _texts(serving.resources.limits),
            },
            "env": [
                {"name": "PUZZLENET_VERSION", "value": plan.version},
                {"name": "PUZZLENET_LINE", "value": model.spec.line},
            ],
        },
    }
    if recording is not None and model.spec.records.enabled:
        _record(predictor, model, recording)
    if plan.percent is not None:
        predictor["canaryTrafficPercent"] = plan.percent
    meta = owned(model, model.name)
    meta["annotations"] = {"serving.kserve.io/deploymentMode": serving.mode}
    return {
        "apiVersion": "serving.kserve.io/v1beta1",
        "kind": "InferenceService",
        "metadata": meta,
        "spec": {"predictor": predictor},
    }


def _record(predictor: JsonObject, model: PuzzleModel, recording: Recording) -> None:
    """Have the predictor tell the monitor. The token is optional: a Secret that is missing must not stop serving."""
    records = model.spec.records
    values = {
        "PUZZLENET_NAMESPACE": model.namespace,
        "PUZZLENET_MODEL": model.name,
        "PUZZLE_MONITOR_URL": recording.url,
        "PUZZLE_MONITOR_TOKEN_FILE": f"{_TOKEN_FOLDER}/token",
        "PUZZLE_MONITOR_IMAGE_SHARE": f"{records.image_share:g}",
        "PUZZLE_MONITOR_IMAGE_BELOW": f"{records.image_below:g}",
    }
    predictor["model"]["env"] += [{"name": name, "value": value} for name, value in values.items()]
    predictor["model"]["volumeMounts"] = [{"name": _TOKEN_VOLUME, "mountPath": _TOKEN_FOLDER, "readOnly": True}]
    secret = {
        "secretName": recording.secret,
        "items": [{"key": "token", "path": "token"}],
        "optional": True,
    }
    predictor["volumes"] = [{"name": _TOKEN_VOLUME, "secret": secret}]


def predictor_identity(model: PuzzleModel) -> JsonObject:
    """The ServiceAccount of the predictors. KServe's storage initializer takes the registry's credentials
    from the Secret that it names; a predictor has no business with the Kubernetes API and gets no token."""
    return {
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": owned(model, service_account(model.name)),
        "secrets": [{"name": model.spec.storage.secret_ref.name}],
        "automountServiceAccountToken": False,
    }


def objects_for(model: PuzzleModel, plan: Plan, recording: Recording | None = None) -> tuple[JsonObject, ...]:
    """Everything that a plan needs, in the order in which it must exist."""
    return predictor_identity(model), inference_service(model, plan, recording)


def fingerprint(objects: tuple[JsonObject, ...]) -> str:
    """Short hash of what is applied, to tell a decision of our own from a hand edit."""
    text = json.dumps(objects, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _texts(amounts: dict[str, int | str]) -> dict[str, str]:
    return {name: str(amount) for name, amount in sorted(amounts.items())}
