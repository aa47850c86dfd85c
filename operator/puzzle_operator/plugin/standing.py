"""Where a model stands, as an exit code: what a pipeline asks after `kubectl apply`.

The codes are an interface; docs/kubectl-puzzle.md lists them.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

from puzzle_operator.api.conditions import ConditionType, Outcome, Phase, Reason
from puzzle_operator.core.names import short

from . import gates
from .snapshot import Snapshot

_BLOCKED = frozenset(
    {
        Reason.VERSION_NOT_FOUND,
        Reason.VERSION_REFUSED,
        Reason.REGISTRY_UNAVAILABLE,
        Reason.SECRET_MISSING,
        Reason.SECRET_INVALID,
        Reason.KSERVE_MISSING,
        Reason.REJECTED,
        Reason.METRIC_ABSENT,
        Reason.METRICS_UNAVAILABLE,
        Reason.HELD_METRICS_STALE,
        Reason.HELD_INPUT_UNHEALTHY,
        Reason.NO_ACCEPTED_VERSION,
        Reason.PROGRESS_DEADLINE,
        Reason.PAUSED,
    }
)


class Exit(IntEnum):
    """Exit codes of `kubectl puzzle status`."""

    SETTLED = 0
    """The version that the spec names serves all traffic."""
    REFUSED = 1
    """It was rolled back, is quarantined, or somebody named another one."""
    USAGE = 2
    """A wrong argument, no such model, no access."""
    TIMEOUT = 3
    """--wait: neither within --timeout."""
    MOVING = 4
    """A rollout is in progress."""
    BLOCKED = 5
    """It does not go on until a person decides or does something, or something comes back."""


@dataclass(frozen=True, slots=True)
class Standing:
    """An exit code and the sentence that explains it."""

    code: Exit
    sentence: str
    undecided: bool = False
    """Blocked, and what is missing is a person's decision: consent, or what becomes of an inconclusive canary."""

    @property
    def is_final(self) -> bool:
        """Whether waiting may end: what else is blocked, or moves, may still get anywhere by itself."""
        return self.undecided or self.code in {Exit.SETTLED, Exit.REFUSED}


def standing(s: Snapshot, awaited: str | None = None) -> Standing:
    """Where the version `awaited` stands (by default the one that the spec names).

    Somebody who waits for a version is told when the spec names another: Stable would be no success then.
    """
    status, wanted = s.status, awaited or s.target
    version = short(wanted)
    if wanted != s.target:
        return Standing(Exit.REFUSED, f"the spec names {short(s.target)} now instead of {version}")
    if not s.is_seen:
        return Standing(Exit.MOVING, "the operator has not looked at this spec yet")
    message = status.message or "the operator says nothing"
    if s.model.retry == wanted:
        return Standing(Exit.MOVING, f"version {version} is to be tried again; the operator has not answered yet")
    entry = status.quarantine_of(wanted)
    taken_back = status.active is not None and status.active.cause is not None and status.active.challenger == wanted
    if entry is not None:
        return Standing(Exit.REFUSED, f"version {version} was rolled back: {entry.message or entry.reason}")
    if taken_back:
        return Standing(Exit.MOVING, message)
    if status.phase is Phase.STABLE and s.champion == wanted:
        ready = status.condition(ConditionType.READY)
        if ready is not None and ready.status != "True":
            return Standing(Exit.BLOCKED, f"champion {version} is not ready: {ready.message}")
        return Standing(Exit.SETTLED, f"version {version} is the champion and has all traffic")
    if status.active is not None and (decision := _decision(s)) is not None:
        return decision
    if status.reason in _BLOCKED:
        return Standing(Exit.BLOCKED, message)
    failed = status.phase is Phase.ROLLED_BACK and status.rollout is not None
    if failed and status.rollout is not None and status.rollout.outcome is Outcome.ROLLED_BACK:
        return Standing(Exit.REFUSED, message)
    return Standing(Exit.MOVING, message)


def _decision(s: Snapshot) -> Standing | None:
    """What a person is asked for. One who has just answered is not asked again before the operator has looked."""
    if s.model.promote is not None:
        return Standing(Exit.MOVING, "somebody consents to the next move; the operator has not answered yet")
    message, command = s.status.message, f"kubectl puzzle promote {s.arguments}"
    if gates.awaited(s.model) is not None:
        return Standing(Exit.BLOCKED, f"{message}; `{command}` consents", undecided=True)
    if s.status.reason == Reason.INCONCLUSIVE and s.status.phase is Phase.CANARY:
        choices = f"`{command} --without-evidence` or `kubectl puzzle abort {s.arguments}` decides"
        return Standing(Exit.BLOCKED, f"{message}; {choices}", undecided=True)
    if s.status.reason == Reason.HELD_CHALLENGER_DRIFT:
        choices = f"`{command} --without-evidence` or `kubectl puzzle abort {s.arguments}` decides"
        return Standing(Exit.BLOCKED, f"{message}; {choices}", undecided=True)
    return None
