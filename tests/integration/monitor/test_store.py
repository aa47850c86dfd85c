"""What the database holds after any order of events, on both engines."""

from __future__ import annotations

import random
import threading
from datetime import UTC, datetime, timedelta
from itertools import permutations
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import text

from puzzle_common.settings import ConfigurationError
from puzzle_monitor.adapters.sql import migrate
from puzzle_monitor.adapters.sql.engine import Database
from puzzle_monitor.adapters.sql.store import SqlStore
from puzzle_monitor.adapters.sql.tables import metadata
from puzzle_monitor.core.accuracy import Cell
from puzzle_monitor.core.records import Feedback, Record
from puzzle_monitor.core.stored import Filter, Order, Pruned, Totals
from puzzle_monitor.core.times import micros
from puzzle_monitor.core.work import ImageMark, Outcome, Outcomes, Work
from puzzle_monitor.ports import Unavailable
from tests.integration.monitor.live import a_label, a_record
from tests.integration.monitor.postgres import Postgres

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)


def record(label: str = "ok", **changes: Any) -> Record:
    return Record.model_validate(a_record(label, **({"at": NOW.isoformat()} | changes)), strict=False)


def feedback(prediction_id: str, label: str, minute: int = 0, **changes: Any) -> Feedback:
    at = (NOW + timedelta(minutes=minute)).isoformat()
    return Feedback.model_validate(a_label(prediction_id, label, **({"at": at} | changes)), strict=False)


def write(store: SqlStore, *, oldest: int = 0, **parts: Any) -> Outcomes:
    return store.write(Work(**parts), micros(NOW), oldest)


def counted(cells: tuple[Cell, ...]) -> list[Cell]:
    return [cell for cell in cells if cell.count]


def only(store: SqlStore) -> Totals:
    (one,) = store.totals()
    return one


def test_the_migrations_make_exactly_the_tables_of_the_code(database: Database) -> None:
    with database.reading() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []
    assert migrate.current(database) == migrate.head()
    migrate.downgrade(database, "base")
    assert migrate.upgrade(database) == (None, migrate.head()) and migrate.upgrade(database)[0] == migrate.head()


def test_a_database_of_a_newer_version_is_left_alone(database: Database) -> None:
    with database.writing() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(ConfigurationError, match="revision 9999, which this version does not know"):
        migrate.upgrade(database)
    assert migrate.current(database) == "9999"


def test_what_is_committed_is_flushed(database: Database) -> None:
    """A kill does not show the difference, a power cut would."""
    with database.writing() as connection:
        if database.is_sqlite:
            settings = [connection.execute(text(f"PRAGMA {name}")).scalar() for name in ("journal_mode", "synchronous")]
            assert settings == ["wal", 2]
        else:
            assert connection.execute(text("SHOW synchronous_commit")).scalar() == "on"


def test_a_user_without_rights_is_told_which(postgres: Postgres) -> None:
    url = postgres.new_database()
    postgres.run("CREATE ROLE stranger LOGIN")
    database = Database(url.replace("puzzle@", "stranger@"))
    with pytest.raises(ConfigurationError, match="permission denied for schema public; give its user this right"):
        migrate.upgrade(database)
    database.close()


def test_a_file_that_is_no_database_is_left_alone(tmp_path: Path) -> None:
    file = tmp_path / "monitor.db"
    file.write_text("This is somebody's diary, and by no means a database. " * 20)
    database = Database(f"sqlite:///{file}")
    with pytest.raises(Unavailable, match="cannot be used: file is not a database"):
        migrate.upgrade(database)
    database.close()
    assert file.read_text().startswith("This is somebody's diary")


def test_a_prediction_comes_back_as_it_was_sent(store: SqlStore) -> None:
    sent = record("stain", embedding=[0.5, -1.25, 3.0], at="2026-11-23T13:00:00.123456+01:00")
    assert write(store, records=(sent,)).records == (Outcome.STORED,)
    found = store.prediction(sent.id)
    assert found is not None
    stored, labels = found
    assert (stored.id, stored.at, stored.label, stored.confidence) == (sent.id, micros(sent.at), "stain", 0.91)
    assert stored.probabilities == sent.probabilities and stored.image == sent.image.model_dump(exclude_none=True)
    assert stored.embedding is not None and len(stored.embedding) == 12
    assert stored.truth is None and list(labels) == [] and store.prediction("unknown") is None


