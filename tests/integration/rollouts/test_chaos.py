"""Prometheus stopped in mid-canary, and the operator killed at random moments, on the real KServe.

`make test` runs them short; `make chaos` for ten minutes without Prometheus and with fifty kills.
"""

from __future__ import annotations

import os
import random
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.harness.models import Namespace
from tests.integration.rollouts.conftest import MODEL, Operator, Versions
from tests.integration.rollouts.traffic import Traffic

OUTAGE = float(os.environ.get("PUZZLE_CHAOS_OUTAGE_SECONDS", "45"))
KILLS = int(os.environ.get("PUZZLE_CHAOS_KILLS", "8"))
SEED = int(os.environ.get("PUZZLE_CHAOS_SEED", "1"))


@contextmanager
def without_prometheus(space: Namespace) -> Iterator[None]:
    space.scale("monitoring", "prometheus", 0)
    try:
        yield
    finally:
        space.scale("monitoring", "prometheus", 1)


@pytest.mark.timeout(1800)
def test_an_outage_of_prometheus_freezes_a_canary_and_does_not_protect_a_crashing_one(
    stable: Namespace, traffic: Traffic, versions: Versions
) -> None:
    new = versions("brittle")
    # A step long enough for the outage to lie inside it.
    stable.patch(MODEL, {"spec": {"canary": {"steps": [{"weight": 20, "minDuration": "30s"}, {"weight": 50}]}}})
    stable.set_version(MODEL, new)
    stable.until(lambda: int(stable.status(MODEL).get("samples") or 0) > 10, "the challenger has samples", 90)
    before = stable.status(MODEL)
    with without_prometheus(stable):
        stable.until(lambda: stable.status(MODEL)["reason"] == "HeldMetricsStale", "it is frozen", 90)
        began = time.monotonic()
        while time.monotonic() - began < OUTAGE:
            status = stable.status(MODEL)
            assert (status["phase"], status["verdict"]) == ("Canary", "Unknown")
            assert status["weight"] == {"wanted": 20, "observed": 20}
            time.sleep(2)
    stable.until(lambda: stable.status(MODEL)["verdict"] != "Unknown", "the metrics are back", 120)
    stable.until(lambda: stable.status(MODEL)["samples"] > before["samples"], "it counts on", 60)
    after = stable.status(MODEL)
    assert after["rollout"]["startedAt"] == before["rollout"]["startedAt"]
    assert "MetricsResumed" in stable.reasons(MODEL)
    stable.until(lambda: stable.observed(MODEL) == 50, "it advances", 120)
    with without_prometheus(stable):
        stable.until(lambda: stable.status(MODEL)["reason"] == "HeldMetricsStale", "it is frozen again", 90)
        traffic.headers = {"Poison": "1"}
        poisoned = time.monotonic()
        stable.until_outcome(MODEL, new, "RolledBack", 120)
        seconds = time.monotonic() - poisoned
        traffic.headers = {}
        assert stable.status(MODEL)["rollout"]["cause"]["reason"] == "GuardRestarts"
    lost = sum(traffic.lost.values())
    print(f"Prometheus down for {OUTAGE:.0f} s: frozen at 20 %, then went on; crashed while it was down: rolled back")
    print(f"{seconds:.0f} s after the first poisoned request; {lost} requests met the crashing challenger")


class Kills:
    """Kills the operator at random moments and starts it again, until it has done so often enough."""

    def __init__(self, operator: Operator, number: int, seed: int) -> None:
        self._operator = operator
        self.left = number
        self._random = random.Random(seed)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Kills:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(timeout=60)
        if self._operator.process is None:
            self._operator.start()

    def _run(self) -> None:
        while self.left > 0 and not self._stop.wait(self._random.uniform(0.5, 10.0)):
            self._operator.restart()
            self.left -= 1


class Observer:
    """Looks at the model twice a second and remembers what must never be."""

    def __init__(self, space: Namespace) -> None:
        self._space = Namespace(space.name)  # a client of its own: they are not to be shared between threads
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.wrong: list[str] = []
        self.looks = 0

    def __enter__(self) -> Observer:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(timeout=30)

    def _run(self) -> None:
        samples: dict[str, int] = {}
        starts: dict[str, str] = {}
        while not self._stop.wait(0.5):
            self._look(samples, starts)
            self.looks += 1

    def _look(self, samples: dict[str, int], starts: dict[str, str]) -> None:
        status = self._space.status(MODEL)
        weights = self._space.observed_weights(MODEL)
        if len(weights) > 2:
            self.wrong.append(f"more than one challenger has traffic: {weights}")
        rollout = status.get("rollout") or {}
        if not rollout or rollout.get("outcome"):
            samples.clear()
            starts.clear()
            return
        version, began = rollout["challenger"], rollout["startedAt"]
        if starts.setdefault(version, began) != began:
            self.wrong.append(f"the rollout of {version[:19]} began twice")
        seen = int(status.get("samples") or 0)
        if seen < samples.get(version, 0):
            self.wrong.append(f"evidence was lost: {samples[version]} requests, then {seen}")
        samples[version] = seen


@pytest.mark.timeout(1800)
def test_an_operator_that_is_killed_again_and_again_comes_to_the_same_outcomes(
    stable: Namespace, traffic: Traffic, operator: Operator, versions: Versions
) -> None:
    first = versions("answers", 1)
    rounds = 0
    began = time.monotonic()
    with Observer(stable) as observer, Kills(operator, KILLS, SEED) as kills:
        while kills.left > 0:
            rounds += 1
            good, bad = versions("answers", 100 + rounds), versions("fails", 100 + rounds)
            for version, outcome in ((bad, "RolledBack"), (good, "Promoted"), (first, "Promoted")):
                stable.set_version(MODEL, version)
                stable.until_outcome(MODEL, version, outcome, 240)
                stable.until(lambda: stable.status(MODEL)["phase"] in {"Stable", "RolledBack"}, "it rests", 120)
    assert stable.champion(MODEL) == first
    assert observer.wrong == []
    # 500 is the failing challenger's own answer.
    assert set(traffic.lost) <= {"500"}, f"lost on the way: {traffic.lost}"
    seconds, answered = time.monotonic() - began, sum(traffic.answered.values())
    print(f"killed {KILLS} times (seed {SEED}) over {3 * rounds} rollouts in {seconds:.0f} s: every outcome as without")
    print(f"kills, one challenger at a time, no evidence lost in {observer.looks} looks; {answered} requests answered,")
    print("none lost but those that the failing challengers failed")
