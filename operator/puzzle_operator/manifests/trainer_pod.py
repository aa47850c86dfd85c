"""What pods of the trainer's image have in common: no rights, no root, nothing writable but their own volumes."""

from __future__ import annotations

from dataclasses import dataclass

from puzzle_operator.api.base import JsonObject

from .metadata import MANAGED_BY_LABEL, MANAGER

TRAINER_LABELS = {"app.kubernetes.io/name": "puzzle-trainer", MANAGED_BY_LABEL: MANAGER}
"""On the pods: what a NetworkPolicy of the monitor, the store or the trainers selects."""
CONTAINER = "trainer"
TOKENS = "/var/run/puzzle/monitor"
TERMINATION_LOG = "/dev/termination-log"
DISRUPTIONS_IGNORED = {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]}
"""Rule of a Job: a pod that is evicted is no failed try."""
_USER = 65532


@dataclass(frozen=True, slots=True)
class Trainer:
    """What the operator's settings say about trainers.

    Attributes:
        command: replaces the image's entry point and the arguments' first word; for tests.
        monitor_url: empty without a monitor.
        monitor_secret: holds the token `trainer`, in the model's namespace.
        signing_secret: holds `sign.key` and `verify.pub`; empty: versions are not signed.
    """

    image: str
    pull_policy: str = "IfNotPresent"
    command: tuple[str, ...] = ()
    monitor_url: str = ""
    monitor_secret: str = "puzzle-monitor-ingest"  # noqa: S105 - the name of a Secret
    signing_secret: str = ""


def trainer_pod(container: JsonObject, volumes: list[JsonObject], grace_s: int) -> JsonObject:
    """A pod under the restricted standard, without a token for the Kubernetes API."""
    return {
        "restartPolicy": "Never",
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": grace_s,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": _USER,
            "runAsGroup": _USER,
            "fsGroup": _USER,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [container],
        "volumes": volumes,
    }


def trainer_container(trainer: Trainer, args: list[str], home: str, own: JsonObject) -> JsonObject:
    """The container. ``home`` is its folder; ``own`` has env, resources and mounts of its kind of Job."""
    container: JsonObject = {
        "name": CONTAINER,
        "image": trainer.image,
        "imagePullPolicy": trainer.pull_policy,
        "args": args,
        "workingDir": home,
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "terminationMessagePath": TERMINATION_LOG,
        # One that dies without a word is quoted by its log.
        "terminationMessagePolicy": "FallbackToLogsOnError",
        **own,
    }
    if trainer.command:
        container["command"] = list(trainer.command)
    return container


def token_mount() -> JsonObject:
    """Where the monitor's token lies."""
    return {"name": "monitor", "mountPath": TOKENS, "readOnly": True}


def token_volume(trainer: Trainer) -> JsonObject:
    """The monitor's token. Optional: a Secret that is missing shall be a sentence, not a pod that never starts."""
    keys = [{"key": "trainer", "path": "token"}]
    source = {"secretName": trainer.monitor_secret, "items": keys, "optional": True, "defaultMode": 0o440}
    return {"name": "monitor", "secret": source}
