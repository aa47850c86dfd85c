"""What a person writes in a PuzzleModel: the whole `spec`, and which version and line it is about. Its parts have a
module each. These types are the schema: `crd.py` turns them, with their docs, defaults and rules, into the resource
definition, and the API server refuses what does not fit with the sentences in them.

Sentences name the field and the fix. Where a plain schema keyword would only say "should match '^…$'", a CEL
rule says it in words instead.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from .base import Wire, cel, rules
from .canary import Canary
from .monitoring import DataQuality, Drift, Records
from .names import VERSION_PATTERN
from .retraining import Retraining
from .serving import Serving
from .storage import Storage

AUTO = "auto"


class ModelRef(Wire):
    """Which version of the model to serve."""

    version: Annotated[
        str,
        Field(
            json_schema_extra=rules(
                cel(
                    f"self == '{AUTO}' || self.matches('{VERSION_PATTERN}')",
                    "spec.model.version must be a digest: sha256: and 64 hexadecimal digits in lower case, "
                    "as `puzzlenet package` prints it; or auto, for the newest version that was accepted",
                ),
                maxLength=71,
            )
        ),
    ]
    """Digest of the version in the registry, `sha256:…`, or `auto`: the newest one that the line's gate accepted and
    that is not quarantined. Another version starts a canary."""

    @property
    def is_auto(self) -> bool:
        """Whether the registry says which version is meant."""
        return self.version == AUTO


class Automation(StrEnum):
    """What waits for a person."""

    MANUAL = "Manual"
    ASSISTED = "Assisted"
    FULL = "Full"


class PuzzleModelSpec(Wire):
    """What is wanted."""

    line: Annotated[
        str,
        Field(
            json_schema_extra=rules(
                cel(
                    "self.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?$')",
                    "spec.line must be the name of a production line: lower case letters, digits and dashes, "
                    "such as line-1",
                ),
                maxLength=63,
            )
        ),
    ]
    """Production line whose pieces the model inspects."""
    automation: Automation = Automation.FULL
    """Full: nothing waits for a person. Assisted: promotion does. Manual: the first traffic, every step and promotion
    do. `kubectl puzzle promote` gives consent; rolling back never waits."""
    paused: bool = False
    """Freezes the rollout at its present weight. Guards and a failing verdict still roll back."""
    model: ModelRef
    serving: Serving = Field(default_factory=Serving)
    canary: Canary = Field(default_factory=Canary)
    records: Records = Field(default_factory=Records)
    drift: Drift = Field(default_factory=Drift)
    data_quality: DataQuality = Field(default_factory=DataQuality)
    storage: Storage = Field(default_factory=Storage)
    retraining: Retraining = Field(default_factory=Retraining)
