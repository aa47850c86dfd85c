"""Bytes of a request into checked types, or a `Refused` that names the field. All of a body is good or none of it."""

from __future__ import annotations

import csv
import io
from collections.abc import Collection, Iterable
from datetime import datetime
from itertools import islice
from typing import Annotated, Any, TypeVar

from pydantic import FailFast, TypeAdapter, ValidationError
from pydantic_core import from_json

from puzzle_monitor.core.faults import Fault, Refused, refusal, wrong
from puzzle_monitor.core.models import Retraction
from puzzle_monitor.core.records import (
    MAX_CLASSES,
    MAX_EMBEDDING,
    MAX_FEEDBACK,
    MAX_RECORDS,
    Batch,
    Feedback,
    Record,
    Wire,
    ahead,
)

T = TypeVar("T", bound=Wire)

_FEEDBACK = TypeAdapter(Feedback)
_FEEDBACK_LIST = TypeAdapter(Annotated[tuple[Feedback, ...], FailFast()])
_REQUIRED = ("prediction_id", "label", "who", "at")
_COLUMNS = (*_REQUIRED, "note")
_MAX_FIELDS = 50
"""Fields of one object: enough to name what is too much, few enough to name it in."""
_FUTURE = "lies in the future: set the clock of the sender"


def parse_records(body: bytes, now: datetime) -> tuple[Record, ...]:
    """A batch of predictions. Raises Refused."""
    _check_size(_json(body))
    try:
        records = Batch.model_validate_json(body).records
    except ValidationError as error:
        raise refusal(error) from error
    late = ahead((record.at for record in records), now)
    if late is not None:
        raise wrong(f"records[{late}].at", f"{_FUTURE}; it is {records[late].at.isoformat()}")
    return records


def parse_feedback(body: bytes, now: datetime) -> tuple[Feedback, ...]:
    """One feedback or a list of them, as JSON. Raises Refused."""
    found = _json(body)
    many = isinstance(found, list)
    for index, item in enumerate(_few(found, "body", MAX_FEEDBACK) if many else (found,)):
        _few(item, f"[{index}]" if many else "body", _MAX_FIELDS)
    try:
        items = _FEEDBACK_LIST.validate_json(body) if many else (_FEEDBACK.validate_json(body),)
    except ValidationError as error:
        raise refusal(error) from error
    late = ahead((item.at for item in items), now)
    if late is not None:
        raise wrong(f"[{late}].at" if many else "at", _FUTURE)
    return items


def parse_one(kind: type[T], body: bytes) -> T:
    """A body that is one small object. Raises Refused."""
    for name, value in _fields(_json(body)):
        _few(value, name, _MAX_FIELDS)
    try:
        return kind.model_validate_json(body)
    except ValidationError as error:
        raise refusal(error) from error


def parse_retraction(body: bytes, now: datetime) -> Retraction:
    """A label to take back. Raises Refused."""
    found = parse_one(Retraction, body)
    if ahead((found.at,), now) is not None:
        raise wrong("at", f"{_FUTURE}; it is `at` of the label that is taken back")
    return found


def _fields(found: Any) -> Iterable[tuple[str, Any]]:
    _few(found, "body", _MAX_FIELDS)
    return found.items() if isinstance(found, dict) else ()


def _json(body: bytes) -> Any:
    """The body as plain objects, only to see how much of everything there is.

    The types would find the same faults, but they gather them all: 4 MB of `{},` made 4 million of them, 5 GB.
    """
    try:
        return from_json(body)
    except ValueError as error:
        raise Refused(400, f"the body is not JSON: {error}") from error


def _check_size(batch: Any) -> None:
    for index, record in enumerate(_few(_get(batch, "records"), "records", MAX_RECORDS)):
        place = f"records[{index}]"
        _few(record, place, _MAX_FIELDS)
        _few(_get(record, "probabilities"), f"{place}.probabilities", MAX_CLASSES)
        _few(_get(record, "embedding"), f"{place}.embedding", MAX_EMBEDDING)
        _few(_get(record, "image"), f"{place}.image", _MAX_FIELDS)
    _few(batch, "body", _MAX_FIELDS)


def _get(value: Any, name: str) -> Any:
    return value.get(name) if isinstance(value, dict) else None


def _few(value: Any, place: str, limit: int) -> Collection[Any]:
    """A list or an object of 1 to `limit` entries; anything else is left to the types, as nothing."""
    if not isinstance(value, list | dict):
        return ()
    if len(value) > limit or not value:
        raise wrong(place, f"has {len(value):,} entries; send 1 to {limit:,}")
    return value


def parse_feedback_csv(body: bytes, now: datetime) -> tuple[Feedback, ...]:
    """Feedback as a table with a header; commas or, as spreadsheets write them in many countries, semicolons.

    Raises:
        Refused: naming the line and the column.
    """
    rows = _rows(body)
    header, lines = rows[0], rows[1:]
    _check_header(header)
    if not 1 <= len(lines) <= MAX_FEEDBACK:
        count = "more lines below the header than are taken at once" if lines else "no lines below the header"
        raise wrong("body", f"has {count}; send 1 to {MAX_FEEDBACK:,}")
    items = tuple(_row(header, number, row) for number, row in enumerate(lines, start=2))
    late = ahead((item.at for item in items), now)
    if late is not None:
        raise wrong(f"line {late + 2}.at", _FUTURE)
    return items


def _rows(body: bytes) -> list[list[str]]:
    try:
        text = body.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise Refused(400, f"the CSV is not UTF-8: byte {error.start} is none of it; save it as UTF-8") from error
    first = text.partition("\n")[0]
    delimiter = ";" if first.count(";") > first.count(",") else ","
    try:
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
        rows = list(islice((row for row in reader if row), MAX_FEEDBACK + 2))
    except csv.Error as error:
        raise Refused(400, f"the body is not CSV: {error}") from error
    if not rows:
        raise Refused(400, f"the CSV is empty: begin with the line {','.join(_COLUMNS)}")
    return rows


def _check_header(header: list[str]) -> None:
    missing = [name for name in _REQUIRED if name not in header]
    unknown = [name for name in header if name not in _COLUMNS]
    faults = [Fault(name, "this column is missing") for name in missing]
    faults += [Fault(name[:60], f"no such column; there are {', '.join(_COLUMNS)}") for name in unknown[:5]]
    if len(set(header)) < len(header):
        faults.append(Fault("header", "a column is there twice"))
    if faults:
        raise Refused(422, f"line 1: {faults[0].field}: {faults[0].message}", faults)


def _row(header: list[str], number: int, row: list[str]) -> Feedback:
    if len(row) != len(header):
        raise wrong(f"line {number}", f"has {len(row)} columns, the header {len(header)}")
    values = {name: value for name, value in zip(header, row, strict=True) if name != "note" or value}
    try:
        return _FEEDBACK.validate_strings(values, strict=False)
    except ValidationError as error:
        raise refusal(error, f"line {number}") from error
