"""What a person writes about watching a model in service, and what the operator shows of it: records, drift, the health
of the pictures, accuracy by labels.

A module of its own because all of it needs the monitor (docs/monitor.md), and a model serves as well without.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import ConfigDict, Field

from .base import Duration, Time, Wire, cel, duration_schema, rules

MAX_REPORTS = 4
"""Versions whose drift and accuracy are shown: the champion first, then the challenger."""
MAX_PROBLEMS = 9


def _fraction(field: str, meaning: str) -> dict[str, object]:
    return rules(cel("self >= 0.0 && self <= 1.0", f"{field} must be a fraction between 0 and 1: {meaning}"))


class Records(Wire):
    """What the predictors tell the monitor. Without a monitor nothing is told, and nothing of this matters."""

    enabled: bool = True
    """Whether every prediction is recorded: probabilities, embedding and a few numbers about the picture, in the
    background."""
    image_share: Annotated[
        float,
        Field(json_schema_extra=_fraction("spec.records.imageShare", "the share of pictures kept at random")),
    ] = 0.01
    """Share of pictures that are kept at random."""
    image_below: Annotated[
        float,
        Field(json_schema_extra=_fraction("spec.records.imageBelow", "pictures with less confidence are kept")),
    ] = 0.6
    """Pictures of predictions with less confidence than this are kept for review."""


class DriftBackend(StrEnum):
    """What computes drift."""

    ALIBI_DETECT = "alibi-detect"
    BUILTIN = "builtin"


class Detector(StrEnum):
    """Detectors of drift, by their names in the literature."""

    MMD_ONLINE = "MMDOnline"
    LSDD_ONLINE = "LSDDOnline"
    CVM_ONLINE = "CVMOnline"
    FET_ONLINE = "FETOnline"
    KS = "KS"


class Confirm(Wire):
    """When an alarm is believed."""

    windows: Annotated[
        int,
        Field(
            json_schema_extra=rules(
                cel(
                    "self >= 1 && self <= 20",
                    "spec.drift.confirm.windows must be between 1 and 20: so many windows in a row must show the drift",
                )
            )
        ),
    ] = 3
    """Windows in a row that must show the drift before it counts as confirmed."""


class Drift(Wire):
    """Whether the pieces still look like those that the model was tested on."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            cel(
                "self.backend != 'builtin' || self.detector == 'MMDOnline'",
                "spec.drift: the backend builtin has the detector MMDOnline only; "
                "leave detector out, or set backend: alibi-detect",
            )
        )
    )
    enabled: bool = True
    """Whether drift is looked for. Needs the monitor and its drift worker."""
    backend: DriftBackend = DriftBackend.ALIBI_DETECT
    """alibi-detect: the library, whose licence (BSL 1.1) wants an agreement with its makers for use in production.
    builtin: the same test from this project, free of that."""
    detector: Detector = Detector.MMD_ONLINE
    """MMDOnline and LSDDOnline look at embeddings, CVMOnline at confidence, FETOnline at labelled errors, KS at the
    probabilities of the classes."""
    expected_run_time: Annotated[
        Duration, Field(json_schema_extra=duration_schema("spec.drift.expectedRunTime", "1m", "8760h", "24h"))
    ] = "24h"
    """Mean time between two false alarms; turned into pictures at the line's rate."""
    expected_run_images: Annotated[
        int | None,
        Field(
            json_schema_extra=rules(
                cel(
                    "self >= 100 && self <= 10000000",
                    "spec.drift.expectedRunImages must be between 100 and 10000000: pictures between two false alarms",
                )
            )
        ),
    ] = None
    """Pictures between two false alarms on average; takes the place of expectedRunTime."""
    confirm: Confirm = Field(default_factory=Confirm)


