"""What a pass says when the API server does not take the Job that was decided on."""

from __future__ import annotations

from dataclasses import replace

from puzzle_operator.api.conditions import ConditionType, Reason
from puzzle_operator.core.record import Decision
from puzzle_operator.core.situation import Note, Pace


def job_refused(decision: Decision, why: str) -> Decision:
    """The rollout is not concerned; the run waits, says so once, and is tried again until its deadline."""
    state = decision.status.retraining
    if state is None:
        return decision
    message = f"run {state.run}: its Job cannot be made: {why}"
    conditions = tuple(
        condition.but(reason=str(Reason.RETRAIN_PENDING), message=message)
        if condition.type is ConditionType.RETRAINING
        else condition
        for condition in decision.status.conditions
    )
    notes = () if state.pending == why else (Note(Reason.RETRAIN_PENDING, message),)
    status = decision.status.but(retraining=state.but(message=why, pending=why), conditions=conditions)
    pace = Pace.BLOCKED if decision.pace is Pace.MOVING and status.active is None else decision.pace
    return replace(decision, status=status, notes=(*decision.notes, *notes), pace=pace)
