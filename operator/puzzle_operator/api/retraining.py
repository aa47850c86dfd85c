"""What a person writes in `spec.retraining`, and what the operator writes in `status.retraining`.

The words of a run are those of the trainer's last message: Accepted, DataRefused, GateRefused, Failed.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from pydantic import ConfigDict, Field

from .base import Duration, Time, Wire, cel, duration_schema, rules

MAX_WORKERS = 16
"""Pods of a run. Up to 100, two digits, the names of a Job's pods fit."""
MAX_STARTS = 100
"""Starts that are remembered for the budget; as many as the largest budget."""
_WHERE = "spec.retraining"
_AMOUNT = {
    "anyOf": [{"type": "integer"}, {"type": "string"}],
    "x-kubernetes-int-or-string": True,
    "maxLength": 32,
}


def _fraction(field: str, example: str, *, least: str = "> 0.0", most: str = "< 1.0") -> dict[str, object]:
    words = {"> 0.0": "above 0", ">= 0.0": "of at least 0", "< 1.0": "below 1", "<= 1.0": "of at most 1"}
    text = f"{_WHERE}.{field} must be a fraction {words[least]} and {words[most]}, such as {example}"
    return rules(cel(f"self {least} && self {most}", text))


class DriftTrigger(StrEnum):
    """Which drift asks for a new model."""

    HARMFUL = "Harmful"
    CONFIRMED = "Confirmed"
    NEVER = "Never"


class Triggers(Wire):
    """What asks for a run, besides the schedule and a person."""

    drift: DriftTrigger = DriftTrigger.HARMFUL
    """Harmful: drift of the champion that is confirmed and that labels or confidence call harmful. Confirmed: every
    confirmed drift. Never: none. A feed that is not healthy (condition InputHealthy) is never drift of the world."""
    accuracy_below: Annotated[float | None, Field(json_schema_extra=_fraction("triggers.accuracyBelow", "0.97"))] = None
    """The champion's accuracy on labelled pieces is below this, and the labels are enough to say so."""
    new_labels: Annotated[int | None, Field(ge=1, le=10_000_000)] = None
    """So many labelled pictures that no run has used yet."""
    new_data: Annotated[
        int | str | None,
        Field(
            json_schema_extra={
                **_AMOUNT,
                **rules(
                    cel(
                        "isQuantity(string(self)) && quantity(string(self)).isGreaterThan(quantity('0'))",
                        f"{_WHERE}.triggers.newData must be a quantity of bytes above 0, such as 5Gi",
                    )
                ),
            }
        ),
    ] = None
    """So many bytes of labelled pictures that no run has used yet."""


class Budget(Wire):
    """How many runs may begin in a span of time, whatever asks for them."""

    runs: Annotated[int, Field(ge=1, le=MAX_STARTS)] = 3
    """Most runs that begin within `per`."""
    per: Annotated[
        Duration, Field(json_schema_extra=duration_schema(f"{_WHERE}.budget.per", "1m", "8760h", "168h"))
    ] = "168h"
    """Span of time that is looked back."""


class Toleration(Wire):
    """A taint of nodes that the Job's pods put up with, as in a pod's spec."""

    key: Annotated[str | None, Field(json_schema_extra={"maxLength": 253})] = None
    """Key of the taint; without one, every taint."""
    operator: Annotated[
        str | None,
        Field(
            json_schema_extra=rules(
                cel(
                    "self == 'Exists' || self == 'Equal'",
                    f"{_WHERE}.job.tolerations: operator must be Exists or Equal",
                ),
                maxLength=16,
            )
        ),
    ] = None
    """Exists or Equal."""
    value: Annotated[str | None, Field(json_schema_extra={"maxLength": 63})] = None
    """Value of the taint, for Equal."""
    effect: Annotated[
        str | None,
        Field(
            json_schema_extra=rules(
                cel(
                    "self in ['NoSchedule', 'PreferNoSchedule', 'NoExecute']",
                    f"{_WHERE}.job.tolerations: effect must be NoSchedule, PreferNoSchedule or NoExecute",
                ),
                maxLength=16,
            )
        ),
    ] = None
    """Effect of the taint; without one, every effect."""


_Amounts = Annotated[
    dict[str, int | str],
    Field(
        json_schema_extra={
            "additionalProperties": {
                **_AMOUNT,
                **rules(cel("isQuantity(string(self))", f"{_WHERE}.job.resources: amounts are quantities like 2Gi")),
            },
            "maxProperties": 8,
        }
    ),
]


def _requests() -> dict[str, int | str]:
    return {"cpu": "1", "memory": "3Gi"}


