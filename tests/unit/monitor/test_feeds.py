"""Input health: what is usual, what is wrong, since when; and what is not told although it looks strange."""

from __future__ import annotations

import random
import statistics
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from puzzle_monitor.core.feeds.digest import (
    BLUR,
    BRIGHTNESS,
    LATENESS,
    LATENESS_BOUNDS,
    MINUTE,
    Digest,
    bucket,
    parse,
    total,
)
from puzzle_monitor.core.feeds.health import Health, Minute, Verdict, judge, verdict
from puzzle_monitor.core.feeds.health import parse as parse_health
from puzzle_monitor.core.feeds.sketch import Scale, median, quantile, share_above
from puzzle_monitor.core.models import DataQuality
from puzzle_monitor.core.records import ImageStats

LINE_1: dict[str, Any] = {"brightness": 0.70, "blur": 183.0, "colour": (0.69, 0.73, 0.71)}
LINE_2: dict[str, Any] = {"brightness": 0.245, "blur": 438.0, "colour": (0.337, 0.238, 0.157)}
"""What `image_stats` says of rendered pieces of the two lines, in the median."""


def image(chance: random.Random, **changes: Any) -> ImageStats:
    values: dict[str, Any] = {"format": "jpeg", "width": 128, "height": 128, "bytes": 5_000} | LINE_1 | changes
    noise = chance.uniform(0.93, 1.07)
    values["brightness"] = min(1.0, values["brightness"] * noise)
    values["blur"] *= chance.uniform(0.5, 1.5)
    return ImageStats(**values)


def minutes(start: int, count: int, n: int = 60, late: float = 0.3, **changes: Any) -> list[Minute]:
    found = []
    for minute in range(start, start + count):
        chance, seen = random.Random(minute), Digest()
        for _ in range(n):
            seen.add(image(chance, **changes), late)
        found.append(Minute(minute, seen))
    return found


class Line:
    """A feed that is judged every minute, as by a scrape; its state goes through JSON each time."""

    def __init__(self, **wanted: Any) -> None:
        self.wanted = DataQuality(**wanted)
        self.health, self.past = Health(0), list[Minute]()
        self.now = 1_000
        self.day: int | None = None
        self.told: list[tuple[int, str]] = []

    def goes_on(self, count: int, **changes: Any) -> Verdict:
        for one in minutes(self.now, count, **changes):
            if one.seen.n:
                self.past.append(one)
            self.now = one.minute + 1
            judge(self.health, self.past[-70:], self.now, self.wanted, self.day)
            self.health = parse_health(self.health.text())
            kinds = [problem.kind for problem in self.verdict().problems]
            self.told += [(one.minute, kind) for kind in kinds]
        return self.verdict()

    def verdict(self) -> Verdict:
        last = self.past[-1].minute + 1 if self.past else 0
        return verdict(self.health, 1, last * MINUTE - 1 if last else 0, self.now * MINUTE, 0)

    @property
    def kinds(self) -> list[str]:
        return [problem.kind for problem in self.verdict().problems]


def test_healthy_is_unknown_until_enough_was_seen_and_learnt_of_healthy_minutes_only() -> None:
    line = Line()
    assert line.goes_on(2).healthy is None and "from 120 pictures so far, 200 are needed" in line.verdict().message
    assert line.goes_on(4).healthy is True
    usual = line.health.usual
    assert usual is not None and (usual.version, usual.sizes, usual.formats) == (1, ("128x128",), ("jpeg",))
    assert usual.brightness == pytest.approx(0.70, rel=0.05) and usual.rate == pytest.approx(60, rel=0.2)
    line.goes_on(40)
    assert line.health.usual is not None and line.health.usual.version == 2
    seen = line.health.learning.seen.n
    line.goes_on(10, brightness=0.05)
    assert line.health.learning.seen.n == seen, "what is wrong is not learnt"
    assert verdict(None, 5, 0, 0, 0).healthy is None


FAULTS: list[tuple[str, dict[str, Any]]] = [
    ("Late", {"late": 3_600.0}),
    ("Format", {"format": "png"}),
    ("Size", {"width": 64}),
    ("Dark", {"brightness": 0.05}),
    ("Bright", {"brightness": 0.99}),
    ("Blurred", {"blur": 9.0}),
    ("ColourShift", {"colour": (0.69, 0.73, 0.05)}),
    ("Volume", {"n": 3}),
]


