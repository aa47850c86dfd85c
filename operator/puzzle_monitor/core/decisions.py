"""Decisions about champions, as the operator tells them: which version serves, since when, and why.

They are appended and never change: the first that is told under an id stays.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Literal

from pydantic import Field

from puzzle_monitor.core.models import Sentence
from puzzle_monitor.core.records import Moment, Name, RecordId, Wire
from puzzle_monitor.core.stored import StoredDecision
from puzzle_monitor.core.times import moment

MAX_DECISIONS = 50
"""In one request; and ids of the newest ones in a model's state: more than the operator keeps in a status."""
MAX_DECISION_BODY = 512 * 1024
MAX_NUMBERS = 64
Kind = Literal["Deployed", "Adopted", "Promoted", "RolledBack", "Aborted", "Superseded"]
Measure = Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{1,128}$")]
Finite = Annotated[float, Field(allow_inf_nan=False)]


class Decision(Wire):
    """Which version became, or did not become, champion."""

    id: RecordId
    """The same id again is the same decision."""
    uid: Name
    """Of the PuzzleModel: a model that is made again under the same name is another one."""
    at: Moment
    """By the operator's clock, which may have jumped; `received` is by ours."""
    line: Name
    kind: Kind
    version: Name
    parent: Name | None = None
    """The champion of before, which `version` was compared with."""
    reason: Annotated[str | None, Field(pattern=r"^[A-Za-z]{1,63}$")] = None
    """One word, as in the status: EvidenceAgainst, GuardRestarts …"""
    message: Sentence = ""
    numbers: Annotated[dict[Measure, Finite], Field(max_length=MAX_NUMBERS, default_factory=dict)]
    """What was measured, such as errors.challenger.bad."""


class DecisionBatch(Wire):
    """Some decisions, in the order in which they were made."""

    decisions: Annotated[tuple[Decision, ...], Field(fail_fast=True, min_length=1, max_length=MAX_DECISIONS)]


class DecisionsTaken(Wire):
    """What became of them. All of it is on disk."""

    stored: int
    duplicates: int
    """Their ids are on record already: nothing changed."""


class DecisionOnRecord(Decision):
    """A decision as it was told, and when it arrived."""

    seq: int
    """Order of arrival."""
    received: datetime


class DecisionPage(Wire):
    """Some decisions, the newest first, and where to go on."""

    decisions: tuple[DecisionOnRecord, ...]
    next: int | None
    """Send it back as `before`; null at the end."""


def page(rows: Sequence[StoredDecision], limit: int) -> DecisionPage:
    """A page of at most `limit`; one row more says that there is another."""
    shown = rows[:limit]
    found = tuple(
        DecisionOnRecord(
            **Decision.model_validate_json(row.decision).model_dump(), seq=row.seq, received=moment(row.received)
        )
        for row in shown
    )
    return DecisionPage(decisions=found, next=shown[-1].seq if len(rows) > limit else None)
