"""The use cases about models as a whole: what is wanted of them, their state, drift, and how it all went over time."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from puzzle_monitor.core import state
from puzzle_monitor.core.decisions import Decision, DecisionPage, DecisionsTaken, page
from puzzle_monitor.core.faults import Refused, wrong
from puzzle_monitor.core.models import MAX_MODELS, DriftReport, DriftState, ModelSettings
from puzzle_monitor.core.stored import DriftKey, DriftPoint, Filter, NewDecision, StoredDrift, StoredModel
from puzzle_monitor.core.times import EARLIEST, micros
from puzzle_monitor.service.monitor import Monitor

_MINUTE = timedelta(minutes=1)


class Models:
    """Everything that the operator, the drift worker and the pages ask for. All of it blocks."""

    def __init__(self, monitor: Monitor) -> None:
        self._monitor, self._store = monitor, monitor.store

    def put(self, namespace: str, name: str, settings: ModelSettings) -> state.ModelState:
        """Store what is wanted of a model; and its state. Raises Refused."""
        now = micros(self._monitor.clock())
        if not self._store.put_settings(namespace, name, settings.model_dump_json(), now, MAX_MODELS):
            raise Refused(409, f"there are {MAX_MODELS:,} models already; DELETE those that are not there any more")
        return self.get(namespace, name).state

    def forget(self, namespace: str, name: str) -> None:
        """The model is not there any more; its records stay until they are old."""
        self._store.forget_settings(namespace, name)

    def append(self, namespace: str, name: str, told: Sequence[Decision]) -> DecisionsTaken:
        """Keep decisions about a model for ever."""
        found = [NewDecision(one.id, micros(one.at), one.model_dump_json()) for one in told]
        stored = self._store.append_decisions(namespace, name, found, micros(self._monitor.clock()))
        return DecisionsTaken(stored=stored, duplicates=len(found) - stored)

    def decisions(self, namespace: str, name: str, before: int | None, limit: int) -> DecisionPage:
        """What was decided about a model, whether or not it is still there; the newest first."""
        return page(self._store.decisions(namespace, name, before, limit + 1), limit)

    def get(self, namespace: str, name: str) -> state.SettingsAndState:
        """What is wanted and what was found. Raises Refused."""
        self._monitor.inputs.catch_up()
        found = self._store.model(namespace, name, self._since())
        if found is None:
            raise Refused(404, f"there are no settings of model {namespace}/{name}: the operator puts them here")
        settings = ModelSettings.model_validate_json(found.settings)
        return state.SettingsAndState(settings=settings, state=self._state(found, settings))

    def all(self) -> state.ModelList:
        """All models that there are settings for."""
        self._monitor.inputs.catch_up()
        models = []
        for found in self._store.models(self._since()):
            settings = ModelSettings.model_validate_json(found.settings)
            one = self._state(found, settings)
            models.append(state.NamedModel(namespace=found.namespace, name=found.name, settings=settings, state=one))
        return state.ModelList(models=tuple(models))

    def forget_usual(self, namespace: str, model: str, line: str) -> None:
        """Learn anew what is usual on a line. Raises Refused."""
        if not self._store.forget_usual(namespace, model, line, micros(self._monitor.clock())):
            raise Refused(404, f"no picture of line {line} of model {namespace}/{model} has ever arrived")

    def _state(self, found: StoredModel, settings: ModelSettings) -> state.ModelState:
        now = self._monitor.clock()
        feed = next((one for one in found.feeds if one.line == settings.line), None)
        health = state.input_state(feed, self._monitor.inputs.verdict(feed) if feed else None)
        return state.model_state(found, settings, health, now, self._monitor.accuracy_window.total_seconds())

    def _since(self) -> int:
        return micros(self._monitor.clock() - self._monitor.accuracy_window)

    def stream(self, wanted: Filter, after: int, limit: int) -> state.Stream:
        """Records in order of arrival."""
        return state.stream(self._store.stream(wanted, after, limit), after)

    def drift(self, key: DriftKey) -> DriftState:
        """What a worker stored of a version. Raises Refused."""
        found = self._store.drift(key)
        if found is None:
            raise Refused(404, f"nothing is known of drift of version {key.version} of {key.namespace}/{key.model}")
        return DriftState(
            report=DriftReport.model_validate_json(found.report),
            cursor=found.cursor,
            state=base64.b64encode(found.state).decode(),
            config=found.config,
        )

    def put_drift(self, key: DriftKey, sent: DriftState) -> state.DriftStored:
        """Store it, in one transaction. Raises Refused."""
        report = sent.report
        if report.version != key.version:
            raise wrong("report.version", f"is {report.version}, but the address says {key.version}")
        data = base64.b64decode(sent.state)
        point = DriftPoint(micros(self._monitor.clock()), report.images, report.score, report.threshold, report.phase)
        found = StoredDrift(report.model_dump_json(), sent.cursor, data, sent.config)
        return state.DriftStored(stored=self._store.put_drift(key, found, point))

    def drift_history(self, key: DriftKey, since: datetime | None, limit: int) -> state.DriftHistory:
        """Drift over time; empty where nothing is known."""
        return state.drift_history(self._store.drift_history(key, micros(since or EARLIEST), limit))

    def accuracy_history(
        self, namespace: str, model: str, line: str | None, window: timedelta, buckets: int
    ) -> state.AccuracyHistory:
        """Accuracy over time, in at most so many buckets of whole minutes."""
        until = self._monitor.clock()
        minutes = max(1, -(-int(window / _MINUTE) // buckets))
        since = until - max(window, _MINUTE)
        # Buckets begin at multiples of their length, so that the same piece is in the same one whenever is asked.
        first = micros(since) // 60_000_000 // minutes * minutes
        start = datetime.fromtimestamp(first * 60, UTC)
        points = self._store.scores(namespace, model, line, micros(start), minutes)
        return state.accuracy_history(points, start, until, minutes * _MINUTE)
