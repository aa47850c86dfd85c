"""What the operator says of a model, and what the drift worker says of a version of it: bodies, and what is stored."""

from __future__ import annotations

import base64
import binascii
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from puzzle_monitor.core.records import Feedback, Moment, Name, Number, Pixels, RecordId, Share, Wire

MAX_SETTINGS = 16 * 1024
MAX_MODELS = 1_000
MAX_STATE = 4 * 1024 * 1024
"""Characters of base64."""
MAX_DRIFT = MAX_STATE + 64 * 1024
MAX_HISTORY = 2_000
"""Points of drift that are kept of each version."""
MAX_COUNT = 2**53

Count = Annotated[int, Field(ge=0, le=MAX_COUNT)]
Positive = Annotated[int, Field(ge=1, le=MAX_COUNT)]
Sentence = Annotated[str, Field(pattern=r"^[^\x00-\x08\x0b-\x1f\x7f]*$", max_length=2_000)]
Short = Annotated[str, Field(pattern=r"^[^\x00-\x1f\x7f]+$", max_length=253)]
Phase = Literal["Collecting", "None", "Suspected", "Confirmed"]
Harm = Literal["Yes", "No", "Unknown"]
PHASES: tuple[Phase, ...] = ("Collecting", "None", "Suspected", "Confirmed")


def _ordered(pair: tuple[float, float]) -> tuple[float, float]:
    if pair[0] >= pair[1]:
        raise ValueError("the lower bound comes first and is below the upper one")
    return pair


class DriftSettings(Wire):
    """How drift is watched for."""

    backend: Literal["builtin", "alibi-detect"] = "builtin"
    detector: Literal["MMDOnline", "LSDDOnline", "CVMOnline", "FETOnline", "KS"] = "MMDOnline"
    expected_run_images: Positive = 100_000
    """Images between two false alarms, on average."""
    confirm_windows: Annotated[int, Field(ge=1, le=1_000)] = 3


class DataQuality(Wire):
    """What pictures must be like. What is null is judged against what is usual on the line."""

    max_lateness_s: Annotated[float, Field(gt=0, le=31_536_000, allow_inf_nan=False)] | None = None
    """Between `at` and arrival here."""
    min_images: Positive | None = None
    """Fewest pictures in 24 hours."""
    size: tuple[Pixels, Pixels] | None = None
    """Width and height."""
    brightness: Annotated[tuple[Share, Share], AfterValidator(_ordered)] | None = None
    """Lowest and highest mean luminance; 0 is black, 1 is white."""


class StorageSettings(Wire):
    """Where the versions of the model lie."""

    endpoint: Short
    """host:port"""
    bucket: Short
    secure: bool = True


class ModelSettings(Wire):
    """What the operator wants to be watched of one PuzzleModel."""

    line: Name
    champion: Name | None = None
    challenger: Name | None = None
    drift: DriftSettings | None = None
    """None: drift is not watched."""
    data_quality: DataQuality | None = None
    storage: StorageSettings | None = None
    labels_wanted: Positive | None = None
    """Labelled pictures that start a retraining, for the review page to show how many are missing."""
    labels_used: Count = 0
    """Labelled pictures that a run has used: so many of `labels.images` are not new any more."""
    owner: Short | None = None
    """Which operator of which cluster put this here: it takes away what it put and no longer has."""


class DriftReport(Wire):
    """What a detector found about one version."""

    version: Name
    detector: Short
    backend: Short
    images: Count
    score: Number | None = None
    threshold: Number | None = None
    p_value: Share | None = None
    phase: Phase
    harmful: Harm = "Unknown"
    since: Moment | None = None
    """When the phase began."""
    message: Sentence = ""


def _base64(text: str) -> str:
    try:
        base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise ValueError(f"is not base64: {error}") from error
    return text


class DriftState(Wire):
    """A report, and what the worker goes on from after a restart: they are stored together or not at all."""

    report: DriftReport
    cursor: Count
    """`seq` of the last record of the stream that is in it."""
    state: Annotated[str, Field(max_length=MAX_STATE), AfterValidator(_base64)]
    """Base64; only the worker knows what it means."""
    config: Annotated[str, Field(max_length=200, pattern=r"^[^\x00-\x1f\x7f]*$")]
    """Fingerprint of the settings that the state was made with."""


class Retraction(Wire):
    """Take back a label: as it was given, by the same person and with the same `at`."""

    prediction_id: RecordId
    who: Annotated[str, Field(pattern=r"^[^\x00-\x1f\x7f]{1,128}$", examples=["inspector-7"])]
    at: Moment
    """`at` of the label that is taken back."""
    label: Annotated[str | None, Field(pattern=r"^[^\x00-\x1f\x7f]{1,128}$")] = None
    """Only this label, where the same person gave two at the same time."""

    @classmethod
    def of(cls, item: Feedback) -> Retraction:
        """What takes this label back."""
        return cls(prediction_id=item.prediction_id, who=item.who, at=item.at, label=item.label)
