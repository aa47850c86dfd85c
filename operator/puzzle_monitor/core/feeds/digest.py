"""The pictures of one minute, or of any span of time, in numbers that do not grow with how many they are."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from puzzle_monitor.core.feeds.sketch import Scale, Sketch
from puzzle_monitor.core.records import ImageStats, Record
from puzzle_monitor.core.times import micros

MINUTE = 60_000_000
"""Microseconds."""
LATENESS = Scale(per_unit=4, smallest=0.001)
BRIGHTNESS = Scale(per_unit=64)
COLOUR = Scale(per_unit=128)
BLUR = Scale(per_unit=4, smallest=0.01)
LATENESS_BOUNDS = (0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0, 3600.0, 21600.0, 86400.0)
"""Seconds, upper bounds of the histogram for Prometheus; the last bucket has none."""
OTHER = "other"
_KINDS = 12
"""Formats, and sizes, that are told apart; the rest are `other`."""
_SKETCHES = ("lateness", "brightness", "blur", "red", "green", "blue")


@dataclass(slots=True)
class Digest:
    """What some pictures were like."""

    n: int = 0
    formats: Counter[str] = field(default_factory=Counter)
    sizes: Counter[str] = field(default_factory=Counter)
    lateness: Sketch = field(default_factory=Counter)
    brightness: Sketch = field(default_factory=Counter)
    blur: Sketch = field(default_factory=Counter)
    red: Sketch = field(default_factory=Counter)
    """Shares of red, green and blue in the light: they stay when it only gets darker."""
    green: Sketch = field(default_factory=Counter)
    blue: Sketch = field(default_factory=Counter)

    def add(self, image: ImageStats, lateness: float) -> None:
        """One more picture, so many seconds late."""
        self.n += 1
        _count(self.formats, image.format, 1)
        _count(self.sizes, f"{image.width}x{image.height}", 1)
        self.lateness[LATENESS.bin(lateness)] += 1
        self.brightness[BRIGHTNESS.bin(image.brightness)] += 1
        self.blur[BLUR.bin(image.blur)] += 1
        red, green, blue = image.colour or (0.0, 0.0, 0.0)
        light = red + green + blue
        if light > 0.0:
            self.red[COLOUR.bin(red / light)] += 1
            self.green[COLOUR.bin(green / light)] += 1
            self.blue[COLOUR.bin(blue / light)] += 1

    def merge(self, other: Digest) -> None:
        """Add what another one saw."""
        self.n += other.n
        for mine, its in ((self.formats, other.formats), (self.sizes, other.sizes)):
            for name, count in its.items():
                _count(mine, name, count)
        for name in _SKETCHES:
            getattr(self, name).update(getattr(other, name))

    def dump(self) -> dict[str, Any]:
        """For JSON; what is empty is left out."""
        parts = {name: dict(getattr(self, name)) for name in ("formats", "sizes", *_SKETCHES) if getattr(self, name)}
        return {"n": self.n, **parts}

    @classmethod
    def load(cls, data: dict[str, Any]) -> Digest:
        """The reverse of `dump`, after JSON made text of every key."""
        sketches = {name: Counter({int(k): n for k, n in data.get(name, {}).items()}) for name in _SKETCHES}
        return cls(data["n"], Counter(data.get("formats", {})), Counter(data.get("sizes", {})), **sketches)

    def text(self) -> str:
        """As JSON."""
        return json.dumps(self.dump(), separators=(",", ":"))


def parse(text: str) -> Digest:
    """The reverse of `text`."""
    return Digest.load(json.loads(text))


def total(digests: Iterable[Digest]) -> Digest:
    """All of them as one."""
    found = Digest()
    for one in digests:
        found.merge(one)
    return found


def lateness(record: Record, now: int) -> float:
    """Seconds from a record's time to its arrival; a clock that is ahead counts as on time."""
    return max(0, now - micros(record.at)) / 1e6


def bucket(seconds: float) -> int:
    """Which bucket of the histogram for Prometheus."""
    return next((index for index, bound in enumerate(LATENESS_BOUNDS) if seconds <= bound), len(LATENESS_BOUNDS))


def _count(counts: Counter[str], name: str, n: int) -> None:
    counts[name if name in counts or len(counts) < _KINDS else OTHER] += n
