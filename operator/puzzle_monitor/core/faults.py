"""Refusals: which field, what is wrong with it, what would be right. The words of every 4xx answer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pydantic import ValidationError
from pydantic_core import ErrorDetails

_SHOWN = 10
_LONGEST = 60
"""Characters of what was sent that are repeated in the answer."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that is wrong. `field` is a path such as `records[3].confidence`."""

    field: str
    message: str


class Refused(Exception):  # noqa: N818 - reads as what it is
    """The request is refused and nothing was changed."""

    def __init__(
        self, status: int, detail: str, faults: Sequence[Fault] = (), *, retry_after: float | None = None
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.faults = tuple(faults)
        self.retry_after = retry_after


def wrong(field: str, message: str) -> Refused:
    """A refusal for one field."""
    return Refused(422, f"{field}: {message}", (Fault(field, message),))


def refusal(error: ValidationError, prefix: str = "") -> Refused:
    """What pydantic found, in our words; the first ten of it."""
    found = error.errors(include_url=False, include_context=False)
    if found[0]["type"] == "json_invalid":
        return Refused(400, f"the body is not JSON: {found[0]['msg'].removeprefix('Invalid JSON: ')}")
    # Of a list all of whose items are wrong, pydantic also says that it is too short.
    found = [item for item in found if item["type"] != "too_short" or not _inside(item["loc"], found)]
    faults = tuple(_fault(prefix, item["loc"], item["msg"], item["input"]) for item in found[:_SHOWN])
    more = f", and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
    first = faults[0]
    return Refused(422, f"{first.field}: {first.message}{more if len(faults) > 1 else ''}", faults)


def _inside(loc: tuple[int | str, ...], found: Sequence[ErrorDetails]) -> bool:
    return any(item["loc"][: len(loc)] == loc and item["loc"] != loc for item in found)


def path(prefix: str, loc: Sequence[int | str]) -> str:
    """`("records", 3, "label")` as `records[3].label`."""
    text = prefix
    for part in loc:
        name = part if isinstance(part, int) or len(part) <= _LONGEST else f"{part[:_LONGEST]}…"
        text += f"[{name}]" if isinstance(name, int) else f".{name}" if text else name
    return text or "body"


def _fault(prefix: str, loc: Sequence[int | str], message: str, value: object) -> Fault:
    clean = message.removeprefix("Value error, ")
    clean = clean[:1].lower() + clean[1:]
    if isinstance(value, str | int | float | None) and not clean.startswith("field required"):
        shown = repr(value)
        clean += f"; it is {shown if len(shown) <= _LONGEST else shown[:_LONGEST] + '…'}"
    return Fault(path(prefix, loc), clean)
