"""The line holds a rollout, on the real KServe with a real monitor: bad pictures before any traffic, then a challenger
that drifts alone. What a camera and a drift worker take minutes to find is put into the monitor's store and its API."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from puzzle_monitor.adapters.sql.engine import Database
from puzzle_monitor.adapters.sql.migrate import upgrade
from puzzle_monitor.adapters.sql.store import SqlStore
from puzzle_monitor.core.records import Record
from puzzle_monitor.core.times import micros
from puzzle_monitor.core.work import Work
from tests.harness.models import Namespace
from tests.integration.monitor.live import TOKENS, Server, a_record
from tests.integration.rollouts.conftest import MODEL, NAMESPACE, Operator, Versions
from tests.integration.rollouts.traffic import Traffic


def remember_dark_pictures(url: str) -> None:
    """A quarter of an hour of pictures, of which the last minutes are nearly black."""
    database = Database(url)
    upgrade(database)
    store, now = SqlStore(database), datetime.now(UTC)
    for minute in range(15, -1, -1):
        arrived = now - timedelta(minutes=minute)
        brightness = 0.5 if minute > 5 else 0.02
        image = {"format": "jpeg", "width": 128, "height": 128, "bytes": 5120, "brightness": brightness, "blur": 120.0}
        batch = [a_record(namespace=NAMESPACE, model=MODEL, at=arrived.isoformat(), image=image) for _ in range(60)]
        records = tuple(Record.model_validate(one, strict=False) for one in batch)
        store.write(Work(records), micros(arrived), 0)
    database.close()


@pytest.fixture
def monitor(operator: Operator, tmp_path: Path) -> Iterator[Server]:
    """A monitor that has seen the dark, and an operator that asks it; afterwards one without again."""
    url = f"sqlite:///{tmp_path}/monitor.db"
    remember_dark_pictures(url)
    running = Server(tmp_path, url).start()
    token = tmp_path / "operator-token"
    token.write_text(TOKENS["operator"])
    operator.more = {"PUZZLE_MONITOR_URL": running.url, "PUZZLE_MONITOR_TOKEN_FILE": str(token)}
    operator.restart()
    yield running
    operator.more = {}
    operator.restart()
    running.stop()


def report(monitor: Server, version: str, phase: str, harmful: str) -> None:
    """What a drift worker says of a version."""
    found: dict[str, Any] = {
        "version": version,
        "detector": "MMDOnline",
        "backend": "builtin",
        "images": 400,
        "score": 0.31,
        "threshold": 0.06,
        "p_value": None,
        "phase": phase,
        "harmful": harmful,
        "since": None if phase == "None" else datetime.now(UTC).isoformat(),
        "message": "accuracy of the 40 labelled images since then is 0.350",
    }
    body = {"report": found, "cursor": 400, "state": base64.b64encode(b"state").decode(), "config": "c"}
    with monitor.client("drift") as drift:
        answer = drift.put(f"/v1/drift/{NAMESPACE}/{MODEL}/{quote(version, safe='')}", json=body)
    assert answer.status_code in {200, 204}, answer.text


def puzzle(*arguments: str) -> tuple[int, str]:
    command = [sys.executable, "-m", "puzzle_operator.plugin", *arguments]
    done = subprocess.run(command, env=os.environ, capture_output=True, text=True, timeout=60, check=False)
    return done.returncode, " ".join((done.stdout + done.stderr).split())


def reason(space: Namespace) -> str:
    return str(space.status(MODEL).get("reason"))


def test_bad_pictures_and_a_challenger_that_drifts_alone_hold_a_rollout(
    stable: Namespace, traffic: Traffic, monitor: Server, versions: Versions
) -> None:
    new = versions("answers", 60)
    steps = [{"weight": 20, "minDuration": "15s"}, {"weight": 50, "minDuration": "5s"}]
    stable.patch(MODEL, {"spec": {"canary": {"steps": steps}}})
    stable.set_version(MODEL, new)
    stable.until(lambda: reason(stable) == "HeldInputUnhealthy", "bad pictures hold it", 90)
    status = stable.status(MODEL)
    assert (status["phase"], stable.observed(MODEL)) == ("Starting", 0)
    assert "Dark" in status["message"]
    code, said = puzzle("status", MODEL, "-n", stable.name)
    assert (code, "no traffic for the challenger" in said) == (5, True)
    assert "look at the camera" in puzzle("explain", MODEL, "-n", stable.name)[1]

    # The pictures are to stay as they are: the way out that `explain` names.
    with monitor.client("operator") as client:
        answer = client.delete(f"/v1/lines/{NAMESPACE}/{MODEL}/line-1/usual")
        assert answer.status_code in {200, 204}, answer.text
    stable.until(lambda: stable.observed(MODEL) == 20, "it goes on", 60)

    report(monitor, new, "Confirmed", "Yes")
    stable.until(lambda: reason(stable) == "HeldChallengerDrift", "the challenger's drift holds it", 30)
    time.sleep(15)
    status = stable.status(MODEL)
    assert (status["verdict"], status["step"], stable.observed(MODEL)) == ("Pass", "1/2", 20), json.dumps(status)
    assert "is 0.350" in puzzle("get", MODEL, "-n", stable.name)[1]
    assert puzzle("status", MODEL, "-n", stable.name, "--wait")[0] == 5, "it waits for a person, and is not waited for"
    assert puzzle("promote", MODEL, "-n", stable.name, "--without-evidence")[0] == 0
    stable.until(lambda: stable.observed(MODEL) == 50, "a person goes on all the same", 30)
    stable.until(lambda: reason(stable) == "HeldChallengerDrift", "the next step is held again", 30)
    report(monitor, new, "None", "Unknown")
    stable.until(lambda: "HoldEnded" in stable.reasons(MODEL), "its end is told", 30)
    stable.set_version(MODEL, versions("answers", 1))
    stable.until_outcome(MODEL, new, "Aborted", 60)
    assert {"HeldInputUnhealthy", "HeldChallengerDrift"} <= set(stable.reasons(MODEL))
    assert not traffic.lost
