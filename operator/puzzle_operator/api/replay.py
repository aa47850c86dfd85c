"""Shadow replay: labelled pieces shown to a challenger before it gets traffic; what is wanted, and what came of it."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from .base import Duration, Time, Wire, cel, duration_schema, rules


class Replay(Wire):
    """Before its first traffic a challenger is shown the newest labelled pieces, and its answers are compared with the
    champion's. Takes place where a monitor keeps pictures that people have labelled, and is skipped elsewhere."""

    pieces: Annotated[
        int,
        Field(
            json_schema_extra=rules(
                cel(
                    "self >= 0 && self <= 1000",
                    "spec.canary.replay.pieces must be between 0 and 1000: how many of the newest labelled pieces a "
                    "challenger is shown before it gets traffic; 0: none",
                )
            )
        ),
    ] = 200
    """Labelled pieces at most, the newest since the champion took its part. 0 turns the replay off."""
    deadline: Annotated[
        Duration, Field(json_schema_extra=duration_schema("spec.canary.replay.deadline", "30s", "1h", "5m"))
    ] = "5m"
    """Time after which the rollout goes on without it."""


class ReplayOutcome(StrEnum):
    """How a replay ended."""

    PASSED = "Passed"
    """Nothing speaks against the challenger; live traffic is next."""
    FAILED = "Failed"
    """It is worse than the champion on pieces whose label is known: it got no traffic at all."""
    SKIPPED = "Skipped"
    """There was nothing to compare, for reasons that are not the challenger's; live traffic alone judges."""


class ReplayStatus(Wire):
    """The replay of the present or last rollout."""

    outcome: ReplayOutcome | None = None
    """Absent while it goes on."""
    pieces: int | None = None
    """Pieces that both versions were shown."""
    champion_wrong: int | None = None
    challenger_wrong: int | None = None
    """An answer that is an error is a wrong one."""
    only_champion_wrong: int | None = None
    only_challenger_wrong: int | None = None
    champion_errors: int | None = None
    """Errors among the wrong answers."""
    challenger_errors: int | None = None
    evidence: float | None = None
    """Evidence that the challenger is worse (an e-value; 1 says nothing)."""
    bound: float | None = None
    """Evidence at which it is refused: number of metrics plus one, / alpha."""
    message: str = ""
    """All of it in a sentence."""
    started_at: Time | None = None
    finished_at: Time | None = None
    job: str | None = None
    """Its Job, as long as there may be one."""
    job_uid: str | None = None
    """That Job once it was seen: when it is gone it is not made again."""

    @property
    def is_going_on(self) -> bool:
        """Whether its end is awaited."""
        return self.outcome is None

    @property
    def is_judged(self) -> bool:
        """Whether the evidence was looked at: a part of alpha is spent then."""
        return self.outcome in {ReplayOutcome.PASSED, ReplayOutcome.FAILED}
