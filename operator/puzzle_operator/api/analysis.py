"""What a person writes about how a challenger is judged: the metrics, their tolerances, and the hard limits."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from pydantic import ConfigDict, Field

from .base import Duration, Wire, cel, duration_schema, rules


class MetricType(StrEnum):
    """What makes a request bad."""

    ERROR_RATE = "ErrorRate"
    LATENCY = "Latency"
    LABELLED_ERRORS = "LabelledErrors"
    CONFIDENCE = "Confidence"
    COUNTERS = "Counters"


CONFIDENCE_BOUNDS = (0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99)
"""Bounds of the histogram in which the monitor counts confidence: between them nothing was counted."""


class Metric(Wire):
    """One measure by which the challenger is compared with the champion."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            cel(
                "self.type != 'Latency' || has(self.slo)",
                "spec.canary.analysis.metrics: a Latency metric needs slo, the time above which a request "
                "counts "
                "as bad, such as 250ms",
            ),
            cel(
                "self.type == 'Latency' || !has(self.slo)",
                "spec.canary.analysis.metrics: slo belongs to Latency metrics only; leave it out or set type: Latency",
            ),
            cel(
                "self.type != 'Counters' || (has(self.bad) && has(self.total))",
                "spec.canary.analysis.metrics: a Counters metric needs bad and total, PromQL that returns "
                "one "
                "series for each revision with the labels namespace and revision",
            ),
            cel(
                "self.type == 'Counters' || (!has(self.bad) && !has(self.total))",
                "spec.canary.analysis.metrics: bad and total belong to Counters metrics only; "
                "leave them out or set type: Counters",
            ),
            cel(
                "self.type != 'Confidence' || has(self.below)",
                "spec.canary.analysis.metrics: a Confidence metric needs below, the confidence under which a "
                "prediction counts as bad, such as 0.6",
            ),
            cel(
                "self.type == 'Confidence' || !has(self.below)",
                "spec.canary.analysis.metrics: below belongs to Confidence metrics only; "
                "leave it out or set type: Confidence",
            ),
        )
    )
    name: Annotated[
        str,
        Field(
            json_schema_extra=rules(
                cel(
                    "self.matches('^[a-z][a-z0-9-]{0,30}$')",
                    "spec.canary.analysis.metrics: a name is up to 31 lower case letters, digits and dashes, "
                    "beginning with a letter",
                ),
                maxLength=64,
            )
        ),
    ]
    """Name in status, events and sentences."""
    type: MetricType
    """ErrorRate: responses with a code of 400 or more. Latency: responses slower than `slo`.
    LabelledErrors: labelled pieces whose label was another one, as puzzle-monitor counts them.
    Confidence: predictions with a confidence under `below`, as puzzle-monitor counts them.
    Counters: your own PromQL."""
    slo: Annotated[
        Duration | None,
        Field(json_schema_extra=duration_schema("spec.canary.analysis.metrics: slo", "1ms", "10m", "250ms")),
    ] = None
    """Latency only: a slower response is bad. Counted at the next bucket bound of Knative's histogram."""
    below: Annotated[
        float | None,
        Field(
            json_schema_extra=rules(
                cel(
                    f"self in [{', '.join(map(str, CONFIDENCE_BOUNDS))}]",
                    "spec.canary.analysis.metrics: below must be one of the bounds by which the monitor counts "
                    f"confidence: {', '.join(map(str, CONFIDENCE_BOUNDS))}",
                )
            )
        ),
    ] = None
    """Confidence only: a prediction is bad with less confidence than this, or just as much."""
    bad: Annotated[str | None, Field(json_schema_extra={"maxLength": 2048, "minLength": 1})] = None
    """Counters only: PromQL of the counter of bad things, one series for each `namespace` and `revision`.
    With `pod` as a third label, replaced pods are told from each other; without, what comes in the moment in which
    one goes may be lost."""
    total: Annotated[str | None, Field(json_schema_extra={"maxLength": 2048, "minLength": 1})] = None
    """Counters only: PromQL of the counter of all things, labelled as `bad`."""
    max_risk_ratio: Annotated[
        float,
        Field(
            json_schema_extra=rules(
                cel(
                    "self > 1.0 && self <= 100.0",
                    "spec.canary.analysis.metrics: maxRiskRatio must be above 1 and at most 100; "
                    "1.5 tolerates one and a half times the champion's rate",
                )
            )
        ),
    ] = 1.5
    """How many times the champion's rate of bad requests is still tolerable."""
    negligible: Annotated[
        float,
        Field(
            json_schema_extra=rules(
                cel(
                    "self > 0.0 && self <= 0.5",
                    "spec.canary.analysis.metrics: negligible must be a fraction of requests above 0 and at most 0.5, "
                    "such as 0.002: how much worse than the champion nobody minds",
                )
            )
        ),
    ] = 0.002
    """Rate of bad requests that nobody minds, on top of maxRiskRatio. It makes a version without a single bad
    request promotable; a larger one needs fewer requests and lets more slip through."""


