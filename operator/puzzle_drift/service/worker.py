"""The worker: one cycle looks at every model, reads what is new of each version, and saves what came of it.

Report, cursor and state go to the monitor in one request. Until that has answered, nothing has happened as far as
anybody else can tell; a worker that is killed is followed by one that takes up the stored state, reads the same
records and arrives at the same bits. Two workers at a time would overwrite each other: there is one.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from puzzle_drift.core.detector import Backend
from puzzle_drift.core.harm import Labels
from puzzle_drift.core.records import Record, Reference, Refused
from puzzle_drift.core.report import refusal, report
from puzzle_drift.core.wanted import DriftSettings, Key, Model, fingerprint, seed_of
from puzzle_drift.core.watch import Watch, begin, resume
from puzzle_drift.ports import Monitor, Page, Registry, Stored, Unavailable
from puzzle_drift.service.labels import LabelsSince
from puzzle_drift.service.telemetry import Telemetry

log = logging.getLogger("puzzle_drift")
PAGES = 20
"""Read of one version before it is the others' turn."""
LATE = frozenset({"FETOnline"})
"""Detectors of labels: they go past an image only when its label has had time to come."""


@dataclass(slots=True)
class Slot:
    """A version in this process."""

    config: str
    watch: Watch
    cursor: int
    saved: dict[str, object] | None = None
    """The report as the monitor has it."""
    dirty: bool = True
    labels: LabelsSince = field(default_factory=LabelsSince)


@dataclass(frozen=True, slots=True)
class Failed:
    """A version that cannot be watched, until when that is believed, and for which settings."""

    wanted: DriftSettings
    champion: str | None
    until: float

    def still(self, wanted: DriftSettings, champion: str | None, now: float) -> bool:
        """Nothing has changed since, and it is not time to look again."""
        return (self.wanted, self.champion) == (wanted, champion) and self.until > now