def _limits() -> dict[str, int | str]:
    return {"memory": "8Gi"}


class TrainerResources(Wire):
    """Resources of one training pod; GPUs are asked for by `gpus`."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            cel(
                "self.requests.all(k, !(k in self.limits) || quantity(string(self.requests[k]))"
                ".compareTo(quantity(string(self.limits[k]))) <= 0)",
                f"{_WHERE}.job.resources: no request may be above its limit",
            ),
            cel(
                "!('nvidia.com/gpu' in self.limits) && !('nvidia.com/gpu' in self.requests)",
                f"{_WHERE}.job.resources: leave nvidia.com/gpu out and set {_WHERE}.job.gpus",
            ),
        )
    )
    requests: _Amounts = Field(default_factory=_requests)
    """Guaranteed amounts."""
    limits: _Amounts = Field(default_factory=_limits)
    """Upper bounds."""


class TrainingJob(Wire):
    """Where and how a run is computed: a Job in the model's namespace."""

    gpus: Annotated[int, Field(ge=0, le=16)] = 1
    """`nvidia.com/gpu` of the pod; 0 trains on CPUs."""
    cpu_fallback: bool = False
    """Where no node offers a GPU, the run goes on without one. Otherwise it waits, and the condition Retraining says
    for what."""
    node_selector: Annotated[
        dict[str, str],
        Field(
            json_schema_extra={"additionalProperties": {"type": "string", "maxLength": 63}, "maxProperties": 16},
        ),
    ] = Field(default_factory=dict)
    """Labels of the nodes that the pod may run on: the GPU pool."""
    tolerations: Annotated[tuple[Toleration, ...], Field(json_schema_extra={"maxItems": 16})] = ()
    """Taints of those nodes."""
    resources: TrainerResources = Field(default_factory=TrainerResources)
    deadline: Annotated[
        Duration, Field(json_schema_extra=duration_schema(f"{_WHERE}.job.deadline", "1m", "168h", "2h"))
    ] = "2h"
    """A run that takes longer has failed; waiting for a node counts."""
    workers: Annotated[
        int,
        Field(
            json_schema_extra=rules(
                cel(
                    f"self >= 1 && self <= {MAX_WORKERS}",
                    f"{_WHERE}.job.workers must be from 1 to {MAX_WORKERS}; each is a pod with {_WHERE}.job.gpus GPUs",
                )
            )
        ),
    ] = 1
    """Pods that train together, each with its own GPUs and resources; the result does not depend on how many."""
    backoff_limit: Annotated[int, Field(ge=0, le=10)] = 2
    """How often a pod that failed is replaced, each worker's on its own; it goes on from the checkpoint. Evictions do
    not count."""


class Gate(Wire):
    """What a challenger must show offline, on the frozen golden sets, before it gets traffic."""

    margin: Annotated[float, Field(json_schema_extra=_fraction("gate.margin", "0.005", least=">= 0.0"))] = 0.005
    """How much worse than the champion, as a fraction of pieces, still counts as not worse."""
    alpha: Annotated[float, Field(json_schema_extra=_fraction("gate.alpha", "0.05"))] = 0.05
    """Chance that a challenger that is worse by more than the margin passes."""
    per_class_recall_floor: Annotated[
        float,
        Field(json_schema_extra=_fraction("gate.perClassRecallFloor", "0.9", least=">= 0.0", most="<= 1.0")),
    ] = 0.9
    """Share of each class that the challenger must find."""
    max_latency: Annotated[
        Duration | None, Field(json_schema_extra=duration_schema(f"{_WHERE}.gate.maxLatency", "1ms", "1m", "50ms"))
    ] = None
    """Longest time for one picture."""
    max_size: Annotated[
        int | str | None,
        Field(
            json_schema_extra={
                **_AMOUNT,
                **rules(
                    cel(
                        "isQuantity(string(self)) && quantity(string(self)).isGreaterThan(quantity('0'))",
                        f"{_WHERE}.gate.maxSize must be a quantity of bytes above 0, such as 50Mi",
                    )
                ),
            }
        ),
    ] = None
    """Most bytes of the challenger's weights."""
    max_calibration_error: Annotated[
        float | None,
        Field(json_schema_extra=_fraction("gate.maxCalibrationError", "0.1", most="<= 1.0")),
    ] = None
    """Largest gap between how sure the challenger is and how often it is right (expected calibration error), as far as
    the number of pictures can tell. On golden sets only where the champion does better."""


