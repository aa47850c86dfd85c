"""The state machine of a rollout: an ordered tuple of small rules, the first that answers decides.

The order is policy. What cannot be steered comes first, then everything that takes traffic *from* a
challenger, then everything that waits, and last everything that gives it traffic. So a guard works in every
phase, paused or not, with Prometheus up or down, and a step is only ever advanced when nothing above had an
objection.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from puzzle_operator.api.conditions import Reason
from puzzle_operator.api.names import PROMOTE_ANNOTATION, RETRAIN_ANNOTATION, RETRY_ANNOTATION
from puzzle_operator.api.resource import PuzzleModel

from .approval import take_consent
from .facts import Facts
from .names import short
from .record import Decision, record
from .retraining.machine import retrain
from .retraining.observed import observed
from .rules.deploying import (
    adopt_what_serves,
    deploy_first_version,
    recreate_service,
    refuse_foreign_service,
    wait_for_kserve,
)
from .rules.holds import wait_for_the_line
from .rules.progress import (
    advance,
    finish_bake,
    finish_promoting,
    follow_edited_steps,
    freeze_on_unknown,
    freeze_when_paused,
    hold_at_step,
    wait_for_approval,
    wait_for_weight,
)
from .rules.replay import refuse_on_replay, replay_labelled_pieces
from .rules.retreat import (
    finish_restoring,
    finish_rolling_back,
    heal_traffic,
    rest,
    roll_back_on_deadline,
    roll_back_on_error_rate,
    roll_back_on_evidence,
    roll_back_on_refusal,
    roll_back_on_restarts,
    roll_back_when_inconclusive,
    roll_back_when_unready,
    withdraw_on_new_spec,
)
from .rules.starting import (
    check_before_traffic,
    start_canary,
    start_rollout,
    wait_for_challenger,
)
from .situation import Move, Note, Situation, observe

Rule = Callable[[Situation], Move | None]

RULES: tuple[Rule, ...] = (
    # Nothing can be steered.
    wait_for_kserve,
    refuse_foreign_service,
    # There is no champion, or nothing serves.
    adopt_what_serves,
    deploy_first_version,
    recreate_service,
    # Traffic is taken away.
    roll_back_on_refusal,
    roll_back_on_restarts,
    roll_back_when_unready,
    roll_back_on_error_rate,
    roll_back_on_evidence,
    refuse_on_replay,
    withdraw_on_new_spec,
    roll_back_on_deadline,
    roll_back_when_inconclusive,
    finish_rolling_back,
    heal_traffic,
    # A rollout begins, or the champion is put back.
    start_rollout,
    finish_restoring,
    wait_for_challenger,
    check_before_traffic,
    replay_labelled_pieces,
    # It waits.
    freeze_when_paused,
    freeze_on_unknown,
    wait_for_the_line,
    follow_edited_steps,
    wait_for_weight,
    finish_bake,
    finish_promoting,
    hold_at_step,
    wait_for_approval,
    # Traffic is given.
    start_canary,
    advance,
)


def decide(facts: Facts) -> Decision:
    """What to do about a model now. Pure: the same facts give the same decision."""
    situation, asked = _hear_people(observe(facts))
    for rule in RULES:
        if (move := rule(situation)) is not None:
            break
    else:
        move = rest(situation)
    step = retrain(situation, move.status, observed(facts))
    decision = record(situation, move, step)
    # An annotation is taken away once it is honoured, so that it can be set again.
    return replace(decision, notes=(*asked, *decision.notes), clear=_annotations(facts.model))


def _annotations(model: PuzzleModel) -> tuple[str, ...]:
    asked = (
        (RETRY_ANNOTATION, model.retry),
        (PROMOTE_ANNOTATION, model.promote),
        (RETRAIN_ANNOTATION, model.retrain),
    )
    return tuple(name for name, value in asked if value is not None)


def _hear_people(s: Situation) -> tuple[Situation, tuple[Note, ...]]:
    """What people asked for by annotation, before any rule looks: another try, consent to a move."""
    notes: tuple[Note, ...] = ()
    wanted = s.facts.model.retry
    if wanted and s.status.quarantine_of(wanted) is not None:
        left = tuple(entry for entry in s.status.quarantined if entry.version != wanted)
        s = replace(s, status=s.status.but(quarantined=left))
        notes = (Note(Reason.RETRIED, f"version {short(wanted)} leaves the quarantine and may be tried again"),)
    if s.facts.model.promote is not None:
        s, heard = take_consent(s, s.facts.model.promote)
        notes = (*notes, *heard)
    return s, notes


__all__ = ["RULES", "Decision", "Rule", "decide"]
