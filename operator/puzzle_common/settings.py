"""Settings of a command: environment variables, read once at start into a frozen dataclass.

A field is the variable PREFIX_FIELD, and its type says what may stand there: the types below, `int`, `str`, a
`Literal`, with bounds from pydantic's `Field`. What is wrong is one sentence that names the variable and the fix.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import fields
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, TypeAdapter, ValidationError

from .durations import format_duration, parse_duration

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

T = TypeVar("T", bound="DataclassInstance")

_SIZES = {"": 1, "Ki": 1 << 10, "Mi": 1 << 20, "Gi": 1 << 30, "k": 10**3, "M": 10**6, "G": 10**9}
_SIZE = re.compile(r"([0-9]{1,15}(?:\.[0-9]{1,9})?)(Ki|Mi|Gi|k|M|G|)")
# From the colon after a user up to the last @; and a password among the parameters.
_PASSWORDS = re.compile(r"(?<=://)([^/:@\s]*:).*@|(\bpassword=)[^&\s]*")


class ConfigurationError(ValueError):
    """A person has to change a setting, which the message names; ends the process with exit code 2."""


def _span(text: object) -> object:
    if not isinstance(text, str):
        return text
    try:
        return parse_duration(text, positive=True)
    except ValueError as error:
        raise ValueError("it must be a number and a unit, above zero, such as 30s, 15m or 90d") from error


def _seconds(text: object) -> object:
    if not isinstance(text, str):
        return text
    try:
        return parse_duration(text if text[-1:].isalpha() else f"{text}s", positive=True).total_seconds()
    except ValueError as error:
        raise ValueError("it must be a number of seconds above 0, or such as 10s") from error


def _size(text: object) -> object:
    if not isinstance(text, str):
        return text
    found = _SIZE.fullmatch(text)
    if not found:
        raise ValueError("it must be a number of bytes such as 512Mi")
    return int(float(found[1]) * _SIZES[found[2]])


def _words(text: object) -> object:
    return tuple(part.strip() for part in text.split(",") if part.strip()) if isinstance(text, str) else text


def _http_url(text: str) -> str:
    try:
        where = urlsplit(text)
    except ValueError:
        where = urlsplit("")
    if text and (where.scheme not in {"http", "https"} or not where.netloc):
        raise ValueError("write http://… or https://…")
    return text


Span = Annotated[timedelta, BeforeValidator(_span)]
"""A duration above zero, such as 15m or 90d."""
Seconds = Annotated[float, BeforeValidator(_seconds)]
"""The same in seconds; a number without a unit means seconds."""
Bytes = Annotated[int, BeforeValidator(_size)]
"""A number of bytes, such as 512Mi."""
Words = Annotated[tuple[str, ...], BeforeValidator(_words)]
"""Words, separated by commas."""
HttpUrl = Annotated[str, AfterValidator(_http_url)]
"""An address, http://… or https://…; empty where the default is."""
Port = Annotated[int, Field(ge=0, le=65_535)]
LogLevel = Literal["debug", "info", "warning", "error"]


def variable(prefix: str, field: str) -> str:
    """The environment variable of a field."""
    return f"{prefix}{field.upper()}"


def read_settings(kind: type[T], prefix: str, environment: Mapping[str, str]) -> T:
    """The settings; variables that are empty or blank count as unset.

    Raises:
        ConfigurationError: naming the first variable that makes no sense.
    """
    given = {item.name: environment.get(variable(prefix, item.name), "").strip() for item in fields(kind)}
    try:
        return TypeAdapter(kind).validate_python({field: text for field, text in given.items() if text})
    except ValidationError as found:
        error = found.errors(include_url=False)[0]
        field = str(error["loc"][0])
        raise ConfigurationError(
            f"{variable(prefix, field)} is {without_passwords(given[field])!r}: {_fix(error['type'], error)}"
        ) from None


def list_settings(settings: DataclassInstance, prefix: str, environment: Mapping[str, str]) -> str:
    """Every variable with its present value, a line each; passwords are left out."""
    names = {item.name: variable(prefix, item.name) for item in fields(settings)}
    width = max(map(len, names.values()))
    lines = []
    for field, name in names.items():
        text = without_passwords(_written(getattr(settings, field)))
        lines.append(f"{name:<{width}}  {text}{'' if environment.get(name, '').strip() else '  (default)'}")
    return "\n".join(lines)


def without_passwords(text: str) -> str:
    """The text, with *** for the passwords of the addresses in it."""
    return _PASSWORDS.sub(lambda found: f"{found[1]}***@" if found[1] is not None else f"{found[2]}***", text)


def _fix(kind: str, error: Any) -> str:
    limits = error.get("ctx", {})
    match kind:
        case "int_parsing" | "int_from_float" | "int_parsing_size":
            return "it must be a whole number"
        case "greater_than_equal":
            return f"it must be at least {limits['ge']}"
        case "less_than_equal":
            return f"it must be at most {limits['le']}"
        case "literal_error":
            return f"it must be {limits['expected']}".replace("'", "")
        case "value_error":
            return str(limits["error"])
        case _:
            return str(error["msg"])


def _written(value: object) -> str:
    if isinstance(value, timedelta):
        whole = value == timedelta(seconds=round(value.total_seconds()))
        return format_duration(value, days=True) if whole else f"{value.total_seconds():g}s"
    return ",".join(value) if isinstance(value, tuple) else str(value)
