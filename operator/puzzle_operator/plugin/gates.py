"""The move that is ahead of a rollout, in words, and what it waits for: shared by what shows and by what consents."""

from __future__ import annotations

from puzzle_operator.api.conditions import Phase, Verdict
from puzzle_operator.api.resource import PuzzleModel
from puzzle_operator.api.status import Approval
from puzzle_operator.core.approval import PROMOTION, consent_value, gate_ahead, needs_consent


def gate(model: PuzzleModel) -> str | None:
    """The next move that gives the challenger traffic, as consent names it; None when none is ahead."""
    return gate_ahead(model.status.phase, model.status.active, model.spec.canary.steps)


def label(model: PuzzleModel, gate: str) -> str:
    """A gate for people: `the first traffic (10 %)`, `step 2 (50 %)`, `promotion`."""
    number = {f"weight-{step.weight}": index for index, step in enumerate(model.spec.canary.steps, 1)}.get(gate)
    if gate == PROMOTION or number is None:
        return gate
    share = f"{gate.removeprefix('weight-')} %"
    return f"the first traffic ({share})" if number == 1 else f"step {number} ({share})"


def waits_for_person(model: PuzzleModel) -> bool:
    """Whether the automation has the next move wait for somebody's consent."""
    ahead = gate(model)
    return ahead is not None and needs_consent(model.spec.automation, ahead)


def awaited(model: PuzzleModel) -> str | None:
    """The gate at which nothing but consent is missing; None also when it was given and not answered yet."""
    ahead, rollout = gate(model), model.status.active
    if ahead is None or rollout is None or model.promote is not None or consent(model) is not None:
        return None
    return ahead if model.status.awaiting == consent_value(rollout.challenger, ahead) else None


def consent(model: PuzzleModel) -> Approval | None:
    """Consent to the move that is ahead, given and not used yet."""
    approval = model.status.active.approval if model.status.active is not None else None
    return approval if approval is not None and approval.gate == gate(model) else None


def requests_missing(model: PuzzleModel) -> int | None:
    """Requests of the challenger until every metric may pass and the step has its least number of them.

    None when that cannot be said: nothing is stored yet, or no Pass is in sight at the present rates.
    """
    rollout, stored = model.status.active, {metric.name: metric for metric in model.status.metrics}
    if rollout is None or model.status.phase is not Phase.CANARY:
        return None
    missing = model.spec.canary.analysis.min_requests - max(0, (model.status.samples or 0) - rollout.step_base_requests)
    for wanted in model.spec.canary.analysis.metrics:
        metric = stored.get(wanted.name)
        if metric is None or (metric.verdict is not Verdict.PASS and metric.needed is None):
            return None
        if metric.verdict is not Verdict.PASS:
            missing = max(missing, metric.needed or 0)
    return max(0, missing)
