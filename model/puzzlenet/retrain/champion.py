"""Who was champion when a prediction was made, by the decisions that the monitor has on record. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

CROWNED = frozenset({"Deployed", "Adopted", "Promoted"})
"""What makes a version champion. A version that was rolled back or given up never was."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Told:
    """A decision about a champion that is on the monitor's record."""

    at: datetime
    line: str
    kind: str
    version: str
    reason: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Made:
    """A prediction: by which version, when, and of which model."""

    version: str
    namespace: str
    model: str
    at: datetime


def champion_at(decisions: Sequence[Told], at: datetime) -> Told | None:
    """The decision that made the champion of that time, of all from the oldest on; None before the first."""
    return next((one for one in reversed(decisions) if one.kind in CROWNED and one.at <= at), None)


def sentence(made: Made, crowned: Told) -> str:
    """Whether the version behind a prediction was champion or challenger then."""
    model, since = f"{made.namespace}/{made.model}", f"since {crowned.at:%Y-%m-%d %H:%M:%S}Z ({crowned.kind})"
    if made.version == crowned.version:
        return f"it was champion of {model} then, {since}"
    return f"champion of {model} then was {crowned.version}, {since}"
