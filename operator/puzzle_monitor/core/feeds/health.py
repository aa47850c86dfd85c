"""Health of a feed: judged minute by minute, kept between them, told with the time since when something is wrong.

A problem is raised when the last minutes together *and* two minutes in a row are bad, and is over after three good
ones in a row; the limits for good are stricter than those for bad. So one late batch raises nothing, and what swings
around a limit is not told ten times.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field

from puzzle_monitor.core.feeds.checks import Finding, checks
from puzzle_monitor.core.feeds.digest import MINUTE, Digest, total
from puzzle_monitor.core.feeds.usual import MILESTONES, Learning, Usual, dump_usual
from puzzle_monitor.core.models import DataQuality

ENOUGH = 20
"""Pictures below which nothing is judged."""
SPAN = 5
"""Minutes that are looked at together, and more where they have too few pictures."""
LOOK_BACK = 60
"""Minutes with pictures, at most."""
_RAISE, _CLEAR = 2, 3
"""Minutes in a row."""
_QUIET = 5
"""Minutes without a picture that are nothing to speak of, on any line."""
_FEW, _FEW_CALM = 1 / 8, 1 / 4
"""Part of the usual rate."""
DAY = 1440
"""Minutes."""


@dataclass(frozen=True, slots=True)
class Minute:
    """What arrived in one minute since 1970."""

    minute: int
    seen: Digest


@dataclass(slots=True)
class Sign:
    """How one kind of problem stands. Times are minutes."""

    bad: int = 0
    good: int = 0
    begun: int = 0
    """The first of the bad minutes in a row."""
    since: int | None = None
    """None: it is not a problem, or not yet."""
    message: str = ""

    def see(self, minute: int, bad: bool, good: bool, message: str) -> None:
        """One more minute."""
        if bad:
            self.begun = self.begun if self.bad else minute
        self.bad = self.bad + 1 if bad else 0
        self.good = self.good + 1 if good else 0
        if self.since is None and self.bad >= _RAISE:
            self.since = self.begun
        elif self.since is not None and self.good >= _CLEAR:
            self.since = None
        if bad or self.since is None:
            self.message = message


@dataclass(slots=True)
class Health:
    """All that is kept of a feed between two judgements."""

    judged: int
    """Minutes before this one are judged."""
    usual: Usual | None = None
    learning: Learning = field(default_factory=Learning)
    signs: dict[str, Sign] = field(default_factory=dict)

    def text(self) -> str:
        """As JSON."""
        parts = {"judged": self.judged, "usual": dump_usual(self.usual), "learning": self.learning.dump()}
        signs = {kind: asdict(sign) for kind, sign in self.signs.items()}
        return json.dumps(parts | {"signs": signs}, separators=(",", ":"), ensure_ascii=False)


def parse(text: str) -> Health:
    """The reverse of `Health.text`."""
    data = json.loads(text)
    return Health(
        data["judged"],
        Usual.load(data["usual"]) if data["usual"] else None,
        Learning.load(data["learning"]),
        {kind: Sign(**sign) for kind, sign in data["signs"].items()},
    )


def judge(health: Health, minutes: Sequence[Minute], until: int, wanted: DataQuality, day: int | None) -> None:
    """Bring a health up to date: `minutes` in order, with some from before as well; `until` is not over yet.

    `day` is how many pictures came within 24 hours, where the line is older than that.
    """
    for index, one in enumerate(minutes):
        if health.judged <= one.minute < until:
            window = _window(minutes[max(0, index + 1 - LOOK_BACK) : index + 1])
            _step(health, one, window, wanted)
    if wanted.min_images is not None and day is not None and health.judged < until:
        text = f"{day:,} pictures came within 24 hours; there should be {wanted.min_images:,}."
        _see(health, until - 1, Finding("Volume", day < wanted.min_images, day >= wanted.min_images, text))
    health.judged = max(health.judged, until)


def _window(minutes: Sequence[Minute]) -> Sequence[Minute]:
    """The last minutes: enough of them, with enough pictures."""
    last, n = minutes[-1].minute, 0
    for index in range(len(minutes) - 1, -1, -1):
        n += minutes[index].seen.n
        reached = index == 0 or minutes[index - 1].minute <= last - SPAN
        if n >= ENOUGH and reached:
            return minutes[index:]
    return minutes


def _step(health: Health, one: Minute, window: Sequence[Minute], wanted: DataQuality) -> None:
    together = total(item.seen for item in window)
    if together.n < ENOUGH:
        health.learning.add(one.minute, one.seen)
        health.usual = health.learning.learn(health.usual)
        return
    alone = {found.kind: found for found in checks(one.seen, health.usual, wanted)}
    whole = list(checks(together, health.usual, wanted))
    _drop(health, whole, wanted)
    for found in whole:
        now = alone.get(found.kind)
        # Bad if both are: so one bad batch in a good hour is nothing, nor is the memory of one that is over.
        bad, good = found.bad and now is not None and now.bad, found.good or (now is not None and now.good)
        _see(health, one.minute, Finding(found.kind, bad, good, found.message))
    if health.usual is not None and wanted.min_images is None:
        _see(health, one.minute, _volume(health.usual, one.minute, window))
    wrong = any(sign.since is not None or sign.bad for sign in health.signs.values())
    if not wrong and not any(found.bad for found in alone.values()):
        _learn(health, one)


def _drop(health: Health, found: Sequence[Finding], wanted: DataQuality) -> None:
    """Forget signs that nothing is said of any more, because a limit was taken out of the settings."""
    kept = {one.kind for one in found}
    if any(one.bad for one in found if one.kind in {"Dark", "Bright"}):
        kept |= {"Blurred", "ColourShift"}
    if wanted.min_images is not None or health.usual is not None:
        kept.add("Volume")
    health.signs = {kind: sign for kind, sign in health.signs.items() if kind in kept}


def _learn(health: Health, one: Minute) -> None:
    if health.usual is None or health.usual.version < len(MILESTONES):
        health.learning.add(one.minute, one.seen)
        health.usual = health.learning.learn(health.usual)


def _see(health: Health, minute: int, found: Finding) -> None:
    health.signs.setdefault(found.kind, Sign()).see(minute, found.bad, found.good, found.message)


def _volume(usual: Usual, minute: int, window: Sequence[Minute]) -> Finding:
    span = max(SPAN, math.ceil(ENOUGH / usual.rate)) if usual.rate else LOOK_BACK
    inside = [item for item in window if item.minute > minute - span]
    n = sum(item.seen.n for item in inside)
    # From the first picture in it: a line that begins again after a night is not slow.
    rate = n / (minute - inside[0].minute + 1)
    text = f"{rate:.2g} pictures came a minute, over {span} minutes; usual are {usual.rate:.3g}."
    return Finding("Volume", rate < usual.rate * _FEW, rate > usual.rate * _FEW_CALM, text)


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong. `since` is in microseconds."""

    kind: str
    since: int
    message: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """What is told of a feed."""

    healthy: bool | None
    problems: tuple[Problem, ...]
    message: str


