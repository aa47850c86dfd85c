"""Builders of what tests speak about: a model, a service, a world in which a rollout plays. Sentences, not
JSON."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any, Self

from puzzle_operator.api.names import API_VERSION, KIND, PROMOTE_ANNOTATION, RETRY_ANNOTATION
from puzzle_operator.api.resource import PuzzleModel
from puzzle_operator.api.status import PuzzleModelStatus

T0 = datetime(2026, 11, 23, 14, 0, tzinfo=UTC)


def digest(seed: int | str) -> str:
    """A version's digest that is easy to tell from others: `digest(2)` is sha256:222…"""
    return "sha256:" + (str(seed) * 64)[:64]


# A rollout of few requests: a tenth of bad ones more is negligible.
METRICS = [
    {"name": "errors", "type": "ErrorRate", "maxRiskRatio": 1.5, "negligible": 0.1},
    {"name": "slow", "type": "Latency", "slo": "500ms", "maxRiskRatio": 2.0, "negligible": 0.1},
]
V1, V2, V3 = digest(1), digest(2), digest(3)


class ModelBuilder:
    """A PuzzleModel manifest, valid unless told otherwise."""

    def __init__(self, name: str = "line-1", namespace: str = "lyon") -> None:
        self.body: dict[str, Any] = {
            "apiVersion": API_VERSION,
            "kind": KIND,
            "metadata": {"name": name, "namespace": namespace, "uid": f"uid-{name}", "generation": 1},
            "spec": {
                "line": name,
                "model": {"version": V1},
                "canary": {
                    "steps": [
                        {"weight": 10, "minDuration": "30s"},
                        {"weight": 50, "minDuration": "30s"},
                    ],
                    "analysis": {"interval": "5s", "minRequests": 50, "warmUpRequests": 0, "metrics": METRICS},
                    "progressDeadline": "5m",
                    "bake": "1m",
                },
            },
        }

    def version(self, version: str) -> Self:
        self.body["spec"]["model"]["version"] = version
        return self

    def with_default_canary(self) -> Self:
        self.body["spec"]["canary"] = {}
        return self

    def paused(self, paused: bool = True) -> Self:
        self.body["spec"]["paused"] = paused
        return self

    def steps(self, *weights: int, min_duration: str = "30s") -> Self:
        self.body["spec"]["canary"]["steps"] = [{"weight": weight, "minDuration": min_duration} for weight in weights]
        return self

    def canary(self, **fields: Any) -> Self:
        self.body["spec"]["canary"].update(fields)
        return self

    def analysis(self, **fields: Any) -> Self:
        self.body["spec"]["canary"]["analysis"].update(fields)
        return self

    def serving(self, **fields: Any) -> Self:
        self.body["spec"].setdefault("serving", {}).update(fields)
        return self

    def retraining(self, **fields: Any) -> Self:
        self.body["spec"].setdefault("retraining", {}).update(fields)
        return self

    def retrying(self, version: str | None) -> Self:
        return self.annotated(RETRY_ANNOTATION, version)

    def consenting(self, value: str | None) -> Self:
        return self.annotated(PROMOTE_ANNOTATION, value)

    def annotated(self, name: str, value: str | None) -> Self:
        annotations = self.body["metadata"].setdefault("annotations", {})
        annotations.pop(name, None)
        if value is not None:
            annotations[name] = value
        return self

    def automation(self, automation: str) -> Self:
        self.body["spec"]["automation"] = automation
        return self

    def with_status(self, status: PuzzleModelStatus | dict[str, Any]) -> Self:
        self.body["status"] = status.to_wire() if isinstance(status, PuzzleModelStatus) else status
        return self

    def manifest(self) -> dict[str, Any]:
        """As a person would write it: without what the API server adds."""
        meta = {k: v for k, v in self.body["metadata"].items() if k not in {"uid", "generation"}}
        return {**{k: v for k, v in self.body.items() if k != "status"}, "metadata": meta}

    def build(self) -> PuzzleModel:
        return PuzzleModel.parse(self.body)


def a_model(name: str = "line-1", namespace: str = "lyon") -> ModelBuilder:
    return ModelBuilder(name, namespace)


def after(seconds: float) -> datetime:
    return T0 + timedelta(seconds=seconds)
