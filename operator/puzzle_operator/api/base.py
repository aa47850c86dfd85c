"""How the types of this package read from and write to Kubernetes objects.

Every type is frozen: a pass may hand a status around without anyone changing it underneath. Field names are
snake_case in Python and camelCase on the wire.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Annotated, Any, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, PlainSerializer
from pydantic.alias_generators import to_camel

JsonObject = dict[str, Any]

DURATION_PATTERN = r"^([0-9]+(ms|s|m|h))+$"
"""What CEL's `duration()` reads as well: whole numbers, and no days."""


class Wire(BaseModel):
    """A piece of a Kubernetes object."""

    model_config = ConfigDict(
        frozen=True,
        populate_by_name=True,
        alias_generator=to_camel,
        extra="ignore",
        use_attribute_docstrings=True,
    )

    def to_wire(self) -> JsonObject:
        """JSON values as Kubernetes stores them; fields without a value are left out."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True)

    def but(self, **changes: object) -> Self:
        """The same with some fields changed."""
        return self.model_copy(update=changes)


def _check_duration(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError("a duration is a text such as 90s, 10m or 1h30m")
    if not re.fullmatch(DURATION_PATTERN, value):
        raise ValueError(f"{value!r} is not a duration such as 90s, 10m or 1h30m")
    return value


def _read_time(value: object) -> datetime:
    if isinstance(value, datetime):
        return value.astimezone(UTC)
    if not isinstance(value, str):
        raise ValueError("a time is a text such as 2026-11-23T14:00:00.123Z")
    moment = datetime.fromisoformat(value.replace("Z", "+00:00"))
    return moment.replace(tzinfo=moment.tzinfo or UTC).astimezone(UTC)


def _write_time(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


Duration = Annotated[str, BeforeValidator(_check_duration)]
# Milliseconds: how long a bad canary had traffic is a matter of seconds.
Time = Annotated[datetime, BeforeValidator(_read_time), PlainSerializer(_write_time, return_type=str)]


def cel(rule: str, message: str, *, field_path: str | None = None) -> JsonObject:
    """One `x-kubernetes-validations` entry: the API server refuses the object with `message` unless `rule`
    holds."""
    entry = {"rule": rule, "message": message}
    if field_path:
        entry["fieldPath"] = field_path
    return entry


def rules(*entries: JsonObject, **schema: object) -> JsonObject:
    """Schema extras of a field or type: validation rules, and whatever else Kubernetes knows."""
    return {"x-kubernetes-validations": list(entries), **schema}


def duration_schema(field: str, least: str, most: str, example: str) -> JsonObject:
    """Schema extras of a duration: refused outside of its bounds with a sentence that names the field."""
    text = f"{field} must be a duration between {least} and {most}, such as {example}"
    rule = (
        f"self.matches('{DURATION_PATTERN}') && duration(self) >= duration('{least}')"
        f" && duration(self) <= duration('{most}')"
    )
    return rules(cel(rule, text), maxLength=16)