@pytest.mark.parametrize(("kind", "changes"), FAULTS, ids=[kind for kind, _ in FAULTS])
def test_each_fault_is_told_once_with_its_beginning_and_ends(kind: str, changes: dict[str, Any]) -> None:
    line = Line()
    line.goes_on(10)
    begun = line.now
    found = line.goes_on(12, **changes)
    assert found.healthy is False and line.kinds == [kind], found
    problem = found.problems[0]
    assert begun * MINUTE <= problem.since <= (begun + 5) * MINUTE, "since the first bad minute"
    assert any(character.isdigit() for character in problem.message) and problem.message.endswith(".")
    assert line.goes_on(8).healthy is True, line.verdict()
    raised = [minute for minute, one in line.told if one == kind]
    assert raised == list(range(raised[0], raised[0] + len(raised))), "raised once, not again and again"


@pytest.mark.parametrize("changes", [{"late": 3_600.0, "n": 400}, {"brightness": 0.01}, {"width": 64, "n": 300}])
def test_one_bad_minute_is_no_problem(changes: dict[str, Any]) -> None:
    """Such as the queue of a handler after the monitor was away."""
    line = Line()
    line.goes_on(10)
    line.goes_on(1, **changes)
    line.goes_on(10)
    assert line.told == []


def test_what_swings_around_a_limit_is_not_told_again_and_again() -> None:
    line = Line()
    line.goes_on(10)
    for _ in range(10):
        line.goes_on(2, brightness=0.05)
        line.goes_on(2)
    told = [minute for minute, kind in line.told if kind == "Dark"]
    assert told == list(range(told[0], told[-1] + 1))


@pytest.mark.parametrize(("before", "after"), [(LINE_1, LINE_2), (LINE_2, LINE_1)])
def test_another_product_is_no_fault_of_the_camera(before: dict[str, Any], after: dict[str, Any]) -> None:
    """Darker by two thirds, other colours, other edges: that is drift, and must not be called a bad feed."""
    line = Line()
    line.goes_on(10, **before)
    assert line.goes_on(20, **after).healthy is True and line.told == []


def test_limits_that_are_set_are_taken_as_they_are_and_need_no_learning() -> None:
    line = Line(brightness=(0.3, 0.8), size=(64, 64), max_lateness_s=10.0)
    assert line.goes_on(3, late=30.0).healthy is False
    assert line.kinds == ["Late", "Size"]
    assert "more than 10 s late" in line.verdict().problems[0].message
    line.goes_on(6, width=64, height=64)
    assert line.kinds == []
    assert line.goes_on(6, width=64, height=64, brightness=0.2).healthy is False and line.kinds == ["Dark"]


def test_too_few_pictures_are_never_judged() -> None:
    line = Line(brightness=(0.3, 0.8))
    assert line.goes_on(3, n=6, brightness=0.1).healthy is None
    assert line.goes_on(6, n=6, brightness=0.1).healthy is False, "there were enough of them in the end"


def test_a_camera_that_falls_silent_is_missing_until_it_sends_again() -> None:
    line = Line()
    line.goes_on(10)
    assert line.goes_on(4, n=0).healthy is True
    found = line.goes_on(4, n=0)
    assert found.healthy is False and [one.kind for one in found.problems] == ["Missing"]
    assert "No picture for 8 minutes; usual are" in found.problems[0].message
    last, now = (line.now - 8) * MINUTE, line.now * MINUTE
    assert verdict(line.health, 1, last, now, now - MINUTE).healthy is True, "nobody was here to receive anything"
    assert line.goes_on(1).healthy is True
    line.goes_on(15)
    assert {kind for _, kind in line.told} == {"Missing"}, "and a beginning is not a lack of volume"


def test_a_slow_line_is_neither_missing_nor_lacking() -> None:
    """A picture every ten minutes."""
    line = Line()
    for _ in range(300):
        line.goes_on(1, n=1)
        line.goes_on(9, n=0)
    assert line.told == [] and line.verdict().healthy is True
    assert line.goes_on(150, n=0).healthy is True
    assert line.goes_on(60, n=0).healthy is False and line.kinds == ["Missing"]


