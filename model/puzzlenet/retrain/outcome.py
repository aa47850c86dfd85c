"""How a run ended: what the operator reads from the Job's termination message."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from puzzlenet.errors import PuzzleNetError
from puzzlenet.files import canonical_json

Kind = Literal["Accepted", "DataRefused", "GateRefused", "Failed"]
LIMIT = 3000  # bytes; the kubelet keeps 4,096 of a pod
_SENTENCE = 1200


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """The decision of a run, or why there is none."""

    outcome: Kind
    message: str
    version: str | None = None
    data: dict[str, Any] = field(default_factory=dict)
    metrics: dict[str, Any] = field(default_factory=dict)
    seconds: float = 0.0

    def to_dict(self) -> dict[str, Any]:
        """As JSON-ready values."""
        return {
            "outcome": self.outcome,
            "version": self.version,
            "message": self.message,
            "data": self.data,
            "metrics": self.metrics,
            "seconds": round(self.seconds, 1),
        }

    def to_message(self) -> bytes:
        """The termination message, cut where it is too long: the sentence first, then the figures."""
        value = self.to_dict()
        if len(self.message) > _SENTENCE:
            value["message"] = self.message[: _SENTENCE - 1] + "…"
        if len(canonical_json(value)) > LIMIT:
            value["metrics"] = {key: one for key, one in self.metrics.items() if not isinstance(one, dict | list)}
        while len(canonical_json(value)) > LIMIT and len(value["message"]) > 1:
            value["message"] = value["message"][: len(value["message"]) // 2] + "…"
        return canonical_json(value)


def from_dict(value: dict[str, Any]) -> Outcome:
    """What ``to_dict`` gave."""
    return Outcome(
        outcome=value["outcome"],
        version=value["version"],
        message=value["message"],
        data=value["data"],
        metrics=value["metrics"],
        seconds=value["seconds"],
    )


def write_termination(outcome: Outcome, path: Path | None) -> None:
    """Write the termination message where the kubelet looks for it."""
    write_message(outcome.to_message(), path)


def write_message(message: bytes, path: Path | None) -> None:
    """The same for a message of any Job."""
    if path is None:
        return
    try:
        path.write_bytes(message)
    except OSError as exc:
        raise PuzzleNetError(f"--termination-log {path} cannot be written: {exc.strerror}") from exc


def read_termination(data: bytes) -> dict[str, Any]:
    """For tests and people."""
    value: dict[str, Any] = json.loads(data)
    return value
