"""The terminal: width, colour or none, and pictures that renew themselves."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime

from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from .access import UnreachableError
from .text import ASCII, UNICODE, Page

_NARROWEST = 60


def console() -> Console:
    """Standard output. Colour only on a terminal and without NO_COLOR; a sign that the terminal's encoding lacks is
    replaced, never an error."""
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="replace")
    return Console(highlight=False, markup=False, emoji=False)


def page(to: Console) -> Page:
    """What fits: the terminal's width, 80 columns in a pipe unless COLUMNS says otherwise."""
    width = to.width if to.is_terminal or os.environ.get("COLUMNS", "").isdigit() else 80
    glyphs = UNICODE if (to.encoding or "").lower().startswith("utf") else ASCII
    return Page(max(_NARROWEST, width), glyphs)


def show(to: Console, lines: Sequence[Text]) -> None:
    """Print lines as they are: they are wrapped already, and a pipe must not break them again."""
    for line in lines:
        to.print(line, soft_wrap=True)


def watch_live(to: Console, draw: Callable[[Page], list[Text]], every: float) -> None:
    """A picture that renews itself until Ctrl-C; the last one stays while the API server does not answer."""
    last: list[Text] = []
    with Live(console=to, auto_refresh=False, vertical_overflow="crop") as live:
        while True:
            note = []
            try:
                last = draw(page(to))
            except UnreachableError as exc:
                note = [Text(str(exc), "red")]
            live.update(Group(*last, *note), refresh=True)
            time.sleep(every)


def watch_lines(to: Console, say: Callable[[], Sequence[str]], every: float) -> None:
    """One line, with the time, whenever something changed: for pipes and logs."""
    before: list[str] = []
    while True:
        try:
            now = list(say())
        except UnreachableError as exc:
            now = [str(exc)]
        for line in now:
            if line not in before:
                to.print(Text(f"{datetime.now(UTC):%H:%M:%S}Z {line}"), soft_wrap=True)
        before = now
        time.sleep(every)
