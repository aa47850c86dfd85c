"""What `spec.model.version: auto` stands for."""

from __future__ import annotations

from puzzle_operator.api.resource import PuzzleModel
from puzzle_operator.api.status import PuzzleModelStatus

from .facts import Decisions


def resolve(model: PuzzleModel, status: PuzzleModelStatus, decisions: Decisions | None) -> str:
    """The version that is meant; empty when `auto` has none to choose.

    The newest accepted version that is not quarantined; looking back ends at the champion, so a failed successor
    never brings a predecessor back. `decisions` None is an outage, or nobody asked: then it is what it was.
    """
    if not model.spec.model.is_auto:
        return model.spec.model.version
    champion = status.champion.version if status.champion is not None else ""
    if decisions is None:
        kept = status.target or ""
        return kept if kept and status.quarantine_of(kept) is None else champion
    for version in decisions.accepted:
        if version == champion or status.quarantine_of(version) is None:
            return version
    return champion
