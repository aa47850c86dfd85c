"""One replay, from the monitor's list to the counts."""

import time
from dataclasses import dataclass
from typing import Any

from puzzlenet.errors import AwayError, MonitorError
from puzzlenet.replay.compare import Side, compare
from puzzlenet.replay.pieces import with_pictures
from puzzlenet.replay.result import compared, skipped
from puzzlenet.retrain.monitor import Monitor


@dataclass(frozen=True, kw_only=True, slots=True)
class Pace:
    """Which pieces, and how fast: ``rate`` pieces a second at most, for ``seconds`` at most."""

    pieces: int
    since: str | None
    rate: float
    seconds: float


def replay(monitor: Monitor, model: tuple[str, str], champion: Side, challenger: Side, pace: Pace) -> dict[str, Any]:
    """The result for the operator. What goes wrong around the versions is a reason to skip, not an error."""
    started = time.monotonic()
    try:
        rows = monitor.newest(*model, pace.pieces, pace.since)
        if not rows:
            after = f" since {pace.since}" if pace.since else ""
            return skipped(f"the monitor has no labelled piece with a picture{after}")
        shown = with_pictures(monitor, rows)
        found = compare(shown, champion, challenger, rate=pace.rate, seconds=pace.seconds)
    except (AwayError, MonitorError) as exc:
        return skipped(str(exc))
    if not found.pieces:
        return skipped(f"none of {len(rows)} labelled pieces could be shown to both versions")
    return compared(found, time.monotonic() - started)
