"""Batch scoring answers as the server does, loses nothing when it is cut off, and counts every picture once."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from puzzlenet.counters import Counters
from puzzlenet.errors import BadDataError, PuzzleNetError
from puzzlenet.handler import Handler
from puzzlenet.manifest import verify
from puzzlenet.predictor import Predictor
from puzzlenet.scoring.places import Access, FolderPlace, place_at
from puzzlenet.scoring.plan import Item, Shard, parts, shard_of
from puzzlenet.scoring.run import Job, score
from puzzlenet.scoring.tally import summarise
from puzzlenet.traffic import Traffic
from tests.unit.model.conftest import Command, Picture


@pytest.fixture
def folder(tmp_path: Path, pieces: Path, picture: Picture) -> Path:
    """Pictures in folders of folders, PNG and JPEG, three of them broken, and files that are no pictures."""
    root = tmp_path / "pictures"
    for index, path in enumerate(sorted(pieces.glob("*/*.png"))[::4]):
        target = root / f"day-{index % 3}" / "camera" / f"{index}.png"
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(path.read_bytes())
    for index, mode in enumerate(("RGB", "L", "CMYK")):
        (root / f"{index}.JPG").write_bytes(picture(mode, (50, 40), "JPEG", quality=90))
    (root / "cut.png").write_bytes(next((root / "day-0").rglob("*.png")).read_bytes()[:300])
    (root / "text.jpg").write_bytes(b"not a picture")
    (root / "empty.png").write_bytes(b"")
    (root / "notes.txt").write_text("no picture")
    (root / ".hidden.png").write_text("no picture")
    (root / "link.png").symlink_to("nowhere.png")
    return root


@pytest.fixture(scope="module")
def predictor(version: Path) -> Predictor:
    """The packaged network."""
    return Predictor.load(version)


def _job(source: Path, target: Path, **more: Any) -> Job:
    job = Job(source=FolderPlace(source), target=FolderPlace(target), shard=Shard(), version="sha256:v", per_part=7)
    return replace(job, batch=4, **more)


def _rows(target: Path) -> dict[str, dict[str, Any]]:
    rows = [row for path in sorted(target.glob("*.parquet")) for row in pq.read_table(path).to_pylist()]
    assert len({row["path"] for row in rows}) == len(rows), "a picture is there once"
    return {row["path"]: row for row in rows}


def test_answers_are_those_of_the_server(predictor: Predictor, version: Path, folder: Path, tmp_path: Path) -> None:
    digest = verify(version).digest
    tally = score(predictor, _job(folder, tmp_path / "out", version=digest))
    rows = _rows(tmp_path / "out")
    assert len(rows) == tally.images == 37 and tally.bad == 4
    traffic = Traffic()
    server = Handler(Predictor.load(version), digest, Counters(lambda *_: None, [], traffic), traffic)
    for path, row in rows.items():
        if row["error"] is None:
            reply, _ = server.one((folder / path).read_bytes(), "id")
            assert (row["label"], row["version"]) == (reply["label"], reply["version"]), path
            assert row["confidence"] == pytest.approx(reply["confidence"], abs=2e-6)
            assert list(row["probabilities"]) == list(reply["probabilities"])
            assert row["probabilities"] == pytest.approx(reply["probabilities"], abs=2e-6)
    errors = {path: row["error"] for path, row in rows.items() if row["error"] is not None}
    assert set(errors) == {"cut.png", "text.jpg", "empty.png", "link.png"}
    assert "damaged" in errors["cut.png"] and "neither PNG nor JPEG" in errors["text.jpg"]
    assert "No such file" in errors["link.png"]
    assert all(rows[path]["label"] is rows[path]["probabilities"] is None for path in errors)


def test_a_refused_format_is_refused_here_too(run: Path, folder: Path, tmp_path: Path) -> None:
    from puzzlenet.package import package

    package(run, tmp_path / "png-only", accept=("png",))
    score(Predictor.load(tmp_path / "png-only"), _job(folder, tmp_path / "out"))
    assert "accepts PNG only" in _rows(tmp_path / "out")["0.JPG"]["error"]


def test_a_run_cut_off_anywhere_goes_on_without_answering_twice(
    predictor: Predictor, folder: Path, tmp_path: Path
) -> None:
    class FullError(Exception):
        """The disk is full."""

    class Full(FolderPlace):
        def write(self, name: str, data: bytes) -> None:
            if len(self.names("part-")) == 2:
                raise FullError
            super().write(name, data)

    out = tmp_path / "out"
    with pytest.raises(FullError):
        score(predictor, replace(_job(folder, out), target=Full(out)))
    assert summarise(FolderPlace(out)).missing == (0,)
    before = {path.name: path.stat().st_mtime_ns for path in out.glob("*.parquet")}
    assert len(before) == 2
    answered = list[int]()
    tally = score(predictor, _job(folder, out), on_progress=lambda now: answered.append(now.images - now.skipped))
    assert tally.images == 37 and answered[-1] == 37 - 14, "two parts of seven were not answered again"
    assert before.items() <= {path.name: path.stat().st_mtime_ns for path in out.glob("*.parquet")}.items()
    whole = tmp_path / "whole"
    score(predictor, _job(folder, whole))
    assert _rows(out) == _rows(whole)
    assert not list(out.glob(".*")), "nothing half-written is left"


def test_pictures_that_came_or_changed_are_answered_and_old_parts_go(
    predictor: Predictor, folder: Path, tmp_path: Path, picture: Picture
) -> None:
    out = tmp_path / "out"
    score(predictor, _job(folder, out))
    (folder / "cut.png").write_bytes(picture())
    (folder / "a-new-one.png").write_bytes(picture())
    (folder / "empty.png").unlink()
    tally = score(predictor, _job(folder, out))
    rows = _rows(out)
    assert len(rows) == tally.images == 37 and "a-new-one.png" in rows and "empty.png" not in rows
    assert rows["cut.png"]["error"] is None


def test_shards_share_the_work_and_the_summary_counts_all_of_it(
    predictor: Predictor, folder: Path, tmp_path: Path
) -> None:
    out, whole = tmp_path / "out", tmp_path / "whole"
    for index in (2, 0):
        score(predictor, _job(folder, out, shard=Shard(index, 3)))
    assert summarise(FolderPlace(out)).missing == (1,)
    score(predictor, _job(folder, out, shard=Shard(1, 3)))
    expected = score(predictor, _job(folder, whole))
    total = summarise(FolderPlace(out))
    assert total.missing == () and total.tally.labels == expected.labels and total.tally.errors == expected.errors
    assert total.tally.confidence == pytest.approx(expected.confidence, abs=1e-3)
    assert _rows(out).keys() == _rows(whole).keys()
    assert pq.read_table(out).num_rows == 37, "the folder is a Parquet data set as it is"


@pytest.mark.parametrize("change", [{"version": "sha256:w"}, {"shard": Shard(0, 2)}, {"per_part": 8}])
def test_results_of_two_runs_are_not_mixed(
    predictor: Predictor, folder: Path, tmp_path: Path, change: dict[str, Any]
) -> None:
    score(predictor, _job(folder, tmp_path / "out"))
    before = sorted((tmp_path / "out").iterdir())
    with pytest.raises(PuzzleNetError, match=r"result of another run .*choose another place"):
        score(predictor, replace(_job(folder, tmp_path / "out"), **change))
    assert sorted((tmp_path / "out").iterdir()) == before


def test_a_folder_without_pictures_is_an_error(predictor: Predictor, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(BadDataError, match=r"no \.png or \.jpg files"):
        score(predictor, _job(tmp_path / "empty", tmp_path / "out"))
    with pytest.raises(BadDataError, match="missing is not a folder"):
        score(predictor, _job(tmp_path / "missing", tmp_path / "out"))
    assert not (tmp_path / "out").exists()


def test_names_that_are_no_text_and_decoders_that_crash_are_rows(
    predictor: Predictor, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    odd = "day-0/odd-\udcff.png"
    (folder / odd).write_bytes(next((folder / "day-0" / "camera").iterdir()).read_bytes())
    real, victim = predictor.decode, (folder / "0.JPG").read_bytes()

    def crash(data: bytes) -> Any:
        if data == victim:
            raise MemoryError
        return real(data)

    monkeypatch.setattr(predictor, "decode", crash)
    score(predictor, _job(folder, tmp_path / "out"))
    rows = _rows(tmp_path / "out")
    assert rows["0.JPG"]["error"] == "the image cannot be decoded: MemoryError"
    assert rows["day-0/odd-\ufffd.png"]["label"]


def test_listing_is_lazy_and_memory_is_that_of_one_part() -> None:
    def endless() -> Iterator[Item]:
        index = 0
        while True:
            yield Item(f"{index}.png", 1, "x")
            index += 1

    stream = parts(endless(), Shard(1, 3), 5, "v")
    first, second = next(stream), next(stream)
    assert len(first.items) == len(second.items) == 5 and first.name < second.name


@settings(max_examples=50, deadline=None)
@given(st.lists(st.text(min_size=1), unique=True), st.integers(1, 7), st.integers(1, 5))
def test_every_picture_is_in_one_part_of_one_shard(names: list[str], of: int, per_part: int) -> None:
    items = [Item(name, 1, "") for name in names]
    found = [part for index in range(of) for part in parts(items, Shard(index, of), per_part, "v")]
    assert sorted(item.path for part in found for item in part.items) == sorted(names)
    assert len({part.name for part in found}) == len(found)
    assert all(len(part.items) <= per_part for part in found)


@pytest.mark.parametrize(
    ("text", "environment", "expected"),
    [
        (None, {}, Shard(0, 1)),
        (None, {"JOB_COMPLETION_INDEX": "2", "JOB_COMPLETIONS": "5"}, Shard(2, 5)),
        ("0/4", {"JOB_COMPLETION_INDEX": "2", "JOB_COMPLETIONS": "5"}, Shard(0, 4)),
    ],
)
def test_the_shard_comes_from_the_option_or_the_job(
    text: str | None, environment: dict[str, str], expected: Shard
) -> None:
    assert shard_of(text, environment) == expected


@pytest.mark.parametrize(
    ("text", "environment", "sentence"),
    [
        ("4/4", {}, "--shard 4/4"),
        ("0/0", {}, "--shard 0/0"),
        ("a/b", {}, "--shard 'a/b'"),
        (None, {"JOB_COMPLETION_INDEX": "2"}, "set both"),
        (None, {"JOB_COMPLETIONS": "2"}, "set both"),
    ],
)
def test_a_shard_that_cannot_be_is_named(text: str | None, environment: dict[str, str], sentence: str) -> None:
    with pytest.raises(PuzzleNetError, match=sentence):
        shard_of(text, environment)


@pytest.mark.parametrize(
    ("where", "sentence"),
    [("http://x/y", "give a folder or s3"), ("s3:///x", "give s3://bucket"), ("s3://b/p", "--endpoint")],
)
def test_a_place_that_cannot_be_is_named(where: str, sentence: str) -> None:
    with pytest.raises(PuzzleNetError, match=sentence):
        place_at(where, Access("", True, {}))


def test_the_command_scores_sums_up_and_counts_what_is_bad(
    puzzlenet: Command,
    version: Path,
    folder: Path,
    tmp_path: Path,
) -> None:
    words = ("score", folder, "--out", tmp_path / "out", "--version-dir", version)
    unfinished = puzzlenet(*words, "--shard", "0/2", "--json")
    assert unfinished.returncode == 0 and json.loads(unfinished.stdout)["shard"] == "00000-of-00002"
    summed = puzzlenet("score", "--summary", tmp_path / "out")
    assert summed.returncode == 1 and "not finished: shards 1 of 2" in summed.stderr
    assert puzzlenet(*words, "--shard", "1/2").returncode == 0
    summed = puzzlenet("score", "--summary", tmp_path / "out", "--json")
    total = json.loads(summed.stdout)
    assert summed.returncode == 0 and total["images"] == 37 and total["unanswered"] == 4
    assert sum(total["labels"].values()) == 33 and total["version"] == verify(version).digest
    strict = puzzlenet("score", "--summary", tmp_path / "out", "--max-bad", "0.1")
    assert strict.returncode == 3 and "4 of 37 images have no answer" in strict.stderr


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ((), "name SOURCE and --out"),
        (("x", "--out", "y"), "name the version"),
        (("x", "--out", "y", "--version", "sha256:1"), "--endpoint"),
        (("x", "--out", "y", "--version-dir", "nowhere"), "is not a packaged version"),
        (("--summary", "nowhere"), "holds no result"),
    ],
)
def test_what_users_get_wrong_is_one_sentence(
    puzzlenet: Command,
    words: tuple[str, ...],
    sentence: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("PUZZLENET_VERSION", "PUZZLE_S3_ENDPOINT"):
        monkeypatch.delenv(name, raising=False)
    done = puzzlenet("score", *words)
    assert done.returncode == 2 and sentence in done.stderr and list(tmp_path.iterdir()) == []
