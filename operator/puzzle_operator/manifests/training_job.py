"""The Job of one run of retraining: a trainer beside the cameras' cluster, with no rights but those of its Secrets.

Everything follows from the stored run and the spec: a Job that is made twice is the same Job.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

from puzzle_common.durations import parse_duration
from puzzle_operator.api.base import JsonObject
from puzzle_operator.api.monitoring import DataQuality
from puzzle_operator.api.names import RUN_LABEL
from puzzle_operator.api.resource import PuzzleModel
from puzzle_operator.api.retraining import Retraining, RetrainingStatus
from puzzle_operator.core.retraining.names import job_of
from puzzle_operator.core.retraining.triggers import parse_quantity

from .metadata import owned
from .trainer_pod import (
    CONTAINER,
    DISRUPTIONS_IGNORED,
    TERMINATION_LOG,
    TOKENS,
    TRAINER_LABELS,
    Trainer,
    token_mount,
    token_volume,
    trainer_container,
    trainer_pod,
)
from .training_team import TRAINS_LABEL, service_name, team_failures, team_place, team_spec

COUNTER_LABEL = f"{RUN_LABEL}-counter"
TRIGGER_ANNOTATION = f"{RUN_LABEL}-trigger"
GPU = "nvidia.com/gpu"
WRONG_USAGE = 2
_KEYS = "/var/run/puzzle/signing"
_LONGEST_TRIGGER = 1000


@dataclass(frozen=True, slots=True)
class Store:
    """How the Secret says that the registry is reached."""

    https: bool
    region: str = "us-east-1"


def training_job(model: PuzzleModel, run: RetrainingStatus, trainer: Trainer, store: Store) -> JsonObject:
    """The Job of a run."""
    spec = model.spec.retraining
    name = run.run or ""
    meta = owned(model, job_of(run))
    meta["labels"] |= {RUN_LABEL: name, COUNTER_LABEL: str(run.counter)}
    meta["annotations"] = {TRIGGER_ANNOTATION: (run.trigger or "")[:_LONGEST_TRIGGER]}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": meta,
        "spec": {
            **_pods(spec.job.workers, spec.job.backoff_limit),
            "activeDeadlineSeconds": max(1, round(parse_duration(spec.job.deadline).total_seconds())),
            # A pod is only replaced once it has ended: two trainers never write one checkpoint.
            "podReplacementPolicy": "Failed",
            "podFailurePolicy": {
                "rules": [
                    DISRUPTIONS_IGNORED,
                    {
                        "action": "FailJob",
                        "onExitCodes": {"containerName": CONTAINER, "operator": "In", "values": [WRONG_USAGE]},
                    },
                    *(team_failures(CONTAINER) if spec.job.workers > 1 else []),
                ]
            },
            "template": {
                "metadata": {
                    # Not the model's label: these pods serve nothing.
                    "labels": {**TRAINER_LABELS, RUN_LABEL: name, TRAINS_LABEL: model.name},
                    "annotations": {"cluster-autoscaler.kubernetes.io/safe-to-evict": "true"},
                },
                "spec": _pod(model, run, trainer, store),
            },
        },
    }


def _pods(workers: int, backoff_limit: int) -> JsonObject:
    if workers > 1:
        return team_spec(workers, backoff_limit)
    return {"completions": 1, "parallelism": 1, "backoffLimit": backoff_limit}


def _pod(model: PuzzleModel, run: RetrainingStatus, trainer: Trainer, store: Store) -> JsonObject:
    job = model.spec.retraining.job
    pod = trainer_pod(_container(model, run, trainer, store), _volumes(trainer), grace_s=60)
    # Without GPUs the run is not bound to the pool that has them.
    if job.node_selector and not run.cpu:
        pod["nodeSelector"] = dict(sorted(job.node_selector.items()))
    if job.workers > 1:
        pod["subdomain"] = service_name(model)
    if job.tolerations:
        pod["tolerations"] = [toleration.to_wire() for toleration in job.tolerations]
    return pod


def _container(model: PuzzleModel, run: RetrainingStatus, trainer: Trainer, store: Store) -> JsonObject:
    secret, workers = model.spec.storage.secret_ref.name, model.spec.retraining.job.workers
    own: JsonObject = {
        "env": [
            _from_secret("AWS_ACCESS_KEY_ID", secret),
            _from_secret("AWS_SECRET_ACCESS_KEY", secret),
            {"name": "AWS_REGION", "value": store.region},
            # Part of the provenance of what it makes.
            {"name": "PUZZLENET_IMAGE", "value": trainer.image},
            {"name": "HOME", "value": "/work"},
            # Pictures and checkpoints are unpacked where there is room.
            {"name": "TMPDIR", "value": "/work"},
            *(team_place(model, job_of(run), workers) if workers > 1 else []),
        ],
        "resources": _resources(model.spec.retraining, run),
        "volumeMounts": [
            {"name": "tmp", "mountPath": "/tmp"},  # noqa: S108 - in the pod, and its own
            {"name": "work", "mountPath": "/work"},
            {"name": "shm", "mountPath": "/dev/shm"},  # noqa: S108
            *([token_mount()] if trainer.monitor_url else []),
            *([{"name": "signing", "mountPath": _KEYS, "readOnly": True}] if trainer.signing_secret else []),
        ],
    }
    return trainer_container(trainer, arguments(model, run, trainer, store), "/work", own)


def _from_secret(name: str, secret: str) -> JsonObject:
    return {"name": name, "valueFrom": {"secretKeyRef": {"name": secret, "key": name}}}


def _resources(spec: Retraining, run: RetrainingStatus) -> JsonObject:
    requests = {name: str(amount) for name, amount in sorted(spec.job.resources.requests.items())}
    limits = {name: str(amount) for name, amount in sorted(spec.job.resources.limits.items())}
    if spec.job.gpus and not run.cpu:
        limits[GPU] = str(spec.job.gpus)
    return {"requests": requests, "limits": limits}


def _volumes(trainer: Trainer) -> list[JsonObject]:
    volumes: list[JsonObject] = [
        {"name": "tmp", "emptyDir": {"sizeLimit": "2Gi"}},
        {"name": "work", "emptyDir": {"sizeLimit": "20Gi"}},
        # Loaders of pictures hand batches over by shared memory; it counts towards the memory limit.
        {"name": "shm", "emptyDir": {"medium": "Memory", "sizeLimit": "1Gi"}},
    ]
    if trainer.monitor_url:
        volumes.append(token_volume(trainer))
    if trainer.signing_secret:
        source = {"secretName": trainer.signing_secret, "optional": True, "defaultMode": 0o440}
        volumes.append({"name": "signing", "secret": source})
    return volumes


def arguments(model: PuzzleModel, run: RetrainingStatus, trainer: Trainer, store: Store) -> list[str]:
    """What the trainer is told: `puzzlenet retrain …`."""
    spec, storage = model.spec.retraining, model.spec.storage
    size, calibration = parse_quantity(spec.gate.max_size), spec.gate.max_calibration_error
    given: dict[str, str | None] = {
        "--run": run.run,
        "--namespace": model.namespace,
        "--model": model.name,
        "--line": model.spec.line,
        "--champion": run.champion,
        "--endpoint": storage.endpoint,
        "--bucket": storage.bucket,
        "--trigger": (run.trigger or "")[:_LONGEST_TRIGGER],
        "--monitor": trainer.monitor_url or None,
        "--monitor-token-file": f"{TOKENS}/token" if trainer.monitor_url else None,
        "--sign-key": f"{_KEYS}/sign.key" if trainer.signing_secret else None,
        "--verify-key": f"{_KEYS}/verify.pub" if trainer.signing_secret else None,
        "--gate-margin": _number(spec.gate.margin),
        "--gate-alpha": _number(spec.gate.alpha),
        "--recall-floor": _number(spec.gate.per_class_recall_floor),
        "--max-latency": spec.gate.max_latency,
        "--max-bytes": str(max(1, int(size))) if size is not None else None,
        "--max-calibration-error": _number(calibration) if calibration is not None else None,
        "--epochs": str(spec.epochs) if spec.epochs is not None else None,
        **_quality(model.spec.data_quality),
        "--device": "auto" if spec.job.gpus and not run.cpu else "cpu",
        "--termination-log": TERMINATION_LOG,
    }
    words = ["retrain"]
    for flag, value in given.items():
        words += [flag, value] if value is not None else []
    # Last: a flag without a value.
    return words if store.https else [*words, "--insecure"]


def _quality(spec: DataQuality) -> dict[str, str | None]:
    """What the pictures of a training must be like."""
    size, brightness = spec.size, spec.brightness
    return {
        "--min-images": str(spec.min_images) if spec.min_images is not None else None,
        "--max-lateness": spec.max_lateness,
        "--size": "x".join(map(str, size)) if size is not None else None,
        "--brightness": ",".join(map(_number, brightness)) if brightness is not None else None,
    }


def _number(value: float) -> str:
    return json.dumps(value)
