"""When a statistic over its threshold is called drift. Pure, and small enough to be stored as JSON.

A single excess means Suspected. Windows that do not overlap with it must agree before it is Confirmed, because
overlapping windows share most of their images and always agree. Confirmed is latched: it goes away when a detector
starts again, after a rollout or with other settings, and not because the day turned out better.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum


class Phase(StrEnum):
    """Of the alarm, in the words of the monitor."""

    COLLECTING = "Collecting"
    NONE = "None"
    SUSPECTED = "Suspected"
    CONFIRMED = "Confirmed"


@dataclass(frozen=True, slots=True)
class Alarm:
    """Where the alarm stands."""

    phase: Phase = Phase.COLLECTING
    looks: int = 0
    agreed: int = 0
    """Windows without overlap that are over the threshold."""
    next_look: int = 0
    """The look that ends the next such window."""
    since: str | None = None
    """Time of the image that the first excess came with."""
    since_seq: int = 0
    since_images: int = 0
    confirmed_images: int = 0
    """Images seen by then."""


@dataclass(frozen=True, slots=True)
class Moment:
    """The image that a look came with."""

    at: str
    seq: int
    images: int


def step(alarm: Alarm, exceeds: bool, moment: Moment, window: int, confirm: int) -> Alarm:
    """The alarm after one more look. `window` is the looks that a window lasts."""
    alarm = replace(alarm, looks=alarm.looks + 1)
    if alarm.phase is Phase.CONFIRMED:
        return alarm
    if alarm.phase is Phase.SUSPECTED:
        return _again(alarm, exceeds, moment, window, confirm)
    if exceeds:
        suspected = replace(
            alarm, phase=Phase.SUSPECTED, since=moment.at, since_seq=moment.seq, since_images=moment.images
        )
        return _agree(suspected, moment, window, confirm)
    return replace(alarm, phase=Phase.COLLECTING if alarm.looks < window else Phase.NONE)


def _again(alarm: Alarm, exceeds: bool, moment: Moment, window: int, confirm: int) -> Alarm:
    if alarm.looks < alarm.next_look:
        return alarm
    if exceeds:
        return _agree(alarm, moment, window, confirm)
    return Alarm(Phase.COLLECTING if alarm.looks < window else Phase.NONE, looks=alarm.looks)


def _agree(alarm: Alarm, moment: Moment, window: int, confirm: int) -> Alarm:
    agreed = replace(alarm, agreed=alarm.agreed + 1, next_look=alarm.looks + window)
    if agreed.agreed < confirm:
        return agreed
    return replace(agreed, phase=Phase.CONFIRMED, confirmed_images=moment.images)
