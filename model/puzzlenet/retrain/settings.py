"""What a run is told: the options of ``puzzlenet retrain``."""

import re
from dataclasses import dataclass, field
from pathlib import Path

from puzzle_common.durations import parse_duration
from puzzlenet.errors import PuzzleNetError
from puzzlenet.gate import Rules
from puzzlenet.manifest import check_digest
from puzzlenet.quality.checks import Limits
from puzzlenet.store.bucket import Location

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")


@dataclass(frozen=True, kw_only=True, slots=True)
class RetrainSettings:
    """One run. ``run`` names it: the same name never decides twice."""

    run: str
    namespace: str
    model: str
    line: str
    champion: str
    location: Location
    monitor: str
    trigger: str
    token_file: Path | None = None
    sign_key: Path | None = None
    verify_keys: tuple[Path, ...] = ()
    rules: Rules = field(default_factory=Rules)
    limits: Limits = field(default_factory=Limits)
    epochs: int | None = None
    max_images: int | None = None
    test_share: float = 0.25
    device: str = "auto"
    threads: int = 1
    seed: int = 0
    checkpoint_every: int = 2

    def __post_init__(self) -> None:
        for option, value in (("--run", self.run), ("--line", self.line)):
            if not _NAME.fullmatch(value):
                raise PuzzleNetError(f"{option} '{value}': give letters, digits, dots, dashes, at most 128")
        check_digest(self.champion)
        if not self.monitor.startswith(("http://", "https://")):
            raise PuzzleNetError(f"--monitor '{self.monitor}': give a URL, such as http://puzzle-monitor:8090")
        if self.max_images is not None and self.max_images < 1:
            raise PuzzleNetError(f"--max-images {self.max_images}: choose 1 or more")


def duration(text: str, option: str) -> float:
    """Seconds of ``50ms``, ``15m`` or ``1h30m``. Raises PuzzleNetError naming the option."""
    try:
        return parse_duration(text).total_seconds()
    except ValueError as exc:
        raise PuzzleNetError(f"{option} {exc}") from exc


def size(text: str) -> tuple[int, int]:
    """``128x128``. Raises PuzzleNetError."""
    found = re.fullmatch(r"(\d{1,5})[x×,](\d{1,5})", text)
    if not found:
        raise PuzzleNetError(f"--size '{text}': give width and height in pixels, such as 128x128")
    return int(found[1]), int(found[2])


def brightness(text: str) -> tuple[float, float]:
    """``0.1,0.9``. Raises PuzzleNetError."""
    parts = text.split(",")
    try:
        low, high = (float(part) for part in parts)
    except ValueError as exc:
        raise PuzzleNetError(f"--brightness '{text}': give two shares of full brightness, such as 0.1,0.9") from exc
    return low, high
