"""What is usual on a line: learnt from its first pictures that nothing was wrong with, three times, ever more of them.

It is not learnt for ever: what adapts all the time adapts to a lens that gets dirty as well.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from puzzle_monitor.core.feeds.digest import BLUR, BRIGHTNESS, COLOUR, LATENESS, Digest
from puzzle_monitor.core.feeds.sketch import Scale, Sketch, median, quantile

MILESTONES = (200, 2_000, 20_000)
"""Pictures after which the usual is learnt: roughly and soon, then better."""
_MINUTES = 3
"""There must be so many minutes as well: one burst tells nothing of a rate."""
_COMMON = 0.05
"""Share of pictures from which a format or a size belongs to the usual ones."""
_RATE = Scale(per_unit=4, smallest=0.5)


@dataclass(frozen=True, slots=True)
class Usual:
    """What pictures of a line are like when all is well."""

    version: int
    """1, 2 and 3: from ever more pictures."""
    images: int
    formats: tuple[str, ...]
    sizes: tuple[str, ...]
    lateness: float
    """Seconds that 95 % arrive within."""
    brightness: float
    blur: float
    colour: tuple[float, float, float] | None
    """Median shares of red, green and blue."""
    rate: float
    """Images a minute."""

    @classmethod
    def load(cls, data: Mapping[str, Any]) -> Usual:
        """From JSON."""
        texts = {name: tuple(data[name]) for name in ("formats", "sizes")}
        colour = None if data["colour"] is None else (data["colour"][0], data["colour"][1], data["colour"][2])
        return cls(**{**data, **texts, "colour": colour})


@dataclass(slots=True)
class Learning:
    """What was seen so far of minutes that were well."""

    seen: Digest = field(default_factory=Digest)
    counts: Sketch = field(default_factory=Counter)
    """Minutes by how many images they had."""
    first: int = 0
    last: int = 0

    def add(self, minute: int, digest: Digest) -> None:
        """One more minute."""
        self.seen.merge(digest)
        self.counts[_RATE.bin(digest.n)] += 1
        self.first = self.first or minute
        self.last = minute

    def learn(self, before: Usual | None) -> Usual | None:
        """The next version, when it is time; otherwise what was known before."""
        version = before.version if before else 0
        if version == len(MILESTONES) or self.seen.n < MILESTONES[version] or self.counts.total() < _MINUTES:
            return before
        return self._usual(version + 1)

    def _usual(self, version: int) -> Usual:
        seen, minutes = self.seen, self.last - self.first + 1
        shares = [median(sketch, COLOUR) for sketch in (seen.red, seen.green, seen.blue)]
        red, green, blue = shares
        return Usual(
            version,
            seen.n,
            _common(seen.formats, seen.n),
            _common(seen.sizes, seen.n),
            quantile(seen.lateness, LATENESS, 0.95) or 0.0,
            median(seen.brightness, BRIGHTNESS) or 0.0,
            median(seen.blur, BLUR) or 0.0,
            None if red is None or green is None or blue is None else (red, green, blue),
            # The lesser of the two: pauses, and bursts, make a line look faster than it is.
            min(median(self.counts, _RATE) or 0.0, seen.n / minutes),
        )

    def dump(self) -> dict[str, Any]:
        """For JSON."""
        return {"seen": self.seen.dump(), "counts": dict(self.counts), "first": self.first, "last": self.last}

    @classmethod
    def load(cls, data: Mapping[str, Any]) -> Learning:
        """From JSON."""
        counts = Counter({int(k): n for k, n in data["counts"].items()})
        return cls(Digest.load(data["seen"]), counts, data["first"], data["last"])


def _common(counts: Counter[str], total: int) -> tuple[str, ...]:
    return tuple(name for name, n in counts.most_common() if n >= _COMMON * total)


def dump_usual(usual: Usual | None) -> dict[str, Any] | None:
    """For JSON."""
    return asdict(usual) if usual else None