def verdict(health: Health | None, images: int, last_received: int, now: int, started: int) -> Verdict:
    """The health of a feed now. Before `started` nobody was here to receive anything."""
    if health is None:
        return Verdict(None, (), f"{images:,} pictures have arrived; they are judged from the next minute on.")
    problems = [
        Problem(kind, sign.since * MINUTE, sign.message)
        for kind, sign in sorted(health.signs.items())
        if sign.since is not None
    ]
    problems += _missing(health.usual, last_received, now, started)
    if problems:
        kinds = ", ".join(problem.kind for problem in problems)
        return Verdict(False, tuple(problems), f"{kinds}: {problems[0].message}")
    usual = health.usual
    if usual is None:
        seen = health.learning.seen.n
        text = (
            f"What is usual on this line is being learnt: from {seen:,} pictures so far, {MILESTONES[0]:,} are needed."
        )
        return Verdict(None, (), text)
    sizes = " or ".join(usual.sizes[:3])
    text = f"Nothing is wrong. Usual are {usual.rate:.3g} pictures a minute of {sizes} with a brightness of "
    return Verdict(True, (), f"{text}{usual.brightness:.2f}, learnt from {usual.images:,}.")


def _missing(usual: Usual | None, last_received: int, now: int, started: int) -> Iterable[Problem]:
    if usual is None or not usual.rate:
        return ()
    quiet = (now - max(last_received, started)) / MINUTE
    if quiet <= max(_QUIET, ENOUGH / usual.rate):
        return ()
    silence = (now - last_received) / MINUTE
    text = f"No picture for {silence:.0f} minutes; usual are {usual.rate:.3g} a minute."
    return (Problem("Missing", last_received, text),)
