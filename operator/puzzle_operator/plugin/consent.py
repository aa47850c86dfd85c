"""Consent to the move that is ahead, as a patch: what an SRE may decide, and what nobody may.

Consent names version and gate (`core/approval.py`), so this only has to keep people from writing what the operator
would ignore, and to say what will come of it.
"""

from __future__ import annotations

from puzzle_operator.api.conditions import Phase, Verdict
from puzzle_operator.api.names import PROMOTE_ANNOTATION
from puzzle_operator.api.resource import PuzzleModel
from puzzle_operator.api.status import Rollout
from puzzle_operator.api.v1alpha1 import Automation
from puzzle_operator.core.approval import consent_value
from puzzle_operator.core.holds import HELD
from puzzle_operator.core.names import short

from . import gates
from .changes import Change, RefusedError
from .text import more_requests


def promote(model: PuzzleModel, without_evidence: bool) -> Change:
    """The annotation that consents to the move ahead.

    Raises:
        RefusedError: when no move is ahead, or none that a person could decide.
    """
    rollout, gate = model.status.active, gates.gate(model)
    if rollout is None:
        raise RefusedError(f"no rollout of {model.key} is in progress{_at_rest(model)}")
    if gate is None:
        raise RefusedError(_too_late(model, rollout))
    _check_standing(model, rollout)
    forced = without_evidence and model.status.phase is Phase.CANARY
    if without_evidence and model.status.verdict is Verdict.UNKNOWN:
        raise RefusedError(
            f"a metric of {model.key} has no data: nobody can go on blindly; the weight stays until the metrics are "
            "back, and `kubectl puzzle abort` goes back to the champion"
        )
    if not forced and not gates.waits_for_person(model):
        raise RefusedError(_waits_for_nobody(model, gate))
    value = consent_value(rollout.challenger, gate, without_evidence=forced)
    if model.promote == value:
        return Change(None, (f"consent to {gates.label(model, gate)} is given; the operator has not answered yet",))
    given = gates.consent(model)
    if given is not None and given.without_evidence >= forced:
        return Change(None, (f"consent to {gates.label(model, gate)} is given already{_next(model)}",))
    patch = {"metadata": {"annotations": {PROMOTE_ANNOTATION: value}}}
    return Change(patch, tuple(_sentences(model, rollout, gate, forced)), exact=True)


def _at_rest(model: PuzzleModel) -> str:
    if model.status.quarantine_of(model.target) is not None:
        version = short(model.target)
        return f": version {version} is quarantined, and `kubectl puzzle retry` has it tried again"
    return f": {model.status.message}" if model.status.message else ""


def _too_late(model: PuzzleModel, rollout: Rollout) -> str:
    challenger = short(rollout.challenger)
    if model.status.phase in {Phase.BAKING, Phase.PROMOTING}:
        return f"challenger {challenger} of {model.key} is promoted already{_next(model)}"
    return f"challenger {challenger} of {model.key} is being taken back: {model.status.message or 'see explain'}"


def _next(model: PuzzleModel) -> str:
    return f"; next: {model.status.next}" if model.status.next else ""


def _check_standing(model: PuzzleModel, rollout: Rollout) -> None:
    """What the spec says has precedence over any consent."""
    target, steps = model.target, model.spec.canary.steps
    if target != rollout.challenger:
        raise RefusedError(
            f"the spec of {model.key} names {short(target)}: challenger {short(rollout.challenger)} is taken back"
        )
    if model.spec.paused:
        raise RefusedError(f"{model.key} is paused, so that nothing goes on: `kubectl puzzle resume` comes first")
    if model.status.phase is Phase.CANARY:
        wanted = model.status.weight.wanted if model.status.weight else None
        if rollout.step >= len(steps) or steps[rollout.step].weight != wanted:
            raise RefusedError(f"the steps of {model.key} were edited, and the operator has not followed; try again")


def _waits_for_nobody(model: PuzzleModel, gate: str) -> str:
    rule = "only promotion waits" if model.spec.automation is Automation.ASSISTED else "nothing waits"
    said = f"automation of {model.key} is {model.spec.automation}, so {rule} for a person: {gates.label(model, gate)}"
    if model.status.phase is Phase.STARTING and model.status.reason in HELD:
        return f"{said} is held: {model.status.message}{_next(model)}"
    if model.status.phase is Phase.STARTING:
        return f"{said} comes once the challenger is ready and every metric has data, which nobody can skip"
    way = "" if model.status.verdict is Verdict.UNKNOWN else "; --without-evidence goes on at once"
    return f"{said} {_pending(model)}{way}"


def _pending(model: PuzzleModel) -> str:
    """What the evidence still takes."""
    if model.status.verdict is Verdict.PASS:
        return f"has its evidence{_next(model)}"
    if model.status.verdict is Verdict.UNKNOWN:
        return "comes once the metrics are back"
    missing = gates.requests_missing(model)
    if missing is None:
        return "comes once there is enough evidence; how many requests that takes is not in sight"
    what = "is enough evidence" if _unproven(model) else "are enough requests in this step"
    return f"comes once there {what}, which takes {more_requests(missing)} of the challenger"


def _unproven(model: PuzzleModel) -> list[str]:
    return [metric.name for metric in model.status.metrics if metric.verdict is not Verdict.PASS]


def _sentences(model: PuzzleModel, rollout: Rollout, gate: str, forced: bool) -> list[str]:
    how = ", without waiting for evidence" if forced else ""
    what = gates.label(model, gate)
    said = [f"consent to {what} of challenger {short(rollout.challenger)}{how}"]
    if forced:
        if model.status.reason in HELD:
            said.append(f"it does not wait for the line: {model.status.message}")
        said.append("the operator goes on at its next look, minDuration or not, once KServe shows the present weight")
        if unproven := _unproven(model):
            said.append(f"not shown to be tolerable so far: {', '.join(unproven)}; see `kubectl puzzle explain`")
        said.append("guards and a failing verdict still roll back")
    elif gates.awaited(model) is not None:
        said.append("nothing else is missing: the operator goes on at its next look")
    elif model.status.phase is Phase.STARTING:
        said.append("given early: it comes once the challenger is ready and every metric has data")
    else:
        said.append(f"given early: it {_pending(model)}")
    return said


__all__ = ["promote"]
