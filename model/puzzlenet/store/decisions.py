"""What was decided about versions, and why: appended, never rewritten.

The newest ``Accepted`` record of a line, by key, is what ``spec.model.version: auto`` resolves to. Keys are times,
so that they sort; a clock that was set back cannot put a record before those that are there.
"""

import json
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from puzzlenet.errors import RegistryError
from puzzlenet.files import canonical_json, sha256_of
from puzzlenet.store.bucket import Bucket
from puzzlenet.store.golden import line_prefix, lines_with

Kind = Literal["Accepted", "Refused", "Promoted", "RolledBack"]
_COMPACT = "%Y%m%dT%H%M%S.%fZ"


class Decision(BaseModel):
    """One record. ``parent`` is the version that it was compared with; ``numbers`` what was measured."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    schema_: Literal[1] = Field(default=1, alias="schema")
    at: str
    line: str
    kind: Kind
    version: str | None
    parent: str | None = None
    run: str | None = None
    reason: str
    numbers: dict[str, Any] = Field(default_factory=dict)


class Decisions:
    """The decision records of a bucket."""

    def __init__(self, bucket: Bucket) -> None:
        self._bucket = bucket

    def append(self, decision: Decision) -> Decision:
        """Write a record. One of the same run, kind and version is there once only, and is returned as it is."""
        known = self.log(decision.line)
        for record in known:
            same = (record.run, record.kind, record.version) == (decision.run, decision.kind, decision.version)
            if same and decision.run is not None:
                return record
        at = datetime.fromisoformat(decision.at).astimezone(UTC)
        if known:
            at = max(at, datetime.fromisoformat(known[-1].at) + timedelta(microseconds=1))
        record = decision.model_copy(update={"at": at.isoformat()})
        data = canonical_json(record.model_dump(by_alias=True))
        key = f"{_prefix(record.line)}{at.strftime(_COMPACT)}-{sha256_of(data)[:8]}.json"
        if self._bucket.stat(key) is None:
            self._bucket.put(key, data, "application/json")
        return record

    def log(self, line: str) -> list[Decision]:
        """Every record of a line, oldest first."""
        return [self._read(item.key) for item in self._bucket.list(_prefix(line))]

    def lines(self) -> list[str]:
        """Lines that anything was decided about."""
        return lines_with(self._bucket, "decisions")

    def accepted(self, line: str) -> Decision | None:
        """The newest record that accepts a version for a line."""
        return next((record for record in reversed(self.log(line)) if record.kind == "Accepted"), None)

    def _read(self, key: str) -> Decision:
        try:
            return Decision.model_validate(json.loads(self._bucket.get(key)))
        except (ValidationError, ValueError) as exc:
            raise RegistryError(f"{self._bucket.where(key)} is not a valid decision: {exc}") from exc


def _prefix(line: str) -> str:
    return f"{line_prefix(line)}decisions/"
