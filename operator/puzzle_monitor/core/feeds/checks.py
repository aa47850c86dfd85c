"""What may be wrong with pictures: each check measures a span of time and says bad, good, or neither.

Limits that somebody set are taken as they are. Learnt ones are wide on purpose: another product, a new belt and the
afternoon sun change brightness and colour too. That is the world, and drift's business; a feed is at fault when hardly
any product could explain its pictures.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass

from puzzle_monitor.core.feeds.digest import BLUR, BRIGHTNESS, COLOUR, LATENESS, Digest
from puzzle_monitor.core.feeds.sketch import median, share_above
from puzzle_monitor.core.feeds.usual import Usual
from puzzle_monitor.core.models import DataQuality

_SET, _LEARNT = 0.2, 0.5
"""Share of pictures beyond a limit that makes a problem, for limits that were set and for learnt ones."""
_CALM = 0.25
"""It is over when the share is below this part of that."""
_LATE_S = 300.0
_COLOURS = ("red", "green", "blue")
_SHIFT, _SHIFT_CALM = 0.2, 0.15
"""Change of a colour's share in the light."""
_LOST, _LOST_CALM = 0.4, 0.6
"""What is left of a colour's usual share."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One check of one span of time."""

    kind: str
    bad: bool
    good: bool
    message: str


def checks(seen: Digest, usual: Usual | None, wanted: DataQuality) -> Iterator[Finding]:
    """All that can be said of these pictures."""
    yield from _late(seen, usual, wanted)
    if usual is not None:
        yield _strange("Format", seen.formats, seen.n, usual.formats)
    sizes = (f"{wanted.size[0]}x{wanted.size[1]}",) if wanted.size else usual.sizes if usual else ()
    if sizes:
        yield _strange("Size", seen.sizes, seen.n, sizes)
    light = list(_light(seen, usual, wanted))
    yield from light
    # A picture without light, or with too much, has no edges either: that is said once.
    if usual is not None and not any(found.bad for found in light):
        yield _blurred(seen, usual)
        yield from _colour(seen, usual)


def _share(kind: str, share: float, tolerated: float, message: str) -> Finding:
    return Finding(kind, share > tolerated, share < tolerated * _CALM, message)


def _late(seen: Digest, usual: Usual | None, wanted: DataQuality) -> Iterator[Finding]:
    limit = wanted.max_lateness_s
    if limit is None and usual is None:
        return
    origin = "the most that is allowed"
    if limit is None:
        assert usual is not None  # noqa: S101 - for the type checker
        limit = max(_LATE_S, 10.0 * usual.lateness)
        origin = f"95 % arrive within {_seconds(usual.lateness)} usually"
    share = share_above(seen.lateness, LATENESS, limit)
    typical = _seconds(median(seen.lateness, LATENESS) or 0.0)
    text = f"{share:.0%} of {seen.n:,} pictures came more than {_seconds(limit)} late ({origin}); half took {typical}."
    yield _share("Late", share, _SET, text)


def _strange(kind: str, counts: Counter[str], n: int, usual: Collection[str]) -> Finding:
    strange = Counter({name: count for name, count in counts.items() if name not in usual})
    share = strange.total() / n if n else 0.0
    names = ", ".join(name for name, _ in strange.most_common(3))
    wanted = " or ".join(list(usual)[:3])
    return _share(kind, share, _SET, f"{share:.0%} of {n:,} pictures are {names or wanted}; they should be {wanted}.")


def _light(seen: Digest, usual: Usual | None, wanted: DataQuality) -> Iterator[Finding]:
    if wanted.brightness is not None:
        (low, high), tolerated, origin = wanted.brightness, _SET, "allowed is"
    elif usual is not None:
        low, high = usual.brightness / 4.0, 1.0 - (1.0 - usual.brightness) / 4.0
        tolerated, origin = _LEARNT, f"the median is {usual.brightness:.2f} usually, tolerated"
    else:
        return
    now = median(seen.brightness, BRIGHTNESS) or 0.0
    above = share_above(seen.brightness, BRIGHTNESS, high)
    # 1.0 has a bin of its own above the scale; nothing is below a limit of 0.
    below = 1.0 - share_above(seen.brightness, BRIGHTNESS, low) if low > 0 else 0.0
    rest = f"the median is {now:.2f}; {origin} {low:.2f} to {high:.2f}"
    yield _share("Dark", below, tolerated, f"{below:.0%} of {seen.n:,} pictures are too dark: {rest}.")
    yield _share("Bright", above, tolerated, f"{above:.0%} of {seen.n:,} pictures are too bright: {rest}.")


def _blurred(seen: Digest, usual: Usual) -> Finding:
    limit = usual.blur / 4.0
    share = 1.0 - share_above(seen.blur, BLUR, limit) if limit > 0 else 0.0
    now = median(seen.blur, BLUR) or 0.0
    text = f"{share:.0%} of {seen.n:,} pictures have hardly any edges: their variance is {now:.3g} in the median, "
    return _share("Blurred", share, _LEARNT, f"{text}{usual.blur:.3g} usually, tolerated from {limit:.3g} on.")


def _colour(seen: Digest, usual: Usual) -> Iterator[Finding]:
    medians = [median(sketch, COLOUR) for sketch in (seen.red, seen.green, seen.blue)]
    if usual.colour is None or any(value is None for value in medians):
        return
    now = [value or 0.0 for value in medians]
    pairs = list(zip(_COLOURS, now, usual.colour, strict=True))
    name, share, before = max(pairs, key=lambda pair: abs(pair[1] - pair[2]))
    shift, left = abs(share - before), min((value / was for _, value, was in pairs if was > 0), default=1.0)
    text = f"{name} makes up {share:.0%} of the light in {seen.n:,} pictures, {before:.0%} usually."
    bad, good = shift > _SHIFT or left < _LOST, shift < _SHIFT_CALM and left > _LOST_CALM
    yield Finding("ColourShift", bad, good, text[:1].upper() + text[1:])


def _seconds(value: float) -> str:
    """A duration as people say it."""
    for unit, size in (("d", 86_400.0), ("h", 3_600.0), ("min", 60.0)):
        if value >= 2 * size:
            return f"{value / size:.3g} {unit}"
    return f"{value:.2g} s" if value < 10 else f"{value:.0f} s"
