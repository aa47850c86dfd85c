"""What PuzzleModels are called in a cluster: group, kind, annotations and labels. Part of what people rely on, as
the schema is.
"""

from __future__ import annotations

GROUP = "puzzlenet.dev"
VERSION = "v1alpha1"
API_VERSION = f"{GROUP}/{VERSION}"
KIND = "PuzzleModel"
PLURAL = "puzzlemodels"

# What people and tools set on a PuzzleModel.
RETRY_ANNOTATION = f"{GROUP}/retry"
PROMOTE_ANNOTATION = f"{GROUP}/promote"
"""A person's consent to one move of a rollout: the value that `status.awaiting` shows."""
RETRAIN_ANNOTATION = f"{GROUP}/retrain"
"""Asks for a run of retraining; the value says why."""
CLASS_ANNOTATION = f"{GROUP}/operator-class"
"""Which operator acts on the model, where several run: as an ingress class."""

# What the operator sets on what it makes; Knative carries both to revisions and pods.
MODEL_LABEL = f"{GROUP}/model"
VERSION_ANNOTATION = f"{GROUP}/version"
REPLAY_LABEL = f"{GROUP}/replay"
"""On the Job of a shadow replay and its pod: the Job's name."""
RUN_LABEL = f"{GROUP}/run"
"""On a training Job and its pods: the name of the run."""

VERSION_PATTERN = r"^sha256:[0-9a-f]{64}$"
"""Digest of a model's version in the registry."""
