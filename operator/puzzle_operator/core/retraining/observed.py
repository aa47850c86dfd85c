"""What the monitor says, in the words of the triggers."""

from __future__ import annotations

from puzzle_operator.core.facts import Facts, Missing

from .facts import Observed


def observed(facts: Facts) -> Observed | None:
    """Of the champion. None: there is no monitor, or it does not answer; then it asks for nothing."""
    seen, champion = facts.monitor, facts.model.status.champion
    if isinstance(seen, Missing) or champion is None:
        return None
    drift, labels = seen.drift_of(champion.version), seen.accuracy_of(champion.version)
    problems = "; ".join(problem.message or problem.kind for problem in seen.input.problems)
    return Observed(
        drift=str(drift.phase) if drift is not None else "",
        harmful=str(drift.harmful) if drift is not None else "Unknown",
        drift_message=drift.message if drift is not None else "",
        healthy=seen.input.healthy,
        health_message=problems or seen.input.message,
        labelled=labels.labelled if labels is not None else 0,
        wrong=labels.wrong if labels is not None else 0,
        pictures=seen.labels.images,
        picture_bytes=seen.labels.size,
    )
