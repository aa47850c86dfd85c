"""The operator's own metrics, for Prometheus. Those of a model go away with it; docs/metrics.md lists them all.

What happens once (a phase left, a rollout ended) is counted by the pass that records it, as the difference
between the status before and after. So an operator that is killed counts nothing twice, and the next one counts
what comes after; only what no scrape has seen before the kill is lost to Prometheus. The status has it still.
"""

from __future__ import annotations

import platform
import time
from collections.abc import Callable, Iterable
from importlib.metadata import PackageNotFoundError, version

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector

from puzzle_operator.api.conditions import Outcome
from puzzle_operator.api.resource import PuzzleModel
from puzzle_operator.api.retraining import RetrainingStatus, RunOutcome
from puzzle_operator.api.status import PuzzleModelStatus, Rollout
from puzzle_operator.core.facts import Missing, MissingKind, Reading, VersionState
from puzzle_operator.core.monitor import MonitorState
from puzzle_operator.core.record import Decision

from .collectors import MODEL_LABELS, ModelCollector, Shown

FAILURES = ("unavailable", "error", "refused", "invalid")
"""Why a pass is given up: no answer of the API, a bug, a plan that the API server refuses, an object without sense."""
_CALL_BUCKETS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
_PHASE_BUCKETS = (5, 15, 60, 300, 900, 3600, 14400, 86400)
_ROLLBACK_BUCKETS = (1, 2, 5, 10, 20, 30, 60, 300, 1800, 21600)


