"""A person's consent: which moves of a rollout wait for it, and how it is given.

Consent names the version and the move, so that it can neither be used twice nor for something that came up after
somebody had typed it. Taking traffic away never waits for anybody.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from puzzle_operator.api.canary import Step
from puzzle_operator.api.conditions import Phase, Reason
from puzzle_operator.api.status import Approval, Rollout
from puzzle_operator.api.v1alpha1 import Automation

from .names import short
from .situation import Note, Situation

PROMOTION = "promotion"
_WITHOUT_EVIDENCE = ",without-evidence"
_VALUE = re.compile(rf"^(sha256:[0-9a-f]{{64}})@(weight-[1-9][0-9]?|{PROMOTION})({_WITHOUT_EVIDENCE})?$")


def gate_ahead(phase: Phase, rollout: Rollout | None, steps: Sequence[Step]) -> str | None:
    """The next move that gives a challenger traffic: `weight-10`, …, `promotion`; None when none is ahead.

    Moves are named by their weight and not by their number: consent to 25 % is none to what an edit makes of that step.
    """
    if rollout is None or not rollout.is_active or phase not in {Phase.STARTING, Phase.CANARY}:
        return None
    following = rollout.step + 1 if phase is Phase.CANARY else 0
    return f"weight-{steps[following].weight}" if following < len(steps) else PROMOTION


def needs_consent(automation: Automation, gate: str) -> bool:
    """Whether this move waits for a person."""
    return automation is Automation.MANUAL or (automation is Automation.ASSISTED and gate == PROMOTION)


def consent_value(version: str, gate: str, *, without_evidence: bool = False) -> str:
    """What the annotation puzzlenet.dev/promote has to say."""
    return f"{version}@{gate}" + (_WITHOUT_EVIDENCE if without_evidence else "")


def ahead(s: Situation) -> str | None:
    """`gate_ahead` of a situation."""
    return gate_ahead(s.phase, s.rollout, s.canary.steps)


def given(s: Situation) -> Approval | None:
    """Unused consent to the move that is ahead."""
    approval = s.rollout.approval if s.rollout is not None else None
    return approval if approval is not None and approval.gate == ahead(s) else None


def take_consent(s: Situation, wanted: str) -> tuple[Situation, tuple[Note, ...]]:
    """Hear an annotation: consent is remembered, anything else is told why it is none.

    One that was honoured, and could not be taken away since, is passed over in silence.
    """
    found = _VALUE.match(wanted)
    if found is None:
        message = (
            f"puzzlenet.dev/promote says {wanted[:100]!r}, which is no sha256:…@weight-25 or sha256:…@promotion; "
            "`kubectl puzzle promote` writes it"
        )
        return s, (Note(Reason.APPROVAL_IGNORED, message),)
    version, gate, force = found[1], found[2], bool(found[3])
    rollout, waits = s.rollout, ahead(s)
    if rollout is not None and rollout.challenger == version and gate == waits:
        known = rollout.approval is not None and rollout.heard == wanted
        approval = rollout.approval if known else Approval(gate=gate, without_evidence=force, at=s.now)
        heard = replace(s, status=s.status.but(rollout=rollout.but(approval=approval, heard=wanted)))
        how = " without waiting for evidence" if force else ""
        note = Note(Reason.APPROVED, f"somebody consents to {gate} of challenger {short(version)}{how}")
        return heard, () if known else (note,)
    if rollout is not None and rollout.heard == wanted:
        return s, ()
    now = f"{short(rollout.challenger)} is before {waits}" if rollout is not None and waits else "nothing waits"
    return s, (Note(Reason.APPROVAL_IGNORED, f"consent to {gate} of {short(version)} is ignored: {now}"),)
