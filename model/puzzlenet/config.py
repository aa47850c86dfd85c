"""``config.json``: everything besides the weights that a prediction depends on.

It travels with the weights and is covered by the version's digest, so two servers of one version answer alike.
"""

import json
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from puzzlenet.dataset import Symmetries
from puzzlenet.errors import BadVersionError
from puzzlenet.files import pretty_json

Accepted = Literal["png", "jpeg"]
MAX_VIEWS = 128


class Architecture(BaseModel):
    """Size of the network. ``width`` is the channels of the first stage, ``blocks`` the residual blocks of each."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Literal["puzzlenet"] = "puzzlenet"
    width: Annotated[int, Field(ge=4, le=256)] = 16
    blocks: Annotated[int, Field(ge=1, le=8)] = 1


class Serving(BaseModel):
    """What a server of this version accepts, and how many views it averages (test-time augmentation)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    accept: tuple[Accepted, ...] = ("jpeg", "png")
    views: Annotated[int, Field(ge=1, le=MAX_VIEWS)] = 1

    @field_validator("accept")
    @classmethod
    def _sorted(cls, value: tuple[Accepted, ...]) -> tuple[Accepted, ...]:
        if not value:
            raise ValueError("name one image format at least: png, jpeg")
        return tuple(sorted(set(value)))


class ModelConfig(BaseModel):
    """The contents of ``config.json``. Means and deviations are per RGB channel, of pixels in 0…1."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    schema_: Literal[1] = Field(default=1, alias="schema")
    architecture: Architecture = Architecture()
    classes: tuple[str, ...] = Field(min_length=2, max_length=1000)
    image_size: Annotated[int, Field(ge=16, le=512)] = 64
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    symmetries: Symmetries = "none"
    temperature: Annotated[float, Field(gt=0.0, le=100.0)] = 1.0
    serving: Serving = Serving()

    @field_validator("classes")
    @classmethod
    def _distinct(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(value)) != len(value):
            raise ValueError("a class is named twice")
        return value

    def to_json(self) -> bytes:
        """The bytes of ``config.json``."""
        return pretty_json(self.model_dump(by_alias=True))


def read_config(path: Path) -> ModelConfig:
    """Read ``config.json``. Raises BadVersionError naming the file."""
    try:
        return ModelConfig.model_validate(json.loads(path.read_bytes()))
    except FileNotFoundError as exc:
        raise BadVersionError(f"{path} is missing: {path.parent} is not a trained model or a packaged version") from exc
    except (ValidationError, ValueError, OSError) as exc:
        raise BadVersionError(f"{path} is not a valid model configuration: {exc}") from exc
