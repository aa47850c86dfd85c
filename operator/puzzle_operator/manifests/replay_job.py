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
from .trainer_pod import (
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
            "podFailurePolicy": {"rules": [DISRUPTIONS_IGNORED]},
            "template": {
                # Not the model's label: this pod serves nothing.
                "metadata": {"labels": {**TRAINER_LABELS, REPLAY_LABEL: name}},
                "spec": _pod(model, showing, trainer, deadline * _SHARE_FOR_SHOWING),
            },
        },
    }


def _pod(model: PuzzleModel, showing: Showing, trainer: Trainer, seconds: float) -> JsonObject:
    home = "/tmp"  # noqa: S108 - in the pod, and its own
    own: JsonObject = {
        "env": [{"name": "HOME", "value": home}],
        "resources": {
            "requests": {"cpu": "50m", "memory": "128Mi"},
            "limits": {"cpu": "1", "memory": "384Mi"},
        },
        "volumeMounts": [{"name": "tmp", "mountPath": home}, token_mount()],
    }
    container = trainer_container(trainer, arguments(model, showing, trainer, seconds), home, own)
    return trainer_pod(
        container, [{"name": "tmp", "emptyDir": {"sizeLimit": "64Mi"}}, token_volume(trainer)], grace_s=5
    )


def arguments(model: PuzzleModel, showing: Showing, trainer: Trainer, seconds: float) -> list[str]:
    """What the Job is told: `puzzlenet replay …`."""
    words = ["replay", "--namespace", model.namespace, "--model", model.name]
    words += ["--monitor", trainer.monitor_url, "--monitor-token-file", f"{TOKENS}/token"]
    words += ["--champion", showing.champion, "--champion-version", showing.champion_version]
    words += ["--challenger", showing.challenger, "--challenger-version", showing.challenger_version]
    words += ["--pieces", str(model.spec.canary.replay.pieces), "--seconds", f"{seconds:g}"]
    if showing.since is not None:
        words += ["--since", showing.since.isoformat(timespec="milliseconds").replace("+00:00", "Z")]
    return [*words, "--termination-log", TERMINATION_LOG]
