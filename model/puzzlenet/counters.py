"""Counters of a worker, on their way to TorchServe's front end, which keeps them over restarts of the worker.

They travel as lines of log: 0.03 ms of the worker for each, and as much of Java. So they are added up here and told
once a second, in a gap between requests, and no answer waits for them. A worker that is killed takes those of its
last second with it.
"""

import threading
from collections import Counter
from collections.abc import Callable, Mapping, Sequence

from puzzlenet.traffic import Traffic

INTERVAL_S = 1.0
_PATIENCE_S = 0.25
Export = Callable[[str, float, Sequence[str]], None]
"""Adds to a counter, or sets a gauge: name, value, labels."""
Key = tuple[str, str]
"""Name and label, which is empty where the counter has none."""


class Told:
    """What the front end knows by now."""

    def __init__(self, export: Export) -> None:
        self._export = export
        self._totals: dict[Key, float] = {}
        self._lock = threading.Lock()

    def tell(self, totals: Mapping[Key, float]) -> None:
        """Export what has grown, and what is new even if it is 0: then a rate exists before the first event."""
        with self._lock:
            for (name, label), total in totals.items():
                before = self._totals.get((name, label))
                if before is None or total > before:
                    self._export(name, round(total - (before or 0), 6), [label] if label else [])
                    self._totals[name, label] = total


class Counters:
    """Counted by the thread that answers, told by another one."""

    def __init__(self, export: Export, keys: Sequence[Key], traffic: Traffic) -> None:
        # Every key there is from the start: the other thread copies what this one changes, and sizes stay.
        self._totals = Counter(dict.fromkeys(keys, 0))
        self._told = Told(export)
        self._traffic = traffic
        self.tell()
        self._ended = threading.Event()
        threading.Thread(target=self._run, name="puzzlenet-counters", daemon=True).start()

    def add(self, name: str, label: str = "", count: int = 1) -> None:
        """Count."""
        self._totals[name, label] += count

    def tell(self) -> None:
        """Export what has been counted since the last time."""
        self._told.tell(dict(self._totals))

    def close(self) -> None:
        """Tell the last ones, and no more."""
        self._ended.set()
        self.tell()

    def _run(self) -> None:
        while not self._ended.wait(INTERVAL_S):
            self._traffic.gap(_PATIENCE_S)
            self.tell()