class Telemetry:
    """Counters, gauges and histograms of one operator process."""

    def __init__(self, registry: CollectorRegistry | None = None, wall_clock: Callable[[], float] = time.time) -> None:
        self.registry = registry or CollectorRegistry()
        self._wall_clock = wall_clock
        self._models = ModelCollector()
        self.registry.register(self._models)
        ProcessCollector(registry=self.registry)
        self._count_own_work()
        self._count_the_world()
        self._count_rollouts()

    def _count_own_work(self) -> None:
        build = Gauge("puzzle_build_info", "What runs.", ("version", "python"), registry=self.registry)
        build.labels(_installed(), platform.python_version()).set(1)
        self._workers = Gauge("puzzle_workers", "Models that have a worker.", registry=self.registry)
        self._seconds = Histogram(
            "puzzle_reconcile_seconds",
            "Duration of a pass over one model.",
            buckets=(0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30),
            registry=self.registry,
        )
        self._failures = Counter(
            "puzzle_reconcile_failures", "Passes that were given up.", ("kind",), registry=self.registry
        )
        for kind in FAILURES:
            self._failures.labels(kind)

    def _count_the_world(self) -> None:
        self._calls = Counter(
            "puzzle_api_calls", "Calls of the Kubernetes API.", ("verb", "code"), registry=self.registry
        )
        self._call_seconds = Histogram(
            "puzzle_api_call_seconds",
            "Duration of a call of the Kubernetes API.",
            ("verb",),
            buckets=_CALL_BUCKETS,
            registry=self.registry,
        )
        self._queries = Counter(
            "puzzle_prometheus_queries", "Queries to Prometheus.", ("code",), registry=self.registry
        )
        self._query_seconds = Histogram(
            "puzzle_prometheus_query_seconds",
            "Duration of a query to Prometheus.",
            buckets=_CALL_BUCKETS,
            registry=self.registry,
        )
        self._readings = Counter("puzzle_readings", "Looks at a metric of a spec.", ("result",), registry=self.registry)
        self._checks = Counter(
            "puzzle_registry_checks", "Looks for a version in the registry.", ("result",), registry=self.registry
        )
        self._answers = Counter(
            "puzzle_monitor_answers", "Passes by what the monitor said.", ("result",), registry=self.registry
        )
        # A counter that appears as 1 has not increased, for Prometheus; so the usual ones are there from the start.
        for code in ("200", "0"):
            self._queries.labels(code)
        for result in ("found", *MissingKind):
            self._readings.labels(result)
            self._answers.labels(result)
        for state in set(VersionState) - {VersionState.NOT_ASKED}:
            self._checks.labels(_label(state))

    def _count_rollouts(self) -> None:
        self._events = Counter(
            "puzzle_events", "Events told to people.", (*MODEL_LABELS, "reason"), registry=self.registry
        )
        self._rollouts = Counter(
            "puzzle_rollouts", "Rollouts that ended.", (*MODEL_LABELS, "outcome"), registry=self.registry
        )
        self._runs = Counter(
            "puzzle_retraining_runs",
            "Runs of retraining that ended.",
            (*MODEL_LABELS, "outcome"),
            registry=self.registry,
        )
        self._phases = Histogram(
            "puzzle_phase_seconds",
            "How long a phase lasted that was left.",
            (*MODEL_LABELS, "phase"),
            buckets=_PHASE_BUCKETS,
            registry=self.registry,
        )
        self._exposure = Histogram(
            "puzzle_rollback_exposure_seconds",
            "From the first traffic of a challenger that was rolled back to none.",
            MODEL_LABELS,
            buckets=_ROLLBACK_BUCKETS,
            registry=self.registry,
        )
        self._withdrawal = Histogram(
            "puzzle_rollback_withdrawal_seconds",
            "From the decision to roll back to no traffic.",
            MODEL_LABELS,
            buckets=_ROLLBACK_BUCKETS,
            registry=self.registry,
        )

    # ------------------------------------------------------------ the operator's work

    def called(self, verb: str, code: int, seconds: float | None = None) -> None:
        """An answer of the Kubernetes API; code 0 is none."""
        self._calls.labels(verb, str(code)).inc()
        if seconds is not None:
            self._call_seconds.labels(verb).observe(seconds)

    def queried(self, code: int, seconds: float) -> None:
        """An answer of Prometheus; code 0 is none."""
        self._queries.labels(str(code)).inc()
        self._query_seconds.observe(seconds)

    def read(self, readings: Iterable[Reading | Missing]) -> None:
        """What a pass learned of the metrics of a spec."""
        for reading in readings:
            self._readings.labels(reading.kind if isinstance(reading, Missing) else "found").inc()

    def heard(self, answer: MonitorState | Missing) -> None:
        """What a pass learned of the monitor."""
        self._answers.labels(answer.kind if isinstance(answer, Missing) else "found").inc()

    def checked(self, state: VersionState) -> None:
        """What the registry said about a version."""
        self._checks.labels(_label(state)).inc()

    def passed(self, seconds: float) -> None:
        """A pass that was completed."""
        self._seconds.observe(seconds)

    def failed(self, kind: str) -> None:
        """A pass that was given up; one of `FAILURES`."""
        self._failures.labels(kind).inc()

    def watch_workers(self, count: Callable[[], int]) -> None:
        """Ask this at every scrape how many models have a worker."""
        self._workers.set_function(count)

    # ------------------------------------------------------------ models

    def decided(self, model: PuzzleModel, decision: Decision) -> None:
        """What a pass came to. To be called once its status is stored."""
        key, status = (model.namespace, model.name), decision.status
        shown = self._models.get(key)
        if shown is not None and shown.model.uid != model.uid:
            self.forget(*key)
            shown = None
        if shown is None:
            for outcome in Outcome:
                self._rollouts.labels(*key, outcome)
            for ended in RunOutcome:
                self._runs.labels(*key, ended)
            self._exposure.labels(*key)
            self._withdrawal.labels(*key)
        before = model.status if shown is None else shown.status
        self._count_phases(key, before, status)
        self._count_rollout(key, before.rollout, status.rollout)
        self._count_run(key, before.retraining, status.retraining)
        for note in decision.notes:
            self._events.labels(*key, note.reason).inc()
        self._models.show(Shown(model, status, self._wall_clock()))

    def _count_phases(self, key: tuple[str, str], before: PuzzleModelStatus, after: PuzzleModelStatus) -> None:
        counted = before.transitions[-1].at if before.transitions else None
        for entered, left in zip(after.transitions, after.transitions[1:], strict=False):
            if counted is None or left.at > counted:
                self._phases.labels(*key, entered.to).observe((left.at - entered.at).total_seconds())

    def _count_rollout(self, key: tuple[str, str], before: Rollout | None, after: Rollout | None) -> None:
        if after is None:
            return
        known = before if before is not None and _is_same(before, after) else None
        if after.outcome is not None and (known is None or known.outcome is None):
            self._rollouts.labels(*key, after.outcome).inc()
        if after.cause is None or not after.cause.quarantine or after.zero_traffic_at is None:
            return
        if known is not None and known.zero_traffic_at is not None:
            return
        if after.first_traffic_at is not None:
            self._exposure.labels(*key).observe((after.zero_traffic_at - after.first_traffic_at).total_seconds())
            if after.decided_at is not None:
                self._withdrawal.labels(*key).observe((after.zero_traffic_at - after.decided_at).total_seconds())

    def _count_run(self, key: tuple[str, str], before: RetrainingStatus | None, after: RetrainingStatus | None) -> None:
        if after is None or after.outcome is None:
            return
        if before is None or before.run != after.run or before.outcome is None:
            self._runs.labels(*key, after.outcome).inc()

    def forget(self, namespace: str, name: str) -> None:
        """Drop the series of a model that is gone."""
        self._models.forget((namespace, name))
        for metric in (self._events, self._rollouts, self._runs, self._phases, self._exposure, self._withdrawal):
            metric.remove_by_labels({"namespace": namespace, "model": name})


def _is_same(one: Rollout, other: Rollout) -> bool:
    """Whether two statuses speak of one rollout. A stored time has milliseconds, the one before it microseconds."""
    return one.challenger == other.challenger and abs((one.started_at - other.started_at).total_seconds()) < 0.01


def _label(state: VersionState) -> str:
    return state.replace(" ", "_")


def _installed() -> str:
    try:
        return version("puzzlemodel")
    except PackageNotFoundError:  # run from a checkout that was never installed
        return "unknown"
