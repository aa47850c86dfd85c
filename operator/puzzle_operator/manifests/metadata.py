"""Name, labels and owner of what the operator makes."""

from __future__ import annotations

from puzzle_operator.api.base import JsonObject
from puzzle_operator.api.names import API_VERSION, KIND, MODEL_LABEL
from puzzle_operator.api.resource import PuzzleModel

MANAGER = "puzzle-operator"
MANAGED_BY_LABEL = "app.kubernetes.io/managed-by"


def owned(model: PuzzleModel, name: str) -> JsonObject:
    """Metadata of an object that goes with the PuzzleModel, with the operator up or down."""
    return {
        "name": name,
        "namespace": model.namespace,
        "labels": {MANAGED_BY_LABEL: MANAGER, MODEL_LABEL: model.name},
        "ownerReferences": [
            {
                "apiVersion": API_VERSION,
                "kind": KIND,
                "name": model.name,
                "uid": model.uid,
                "controller": True,
                "blockOwnerDeletion": True,
            }
        ],
    }
