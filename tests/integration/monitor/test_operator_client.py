"""The operator's side against a running monitor: settings that it takes, a state that is read, counters that exist."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from puzzle_operator.adapters import monitored
from puzzle_operator.adapters.monitor import HttpMonitor
from puzzle_operator.api.analysis import CONFIDENCE_BOUNDS, Metric, MetricType
from puzzle_operator.api.conditions import Outcome, Verdict
from puzzle_operator.api.resource import PuzzleModel
from puzzle_operator.api.status import (
    Cause,
    HistoryEntry,
    MetricStatus,
    PuzzleModelStatus,
    Rollout,
    Side,
    VersionRef,
)
from puzzle_operator.core.facts import Missing, Reading
from puzzle_operator.core.monitor import MonitorState
from puzzle_operator.handlers.registered import Registered
from puzzle_operator.manifests.decisions import decision_records
from puzzle_operator.manifests.monitor_settings import monitor_settings
from puzzle_operator.ports import Ports
from puzzle_operator.settings import Settings
from tests.builders import T0, V2, ModelBuilder, a_model
from tests.integration.monitor.live import TOKENS, Server, a_label, a_record, bearer
from tests.unit.handlers.test_passes import Fake

VERSION = "sha256:" + "ab" * 32


def a_served_model(name: str) -> ModelBuilder:
    builder = a_model(name).with_status(PuzzleModelStatus(champion=VersionRef(version=VERSION)))
    builder.body["spec"]["dataQuality"] = {"size": [128, 128], "brightness": [0.1, 0.9], "minImages": 500}
    return builder


def told(live: Server, tmp_path: Path, name: str, settings: Any, who: str = "operator") -> MonitorState | Missing:
    file = tmp_path / "token"
    file.write_text(TOKENS[who])

    async def ask() -> MonitorState | Missing:
        async with httpx.AsyncClient(base_url=live.url) as client:
            return await HttpMonitor(client, file, patience=30.0).ask("lyon", name, settings)

    return asyncio.run(ask())


def test_a_models_settings_are_taken_and_its_state_is_read(live: Server, tmp_path: Path) -> None:
    model = a_served_model("line-7").build()
    wanted = monitor_settings(model, 30_000, https=False)
    state = told(live, tmp_path, "line-7", wanted)
    assert isinstance(state, MonitorState), state
    assert state.labels.total == 0
    found = httpx.get(f"{live.url}/v1/models/lyon/line-7", headers=bearer("operator")).raise_for_status().json()
    assert found["settings"] == wanted


def test_labels_of_the_champion_come_back_as_its_accuracy(live: Server, tmp_path: Path) -> None:
    records = [a_record(model="line-8", line="line-8", version=VERSION) for _ in range(4)]
    sent = httpx.post(f"{live.url}/v1/predictions", json={"records": records}, headers=bearer("handler"))
    sent.raise_for_status()
    labels = [a_label(record["id"], label) for record, label in zip(records, ("ok", "ok", "stain"), strict=False)]
    httpx.post(f"{live.url}/v1/feedback", json=labels, headers=bearer("inspector")).raise_for_status()
    settings = monitor_settings(a_served_model("line-8").build(), 30_000, https=False)
    state = told(live, tmp_path, "line-8", settings)
    assert isinstance(state, MonitorState), state
    accuracy = state.accuracy_of(VERSION)
    assert accuracy is not None
    assert (accuracy.labelled, accuracy.wrong, state.labels.total) == (3, 1, 3)


def test_the_counters_that_a_canary_is_judged_by_have_the_labels_that_are_asked_for(
    live: Server, tmp_path: Path
) -> None:
    records = [a_record(model="line-9", line="line-9")]
    httpx.post(f"{live.url}/v1/predictions", json={"records": records}, headers=bearer("handler")).raise_for_status()
    text = httpx.get(f"{live.url}/metrics").raise_for_status().text
    found = {
        sample.name: sample
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.labels.get("model") == "line-9"
    }
    for name in ("labelled", "wrong", "predictions"):
        sample = found[f"puzzle_monitor_{name}_total"]
        assert {"model_namespace", "model", "revision"} <= set(sample.labels)
    assert found["puzzle_monitor_labelled_total"].value == 0, "known as nought before the first label"


def test_a_confidence_metric_counts_at_every_bound_what_the_monitor_was_sent(live: Server) -> None:
    sent = [0.4, 0.5, 0.55, 0.6, 0.61, 0.9, 0.985, 0.999]
    records = [a_record(model="line-10", line="line-10", confidence=value) for value in sent]
    httpx.post(f"{live.url}/v1/predictions", json={"records": records}, headers=bearer("handler")).raise_for_status()
    text = httpx.get(f"{live.url}/metrics").raise_for_status().text
    series = [
        (sample.labels, sample.value)
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name == "puzzle_monitor_confidence_bucket"
    ]
    model, revision = a_model("line-10").build(), records[0]["revision"]
    for below in CONFIDENCE_BOUNDS:
        metric = Metric(name="unsure", type=MetricType.CONFIDENCE, below=below)
        found = monitored.reading(model, metric, frozenset({revision}), [series], datetime.now(UTC))
        assert isinstance(found, Reading), found
        (counter,) = found.counters
        assert (counter.total, counter.bad) == (len(sent), sum(value <= below for value in sent)), below


@pytest.mark.parametrize("who", ["handler", "inspector"])
def test_another_role_is_refused_and_said(live: Server, tmp_path: Path, who: str) -> None:
    settings = monitor_settings(a_served_model("line-7").build(), 30_000, https=False)
    found = told(live, tmp_path, "line-7", settings, who)
    assert isinstance(found, Missing)
    assert "needs the role operator" in found.reason


def _a_decided_model(name: str) -> PuzzleModel:
    history = (
        HistoryEntry(at=T0, version=VERSION, outcome="Deployed", message="the first champion"),
        HistoryEntry(at=T0 + timedelta(hours=1), version=V2, outcome="RolledBack", replaced=VERSION, message="worse"),
    )
    rollout = Rollout(
        challenger=V2,
        started_at=T0,
        decided_at=T0 + timedelta(hours=1),
        outcome=Outcome.ROLLED_BACK,
        cause=Cause(reason="EvidenceAgainst", message="worse", quarantine=True),
    )
    metric = MetricStatus(name="errors", verdict=Verdict.FAIL, challenger=Side(requests=17, bad=9), evidence=41.5)
    status = PuzzleModelStatus(
        champion=VersionRef(version=VERSION), rollout=rollout, history=history, metrics=(metric,)
    )
    return a_model(name).with_status(status).build()


def test_decisions_are_on_record_whatever_is_killed(server: Server, tmp_path: Path) -> None:
    """The operator restarts between any two steps: only what the status and the monitor hold is left."""
    file = tmp_path / "token"
    file.write_text(TOKENS["operator"])
    model = _a_decided_model("line-5")
    settings, records = monitor_settings(model, 30_000, https=False), decision_records(model)

    async def a_life(*, until_told: bool) -> None:
        async with httpx.AsyncClient(base_url=server.url) as client:
            monitor = HttpMonitor(client, file, patience=30.0)
            await monitor.ask("lyon", "line-5", settings)
            await monitor.tell("lyon", "line-5", records)
            telling = monitor._talks["lyon", "line-5"].telling
            if telling is not None:
                if not until_told:
                    telling.cancel()
                await asyncio.wait({telling})

    asyncio.run(a_life(until_told=False))
    server.kill()
    asyncio.run(a_life(until_told=True))  # the monitor is away
    server.start()
    for _ in range(2):
        asyncio.run(a_life(until_told=True))
        server.kill()
        server.start()
    path = f"{server.url}/v1/models/lyon/line-5/decisions"
    found = httpx.get(path, headers=bearer("trainer")).raise_for_status().json()["decisions"]
    assert [one["id"] for one in found] == [one["id"] for one in reversed(records)]
    assert (found[0]["reason"], found[0]["numbers"]["errors.challenger.bad"]) == ("EvidenceAgainst", 9.0)


def test_a_model_that_was_deleted_while_the_operator_was_down_is_listed_no_more(server: Server, tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text(TOKENS["operator"])
    there, gone, others = (a_served_model(name).build() for name in ("there", "gone", "others"))
    cluster = Fake(None)
    cluster.body = a_served_model("there").body

    async def model(namespace: str, name: str) -> Any:
        return cluster.body if name == "there" else None

    cluster.model = model  # type: ignore[method-assign]

    async def sweep() -> bool:
        async with httpx.AsyncClient(base_url=server.url) as client:
            monitor = HttpMonitor(client, file, patience=30.0)
            for one, owner in ((there, "cluster-1/"), (gone, "cluster-1/"), (others, "cluster-2/")):
                await monitor.ask("lyon", one.name, monitor_settings(one, 30_000, https=False, owner=owner))
            ports = Ports(cluster=cluster, metrics=cluster, registry=cluster, clock=lambda: T0, monitor=monitor)
            return await Registered(ports, Settings()).sweep()

    assert asyncio.run(sweep())
    listed = httpx.get(f"{server.url}/v1/models", headers=bearer("trainer")).raise_for_status().json()["models"]
    assert [one["name"] for one in listed] == ["others", "there"]