def test_fewest_pictures_of_a_day() -> None:
    line = Line(min_images=500)
    line.goes_on(10)
    assert line.kinds == [], "younger than a day"
    line.day = 120
    line.goes_on(3)
    assert line.kinds == ["Volume"] and "120 pictures came within 24 hours; there should be 500" in str(line.verdict())
    line.day = 600
    line.goes_on(3)
    assert line.kinds == []


def test_minutes_that_nobody_asked_about_are_judged_later_all_the_same() -> None:
    often, seldom = Line(), Line()
    often.goes_on(10)
    often.goes_on(5, width=64)
    judge(seldom.health, often.past, often.now, DataQuality(), None)
    assert seldom.health.signs == often.health.signs and seldom.health.usual == often.health.usual
    before = often.health.text()
    judge(often.health, often.past, often.now, DataQuality(), None)
    assert often.health.text() == before, "twice is once"


def test_a_digest_comes_back_from_its_text_and_stays_small() -> None:
    many = total(one.seen for one in minutes(0, 30, n=100))
    assert parse(many.text()) == many and many.n == 3_000
    assert len(many.text()) < 3_000
    strange = Digest()
    for width in range(1, 500):
        strange.add(image(random.Random(width), width=width, format=f"f{width}"), 0.0)
    assert len(strange.sizes) <= 13 and strange.sizes.total() == 499 and len(strange.formats) <= 13
    black = Digest()
    black.add(image(random.Random(1), colour=(0.0, 0.0, 0.0), brightness=0.0), 0.0)
    assert black.n == 1 and not black.red
    line = Line()
    line.goes_on(100)
    assert len(line.health.text()) < 6_000


SCALES = [BRIGHTNESS, BLUR, LATENESS]


@given(st.lists(st.floats(0, 1), min_size=1, max_size=60), st.floats(0, 1), st.sampled_from(SCALES))
def test_medians_and_shares_are_right_to_within_a_bin(values: list[float], limit: float, scale: Scale) -> None:
    sketch = Counter(scale.bin(value) for value in values)
    found = median(sketch, scale)
    assert found is not None
    low, high = statistics.median_low(values), statistics.median_high(values)
    assert scale.lower(scale.bin(low)) - 1e-9 <= found <= scale.lower(scale.bin(high) + 1) + 1e-9
    index = scale.bin(limit)
    least = sum(scale.bin(value) > index for value in values) / len(values)
    most = sum(scale.bin(value) >= index for value in values) / len(values)
    assert least - 1e-9 <= share_above(sketch, scale, limit) <= most + 1e-9
    assert median(Counter(), scale) is None and share_above(Counter(), scale, 1.0) == 0.0


@given(st.floats(0, 1e9), st.sampled_from(SCALES))
def test_every_value_lies_in_its_bin(value: float, scale: Scale) -> None:
    index = scale.bin(value)
    assert scale.lower(index) <= value * (1 + 1e-9) and value <= scale.lower(index + 1) * (1 + 1e-9)


def test_quantiles_rise() -> None:
    sketch = Counter(BRIGHTNESS.bin(n / 100) for n in range(100))
    found = [quantile(sketch, BRIGHTNESS, share / 10) or 0.0 for share in range(1, 11)]
    assert found == sorted(found) and found[4] == pytest.approx(0.5, abs=0.02)


def test_lateness_has_a_bucket_whose_bound_is_not_below_it() -> None:
    for value in (0.0, 0.5, 0.51, 86_400.0, 1e9):
        index = bucket(value)
        assert index == len(LATENESS_BOUNDS) or value <= LATENESS_BOUNDS[index]


def test_health_does_not_depend_on_how_a_minute_was_divided() -> None:
    whole = minutes(0, 1, n=50)[0].seen
    parts: Callable[[], Iterable[Digest]] = lambda: [m.seen for m in minutes(0, 1, n=50)]  # noqa: E731
    twice = Digest()
    for part in parts():
        twice.merge(part)
    assert twice == whole
