"""Labels that have come in for the images since an alarm began.

Labels arrive late and in any order, so those images are read again and again: a few pages a cycle in turn, of which
only two numbers each are kept. It is derived from the monitor alone and therefore needs no place in the state.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from puzzle_drift.core.harm import Labels
from puzzle_drift.core.wanted import Key
from puzzle_drift.ports import Monitor

PAGES_A_CYCLE = 4
MOST_PAGES = 100


@dataclass(slots=True)
class _Counted:
    after: int
    labels: Labels = field(default_factory=Labels)


@dataclass(slots=True)
class LabelsSince:
    """Counts for one version."""

    since: int = -1
    pages: list[_Counted] = field(default_factory=list)
    turn: int = 0

    def refresh(self, monitor: Monitor, key: Key, since: int | None, until: int) -> Labels:
        """The labels of images from `since` up to `until`, as far as they are known. Raises Unavailable."""
        if since is None:
            self.since, self.pages, self.turn = -1, [], 0
            return Labels()
        if since != self.since:
            self.since, self.pages, self.turn = since, [_Counted(since - 1)], 0
        for _ in range(PAGES_A_CYCLE):
            if self._read(monitor, key, until):
                break
        return Labels(sum(page.labels.labelled for page in self.pages), sum(page.labels.wrong for page in self.pages))

    def _read(self, monitor: Monitor, key: Key, until: int) -> bool:
        """Count the page whose turn it is; true if it was the last one."""
        counted = self.pages[self.turn]
        page = monitor.stream(key, counted.after)
        known = [record for record in page.records if record.truth is not None and record.seq <= until]
        counted.labels = Labels(len(known), sum(record.truth != record.label for record in known))
        last = self.turn == len(self.pages) - 1
        if last and page.full and page.next <= until and len(self.pages) < MOST_PAGES:
            self.pages.append(_Counted(page.next))
            last = False
        self.turn = 0 if last else self.turn + 1
        return last
