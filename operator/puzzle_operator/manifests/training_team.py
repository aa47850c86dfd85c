"""What a Job of several workers has besides: indexes, host names for its pods, and other ways to fail."""

from __future__ import annotations

from puzzle_operator.api.base import JsonObject
from puzzle_operator.api.names import GROUP
from puzzle_operator.api.resource import PuzzleModel

from .metadata import owned

TRAINS_LABEL = f"{GROUP}/trains"
"""On the pods of a Job: the model that they train. Not the model's own label: they serve nothing."""
PORT = 29500
_GROUP_GONE = 3
_ABORTED = 128 + 6


def service_name(model: PuzzleModel) -> str:
    """The subdomain of a model's trainers."""
    return f"{model.name}-trainers"


def trainers_service(model: PuzzleModel) -> JsonObject:
    """The headless Service that gives each worker a host name. One for all runs of a model: it is made before a Job."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": owned(model, service_name(model)),
        "spec": {
            "clusterIP": "None",
            "selector": {TRAINS_LABEL: model.name},
            # Workers look for each other before anything calls them ready.
            "publishNotReadyAddresses": True,
            "ports": [{"name": "rendezvous", "port": PORT}],
        },
    }


def team_spec(workers: int, backoff_limit: int) -> JsonObject:
    """How many pods, and when the Job has ended.

    The limit is each worker's own: data that are too large for the memory end all of them at once, and one limit for
    all would be used up by that. A worker that has failed for good ends the Job: the others would wait for it at each
    meeting. The first worker decides, so that the Job is done when it is, whether or not the others ever started.
    """
    return {
        "completionMode": "Indexed",
        "completions": workers,
        "parallelism": workers,
        "backoffLimitPerIndex": backoff_limit,
        "maxFailedIndexes": 0,
        "successPolicy": {"rules": [{"succeededIndexes": "0", "succeededCount": 1}]},
    }


def team_failures(container: str) -> list[JsonObject]:
    """Ends that are another worker's fault: what NCCL leaves of a process whose peer is gone."""
    codes = {"containerName": container, "operator": "In", "values": [_GROUP_GONE, _ABORTED]}
    return [{"action": "Ignore", "onExitCodes": codes}]


def team_place(model: PuzzleModel, job: str, workers: int) -> list[JsonObject]:
    """Where worker 0 is found. A worker's own number is JOB_COMPLETION_INDEX, which Kubernetes sets."""
    return [
        {"name": "JOB_COMPLETIONS", "value": str(workers)},
        {"name": "MASTER_ADDR", "value": f"{job}-0.{service_name(model)}"},
        {"name": "MASTER_PORT", "value": str(PORT)},
    ]