class Guards(Wire):
    """Hard limits that need no comparison. Restarts are read from Kubernetes and hold with Prometheus
    down."""

    max_error_rate: Annotated[
        float,
        Field(
            json_schema_extra=rules(
                cel(
                    "self > 0.0 && self <= 1.0",
                    "spec.canary.analysis.guards.maxErrorRate must be a fraction above 0 and at most 1, such as 0.2",
                )
            )
        ),
    ] = 0.2
    """Share of the challenger's responses with a code of 400 or more above which it is rolled back at once: of all
    since its first traffic, or of the last hundred or two while the champion fares better."""
    min_guard_requests: Annotated[int, Field(ge=1, le=10000)] = 20
    """Responses of the challenger before maxErrorRate is looked at."""
    max_restarts: Annotated[int, Field(ge=0, le=100)] = 3
    """Container restarts of the challenger's pods, together, above which it is rolled back."""


def _default_metrics() -> tuple[Metric, ...]:
    return (
        Metric(name="errors", type=MetricType.ERROR_RATE, max_risk_ratio=1.5),
        Metric(name="slow", type=MetricType.LATENCY, slo="500ms", max_risk_ratio=2.0),
    )


class HoldOn(StrEnum):
    """What of the line keeps a rollout where it is."""

    INPUT_UNHEALTHY = "InputUnhealthy"
    CHALLENGER_DRIFT = "ChallengerDrift"


class Analysis(Wire):
    """How the challenger is judged."""

    interval: Annotated[
        Duration, Field(json_schema_extra=duration_schema("spec.canary.analysis.interval", "1s", "10m", "15s"))
    ] = "15s"
    """How often metrics are read while a canary is judged."""
    alpha: Annotated[
        float,
        Field(
            json_schema_extra=rules(
                cel(
                    "self > 0.0 && self <= 0.2",
                    "spec.canary.analysis.alpha must be above 0 and at most 0.2: it is the chance that a "
                    "canary as "
                    "good as the champion is ever rolled back, such as 0.01",
                )
            )
        ),
    ] = 0.01
    """Chance that a challenger as good as the champion is ever rolled back before its promotion, over all metrics
    together. The bake spends as much once more."""
    promotion_alpha: Annotated[
        float,
        Field(
            json_schema_extra=rules(
                cel(
                    "self > 0.0 && self <= 0.2",
                    "spec.canary.analysis.promotionAlpha must be above 0 and at most 0.2: it is the chance that a "
                    "challenger worse than tolerable is ever promoted, such as 0.05",
                )
            )
        ),
    ] = 0.05
    """Chance that a challenger that is worse than tolerable (maxRiskRatio, negligible) is ever promoted."""
    min_requests: Annotated[int, Field(ge=1, le=1_000_000)] = 100
    """Requests that the challenger must have answered in a step before the next one, whatever the evidence says."""
    warm_up_requests: Annotated[int, Field(ge=0, le=10_000)] = 10
    """First requests of a pod that are no evidence in Latency metrics, on either side: its caches are cold. Errors
    count from the first one."""
    metrics: Annotated[
        tuple[Metric, ...],
        Field(
            json_schema_extra={
                "minItems": 1,
                "maxItems": 10,
                "x-kubernetes-list-type": "map",
                "x-kubernetes-list-map-keys": ["name"],
            }
        ),
    ] = Field(default_factory=_default_metrics)
    """What is compared. alpha is divided among them."""
    guards: Guards = Field(default_factory=Guards)
    hold_on: Annotated[
        tuple[HoldOn, ...], Field(json_schema_extra={"maxItems": 2, "x-kubernetes-list-type": "set"})
    ] = tuple(HoldOn)
    """While this holds, the weight stays and no clock runs; guards and a failing verdict still roll back.
    InputUnhealthy: pictures of the line are not what they should be (condition InputHealthy; that they are missing or
    few is a matter of `inconclusive`); a bake lasts longer, too.
    ChallengerDrift: before promotion, the challenger's own drift is confirmed and does harm, the champion's does not.
    Needs the monitor: what it does not say holds nothing. An empty list holds on nothing."""