class Retraining(Wire):
    """When a new version is trained, and with what."""

    enabled: bool = False
    """Whether this model is ever retrained."""
    schedule: Annotated[
        str | None,
        Field(
            json_schema_extra=rules(
                cel(
                    r"self.matches('^[0-9A-Za-z*/,#-]+( [0-9A-Za-z*/,#-]+){4}$')",
                    f"{_WHERE}.schedule must be five fields of a crontab in UTC (minute, hour, day, month, weekday), "
                    "such as '0 3 * * 0'",
                ),
                maxLength=64,
            )
        ),
    ] = None
    """Times as a crontab says them, in UTC: `0 3 * * 0` is every Sunday at three."""
    triggers: Triggers = Field(default_factory=Triggers)
    cooldown: Annotated[
        Duration, Field(json_schema_extra=duration_schema(f"{_WHERE}.cooldown", "0s", "8760h", "12h"))
    ] = "12h"
    """Time after a run, or after the rollback of what it made, in which nothing but a person starts another one."""
    budget: Budget = Field(default_factory=Budget)
    job: TrainingJob = Field(default_factory=TrainingJob)
    gate: Gate = Field(default_factory=Gate)
    epochs: Annotated[int | None, Field(ge=1, le=10_000)] = None
    """Epochs of training; without, the trainer's own number."""


# ---------------------------------------------------------------- status


class RetrainingPhase(StrEnum):
    """Where retraining stands."""

    IDLE = "Idle"
    """Nothing asks for a run."""
    WAITING = "Waiting"
    """Something asks for a run, and something else is in its way."""
    RUNNING = "Running"
    """A run was decided on, and its Job has not ended."""
    COOLDOWN = "Cooldown"
    """A run has ended a while ago; only a person starts another one now."""


class RunOutcome(StrEnum):
    """How a run ended."""

    ACCEPTED = "Accepted"
    """The challenger passed the gate."""
    DATA_REFUSED = "DataRefused"
    """The data were not good enough to train on."""
    GATE_REFUSED = "GateRefused"
    """The challenger did not pass the gate."""
    FAILED = "Failed"
    """No decision was reached."""


class Signal(Wire):
    """Something that has to last a while before it counts."""

    trigger: str
    since: Time


class Request(Wire):
    """A run that a person, or a system outside, has asked for and that has not begun."""

    text: str
    at: Time


class Ask(Wire):
    """What asks for a run that does not begin."""

    kind: str
    text: str
    """As it was when it began to ask."""


class RetrainingStatus(Wire):
    """The present or last run, and what keeps the next one waiting."""

    phase: RetrainingPhase = RetrainingPhase.IDLE
    counter: int = 0
    """Runs that were ever begun. It only rises, and is part of a run's name: no clock can start one twice."""
    run: str | None = None
    """Name of the present or last run, and of its Job."""
    trigger: str | None = None
    """What asked for it, with the numbers."""
    kind: str | None = None
    """`request`, `drift`, `accuracy`, `labels`, `data` or `schedule`."""
    champion: str | None = None
    """The version that the run is to beat."""
    started_at: Time | None = None
    job_uid: str | None = None
    """The Job's identity, once it exists."""
    cpu: bool = False
    """Whether the run goes on without a GPU because no node offers one."""
    pod: str | None = None
    """What its pod does: Pending, Running, Succeeded, Failed."""
    pending: str | None = None
    """Why its pod does not start."""
    finished_at: Time | None = None
    outcome: RunOutcome | None = None
    version: str | None = None
    """The version that the run made."""
    message: str | None = None
    """The outcome in a sentence with its numbers; during a run, what it waits for or how far it is."""
    asks: Ask | None = None
    """What asks for a run now."""
    blocked: str | None = None
    """Why a run that is asked for does not begin."""
    blocked_by: str | None = None
    """The same in one word."""
    starts: Annotated[tuple[Time, ...], Field(json_schema_extra={"maxItems": MAX_STARTS})] = ()
    """When the runs within the budget's span began."""
    next: str | None = None
    """What may begin the next run, and when."""
    requested: Request | None = None
    heard: str | None = None
    """The annotation that was heard last, so that it is known again if it could not be taken away."""
    signals: tuple[Signal, ...] = ()
    """Since when drift or accuracy ask for a run."""
    schedule_from: Time | None = None
    """From when on times of the schedule count."""
    slot: Time | None = None
    """The time of the schedule that was served last."""
    labels_used: int = 0
    """Labelled pictures that were there when the last run that reached a decision began."""
    bytes_used: int = 0
    """Their size."""
    labels_at_start: int | None = None
    bytes_at_start: int | None = None

    @property
    def is_running(self) -> bool:
        """Whether a run was begun and has not ended."""
        return self.run is not None and self.outcome is None
