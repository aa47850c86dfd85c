"""What a person writes about the predictors: how many, how large, how patient."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import ConfigDict, Field

from .base import Duration, Wire, cel, duration_schema, rules

_QUANTITY = {
    "anyOf": [{"type": "integer"}, {"type": "string"}],
    "x-kubernetes-int-or-string": True,
    "maxLength": 32,
    "x-kubernetes-validations": [
        cel("isQuantity(string(self))", "spec.serving.resources: amounts are quantities such as 500m or 2Gi")
    ],
}
Quantities = Annotated[
    dict[str, int | str],
    Field(json_schema_extra={"additionalProperties": _QUANTITY, "maxProperties": 8}),
]


def _default_requests() -> dict[str, int | str]:
    return {"cpu": "100m", "memory": "768Mi"}


def _default_limits() -> dict[str, int | str]:
    return {"memory": "2Gi"}


class Resources(Wire):
    """Resources of one predictor, as Kubernetes takes them. A rollout keeps two predictors up."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            cel(
                "self.requests.all(k, !(k in self.limits) || quantity(string(self.requests[k]))"
                ".compareTo(quantity(string(self.limits[k]))) <= 0)",
                "spec.serving.resources: no request may be above its limit",
            )
        )
    )
    requests: Quantities = Field(default_factory=_default_requests)
    """Guaranteed amounts."""
    limits: Quantities = Field(default_factory=_default_limits)
    """Upper bounds."""


class Serving(Wire):
    """How the model is served."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            cel(
                "self.minReplicas <= self.maxReplicas",
                "spec.serving: minReplicas must not be above maxReplicas",
            )
        )
    )
    runtime: Literal["torchserve"] = "torchserve"
    """Serving runtime; `torchserve` is the ClusterServingRuntime puzzlenet-torchserve of the chart."""
    mode: Literal["Knative"] = "Knative"
    """Deployment mode of KServe. Only Knative mode splits traffic in KServe 0.20."""
    min_replicas: Annotated[int, Field(ge=0, le=100)] = 1
    """Replicas kept without traffic. 0 lets an idle model scale to zero."""
    max_replicas: Annotated[int, Field(ge=1, le=100)] = 2
    """Most replicas of one revision."""
    resources: Resources = Field(default_factory=Resources)
    timeout: Annotated[
        Duration, Field(json_schema_extra=duration_schema("spec.serving.timeout", "1s", "10m", "30s"))
    ] = "30s"
    """Longest time for one request."""
