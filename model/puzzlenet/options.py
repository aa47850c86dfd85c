"""How to train: every option, its default and its bounds."""

from dataclasses import dataclass
from typing import Literal

from puzzlenet.errors import PuzzleNetError


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainConfig:
    """How to train. ``validation`` is the share held out, drawn evenly from every class by the seed."""

    epochs: int = 16
    batch: int = 32
    learning_rate: float = 4e-3
    weight_decay: float = 0.05
    patience: int = 6
    validation: float = 0.15
    seed: int = 0
    width: int = 16
    blocks: int = 1
    image_size: int = 64
    class_weights: Literal["none", "balanced"] = "balanced"
    symmetries: Literal["auto", "square", "none"] = "auto"
    threads: int = 1
    device: str = "auto"
    compile: bool | None = None  # None: on a GPU, where it can be

    def __post_init__(self) -> None:
        for name, low, high in (
            ("epochs", 1, 10_000),
            ("batch", 2, 65_536),
            ("patience", 1, 10_000),
            ("threads", 1, 1024),
            ("width", 4, 256),
            ("blocks", 1, 8),
            ("seed", 0, 2**31),
        ):
            value = getattr(self, name)
            if not low <= value <= high:
                raise PuzzleNetError(f"--{name} {value}: choose {low} to {high}")
        for name, bottom, top in (("learning_rate", 1e-9, 10.0), ("weight_decay", 0.0, 10.0)):
            if not bottom <= getattr(self, name) <= top:
                raise PuzzleNetError(f"--{name.replace('_', '-')} {getattr(self, name)}: choose {bottom} to {top}")
        if not 0.02 <= self.validation <= 0.5:
            raise PuzzleNetError(f"--validation {self.validation}: choose a share between 0.02 and 0.5")
        if self.image_size % 16 or not 16 <= self.image_size <= 512:
            raise PuzzleNetError(f"--image-size {self.image_size}: choose a multiple of 16 between 16 and 512")