def test_the_same_id_twice_is_one_record_and_another_one_under_it_is_told(store: SqlStore) -> None:
    first = record()
    again, other = first, record("stain", id=first.id)
    assert write(store, records=(first, again)).records == (Outcome.STORED, Outcome.DUPLICATE)
    assert write(store, records=(again, other)).records == (Outcome.DUPLICATE, Outcome.CONFLICT)
    assert only(store).predicted == {"ok": 1}
    stored = store.prediction(first.id)
    assert stored is not None and stored[0].label == "ok"


def test_what_is_older_than_the_retention_is_not_kept_and_never_counted_again(store: SqlStore) -> None:
    old, new = record(at=(NOW - timedelta(days=2)).isoformat()), record()
    oldest = micros(NOW - timedelta(days=1))
    outcomes = write(store, records=(old, new), feedback=(feedback(old.id, "ok", -3 * 24 * 60),), oldest=oldest)
    assert outcomes.records == (Outcome.EXPIRED, Outcome.STORED) and outcomes.feedback == (Outcome.EXPIRED,)
    assert only(store).predicted == {"ok": 1}


def test_every_order_of_a_record_and_its_labels_ends_in_the_same_truth(store: SqlStore) -> None:
    """Three labels by age: scratch (oldest), ok, stain (newest). First is what arrived first, latest the newest."""
    for number, order in enumerate(permutations(("record", "scratch", "ok", "stain"))):
        one = record("scratch", id=f"p-{number}", revision=f"r-{number:02}")
        for event in order:
            if event == "record":
                write(store, records=(one,))
            else:
                minute = ("scratch", "ok", "stain").index(event)
                write(store, feedback=(feedback(one.id, event, minute, who=f"person-{minute}"),))
        labels = [event for event in order if event != "record"]
        found = store.prediction(one.id)
        assert found is not None and found[0].truth == "stain" and found[0].truth_by == "person-2"
        assert [item.label for item in found[1]] == labels
        (total,) = [item for item in store.totals() if item.series.revision == one.revision]
        assert counted(total.first) == [Cell("scratch", labels[0], 1)]
        assert counted(total.latest) == [Cell("scratch", "stain", 1)]


def test_one_transaction_comes_to_the_same_as_many(store: SqlStore) -> None:
    """Whatever is grouped with whatever: the counts are those of the rows."""
    chance = random.Random(7)
    records = [record(chance.choice(("ok", "stain")), id=f"p-{n}") for n in range(60)]
    labels = [
        feedback(f"p-{chance.randrange(60)}", chance.choice(("ok", "stain")), chance.randrange(5)) for _ in range(120)
    ]
    events: list[Record | Feedback] = [*records, *records[:20], *labels, *labels[:30]]
    chance.shuffle(events)
    while events:
        size = chance.randint(1, 25)
        group, events = events[:size], events[size:]
        work = Work(
            tuple(item for item in group if isinstance(item, Record)),
            tuple(item for item in group if isinstance(item, Feedback)),
        )
        store.write(work, micros(NOW), 0)
    total = only(store)
    assert sum(total.buckets) == 60 and sum(total.predicted.values()) == 60
    found = {one.id: store.prediction(one.id) for one in records}
    truths = [stored[0] for stored in found.values() if stored and stored[0].truth]
    assert sum(cell.count for cell in total.latest) == len(truths) == sum(cell.count for cell in total.first)
    for cell in total.latest:
        assert cell.count == sum((one.label, one.truth) == (cell.label, cell.truth) for one in truths)
    for stored in found.values():
        assert stored is not None
        newest = max(stored[1], key=lambda mark: (mark.at, mark.seq), default=None)
        assert stored[0].truth == (newest.label if newest else None)


def test_a_correction_moves_the_matrix_but_no_counter(store: SqlStore) -> None:
    one = record("ok")
    write(store, records=(one,))
    write(store, feedback=(feedback(one.id, "stain", 1),))
    assert only(store).first == (Cell("ok", "stain", 1),)
    write(store, feedback=(feedback(one.id, "ok", 2),))
    total = only(store)
    assert counted(total.first) == [Cell("ok", "stain", 1)]
    assert counted(total.latest) == [Cell("ok", "ok", 1)]
    (window,) = store.windows(Filter(model="line-1"))
    assert window.predictions == 1 and window.cells == (Cell("ok", "ok", 1),)


