"""What a person writes about how a new version earns its traffic: the steps, the deadlines, the time after
promotion.
"""

from __future__ import annotations

from datetime import timedelta
from enum import StrEnum
from typing import Annotated

from pydantic import Field

from puzzle_common.durations import parse_duration

from .analysis import Analysis
from .base import Duration, Wire, cel, duration_schema, rules
from .replay import Replay


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


def _default_steps() -> tuple[Step, ...]:
    return (Step(weight=10), Step(weight=25), Step(weight=50))


class InconclusiveAction(StrEnum):
    """What becomes of a canary that is neither good nor bad when its deadline is over."""

    HOLD = "Hold"
    ROLLBACK = "Rollback"
    PROMOTE = "Promote"


class Inconclusive(Wire):
    """What to do when requests are too few to tell. Pauses, outages of the metrics and holds by the line do not
    count as time."""

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
    replay: Replay = Field(default_factory=Replay)
    analysis: Analysis = Field(default_factory=Analysis)
    inconclusive: Inconclusive = Field(default_factory=Inconclusive)
    progress_deadline: Annotated[
        Duration, Field(json_schema_extra=duration_schema("spec.canary.progressDeadline", "10s", "24h", "10m"))
    ] = "10m"
    """A challenger that is not ready after this time is rolled back."""
    bake: Annotated[Duration, Field(json_schema_extra=duration_schema("spec.canary.bake", "0s", "168h", "10m"))] = "10m"
    """After promotion the old champion is kept warm this long, and a failure reverses the promotion at
    once."""
