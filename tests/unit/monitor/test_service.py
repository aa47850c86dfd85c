"""Group commit, metrics, settings and the command."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from concurrent.futures import Future
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from prometheus_client.core import Metric
from typer.testing import CliRunner

from puzzle_common.settings import ConfigurationError
from puzzle_monitor.adapters.images import FolderImages, open_images
from puzzle_monitor.core.accuracy import Cell
from puzzle_monitor.core.answers import ingested, report
from puzzle_monitor.core.answers import taken as taken_answer
from puzzle_monitor.core.records import Feedback
from puzzle_monitor.core.stored import Series, Totals, Window
from puzzle_monitor.core.work import ImageMark, Outcome, Outcomes, Work, merge, split
from puzzle_monitor.main import cli, document
from puzzle_monitor.ports import Unavailable
from puzzle_monitor.service.group_commit import GroupCommit
from puzzle_monitor.service.telemetry import Telemetry, families
from puzzle_monitor.settings import Settings

AT = datetime(2026, 11, 23, tzinfo=UTC)


def label(number: int, text: str = "ok") -> Feedback:
    return Feedback(prediction_id=f"p-{number}", label=text, who="Ana", at=AT)


def taken(work: Work) -> Outcomes:
    """Every second one is a duplicate, by its number."""
    outcomes = tuple(Outcome.DUPLICATE if int(item.prediction_id[2:]) % 2 else Outcome.STORED for item in work.feedback)
    return Outcomes(
        feedback=outcomes,
        strange=frozenset((item.prediction_id, item.label) for item in work.feedback if item.label != "ok"),
    )


def run(write: Callable[[Work], Outcomes], works: list[Work]) -> list[Future[Outcomes]]:
    commits = GroupCommit(write, Telemetry())
    commits.start()
    futures = [commits.submit(work) for work in works]
    commits.stop()
    return futures


def test_merged_work_is_split_into_everybodys_own() -> None:
    works = [Work(feedback=(label(1), label(2))), Work(), Work(feedback=(label(4, "odd"),), images=())]
    parts = split(taken(merge(works)), works)
    assert parts == [taken(work) for work in works] and merge(works).size == 3


def test_those_who_wait_share_one_transaction() -> None:
    entered, go = threading.Event(), threading.Event()
    groups: list[int] = []

    def write(work: Work) -> Outcomes:
        groups.append(work.size)
        entered.set()
        assert go.wait(5)
        return taken(work)

    commits = GroupCommit(write, Telemetry())
    commits.start()
    first = commits.submit(Work(feedback=(label(0),)))
    assert entered.wait(5)
    others = [commits.submit(Work(feedback=(label(n),))) for n in range(1, 50)]
    go.set()
    commits.stop()
    assert groups == [1, 49]
    assert [future.result().feedback[0] for future in (first, *others)] == [
        Outcome.DUPLICATE if n % 2 else Outcome.STORED for n in range(50)
    ]


def test_one_that_cannot_be_written_fails_alone() -> None:
    def write(work: Work) -> Outcomes:
        if any(item.label == "poison" for item in work.feedback):
            raise RuntimeError("the database cannot take this")
        return taken(work)

    futures = run(write, [Work(feedback=(label(n, "poison" if n == 7 else "ok"),)) for n in range(20)])
    assert [n for n, future in enumerate(futures) if future.exception()] == [7]


def test_an_outage_fails_all_and_nothing_is_taken_afterwards() -> None:
    def write(work: Work) -> Outcomes:
        raise Unavailable("the database does not answer")

    futures = run(write, [Work(feedback=(label(n),)) for n in range(5)])
    assert all(isinstance(future.exception(), Unavailable) for future in futures)
    commits = GroupCommit(taken, Telemetry())
    with pytest.raises(Unavailable, match="going down"):
        commits.submit(Work())


def test_one_that_does_not_wait_any_more_does_not_end_the_writer() -> None:
    entered, go = threading.Event(), threading.Event()
    written: list[str] = []

    def write(work: Work) -> Outcomes:
        written.extend(item.prediction_id for item in work.feedback)
        entered.set()
        assert go.wait(5)
        return taken(work)

    commits = GroupCommit(write, Telemetry())
    commits.start()
    futures = [commits.submit(Work(feedback=(label(0),)))]
    assert entered.wait(5)
    futures += [commits.submit(Work(feedback=(label(n),))) for n in (1, 2)]
    assert futures[1].cancel() and not futures[0].cancel(), "what is being written is seen through"
    go.set()
    commits.stop()
    assert written == ["p-0", "p-2"] and futures[0].result() and futures[2].result()


def test_more_than_may_wait_is_turned_away() -> None:
    go = threading.Event()

    def write(work: Work) -> Outcomes:
        assert go.wait(5)
        return taken(work)

    commits = GroupCommit(write, Telemetry(), max_waiting=3)
    commits.start()
    taken_in, refused = [], 0
    for n in range(12):
        try:
            taken_in.append(commits.submit(Work(feedback=(label(n),))))
        except Unavailable as busy:
            refused += 1
            assert busy.retry_after == 1.0
    go.set()
    commits.stop()
    assert refused >= 8 and all(future.result() for future in taken_in)


def _by_name(totals: Totals) -> dict[str, Metric]:
    return {family.name: family for family in families([totals])}


def test_counts_as_metrics() -> None:
    series = Series("lyon", "line-1", "line-1", "r-1", "v-1")
    cells = (Cell("ok", "ok", 5), Cell("ok", "stain", 2), Cell("ok", "typo", 1), Cell("ok", "other-typo", 1))
    totals = Totals(series, frozenset({"ok", "stain"}), {"ok": 12}, (0, 1, 0, 0, 5, 6, 0, 0), 10.5, cells, cells)
    found = _by_name(totals)
    assert [sample.value for sample in found["puzzle_monitor_predictions"].samples] == [12]
    assert [sample.value for sample in found["puzzle_monitor_labelled"].samples] == [9]
    assert [sample.value for sample in found["puzzle_monitor_wrong"].samples] == [4]
    (sample,) = found["puzzle_monitor_wrong"].samples
    assert sample.labels == {
        "model_namespace": "lyon",
        "model": "line-1",
        "line": "line-1",
        "revision": "r-1",
        "version": "v-1",
    }
    truths = {sample.labels["truth"]: sample.value for sample in found["puzzle_monitor_class"].samples}
    assert truths == {"ok": 5, "stain": 2, "other": 2}, "free text must not become series"
    buckets = [s.value for s in found["puzzle_monitor_confidence"].samples if s.name.endswith("_bucket")]
    assert buckets == [0, 1, 1, 1, 6, 12, 12, 12]


def test_answers_count_what_became_of_each_part() -> None:
    outcomes = (Outcome.STORED, Outcome.DUPLICATE, Outcome.CONFLICT, Outcome.EXPIRED, Outcome.STORED)
    found = ingested(["a", "b", "c", "d", "e"], outcomes)
    assert (found.stored, found.duplicates, found.expired, found.conflicts) == (2, 1, 1, ("c",))
    labels = taken_answer((Outcome.STORED, Outcome.WAITING, Outcome.DUPLICATE), {("a", "typo"), ("b", "typo")})
    assert (labels.stored, labels.waiting, labels.duplicates, labels.unknown_labels) == (1, 1, 1, ("typo",))


def test_a_report_adds_revisions_up_and_leaves_out_empty_ones() -> None:
    old, new, idle = (Series("lyon", "line-1", "line-1", name, "v") for name in ("r-1", "r-2", "r-3"))
    windows = [
        Window(old, 10, (Cell("ok", "ok", 3), Cell("ok", "stain", 1))),
        Window(new, 5, (Cell("stain", "stain", 4),)),
        Window(idle, 0, ()),
    ]
    found = report(windows, AT, AT + timedelta(hours=1))
    assert (found.predictions, found.labelled, found.wrong, found.accuracy) == (15, 8, 1, 7 / 8)
    assert [(one.revision, one.accuracy) for one in found.revisions] == [("r-1", 0.75), ("r-2", 1.0)]
    assert report([], AT, AT).accuracy is None


def test_a_new_revision_begins_with_zeros_so_that_its_first_error_is_a_rise() -> None:
    totals = Totals(Series("a", "b", "c", "d", "e"), frozenset({"ok"}), {"ok": 1}, (1, *[0] * 7), 0.4, (), ())
    assert [sample.value for sample in _by_name(totals)["puzzle_monitor_wrong"].samples] == [0]


def test_pictures_in_a_folder(tmp_path: Path) -> None:
    store = FolderImages(tmp_path / "images")
    one, other = ImageMark("p-1", "ab" * 32), ImageMark("P-1", "ab" * 32)
    assert store.get(one) is None
    store.put(one, b"picture")
    store.put(one, b"picture")
    assert store.get(one) == b"picture" and store.get(other) is None
    assert [path.name for path in (tmp_path / "images").rglob("*") if path.is_file()] == [
        next(iter((tmp_path / "images").rglob("*.jpg"))).name
    ]
    store.delete([one, other])
    assert store.get(one) is None


@pytest.mark.parametrize(
    ("place", "endpoint", "words"),
    [
        ("s3://", "http://minio:9000", "write s3://bucket/prefix"),
        ("s3://bucket", "minio:9000", "PUZZLE_MONITOR_S3_ENDPOINT is 'minio:9000'"),
        ("s3://bucket", "http://minio:9000", "AWS_ACCESS_KEY_ID is not set"),
        ("/proc/none", "", "cannot be made"),
    ],
)
def test_a_wrong_place_for_pictures_is_explained(place: str, endpoint: str, words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        open_images(place, endpoint, {})


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("RETENTION", "90", "PUZZLE_MONITOR_RETENTION is '90': it must be a number and a unit"),
        ("PORT", "http", "PUZZLE_MONITOR_PORT is 'http': it must be a whole number"),
        ("PORT", "70000", "it must be at most 65535"),
        ("LOG_LEVEL", "loud", "debug, info, warning or error"),
        ("RATE", "0", "at least 1"),
        ("BURST", "10", "at least 10000"),
    ],
)
def test_a_wrong_setting_is_one_sentence(name: str, value: str, words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        Settings.from_environment({f"PUZZLE_MONITOR_{name}": value})


def test_settings_are_read() -> None:
    found = Settings.from_environment({"PUZZLE_MONITOR_RETENTION": "7d", "PUZZLE_MONITOR_PORT": " 1 ", "OTHER": "x"})
    assert found.retention == timedelta(days=7) and found.port == 1 and found.rate == 5_000


@pytest.mark.parametrize(
    ("command", "environment", "code", "words"),
    [
        (["serve"], {"DATABASE": "mysql://x/y"}, 2, "mysql is not supported"),
        (["serve"], {"DATABASE": "nonsense"}, 2, "the database is no address"),
        (["migrate"], {"DATABASE": "sqlite://"}, 2, "must be a file"),
        (["migrate"], {"DATABASE": "sqlite:////nowhere/at/all.db"}, 2, "the folder /nowhere/at of the SQLite"),
        (["migrate"], {"DATABASE": "postgresql://u:secret@127.0.0.1:1/x"}, 1, "the database does not answer"),
        (["prune", "--older-than", "soon"], {}, 2, "--older-than: 'soon' is not a duration"),
        (["prune", "--dry-run"], {}, 2, "run `puzzle-monitor migrate`"),
        (["serve"], {"TOKENS": "/nowhere"}, 2, "the tokens /nowhere cannot be read: No such file"),
        (["settings"], {"DATABASE": "postgresql://u:secret@h/x"}, 0, "u:***@h/x"),
    ],
)
def test_the_command_says_what_is_wrong_in_one_line(
    tmp_path: Path, command: list[str], environment: dict[str, str], code: int, words: str
) -> None:
    settings = {"DATABASE": f"sqlite:///{tmp_path}/m.db", "IMAGES": str(tmp_path / "i")} | environment
    result = CliRunner().invoke(cli, command, env={f"PUZZLE_MONITOR_{name}": value for name, value in settings.items()})
    assert result.exit_code == code and words in result.output, result.output
    assert "secret" not in result.output and "Traceback" not in result.output


def test_migrate_prune_and_export_on_a_new_database(tmp_path: Path) -> None:
    env = {"PUZZLE_MONITOR_DATABASE": f"sqlite:///{tmp_path}/m.db", "PUZZLE_MONITOR_IMAGES": str(tmp_path / "i")}
    runner = CliRunner(env=env)
    assert "was empty" in runner.invoke(cli, ["migrate"]).output
    assert "already" in runner.invoke(cli, ["migrate"]).output
    assert "would delete 0 predictions" in runner.invoke(cli, ["prune", "--dry-run"]).output
    assert "deleted 0 predictions" in runner.invoke(cli, ["prune", "--older-than", "1d"]).output
    exported = runner.invoke(cli, ["export", "--model", "line-1", "--last", "7d"])
    assert exported.exit_code == 0 and exported.output == ""


def test_the_document_is_complete() -> None:
    found = document()
    operations = [one for methods in found["paths"].values() for one in methods.values()]
    assert len(operations) == 25 and len({one["operationId"] for one in operations}) == 25
    for path, methods in found["paths"].items():
        for one in methods.values():
            assert ("401" in one["responses"]) == path.startswith("/v1/") == ("security" in one)
            assert "HTTPValidationError" not in json.dumps(one)
    references = set(json.dumps(found).split('"#/components/schemas/')[1:])
    assert {part.partition('"')[0] for part in references} <= found["components"]["schemas"].keys()
