"""Input health in the database, on both engines: summed up as it is stored, judged once, kept over restarts."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import text

from puzzle_monitor.adapters.sql import migrate
from puzzle_monitor.adapters.sql.engine import Database
from puzzle_monitor.adapters.sql.store import SqlStore
from puzzle_monitor.core.feeds.digest import MINUTE
from puzzle_monitor.core.feeds.health import Verdict
from puzzle_monitor.core.models import MAX_HISTORY, DataQuality, ModelSettings, Retraction
from puzzle_monitor.core.records import Record
from puzzle_monitor.core.stored import DriftKey, DriftPoint, Feed, Labels, StoredDrift
from puzzle_monitor.core.times import micros
from puzzle_monitor.core.work import ImageMark, Work
from puzzle_monitor.ports import Unavailable
from puzzle_monitor.service.inputs import Inputs
from puzzle_monitor.service.telemetry import Telemetry
from tests.integration.monitor.live import a_record
from tests.integration.monitor.test_store import feedback, record, write

START = datetime(2026, 11, 23, 12, tzinfo=UTC)
IMAGE: dict[str, Any] = {"format": "jpeg", "width": 128, "height": 128, "bytes": 5120, "brightness": 0.5, "blur": 120.0}
KEY = DriftKey("lyon", "line-1", "v1")


class World:
    """A monitor's store and clock."""

    def __init__(self, store: SqlStore) -> None:
        self.store, self.now = store, START
        self.inputs = Inputs(store, lambda: self.now, Telemetry())

    def send(self, minutes: int, n: int = 50, line: str = "line-1", late: float = 0.2, **image: Any) -> None:
        """So many minutes of images, in two commits each."""
        for _ in range(minutes):
            for seconds in (10, 40):
                arrived = self.now + timedelta(seconds=seconds)
                at = (arrived - timedelta(seconds=late)).isoformat()
                body = [a_record(at=at, line=line, image=IMAGE | image) for _ in range(n // 2)]
                records = tuple(Record.model_validate(one, strict=False) for one in body)
                self.store.write(Work(records), micros(arrived), 0)
            self.now += timedelta(minutes=1)

    def feed(self, line: str = "line-1") -> Feed:
        return next(one for one in self.store.gauges(0).feeds if one.line == line)

    def verdict(self, line: str = "line-1") -> Verdict:
        self.inputs.catch_up()
        return self.inputs.verdict(self.feed(line))

    def settings(self, **quality: Any) -> None:
        wanted = ModelSettings(line="line-1", data_quality=DataQuality(**quality))
        self.store.put_settings("lyon", "line-1", wanted.model_dump_json(), 1, 10)


@pytest.fixture
def world(store: SqlStore) -> World:
    """An empty one."""
    return World(store)


def test_a_feed_goes_bad_and_a_restart_forgets_nothing(world: World, database: Database) -> None:
    assert list(world.store.gauges(0).feeds) == []
    world.send(2)
    assert world.verdict().healthy is None
    world.send(6)
    assert world.verdict().healthy is True
    begun = micros(world.now)
    world.send(5, brightness=0.02)
    found = world.verdict()
    assert found.healthy is False and [one.kind for one in found.problems] == ["Dark"]
    assert begun <= found.problems[0].since <= begun + 3 * MINUTE
    again = World(SqlStore(database))
    again.now = world.now
    assert again.verdict() == found, "nothing is judged twice, and what is kept is what is told"
    world.send(12)
    assert world.verdict().healthy is True
    assert world.feed().images == 25 * 50 and sum(world.feed().lateness) == 25 * 50


def test_two_lines_are_judged_each_by_itself(world: World) -> None:
    world.send(8)
    world.now = START
    world.send(8, line="line-2", brightness=0.1)
    assert world.verdict().healthy is True and world.verdict("line-2").healthy is True
    world.send(4, line="line-2", width=64)
    assert [one.kind for one in world.verdict("line-2").problems] == ["Size"]
    assert [one.kind for one in world.verdict().problems] in ([], ["Missing"])


def test_settings_of_the_model_are_the_limits(world: World) -> None:
    world.settings(max_lateness_s=10.0, brightness=(0.6, 0.9))
    world.send(4, late=60.0)
    assert [one.kind for one in world.verdict().problems] == ["Dark", "Late"]
    world.settings()
    world.send(12)
    assert world.verdict().problems == ()


def test_fewest_images_of_a_day(world: World) -> None:
    world.settings(min_images=2_000)
    world.send(3)
    assert world.verdict().problems == ()
    world.now += timedelta(hours=24)
    world.send(3)
    world.inputs.catch_up()
    world.send(1)
    problems = world.verdict().problems
    assert [one.kind for one in problems] == ["Volume"] and "there should be 2,000" in problems[0].message


def test_a_new_camera_is_learnt_anew(world: World) -> None:
    world.send(8)
    world.send(5, width=64)
    assert world.verdict().healthy is False
    assert world.store.forget_usual("lyon", "line-1", "line-1", micros(world.now))
    assert not world.store.forget_usual("lyon", "line-1", "line-7", micros(world.now))
    assert world.verdict().healthy is None
    world.send(8, width=64)
    assert world.verdict().healthy is True and "64x128" in world.verdict().message


def test_health_is_in_the_metrics(world: World) -> None:
    world.send(8)
    world.send(5, format="png")
    world.inputs.catch_up()
    found = Telemetry().expose(world.store, 0, world.inputs.verdict).decode()
    labels = 'line="line-1",model="line-1",model_namespace="lyon",revision="",version=""'
    assert f"puzzle_monitor_input_healthy{{{labels}}} 0.0" in found
    assert f'puzzle_monitor_input_problem{{kind="Format",{labels}}} 1.0' in found
    assert f'puzzle_monitor_input_problem{{kind="Dark",{labels}}} 0.0' in found
    assert f"puzzle_monitor_input_images_total{{{labels}}} 650.0" in found
    assert f'puzzle_monitor_input_lateness_seconds_bucket{{le="0.5",{labels}}} 650.0' in found


def test_judging_that_is_not_possible_now_is_put_off(world: World) -> None:
    """Neither an outage nor a bug takes the metrics away."""

    class Away:
        def __init__(self, error: Exception) -> None:
            self._error = error

        def judge(self, now: int) -> None:
            raise self._error

    telemetry = Telemetry()
    for error in (Unavailable("the database does not answer"), RuntimeError("a bug")):
        Inputs(Away(error), lambda: START, telemetry).catch_up()  # type: ignore[arg-type]
    found = telemetry.expose(world.store, 0, world.inputs.verdict).decode()
    assert 'puzzle_monitor_failures_total{where="health"} 1.0' in found


def test_minutes_states_and_silent_feeds_are_pruned(world: World) -> None:
    world.send(6)
    state = StoredDrift("{}", 1, b"s", "c")
    world.store.put_drift(KEY, state, DriftPoint(micros(START), 5, 0.1, 0.2, "None"))
    now = micros(world.now)
    world.inputs.catch_up()
    gone = world.store.delete_states(micros(START), now - 3 * MINUTE, 2)
    assert (gone.minutes, gone.drift, gone.feeds) == (2, 0, 0)
    assert world.store.delete_states(micros(START), now - 3 * MINUTE, 2).minutes == 1
    gone = world.store.delete_states(now + 1, now + 1, 500)
    assert (gone.drift, gone.feeds) == (2, 1) and gone.minutes >= 3
    assert world.store.drift(KEY) is None and world.store.drift_history(KEY, 0, 5) == []
    assert list(world.store.gauges(0).feeds) == []
    assert world.store.delete_states(now + 1, now + 1, 500).minutes == 0


def test_history_of_drift_is_bounded(store: SqlStore) -> None:
    for n in range(5):
        for name in ("v1", "v2"):
            key = DriftKey("lyon", "line-1", name)
            assert store.put_drift(key, StoredDrift("{}", n, b"", ""), DriftPoint(n, n, None, None, "None"))
    assert [one.images for one in store.drift_history(KEY, 2, MAX_HISTORY)] == [2, 3, 4]
    assert [one.images for one in store.drift_history(KEY, 0, 2)] == [3, 4]


def test_accuracy_over_time_follows_corrections_and_retractions(store: SqlStore) -> None:
    one = record("ok", at=START.isoformat())
    other = record("ok", at=(START + timedelta(minutes=9)).isoformat())
    write(store, records=(one, other), feedback=(feedback(one.id, "ok"), feedback(other.id, "ok")))

    def points() -> list[tuple[int, int, int]]:
        found = store.scores("lyon", "line-1", None, micros(START), 5)
        assert [point.start for point in found] == sorted(point.start for point in found)
        return [(point.predictions, point.labelled, point.wrong) for point in found]

    assert points() == [(1, 1, 0), (1, 1, 0)]
    write(store, feedback=(feedback(one.id, "stain", 3),))
    assert points() == [(1, 1, 1), (1, 1, 0)]
    assert list(store.scores("lyon", "line-1", "line-9", micros(START), 5)) == []


def test_what_was_there_before_is_counted_by_the_migration(database: Database, store: SqlStore) -> None:
    records = tuple(record("ok", at=(START + timedelta(minutes=n)).isoformat()) for n in range(4))
    write(store, records=records, feedback=(feedback(records[0].id, "ok"), feedback(records[1].id, "stain")))
    write(store, images=(ImageMark(records[0].id, "aa", 7), ImageMark(records[2].id, "bb", 7)))
    before = store.scores("lyon", "line-1", None, 0, 1)
    migrate.downgrade(database, "0001")
    assert migrate.upgrade(database) == ("0001", migrate.head())
    assert store.scores("lyon", "line-1", None, 0, 1) == before
    assert len(before) == 4 and sum(point.wrong for point in before) == 1
    store.put_settings("lyon", "line-1", ModelSettings(line="line-1").model_dump_json(), 1, 10)
    model = store.model("lyon", "line-1", 0)
    assert model is not None and model.labels == Labels(2, 1, 0)
    assert [(feed.line, feed.images, sum(feed.lateness)) for feed in model.feeds] == [("line-1", 4, 0)]
    write(store, records=(record(),))
    assert sum(store.gauges(0).feeds[0].lateness) == 1


def test_the_stream_and_the_queue_go_along_an_index(database: Database) -> None:
    """Not over the rows of everybody."""
    queries = {
        "ix_predictions_stream": "SELECT id FROM predictions WHERE series_id = 1 AND seq > 5 ORDER BY seq LIMIT 9",
        "ix_predictions_pictures": "SELECT id FROM predictions WHERE series_id = 1 AND image_digest IS NOT NULL "
        "AND truth IS NULL ORDER BY confidence, seq LIMIT 9",
        "ix_predictions_pictures_at": "SELECT id FROM predictions WHERE series_id = 1 AND image_digest IS NOT NULL "
        "ORDER BY at DESC, seq DESC LIMIT 9",
    }
    explain = "EXPLAIN QUERY PLAN" if database.is_sqlite else "EXPLAIN"
    with database.reading() as connection:
        if not database.is_sqlite:  # it would read a table of no rows whole, and sort them
            for way in ("seqscan", "bitmapscan", "sort"):
                connection.execute(text(f"SET LOCAL enable_{way} = off"))
        for index, query in queries.items():
            plan = " ".join(str(row) for row in connection.execute(text(f"{explain} {query}")))
            assert index in plan and "TEMP B-TREE" not in plan and "Sort" not in plan, plan


def test_a_label_taken_back_before_its_prediction_came(store: SqlStore) -> None:
    one = record("ok")
    label = feedback(one.id, "stain")
    write(store, feedback=(label,))
    wanted = Retraction(prediction_id=one.id, who=label.who, at=label.at)
    assert store.retract(wanted, 1)[1] is None
    write(store, records=(one,))
    found = store.prediction(one.id)
    assert found is not None and found[0].truth is None and found[1][0].retracted == 1
