"""Workers: never two passes at once, woken at once, ended with their model, patient with failures."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import kopf
from prometheus_client import generate_latest

from puzzle_operator.handlers.telemetry import Telemetry
from puzzle_operator.handlers.watch import Watch
from puzzle_operator.handlers.workers import Workers
from puzzle_operator.ports import Conflict, Unavailable

Pass = Callable[[str, str], Awaitable[float | None]]


def play(make_pass: Pass, story: Callable[[Workers], Awaitable[None]]) -> str:
    telemetry = Telemetry()

    async def run() -> None:
        workers = Workers(make_pass, telemetry)
        await story(workers)
        await workers.stop()

    asyncio.run(run())
    return generate_latest(telemetry.registry).decode()


def test_passes_of_one_model_never_overlap_and_a_wake_during_one_leads_to_another() -> None:
    running, most, passes = 0, 0, 0

    async def make_pass(namespace: str, name: str) -> float | None:
        nonlocal running, most, passes
        running += 1
        passes += 1
        most = max(most, running)
        await asyncio.sleep(0.02)
        running -= 1
        return 60.0

    async def story(workers: Workers) -> None:
        for _ in range(10):
            workers.wake("lyon", "line-1")
            await asyncio.sleep(0.005)
        await asyncio.sleep(0.08)

    play(make_pass, story)
    assert most == 1
    assert 3 <= passes <= 5


def test_a_wake_cuts_a_long_rest_short() -> None:
    passes = 0

    async def make_pass(namespace: str, name: str) -> float | None:
        nonlocal passes
        passes += 1
        return 3600.0

    async def story(workers: Workers) -> None:
        workers.wake("lyon", "line-1")
        await asyncio.sleep(0.02)
        workers.wake("lyon", "line-1")
        await asyncio.sleep(0.02)

    play(make_pass, story)
    assert passes == 2


def test_a_worker_ends_with_its_model() -> None:
    async def make_pass(namespace: str, name: str) -> float | None:
        return None

    async def story(workers: Workers) -> None:
        workers.wake("lyon", "line-1")
        workers.wake("lyon", "line-2")
        assert workers.count == 2
        await asyncio.sleep(0.02)
        assert workers.count == 0

    play(make_pass, story)


def test_failures_are_counted_and_the_next_pass_comes() -> None:
    errors: list[Exception] = [Conflict("again"), Unavailable("no answer", retry_after=0.01), ValueError("a bug")]
    passes = 0

    async def make_pass(namespace: str, name: str) -> float | None:
        nonlocal passes
        passes += 1
        if errors:
            raise errors.pop(0)
        return 60.0

    async def story(workers: Workers) -> None:
        workers.wake("lyon", "line-1")
        await asyncio.sleep(0.3)
        workers.wake("lyon", "line-1")
        await asyncio.sleep(0.05)

    text = play(make_pass, story)
    assert passes == 4
    assert 'puzzle_reconcile_failures_total{kind="unavailable"} 1.0' in text
    assert 'puzzle_reconcile_failures_total{kind="error"} 1.0' in text
    assert "puzzle_reconcile_seconds_count 1.0" in text


class Woken:
    """Counts wakes."""

    def __init__(self) -> None:
        self.keys: list[str] = []

    def wake(self, namespace: str, name: str) -> None:
        self.keys.append(f"{namespace}/{name}")


def event(kind: str | None = "MODIFIED", status: Any = None, **meta: Any) -> dict[str, Any]:
    base = {"uid": "u", "namespace": "lyon", "name": "line-1", "generation": 1}
    labels = {"puzzlenet.dev/model": "line-1"}
    return {"type": kind, "object": {"metadata": {**base, "labels": labels, **meta}, "status": status or {}}}


def test_our_own_status_writes_wake_nobody() -> None:
    woken = Woken()
    watch = Watch(kopf.OperatorRegistry(), woken)  # type: ignore[arg-type]

    async def story() -> None:
        await watch.model_event(event(None))
        await watch.model_event(event(status={"phase": "Stable"}))
        await watch.model_event(event(generation=2))
        await watch.model_event(event(generation=2, annotations={"puzzlenet.dev/retry": "x"}))
        await watch.model_event(event("DELETED", generation=2))

    asyncio.run(story())
    assert len(woken.keys) == 4


def test_moved_traffic_wakes_and_churn_does_not() -> None:
    woken = Woken()
    watch = Watch(kopf.OperatorRegistry(), woken)  # type: ignore[arg-type]

    def shown(percent: int, message: str = "") -> dict[str, Any]:
        traffic = [{"revisionName": "r2", "percent": percent}]
        return {
            "components": {"predictor": {"traffic": traffic}},
            "conditions": [{"type": "Ready", "status": "True", "message": message}],
        }

    async def story() -> None:
        await watch.service_event(event("ADDED", shown(0)))
        await watch.service_event(event(status=shown(0, "other words")))
        await watch.service_event(event(status=shown(10)))
        await watch.service_event(event("DELETED", shown(10)))

    asyncio.run(story())
    assert woken.keys == ["lyon/line-1"] * 3
