"""What a person writes in a PuzzleModel. These types are the schema: `crd.py` turns them, with their docs,
defaults and rules, into the resource definition, and the API server refuses what does not fit with the
sentences below.

Sentences name the field and the fix. Where a plain schema keyword would only say "should match '^…$'", a CEL
rule says it in words instead.
"""

from __future__ import annotations

from datetime import timedelta
from enum import StrEnum
from typing import Annotated, Literal

from pydantic import ConfigDict, Field

from .base import Duration, Wire, cel, duration_schema, parse_duration, rules
from .monitoring import DataQuality, Drift, Records
from .retraining import Retraining

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

RUN_LABEL = f"{GROUP}/run"
"""On a training Job and its pods: the name of the run."""
AUTO = "auto"
VERSION_PATTERN = r"^sha256:[0-9a-f]{64}$"


class ModelRef(Wire):
    """Which version of the model to serve."""

    version: Annotated[
        str,
        Field(
            json_schema_extra=rules(
                cel(
                    f"self == '{AUTO}' || self.matches('{VERSION_PATTERN}')",
                    "spec.model.version must be a digest: sha256: and 64 hexadecimal digits in lower case, "
                    "as `puzzlenet package` prints it; or auto, for the newest version that was accepted",
                ),
                maxLength=71,
            )
        ),
    ]
    """Digest of the version in the registry, `sha256:…`, or `auto`: the newest one that the line's gate accepted and
    that is not quarantined. Another version starts a canary."""

    @property
    def is_auto(self) -> bool:
        """Whether the registry says which version is meant."""
        return self.version == AUTO


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


class Step(Wire):
    """One step of a canary."""

    weight: Annotated[
        int,
        Field(
            json_schema_extra=rules(
                cel(
                    "self >= 1 && self <= 99",
                    "spec.canary.steps: a weight must be between 1 and 99 per cent; "
                    "promotion to 100 follows the last step by itself",
                )
            )
        ),
    ]
    """Per cent of requests that the challenger gets."""
    min_duration: Annotated[
        Duration, Field(json_schema_extra=duration_schema("spec.canary.steps: minDuration", "0s", "168h", "10m"))
    ] = "2m"
    """Shortest time at this weight, counted from when KServe shows it."""

    def stay(self) -> timedelta:
        """Shortest time at this weight."""
        return parse_duration(self.min_duration)


class MetricType(StrEnum):
    """What makes a request bad."""

    ERROR_RATE = "ErrorRate"
    LATENCY = "Latency"
    LABELLED_ERRORS = "LabelledErrors"
    COUNTERS = "Counters"


_NO_PROMQL = "{0} is PromQL of a Counters metric; leave it out of {1} metrics"


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
    Counters: your own PromQL."""
    slo: Annotated[
        Duration | None,
        Field(json_schema_extra=duration_schema("spec.canary.analysis.metrics: slo", "1ms", "10m", "250ms")),
    ] = None
    """Latency only: a slower response is bad. Counted at the next bucket bound of Knative's histogram."""
    bad: Annotated[str | None, Field(json_schema_extra={"maxLength": 2048, "minLength": 1})] = None
    """Counters only: PromQL of the counter of bad things, one series for each `namespace` and `revision`.
    With `pod` as a third label, replaced pods are told from each other and nothing is counted twice."""
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


def _default_steps() -> tuple[Step, ...]:
    return (Step(weight=10), Step(weight=25), Step(weight=50))


class InconclusiveAction(StrEnum):
    """What becomes of a canary that is neither good nor bad when its deadline is over."""

    HOLD = "Hold"
    ROLLBACK = "Rollback"
    PROMOTE = "Promote"


class Inconclusive(Wire):
    """What to do when requests are too few to tell. Pauses and outages of the metrics do not count as time."""

    deadline: Annotated[
        Duration, Field(json_schema_extra=duration_schema("spec.canary.inconclusive.deadline", "10s", "720h", "24h"))
    ] = "24h"
    """Time at one step after which `action` applies, if the evidence is not conclusive then."""
    action: InconclusiveAction = InconclusiveAction.HOLD
    """Hold: keep the weight and tell people. Rollback: take the challenger back; it is quarantined until it is
    retried. Promote: go on to the next step, where the deadline counts anew; guards and a failing verdict still roll
    back."""