def test_the_same_feedback_twice_is_one_and_strange_labels_are_named(store: SqlStore) -> None:
    one = record()
    label = feedback(one.id, "schratch")
    assert write(store, feedback=(label,)).feedback == (Outcome.WAITING,)
    outcomes = write(store, records=(one,), feedback=(label, feedback(one.id, "kratzer", 1)))
    assert outcomes.feedback == (Outcome.DUPLICATE, Outcome.STORED) and outcomes.strange == {
        (one.id, "schratch"),
        (one.id, "kratzer"),
    }
    found = store.prediction(one.id)
    assert found is not None and [item.label for item in found[1]] == ["schratch", "kratzer"]


def test_pages_hold_every_prediction_once_also_when_many_share_a_time(store: SqlStore) -> None:
    records = tuple(
        record(at=(NOW - timedelta(seconds=n // 7)).isoformat(), revision=f"r-{n % 3}", confidence=0.5 + n / 200)
        for n in range(50)
    )
    write(store, records=records)
    for order in (Order.NEWEST, Order.OLDEST):
        seen: list[str] = []
        after = None
        while rows := store.page(Filter(model="line-1"), after, 8, order):
            seen += [row.id for row in rows]
            after = rows[-1].at, rows[-1].seq
        assert len(seen) == 50 and set(seen) == {one.id for one in records}
    at = [row.at for row in store.page(Filter(), None, 50, Order.NEWEST)]
    assert at == sorted(at, reverse=True)
    unsure = store.page(Filter(max_confidence=0.55, revision="r-0"), None, 50, Order.NEWEST)
    assert {row.id for row in unsure} == {one.id for one in records if one.confidence <= 0.55 and one.revision == "r-0"}
    assert store.page(Filter(model="other"), None, 5, Order.NEWEST) == []


def test_filters_by_time_and_label(store: SqlStore) -> None:
    old, new = record(at=(NOW - timedelta(hours=2)).isoformat()), record()
    write(store, records=(old, new), feedback=(feedback(old.id, "ok"),))
    border = micros(NOW)

    def ids(wanted: Filter) -> list[str]:
        return [row.id for row in store.page(wanted, None, 10, Order.OLDEST)]

    assert ids(Filter(since=border)) == [new.id] and ids(Filter(until=border)) == [old.id]
    assert ids(Filter(labelled=True)) == [old.id] and ids(Filter(labelled=False)) == [new.id]
    assert ids(Filter(namespace="paris")) == []


def test_pruning_takes_rows_and_leaves_counts_until_a_series_is_gone(store: SqlStore) -> None:
    gone = tuple(record(at=(NOW - timedelta(days=9)).isoformat(), revision=name) for name in ("r-0", "r-1"))
    kept = record(revision="r-1")
    write(store, records=(*gone, kept), feedback=tuple(feedback(one.id, "ok") for one in (*gone, kept)))
    write(store, feedback=(feedback("never-came", "ok"),), images=(ImageMark(gone[0].id, "aa"),))
    cutoff = micros(NOW - timedelta(days=1))
    assert store.count_old(cutoff, 0) == Pruned(predictions=2, feedback=2, images=1, series=1, minutes=2)
    rows = store.old(cutoff, 10)
    assert sorted(one for _, one, _ in rows) == sorted(one.id for one in gone)
    assert store.delete([seq for seq, _, _ in rows]) == Pruned(predictions=2, feedback=2, images=1)
    assert store.delete_leftovers(cutoff, 10) == Pruned(series=1)
    assert store.prediction(gone[0].id) is None and store.prediction(kept.id) is not None
    assert only(store).predicted == {"ok": 2}
    assert store.delete_leftovers(micros(NOW) + 1, 10).feedback == 1


def test_writers_take_turns_and_none_counts_twice(store: SqlStore) -> None:
    """Several monitors on one database: the same records from all sides, labels at the same moment."""
    records = tuple(record(id=f"p-{n}") for n in range(40))
    failures: list[BaseException] = []

    def work(start: int) -> None:
        try:
            for n in range(20):
                one = records[(start + n) % 40]
                write(store, records=(one,))
                write(store, feedback=(feedback(one.id, "stain", start),))
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(start,)) for start in (0, 10, 20, 30)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    total = only(store)
    assert sum(total.buckets) == 40
    assert total.first == (Cell("ok", "stain", 40),) and total.latest == (Cell("ok", "stain", 40),)


def test_a_picture_is_marked_once(store: SqlStore) -> None:
    one = record()
    write(store, records=(one,))
    images = (ImageMark(one.id, "aa"), ImageMark(one.id, "aa"), ImageMark(one.id, "bb"), ImageMark("unknown", "aa"))
    assert write(store, images=images).images == (
        Outcome.STORED,
        Outcome.DUPLICATE,
        Outcome.CONFLICT,
        Outcome.MISSING,
    )
