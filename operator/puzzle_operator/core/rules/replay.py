"""Shadow replay, before a challenger's first traffic: what refuses it, and what waits for the result."""

from __future__ import annotations

from puzzle_operator.api.conditions import Phase, Reason
from puzzle_operator.api.replay import ReplayOutcome, ReplayStatus
from puzzle_operator.core.canary import SCRAPE_GRACE
from puzzle_operator.core.facts import Facts, Reading
from puzzle_operator.core.replay.machine import begun, is_set_up, nothing_to_show, skipped
from puzzle_operator.core.situation import Move, Pace, Situation
from puzzle_operator.core.traffic import Plan

from .retreat import take_back


def refuse_on_replay(s: Situation) -> Move | None:
    """Worse on pieces whose label is known: it never gets traffic. A pause does not delay that."""
    if s.phase is not Phase.STARTING or s.rollout is None or s.rollout.replay is None:
        return None
    if s.rollout.replay.outcome is not ReplayOutcome.FAILED:
        return None
    return take_back(s, Reason.REPLAY_FAILED, s.rollout.replay.message)


def replay_labelled_pieces(s: Situation) -> Move | None:
    """Everything else is in order: the labelled pieces are shown, and their result is waited for."""
    if s.phase is not Phase.STARTING or s.rollout is None:
        return None
    replay = s.rollout.replay
    if replay is None:
        if not is_set_up(s.facts) or nothing_to_show(s.facts):
            return None
        replay = begun(s.facts, s.rollout)
        return _wait(s, replay, replay.message)
    if replay.is_going_on:
        return _wait(s, replay, replay.message)
    if _is_counted_later(s.facts, replay):
        return _wait(s, replay, "the replayed requests are waited for in the metrics, so that none counts as traffic")
    return None


def with_replay(s: Situation) -> ReplayStatus | None:
    """What is on record of the replay when the first traffic is given: where there was nothing to show, that."""
    replay = s.going.replay
    if replay is not None or not is_set_up(s.facts):
        return replay
    return skipped(ReplayStatus(), nothing_to_show(s.facts), s.now)


def _is_counted_later(facts: Facts, replay: ReplayStatus) -> bool:
    """Whether counters may yet show requests of the replay: those that begin to count now would take them for their
    own. A scrape after its end has them all; where nobody knows of scrapes, a minute is enough."""
    if replay.job_uid is None or replay.finished_at is None or facts.now - replay.finished_at >= SCRAPE_GRACE:
        return False
    complete = facts.guard.complete if isinstance(facts.guard, Reading) else None
    return complete is None or complete < replay.finished_at


def _wait(s: Situation, replay: ReplayStatus, message: str) -> Move:
    rollout = s.going.but(replay=replay)
    return s.move(
        Reason.REPLAYING,
        message,
        plan=Plan(rollout.challenger, 0),
        pace=Pace.MOVING,
        announce=True,
        next=f"gets {s.canary.steps[0].weight} % unless it is worse than the champion on them",
        rollout=rollout,
    )
