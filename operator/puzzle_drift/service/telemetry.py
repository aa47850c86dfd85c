"""Metrics of the worker itself. What it finds is shown by the monitor, which keeps the reports."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest


class Telemetry:
    """The metrics of one process."""

    def __init__(self, memory_limit: int = 0) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self._records = Counter(
            "puzzle_drift_records", "Records taken in.", ("model_namespace", "model"), registry=self.registry
        )
        self._failures = Counter(
            "puzzle_drift_failures", "What went wrong, by where.", ("where",), registry=self.registry
        )
        self._begun = Counter(
            "puzzle_drift_begun", "Detectors set up anew or taken up again.", ("how",), registry=self.registry
        )
        self._watches = Gauge("puzzle_drift_watches", "Versions that are watched.", registry=self.registry)
        self._refused = Gauge("puzzle_drift_refused", "Versions that cannot be watched.", registry=self.registry)
        self._cycle = Histogram(
            "puzzle_drift_cycle_seconds",
            "Duration of one look at all models.",
            buckets=(0.01, 0.05, 0.1, 0.5, 1, 5, 10, 30, 60, 300),
            registry=self.registry,
        )
        self._setup = Histogram(
            "puzzle_drift_setup_seconds",
            "Duration of a detector's set-up.",
            buckets=(0.1, 0.5, 1, 5, 10, 30, 60, 300),
            registry=self.registry,
        )
        Gauge("puzzle_drift_memory_limit_bytes", "What detectors are sized for.", registry=self.registry).set(
            memory_limit
        )

    def took_in(self, namespace: str, model: str, records: int) -> None:
        """Records were folded."""
        self._records.labels(namespace, model).inc(records)

    def failed(self, where: str) -> None:
        """Something did not answer, or did not make sense."""
        self._failures.labels(where).inc()

    def begun(self, how: str, seconds: float) -> None:
        """A watch was `built` or `resumed`."""
        self._begun.labels(how).inc()
        if how == "built":
            self._setup.observe(seconds)

    def cycled(self, seconds: float, watches: int, refused: int) -> None:
        """A cycle ended."""
        self._cycle.observe(seconds)
        self._watches.set(watches)
        self._refused.set(refused)

    def expose(self) -> bytes:
        """Everything in Prometheus' text format."""
        return generate_latest(self.registry)
