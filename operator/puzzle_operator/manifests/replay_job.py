"""The Job of a shadow replay: short, small, without rights but the monitor's token.

Everything follows from the stored rollout, the spec and what serves, so a Job that is made twice is the same Job.
"""

from __future__ import annotations

from puzzle_common.durations import parse_duration
from puzzle_operator.api.base import JsonObject
from puzzle_operator.api.names import REPLAY_LABEL
from puzzle_operator.api.resource import PuzzleModel
from puzzle_operator.core.replay.facts import Showing

from .metadata import owned
from .training_job import CONTAINER, TRAINER_LABELS, Trainer

_USER = 65532
_TOKENS = "/var/run/puzzle/monitor"
_KEPT_S = 24 * 3600
"""An ended Job goes when its result is stored. This is for one that a lost status does not know any more."""
_SHARE_FOR_SHOWING = 0.6
"""Of the deadline; the rest is for the pod to start. What was compared by then counts."""


def replay_job(model: PuzzleModel, showing: Showing, trainer: Trainer) -> JsonObject:
    """The Job of a replay."""
    name = showing.job
    deadline = parse_duration(model.spec.canary.replay.deadline).total_seconds()
    meta = owned(model, name)
    meta["labels"][REPLAY_LABEL] = name
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": meta,
        "spec": {
            "completions": 1,
            "parallelism": 1,
            "backoffLimit": 0,
            "activeDeadlineSeconds": max(1, round(deadline)),
            "ttlSecondsAfterFinished": _KEPT_S,
            "podReplacementPolicy": "Failed",
            "podFailurePolicy": {
                "rules": [{"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]}]
            },
            "template": {
                # Not the model's label: this pod serves nothing.
                "metadata": {"labels": {**TRAINER_LABELS, REPLAY_LABEL: name}},
                "spec": _pod(model, showing, trainer, deadline * _SHARE_FOR_SHOWING),
            },
        },
    }


def _pod(model: PuzzleModel, showing: Showing, trainer: Trainer, seconds: float) -> JsonObject:
    container: JsonObject = {
        "name": CONTAINER,
        "image": trainer.image,
        "imagePullPolicy": trainer.pull_policy,
        "args": arguments(model, showing, trainer, seconds),
        "workingDir": "/tmp",  # noqa: S108 - in the pod, and its own
        "env": [{"name": "HOME", "value": "/tmp"}],  # noqa: S108
        "resources": {
            "requests": {"cpu": "50m", "memory": "128Mi"},
            "limits": {"cpu": "1", "memory": "384Mi"},
        },
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "terminationMessagePath": "/dev/termination-log",
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "volumeMounts": [
            {"name": "tmp", "mountPath": "/tmp"},  # noqa: S108
            {"name": "monitor", "mountPath": _TOKENS, "readOnly": True},
        ],
    }
    if trainer.command:
        container["command"] = list(trainer.command)
    token = {
        "secretName": trainer.monitor_secret,
        "items": [{"key": "trainer", "path": "token"}],
        # A Secret that is missing shall be a sentence, not a pod that never starts.
        "optional": True,
        "defaultMode": 0o440,
    }
    return {
        "restartPolicy": "Never",
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": 5,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": _USER,
            "runAsGroup": _USER,
            "fsGroup": _USER,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [container],
        "volumes": [
            {"name": "tmp", "emptyDir": {"sizeLimit": "64Mi"}},
            {"name": "monitor", "secret": token},
        ],
    }


def arguments(model: PuzzleModel, showing: Showing, trainer: Trainer, seconds: float) -> list[str]:
    """What the Job is told: `puzzlenet replay …`."""
    words = ["replay", "--namespace", model.namespace, "--model", model.name]
    words += ["--monitor", trainer.monitor_url, "--monitor-token-file", f"{_TOKENS}/token"]
    words += ["--champion", showing.champion, "--champion-version", showing.champion_version]
    words += ["--challenger", showing.challenger, "--challenger-version", showing.challenger_version]
    words += ["--pieces", str(model.spec.canary.replay.pieces), "--seconds", f"{seconds:g}"]
    if showing.since is not None:
        words += ["--since", showing.since.isoformat(timespec="milliseconds").replace("+00:00", "Z")]
    return [*words, "--termination-log", "/dev/termination-log"]