class DataQuality(Wire):
    """What pictures must be like, in service and before a training."""

    max_lateness: Annotated[
        Duration, Field(json_schema_extra=duration_schema("spec.dataQuality.maxLateness", "1s", "168h", "15m"))
    ] = "15m"
    """A picture that arrives later than this after it was taken counts as late."""
    min_images: Annotated[
        int | None,
        Field(
            json_schema_extra=rules(
                cel(
                    "self >= 1 && self <= 10000000",
                    "spec.dataQuality.minImages must be between 1 and 10000000: pictures that a training needs",
                )
            )
        ),
    ] = None
    """Pictures that a training needs at least."""
    size: Annotated[
        tuple[int, ...] | None,
        Field(
            json_schema_extra=rules(
                cel(
                    "self.size() == 2 && self.all(n, n >= 1 && n <= 16384)",
                    "spec.dataQuality.size must be width and height in pixels, such as [128, 128]",
                ),
                maxItems=4,
            )
        ),
    ] = None
    """Width and height that pictures have."""
    brightness: Annotated[
        tuple[float, ...] | None,
        Field(
            json_schema_extra=rules(
                cel(
                    "self.size() == 2 && self[0] >= 0.0 && self[0] < self[1] && self[1] <= 1.0",
                    "spec.dataQuality.brightness must be the darkest and the brightest mean allowed, two rising "
                    "fractions between 0 and 1, such as [0.1, 0.9]",
                ),
                maxItems=4,
            )
        ),
    ] = None
    """Mean brightness that pictures have, from 0 (black) to 1 (white)."""


# ---------------------------------------------------------------- what is shown


class DriftPhase(StrEnum):
    """How far a detector has come."""

    COLLECTING = "Collecting"
    """Too few pictures yet."""
    NONE = "None"
    SUSPECTED = "Suspected"
    """An alarm that is not confirmed yet."""
    CONFIRMED = "Confirmed"


class Harm(StrEnum):
    """Whether a drift makes predictions worse, as labels or confidence say."""

    YES = "Yes"
    NO = "No"
    UNKNOWN = "Unknown"


class DriftReport(Wire):
    """What one version's detector says."""

    version: str
    detector: str = ""
    backend: str = ""
    phase: DriftPhase
    harmful: Harm = Harm.UNKNOWN
    images: int = 0
    """Pictures that it has looked at."""
    score: float | None = None
    threshold: float | None = None
    p_value: float | None = None
    since: Time | None = None
    """When the phase began."""
    message: str = ""

    @property
    def shown(self) -> str:
        """One word: the phase, or Harmful."""
        return "Harmful" if self.phase is DriftPhase.CONFIRMED and self.harmful is Harm.YES else str(self.phase)


class DriftStatus(Wire):
    """Drift of the champion, and what each detector says."""

    shown: str
    """One word for the column: Collecting, None, Suspected, Confirmed, Harmful; Unknown while the monitor is silent."""
    version: str | None = None
    """The champion that it is about."""
    phase: DriftPhase | None = None
    """As last heard; kept through an outage of the monitor, so that it is not announced twice."""
    harmful: Harm | None = None
    message: str | None = None
    run_images: int | None = None
    """Pictures between two false alarms, as spec.drift and the line's rate have it."""
    reports: tuple[DriftReport, ...] = ()


class InputProblem(Wire):
    """One thing that is wrong with the pictures."""

    kind: str
    """Missing, Late, Volume, Format, Size, Dark, Bright, Blurred or ColourShift."""
    since: Time | None = None
    message: str = ""


class InputStatus(Wire):
    """Whether the line's pictures are what they should be."""

    shown: str
    """Healthy, or the kinds of problems; Unknown while the monitor does not say."""
    healthy: Literal["True", "False"] | None = None
    """As last heard; absent before anything was."""
    problems: tuple[InputProblem, ...] = ()
    message: str | None = None


class VersionAccuracy(Wire):
    """How often people agreed with a version lately."""

    version: str
    labelled: int = 0
    wrong: int = 0
    accuracy: float | None = None
    """Of the labelled pieces; absent without any."""
    window: Duration = "0s"
    """How far back."""


class LabelCount(Wire):
    """Labelled pieces ever."""

    total: int = 0
    images: int = 0
    """Those of which the picture is kept, so that a model can be trained on them."""
    size: int = 0
    """Bytes of these pictures."""


class AccuracyStatus(Wire):
    """Accuracy by people's labels."""

    champion: float | None = None
    """The champion's."""
    versions: tuple[VersionAccuracy, ...] = ()
    labels: LabelCount = Field(default_factory=LabelCount)