@dataclass(slots=True)
class Worker:
    """Everything it needs, and what it holds."""

    monitor: Monitor
    registry: Registry
    backends: Mapping[str, Callable[[], Backend]]
    """Made on first use: alibi-detect takes seconds and hundreds of MiB to import."""
    free_memory: Callable[[], int]
    telemetry: Telemetry
    now: Callable[[], datetime]
    label_wait: timedelta = timedelta(hours=24)
    believe: float = 60.0
    """Seconds for which a refusal is not questioned."""
    stopped: Callable[[], bool] = lambda: False
    monotonic: Callable[[], float] = time.monotonic
    _slots: dict[Key, Slot] = field(default_factory=dict)
    _failed: dict[Key, Failed] = field(default_factory=dict)
    _references: dict[Key, Reference] = field(default_factory=dict)

    def cycle(self) -> bool:
        """Look at all models once; true if there is more to read. Raises Unavailable if the monitor is away."""
        begun = self.monotonic()
        models = self.monitor.models()
        live = {key: model for model in models for key in model.keys}
        for held in (self._slots, self._failed, self._references):
            for key in held.keys() - live.keys():
                del held[key]
        more = False
        for key, model in live.items():
            if self.stopped():
                return False
            more |= self._advance(key, model)
        self.telemetry.cycled(self.monotonic() - begun, len(self._slots), len(self._failed))
        return more

    def _advance(self, key: Key, model: Model) -> bool:
        """One version; what goes wrong with it does not disturb the others."""
        try:
            slot = self._slot(key, model)
            return slot is not None and self._follow(key, slot)
        except Unavailable as outage:
            log.warning("%s/%s %s: %s", key.namespace, key.model, key.version[:19], outage)
            self.telemetry.failed("unavailable")
        except Refused as reason:
            self._slots.pop(key, None)
            self._refuse(key, model, str(reason))
        return False

    def _slot(self, key: Key, model: Model) -> Slot | None:
        """The watch of a version: the one at hand, the stored one, or a new one."""
        wanted, failed = model.drift, self._failed.get(key)
        if wanted is None or model.storage is None:
            return None
        if failed and failed.still(wanted, model.champion, self.monotonic()):
            return None
        if key not in self._references:
            self._references[key] = self.registry.reference(model.storage, key.version)
        config = fingerprint(wanted, key, model.champion, self._references[key].sha256)
        slot = self._slots.get(key)
        if slot is None or slot.config != config:
            slot = self._open(key, wanted, config, slot)
            self._slots[key] = slot
            self._failed.pop(key, None)
        return slot

    def _open(self, key: Key, wanted: DriftSettings, config: str, former: Slot | None) -> Slot:
        """Take up the stored watch if it is of this configuration, else begin one where the last one stopped."""
        begun, stored = self.monotonic(), self.monitor.load(key)
        backend, reference = self.backends[wanted.backend](), self._references[key]
        if former is None and stored is not None and stored.config == config and stored.state:
            try:
                watch = resume(wanted, reference, backend, stored.state)
            except ValueError as error:
                log.warning("%s/%s %s begins again: %s", key.namespace, key.model, key.version[:19], error)
                self.telemetry.failed("state")
            else:
                self.telemetry.begun("resumed", self.monotonic() - begun)
                return Slot(config, watch, stored.cursor, saved=dict(stored.report), dirty=False)
        watch = begin(wanted, reference, backend, self.free_memory(), seed_of(config))
        self.telemetry.begun("built", self.monotonic() - begun)
        log.info("%s/%s %s: %s with %s", key.namespace, key.model, key.version[:19], wanted.detector, watch.plan)
        cursor = former.cursor if former else stored.cursor if stored else 0
        return Slot(config, watch, cursor)

    def _follow(self, key: Key, slot: Slot) -> bool:
        """Read what is new, then save once."""
        more = False
        for _ in range(PAGES):
            page = self._settled(slot, self.monitor.stream(key, slot.cursor))
            slot.watch.fold(page.records)
            slot.dirty |= page.next != slot.cursor
            slot.cursor, more = page.next, page.full
            self.telemetry.took_in(key.namespace, key.model, len(page.records))
            if not more or self.stopped():
                break
        self._save(key, slot)
        return more

    def _settled(self, slot: Slot, page: Page) -> Page:
        """The part of a page that may be taken in now: all, unless labels are waited for."""
        if slot.watch.wanted.detector not in LATE:
            return page
        before = self.now() - self.label_wait
        young = next((index for index, record in enumerate(page.records) if _time(record) > before), None)
        if young is None:
            return page
        ready = page.records[:young]
        return Page(ready, ready[-1].seq if ready else slot.cursor, False)

    def _save(self, key: Key, slot: Slot) -> None:
        alarm = slot.watch.alarm
        since = None if alarm.since is None else alarm.since_seq
        labels: Labels = slot.labels.refresh(self.monitor, key, since, slot.cursor)
        document = dict(report(key.version, slot.watch, labels).document())
        if not slot.dirty and document == slot.saved:
            return
        self.monitor.save(key, Stored(document, slot.cursor, slot.watch.state(), slot.config))
        slot.saved, slot.dirty = document, False

    def _refuse(self, key: Key, model: Model, reason: str) -> None:
        """Say so in the report, and leave cursor and state as they are: the reason may go away."""
        wanted = model.drift
        assert wanted is not None  # noqa: S101 - else nothing was asked for that could be refused
        self._failed[key] = Failed(wanted, model.champion, self.monotonic() + self.believe)
        self.telemetry.failed("refused")
        log.warning("%s/%s %s: %s", key.namespace, key.model, key.version[:19], reason)
        document = dict(refusal(key.version, wanted.detector, wanted.backend, reason).document())
        try:
            stored = self.monitor.load(key)
            if stored is None or stored.report != document:
                kept = stored or Stored({}, 0, b"", "")
                self.monitor.save(key, Stored(document, kept.cursor, kept.state, kept.config))
        except Unavailable as outage:
            log.warning("that is not reported: %s", outage)


def _time(record: Record) -> datetime:
    return datetime.fromisoformat(record.at)
