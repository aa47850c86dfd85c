"""The worker over real HTTP: what it reads, what it saves, and what it does when something is away."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from puzzle_drift.adapters import alibi
from puzzle_drift.adapters.monitor import HttpMonitor
from puzzle_drift.adapters.registry import S3Registry
from puzzle_drift.core.mmd import Builtin
from puzzle_drift.core.records import Refused
from puzzle_drift.core.sizing import MIB
from puzzle_drift.ports import Unavailable
from puzzle_drift.service.telemetry import Telemetry
from puzzle_drift.service.worker import Worker
from tests.unit.drift.stand_ins import TOKEN, World, served
from tests.unit.drift.streams import AT, records, reference

REFERENCE = reference(300)
KEYS = {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b"}
NOW = datetime.fromisoformat(AT).astimezone(UTC)


@pytest.fixture
def world() -> Iterator[World]:
    with served() as found:
        yield found


@pytest.fixture
def token(tmp_path: Path) -> Path:
    path = tmp_path / "token"
    path.write_text(TOKEN + "\n")
    return path


def worker(world: World, token: Path, **given: Any) -> Worker:
    return Worker(
        **{
            "monitor": HttpMonitor(world.url, token, page=50),
            "registry": S3Registry(KEYS),
            "backends": {"builtin": Builtin, "alibi-detect": alibi.backend},
            "free_memory": lambda: 1 << 30,
            "telemetry": Telemetry(),
            "now": lambda: NOW,
            "believe": 0.0,
            **given,
        }
    )


def drain(running: Worker) -> None:
    while running.cycle():
        pass


def test_no_drift_then_drift_then_labels_that_say_it_does_harm(world: World, token: Path) -> None:
    version = world.add_version(REFERENCE)
    world.add_model(version)
    running = worker(world, token)
    world.send(version, records(120))
    drain(running)
    report = world.report(version)
    assert (report["phase"], report["images"], report["since"]) == ("None", 120, None)
    assert report["version"] == version and report["score"] < report["threshold"]
    world.send(version, records(100, seed=3, shift=3.0, first=121))
    drain(running)
    report = world.report(version)
    assert (report["phase"], report["harmful"], report["images"]) == ("Confirmed", "Unknown", 220)
    assert report["since"] == AT
    saved = len(world.puts)
    drain(running)
    assert len(world.puts) == saved, "nothing new, nothing saved"
    for raw in world.streams["lyon", "line-1", version][150:190]:
        raw["truth"] = "something else"
    drain(running)
    report = world.report(version)
    assert report["harmful"] == "Yes"
    assert "accuracy of the 40 labelled images since then is 0.000" in report["message"]


@pytest.mark.parametrize("cuts", [[37], [1, 2, 90, 91, 150, 199], [120]])
def test_a_killed_worker_is_followed_by_one_that_arrives_at_the_same_bits(
    world: World, token: Path, cuts: list[int]
) -> None:
    version, stream = world.add_version(REFERENCE), [*records(120), *records(80, seed=4, shift=2.0, first=121)]
    for name in ("whole", "killed"):
        world.add_model(version, name)
    done, running = 0, worker(world, token)
    for cut in [*cuts, len(stream)]:
        for name in ("whole", "killed"):
            world.send(version, stream[done:cut], name)
        done = cut
        drain(running)
        # Another one takes over `killed`, after the first one has read on without saving.
        world.down = {"PUT /v1/drift/lyon/killed"}
        running.cycle()
        world.down = set()
        lost = worker(world, token)
        drain(lost)
        running._slots = {key: slot for key, slot in running._slots.items() if key.model == "whole"}
    whole, killed = (world.drift[f"/v1/drift/lyon/{name}/{version}"] for name in ("whole", "killed"))
    assert killed["cursor"] == whole["cursor"] == 200
    # Thresholds come from a seed that names the model, hence differ; the fold of one model is compared with itself.
    again = worker(world, token)
    del world.drift[f"/v1/drift/lyon/killed/{version}"]
    drain(again)
    assert world.drift[f"/v1/drift/lyon/killed/{version}"] == killed


def test_what_could_not_be_saved_is_read_again(world: World, token: Path) -> None:
    version = world.add_version(REFERENCE)
    world.add_model(version)
    world.send(version, records(80))
    world.down = {"PUT /v1/drift"}
    running = worker(world, token)
    running.cycle()
    assert world.drift == {}
    world.down = set()
    running.cycle()
    first = world.state(version)
    world.drift.clear()
    drain(worker(world, token))
    assert world.state(version) == first


def test_champion_and_challenger_have_a_watch_each_and_a_rollout_starts_them_again(world: World, token: Path) -> None:
    first, second = world.add_version(REFERENCE), world.add_version(reference(300, seed=5))
    settings = world.add_model(first)
    settings["challenger"] = second
    running = worker(world, token)
    drifted = [*records(40), *records(100, seed=3, shift=3.0, first=41)]
    world.send(first, drifted)
    world.send(second, drifted)
    drain(running)
    assert {world.report(version)["phase"] for version in (first, second)} == {"Confirmed"}
    settings |= {"champion": second, "challenger": None}
    world.send(second, records(30, seed=6, first=141))
    drain(running)
    report = world.report(second)
    assert (report["phase"], report["images"]) == ("None", 30), "read on, but not latched any more"
    assert len(running._slots) == 1


def test_a_change_of_settings_while_nobody_ran_starts_again_behind_the_cursor(world: World, token: Path) -> None:
    version = world.add_version(REFERENCE)
    settings = world.add_model(version)
    world.send(version, records(60))
    drain(worker(world, token))
    settings["drift"]["confirm_windows"] = 5
    world.send(version, records(25, first=61))
    drain(worker(world, token))
    assert world.report(version)["images"] == 25


def test_a_state_that_cannot_be_read_starts_again_behind_the_cursor(world: World, token: Path) -> None:
    version = world.add_version(REFERENCE)
    world.add_model(version)
    world.send(version, records(60))
    drain(worker(world, token))
    world.drift[f"/v1/drift/lyon/line-1/{version}"]["state"] = "AAAA"
    world.send(version, records(25, first=61))
    drain(worker(world, token))
    assert world.report(version)["images"] == 25


def test_what_cannot_be_watched_is_reported_and_disturbs_nobody(world: World, token: Path) -> None:
    good, old = world.add_version(REFERENCE), world.add_version(None)
    altered, few = world.add_version(reference(310), tamper=True), world.add_version(reference(40))
    for name, version in (("old", old), ("altered", altered), ("few", few), ("line-1", good)):
        world.add_model(version, name)
    world.add_model("sha256:" + "0" * 64, "missing")
    world.add_model(good, "other", detector="KS")
    world.send(good, records(30))
    running = worker(world, token)
    drain(running)
    assert world.report(good)["phase"] == "None"
    for name, version, said in (
        ("old", old, "was packaged without reference.safetensors: package it again"),
        ("altered", altered, "is not the file that the manifest lists"),
        ("few", few, "has 40 pieces and a threshold needs at least 100"),
        ("missing", "sha256:" + "0" * 64, "is not there: was the version pushed?"),
        ("other", good, "set drift.detector to MMDOnline, or drift.backend to alibi-detect"),
    ):
        report = world.report(version, name)
        assert said in report["message"]
        assert (report["phase"], report["harmful"], report["score"]) == ("Collecting", "Unknown", None)
    saved = len(world.puts)
    drain(running)
    assert len(world.puts) == saved, "the same refusal is reported once"


def test_memory_is_looked_at_before_and_a_refusal_keeps_what_was_stored(world: World, token: Path) -> None:
    version = world.add_version(REFERENCE)
    settings = world.add_model(version)
    world.send(version, records(60))
    drain(worker(world, token))
    before = world.state(version)
    settings["drift"]["expected_run_images"] = 5_000
    running = worker(world, token, free_memory=lambda: 9 * MIB)
    drain(running)
    assert "MiB and 9 MiB are free: raise the memory limit" in world.report(version)["message"]
    assert world.state(version) == before
    settings["drift"]["expected_run_images"] = 200
    drain(running)
    assert world.report(version)["images"] == 60, "with the old settings the old watch is taken up again"


def test_without_alibi_detect_the_report_says_how_to_get_it(world: World, token: Path) -> None:
    def missing() -> Builtin:
        raise Refused("alibi-detect is not installed in this worker")

    version = world.add_version(REFERENCE)
    world.add_model(version, backend="alibi-detect")
    drain(worker(world, token, backends={"builtin": Builtin, "alibi-detect": missing}))
    assert world.report(version)["message"] == "Drift is not watched: alibi-detect is not installed in this worker."


def test_labels_are_waited_for_where_a_detector_looks_at_them(world: World, token: Path) -> None:
    version = world.add_version(reference(150))
    world.add_model(version, backend="alibi-detect", detector="FETOnline", expected_run_images=60)
    young = (NOW + timedelta(hours=2)).isoformat()
    world.send(version, records(30, labelled=1.0))
    world.send(version, [replace(record, at=young) for record in records(30, first=31)])
    running = worker(world, token, label_wait=timedelta(hours=1), now=lambda: NOW + timedelta(hours=1.5))
    drain(running)
    assert world.drift[f"/v1/drift/lyon/line-1/{version}"]["cursor"] == 30
    for raw in world.streams["lyon", "line-1", version][30:]:
        raw["truth"] = "late"
    running.now = lambda: NOW + timedelta(hours=4)
    drain(running)
    assert world.drift[f"/v1/drift/lyon/line-1/{version}"]["cursor"] == 60
    assert world.report(version)["phase"] in {"Suspected", "Confirmed"}


def test_models_without_drift_are_left_alone(world: World, token: Path) -> None:
    version = world.add_version(REFERENCE)
    world.add_model(version)["drift"] = None
    world.models.append({"namespace": "", "name": "nonsense"})
    world.models.append({"namespace": "lyon", "name": "bad", "settings": {"drift": {"backend": "own"}}})
    drain(worker(world, token))
    assert world.drift == {}


def test_an_absent_monitor_is_unavailable_and_a_wrong_token_says_so(world: World, token: Path) -> None:
    world.down = {"GET /v1/models"}
    with pytest.raises(Unavailable, match="answers 503 to GET /v1/models: away for a moment"):
        worker(world, token).cycle()
    world.down = set()
    token.write_text("another")
    with pytest.raises(Unavailable, match=r"refuses the token in .*: it needs the role drift"):
        worker(world, token).cycle()
    token.unlink()
    with pytest.raises(Unavailable, match="PUZZLE_DRIFT_TOKEN_FILE"):
        worker(world, token).cycle()
    with pytest.raises(Unavailable, match="does not answer"):
        HttpMonitor("http://127.0.0.1:9", world_token(token)).models()


def world_token(path: Path) -> Path:
    path.write_text(TOKEN)
    return path


def test_an_absent_registry_stops_one_version_only_for_now(world: World, token: Path) -> None:
    version = world.add_version(REFERENCE)
    world.add_model(version)
    world.send(version, records(30))
    world.down = {"GET /puzzlenet"}
    running = worker(world, token)
    running.cycle()
    assert world.drift == {}
    world.down = set()
    drain(running)
    assert world.report(version)["images"] == 30


def test_labels_are_counted_page_by_page_without_end(world: World, token: Path) -> None:
    """Twenty pages behind the alarm; each cycle reads some of them again, and late labels are found in all."""
    version = world.add_version(REFERENCE)
    world.add_model(version, confirm_windows=1)
    world.send(version, [*records(30), *records(1_000, seed=3, shift=3.0, first=31)])
    running = worker(world, token)
    drain(running)
    for raw in world.streams["lyon", "line-1", version][50::2]:
        raw["truth"] = raw["label"]
    for _ in range(14):
        drain(running)
    assert world.report(version)["harmful"] == "No"
    assert "accuracy of the 490 labelled images" in world.report(version)["message"]