class Canary(Wire):
    """How a new version earns its traffic."""

    steps: Annotated[
        tuple[Step, ...],
        Field(
            json_schema_extra=rules(
                cel(
                    "self.map(s, s.weight).isSorted() && self.all(s, self.exists_one(t, t.weight == s.weight))",
                    "spec.canary.steps: weights must rise from step to step, for example 5, 25, 50",
                ),
                cel(
                    "self.size() > 0",
                    "spec.canary.steps: at least one step is needed; leave steps out for 10, 25 and 50 per cent",
                ),
                maxItems=20,
            )
        ),
    ] = Field(default_factory=_default_steps)
    """Weights that the challenger goes through, rising."""
    analysis: Analysis = Field(default_factory=Analysis)
    inconclusive: Inconclusive = Field(default_factory=Inconclusive)
    progress_deadline: Annotated[
        Duration, Field(json_schema_extra=duration_schema("spec.canary.progressDeadline", "10s", "24h", "10m"))
    ] = "10m"
    """A challenger that is not ready after this time is rolled back."""
    bake: Annotated[Duration, Field(json_schema_extra=duration_schema("spec.canary.bake", "0s", "168h", "10m"))] = "10m"
    """After promotion the old champion is kept warm this long, and a failure reverses the promotion at
    once."""


class SecretRef(Wire):
    """A Secret in the same namespace."""

    name: Annotated[
        str,
        Field(
            json_schema_extra=rules(
                cel(
                    "self.matches('^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$')",
                    "spec.storage.secretRef.name must be the name of a Secret in the model's namespace",
                ),
                maxLength=253,
            )
        ),
    ] = "puzzle-s3"
    """Holds AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY; its annotation serving.kserve.io/s3-usehttps says
    whether the store speaks https."""


class Storage(Wire):
    """Where versions are kept: any S3 store."""

    endpoint: Annotated[
        str,
        Field(
            json_schema_extra=rules(
                cel(
                    "self.matches('^[A-Za-z0-9][A-Za-z0-9.-]*(:[0-9]{1,5})?$')",
                    "spec.storage.endpoint must be host or host:port without a scheme, "
                    "such as minio.puzzle-system:9000",
                ),
                maxLength=253,
            )
        ),
    ] = "minio.puzzle-system:9000"
    """Host and port of the store."""
    bucket: Annotated[
        str,
        Field(
            json_schema_extra=rules(
                cel(
                    "self.matches('^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$')",
                    "spec.storage.bucket must be a bucket's name: 3 to 63 lower case letters, digits, dots and dashes",
                ),
                maxLength=63,
            )
        ),
    ] = "puzzlenet"
    """Bucket that holds versions/sha256-…/."""
    secret_ref: SecretRef = Field(default_factory=SecretRef)


class Automation(StrEnum):
    """What waits for a person."""

    MANUAL = "Manual"
    ASSISTED = "Assisted"
    FULL = "Full"


class PuzzleModelSpec(Wire):
    """What is wanted."""

    line: Annotated[
        str,
        Field(
            json_schema_extra=rules(
                cel(
                    "self.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?$')",
                    "spec.line must be the name of a production line: lower case letters, digits and dashes, "
                    "such as line-1",
                ),
                maxLength=63,
            )
        ),
    ]
    """Production line whose pieces the model inspects."""
    automation: Automation = Automation.FULL
    """Full: nothing waits for a person. Assisted: promotion does. Manual: the first traffic, every step and promotion
    do. `kubectl puzzle promote` gives consent; rolling back never waits."""
    paused: bool = False
    """Freezes the rollout at its present weight. Guards and a failing verdict still roll back."""
    model: ModelRef
    serving: Serving = Field(default_factory=Serving)
    canary: Canary = Field(default_factory=Canary)
    records: Records = Field(default_factory=Records)
    drift: Drift = Field(default_factory=Drift)
    data_quality: DataQuality = Field(default_factory=DataQuality)
    storage: Storage = Field(default_factory=Storage)
    retraining: Retraining = Field(default_factory=Retraining)
