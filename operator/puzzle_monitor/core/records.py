"""What the monitor is told: predictions, images beside them, and what people found to be true.

These types are the API's schema as well: what they refuse is answered with 422 and the name of the field.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Annotated

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field, model_validator

from puzzle_monitor.core.times import EARLIEST, micros

MAX_RECORDS = 1_000
MAX_FEEDBACK = 10_000
MAX_BODY = 4 * 1024 * 1024
MAX_IMAGE = 2 * 1024 * 1024
MAX_CLASSES = 1_000
MAX_EMBEDDING = 2_048
CLOCK_SKEW = timedelta(minutes=10)
"""How far the clock of a sender may be ahead of ours."""
_SUM_TOLERANCE = 0.02


def _sane(at: datetime) -> datetime:
    if at < EARLIEST:
        raise ValueError("is before the year 2000: the clock that stamped it is not set")
    return at


RecordId = Annotated[
    str,
    Field(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._:~-]{0,127}$",
        description="Unique for ever, chosen by the sender, such as a UUID: the same id again is the same record.",
        examples=["0b9c6a34-8d0e-4a5e-9a8e-1f6f5a3c2b10"],
    ),
]
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._:-]{0,252}$")]
Label = Annotated[str, Field(pattern=r"^[^\x00-\x1f\x7f]{1,128}$", description="Class name.", examples=["scratch"])]
Moment = Annotated[AwareDatetime, AfterValidator(_sane), Field(description="RFC 3339, with a time zone.")]
Number = Annotated[float, Field(ge=-1e9, le=1e9, allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0.0, le=1.0, allow_inf_nan=False)]
Pixels = Annotated[int, Field(ge=1, le=100_000)]


class Wire(BaseModel):
    """Something sent or answered as JSON. Fields that nobody knows are refused: they are spelling mistakes."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, use_attribute_docstrings=True)


class ImageStats(Wire):
    """What the camera sent, in numbers: enough to see a feed go bad without keeping its pictures."""

    format: Annotated[str, Field(pattern=r"^[a-z0-9]{1,16}$", examples=["jpeg"])]
    width: Pixels
    height: Pixels
    bytes: Annotated[int, Field(ge=1, le=1_000_000_000)]
    brightness: Share
    """Mean luminance; 0 is black."""
    blur: Annotated[float, Field(ge=0.0, le=1e9, allow_inf_nan=False)]
    """Variance of the Laplacian, or another measure that falls when a picture loses its edges."""
    colour: Annotated[tuple[Share, Share, Share] | None, Field(description="Means of red, green, blue.")] = None


class Record(Wire):
    """One prediction of one served model."""

    id: RecordId
    at: Moment
    namespace: Name
    model: Name
    line: Name
    revision: Name
    version: Name
    label: Label
    """The predicted class; one of `probabilities`."""
    probabilities: Annotated[dict[Label, Share], Field(min_length=1, max_length=MAX_CLASSES)]
    """By class; they sum to 1."""
    confidence: Share
    image: ImageStats
    embedding: Annotated[list[Number], Field(fail_fast=True, min_length=1, max_length=MAX_EMBEDDING)] | None = None

    @model_validator(mode="after")
    def _consistent(self) -> Record:
        total = sum(self.probabilities.values())
        if abs(total - 1.0) > _SUM_TOLERANCE:
            raise ValueError(f"probabilities sum to {total:.4g}; they must sum to 1")
        if self.label not in self.probabilities:
            raise ValueError(f"label {self.label!r} is none of the classes in probabilities")
        return self


class Batch(Wire):
    """Predictions in one request: all of them are stored, or none."""

    # The first wrong record is told, not a list of a million faults.
    records: Annotated[tuple[Record, ...], Field(fail_fast=True, min_length=1, max_length=MAX_RECORDS)]


class Feedback(Wire):
    """What somebody found a piece to be. A second one for the same prediction is a correction."""

    prediction_id: RecordId
    label: Label
    """The true class."""
    who: Annotated[str, Field(pattern=r"^[^\x00-\x1f\x7f]{1,128}$", examples=["inspector-7"])]
    at: Moment
    """When it was found: of several, the newest counts."""
    note: Annotated[str | None, Field(pattern=r"^[^\x00]*$", max_length=1_000)] = None

    @property
    def key(self) -> tuple[str, str, int, str]:
        """What makes it the same feedback when it is sent twice."""
        return self.prediction_id, self.who, micros(self.at), self.label


def ahead(moments: Iterable[datetime], now: datetime) -> int | None:
    """Index of the first moment that lies in the future. One label dated next year would outlive every correction."""
    limit = now + CLOCK_SKEW
    return next((index for index, at in enumerate(moments) if at > limit), None)


def pack(embedding: list[float] | None) -> bytes | None:
    """An embedding as little-endian float32, a tenth of its JSON."""
    if embedding is None:
        return None
    values = array("f", embedding)
    if _BIG_ENDIAN:
        values.byteswap()
    return values.tobytes()


def unpack(data: bytes | None) -> list[float] | None:
    """The embedding that was packed."""
    if data is None:
        return None
    values = array("f")
    values.frombytes(data)
    if _BIG_ENDIAN:
        values.byteswap()
    return values.tolist()


_BIG_ENDIAN = array("H", [1]).tobytes()[0] == 0
