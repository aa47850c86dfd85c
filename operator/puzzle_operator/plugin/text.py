"""Width, glyphs and numbers: what makes output readable at night in 80 columns, without colour, in a pipe.

Lines are `rich` texts: their plain form is complete, colour only repeats what the words say.
"""

from __future__ import annotations

import math
import re
import textwrap
from dataclasses import dataclass
from datetime import timedelta

from rich.text import Text

from puzzle_operator.api.conditions import Phase, Verdict
from puzzle_operator.api.status import Bounds

_BY_HAND = re.compile(r"annotate puzzlenet\.dev/retry=sha256:[0-9a-f]{64}")
_DIGEST = re.compile(r"sha256:([0-9a-f]{12})[0-9a-f]{52}")
_COMMAND = re.compile(r"`[^`]+`|\S+ %")
_GLUE = "\u00a0"  # no line is broken here
_MOST = 1_000_000
PHASE_STYLES = {
    Phase.STABLE: "green",
    Phase.ROLLED_BACK: "red",
    Phase.ROLLING_BACK: "red",
    Phase.RESTORING: "red",
    Phase.PENDING: "yellow",
}
VERDICT_STYLES = {Verdict.PASS: "green", Verdict.FAIL: "red", Verdict.HOLD: "yellow", Verdict.UNKNOWN: "magenta"}


@dataclass(frozen=True, slots=True)
class Glyphs:
    """Signs of one alphabet. Branches have the same width."""

    branch: str
    last: str
    pipe: str
    full: str
    empty: str
    cut: str
    dash: str


UNICODE = Glyphs("├─ ", "└─ ", "│  ", "█", "░", "…", "–")
ASCII = Glyphs("|- ", "`- ", "|  ", "#", ".", "~", "-")


@dataclass(frozen=True, slots=True)
class Page:
    """What there is to write on."""

    width: int = 80
    glyphs: Glyphs = UNICODE


def phase_style(phase: Phase) -> str:
    """Colour of a phase: green rests, red goes back, cyan moves."""
    return PHASE_STYLES.get(phase, "cyan")


def verdict_style(verdict: Verdict | None) -> str:
    """Colour of a verdict."""
    return VERDICT_STYLES.get(verdict, "") if verdict else ""


def brief(sentence: str) -> str:
    """A sentence with digests cut to the 12 digits that every verb accepts.

    The annotation needs all 64, so where the operator tells how to set it by hand the verb stands instead.
    """
    return _DIGEST.sub(r"\1", _BY_HAND.sub("run `kubectl puzzle retry`", sentence))


def paragraph(sentence: str, page: Page, first: str = "", rest: str | None = None, style: str = "") -> list[Text]:
    """A sentence over as many lines as it needs, the first one after `first`, the others after `rest`.

    A number stays with its sign, and a command, which is there to be copied, in one line where it fits.
    """
    hanging = " " * len(first) if rest is None else rest
    room = page.width - max(len(first), len(hanging))
    lines = textwrap.wrap(
        _COMMAND.sub(lambda m: m[0].replace(" ", _GLUE) if len(m[0]) <= room else m[0], brief(sentence)),
        page.width,
        initial_indent=first,
        subsequent_indent=hanging,
        break_on_hyphens=False,
    )
    return [Text(line.replace(_GLUE, " "), style=style) for line in lines]


def titled(key: str, state: Text, page: Page) -> list[Text]:
    """A model and its state: in one line, or else in lines that break where the names, which are copied, stay whole."""
    whole = Text().append(key, "bold").append("  ").append_text(state)
    if whole.cell_len <= page.width:
        return [whole]
    names = [key] if len(key) <= page.width else [part + "/" * (not end) for end, part in enumerate(key.split("/"))]
    return [*(Text(name, "bold") for name in names), Text("  ").append_text(state)]


def fit(name: str, width: int, glyphs: Glyphs) -> str:
    """A name in at most `width` columns; what is cut is its beginning, since the ends differ."""
    return name if len(name) <= width else glyphs.cut + name[len(name) - width + 1 :]


def bar(fraction: float, cells: int, glyphs: Glyphs) -> str:
    """Filled up to `fraction` (0 to 1); full only when the bound is reached."""
    filled = min(cells, math.floor(max(0.0, fraction) * cells + 1e-9))
    return glyphs.full * filled + glyphs.empty * (cells - filled)


def towards(evidence: float | None, bound: float | None) -> float | None:
    """How far evidence has come to its bound, 0 to 1, on the log scale on which it grows steadily.

    None when the operator has stored none.
    """
    if evidence is None or bound is None or bound <= 1:
        return None
    return min(1.0, max(0.0, math.log(max(evidence, 1e-300)) / math.log(bound)))


def number(value: float) -> str:
    """Two digits below 10, whole above, no more than a million."""
    if value > _MOST:
        return f"over {_MOST:,}"
    return f"{value:,.0f}" if value >= 9.95 else f"{value:.2g}"


def of_bound(evidence: float, bound: float) -> str:
    """`4.5 of 5`; what falls short of the bound by less than the digits show is `almost 5 of 5`."""
    almost = "almost " if evidence < bound and number(evidence) == number(bound) and bound <= _MOST else ""
    return f"{almost}{number(evidence)} of {number(bound)}"


def rate(bad: int, requests: int) -> str:
    """`9 of 17 (52.9 %)`."""
    share = f" ({100 * bad / requests:.1f} %)" if requests else ""
    return f"{bad:,} of {requests:,}{share}"


def age(span: timedelta) -> str:
    """As kubectl writes it, in at most two units: `45s`, `3m10s`, `5h`, `2d4h`."""
    seconds = max(0, int(span.total_seconds()))
    for size, unit, below, smaller in ((86400, "d", 3600, "h"), (3600, "h", 60, "m"), (60, "m", 1, "s")):
        if seconds >= size:
            rest = seconds % size // below
            return f"{seconds // size}{unit}" + (f"{rest}{smaller}" if rest else "")
    return f"{seconds}s"


def requests_a_second(value: float) -> str:
    """`0.5 requests/s`, or a minute when they are rare."""
    return f"{value:.2g} requests/s" if value >= 0.1 else f"{60 * value:.2g} requests/min"


def more_requests(count: int) -> str:
    """`about 890 more requests`: two leading digits, upwards, because a forecast should not look exact."""
    if count < 100:
        return f"{count} more request{'' if count == 1 else 's'}"
    unit = int(10 ** (len(str(count)) - 2))
    return f"about {-(-count // unit) * unit:,} more requests"


def within(bounds: Bounds | None) -> str:
    """Where a latency lies: `100 ms to 250 ms`, `up to 250 ms`, `over 5 s`."""
    if bounds is None or (bounds.low <= 0 and bounds.high is None):
        return "unknown"
    if bounds.high is None:
        return f"over {_seconds(bounds.low)}"
    return f"{_seconds(bounds.low)} to {_seconds(bounds.high)}" if bounds.low > 0 else f"up to {_seconds(bounds.high)}"


def _seconds(value: float) -> str:
    return f"{value:.4g} s" if value >= 1 else f"{1000 * value:.4g} ms"
