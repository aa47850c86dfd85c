"""Batch scoring from a bucket into a bucket, with the version from the registry: a real object store."""

import io
import json
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from puzzlenet.cli import main
from puzzlenet.predictor import Predictor
from puzzlenet.registry import Registry
from puzzlenet.scoring.bucket import BucketPlace
from puzzlenet.scoring.places import Access
from puzzlenet.scoring.plan import Item
from tests.integration.conftest import S3


@pytest.fixture
def pictures(s3: S3, pieces: Path) -> dict[str, bytes]:
    """120 pieces in the bucket below ``raw/``, and one that is broken; a picture elsewhere is nobody's business."""
    found = {f"{path.parent.name}/{path.name}": path.read_bytes() for path in pieces.glob("*/*.png")}
    found["broken.jpg"] = b"\xff\xd8\xff nothing"
    for name, data in (*found.items(), ("../elsewhere.png", b"x"), ("readme.txt", b"x")):
        key = name.removeprefix("../") if name.startswith("..") else f"raw/{name}"
        s3.client.put_object(bucket_name=s3.location.bucket, object_name=key, data=io.BytesIO(data), length=len(data))
    return found


@dataclass(frozen=True)
class Done:
    """A finished command."""

    returncode: int
    stdout: str
    stderr: str


Command = Callable[..., Done]


@pytest.fixture
def score(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """Runs `puzzlenet score` in this process with some of the environment changed."""

    def call(*words: str, **environment: str) -> Done:
        with monkeypatch.context() as patch:
            patch.setattr(sys, "argv", ["puzzlenet", "score", *words])
            for name, value in environment.items():
                patch.setenv(name, value)
            capsys.readouterr()
            with pytest.raises(SystemExit) as ended:
                main()
        code = ended.value.code
        return Done(code if isinstance(code, int) else 0, *capsys.readouterr())

    return call


def test_shards_of_a_job_score_a_bucket_with_a_version_of_the_registry(
    score: Command, s3: S3, pictures: dict[str, bytes], version: Path
) -> None:
    store = ("--endpoint", s3.location.endpoint, "--bucket", s3.location.bucket, "--insecure", "--json")
    digest = Registry.connect(s3.location, os.environ).push(version).digest
    source, out = f"s3://{s3.location.bucket}/raw", f"s3://{s3.location.bucket}/scores/today"
    for index in ("0", "1"):
        job = {"JOB_COMPLETION_INDEX": index, "JOB_COMPLETIONS": "2"}
        done = score(source, "--out", out, "--version", digest, "--per-part", "25", *store, **job)
        assert done.returncode == 0, done.stderr
    total = json.loads(score("--summary", out, *store).stdout)
    assert total["images"] == 121 and total["unanswered"] == 1 and total["version"] == digest
    rows = []
    listed = list(s3.client.list_objects(bucket_name=s3.location.bucket, prefix="scores/today/", recursive=True))
    for one in listed:
        if str(one.object_name).endswith(".parquet"):
            data = s3.client.get_object(bucket_name=s3.location.bucket, object_name=str(one.object_name)).read()
            rows += pq.read_table(io.BytesIO(data)).to_pylist()
    assert {row["path"] for row in rows} == set(pictures) and len(rows) == 121
    predictor = Predictor.load(version)
    for row in rows[::10]:
        if row["error"] is None:
            (answer,) = predictor.predict([pictures[row["path"]]])
            assert row["label"] == answer.label and row["confidence"] == pytest.approx(answer.confidence, abs=2e-6)
    stamps = {one.object_name: one.last_modified for one in listed if str(one.object_name).endswith(".parquet")}
    again = score(source, "--out", out, "--version", digest, "--per-part", "25", "--shard", "0/2", *store)
    assert again.returncode == 0
    for one in s3.client.list_objects(bucket_name=s3.location.bucket, prefix="scores/today/part-", recursive=True):
        assert stamps[one.object_name] == one.last_modified, "finished parts are not written again"


def test_a_picture_that_went_away_is_a_row_and_a_large_one_is_not_read_whole(s3: S3) -> None:
    access = Access(s3.location.endpoint, False, os.environ)
    place = BucketPlace.connect(access, s3.location.bucket, "raw")
    with pytest.raises(Exception, match="gone since it was listed"):
        place.picture(Item("nobody.png", 1, ""))
    place.write("large.png", bytes(6 * 1024 * 1024))
    assert len(place.picture(Item("large.png", 1, ""))) == 4 * 1024 * 1024 + 1
    assert place.read("large.pn") is None and place.names("lar") == ["large.png"]


@pytest.mark.parametrize(
    ("change", "code", "sentence"),
    [
        ({"AWS_SECRET_ACCESS_KEY": "entirely-wrong"}, 2, "refuses the secret in AWS_SECRET_ACCESS_KEY"),
        ({"PUZZLE_S3_ENDPOINT": ""}, 2, "--endpoint"),
    ],
)
def test_what_waiting_will_not_mend_is_wrong_usage(
    score: Command, s3: S3, version: Path, change: dict[str, str], code: int, sentence: str
) -> None:
    words = [f"s3://{s3.location.bucket}/raw", "--out", "s3://bucket/out", "--version-dir", str(version)]
    if "PUZZLE_S3_ENDPOINT" not in change:
        words += ["--endpoint", s3.location.endpoint, "--insecure"]
    done = score(*words, **change)
    assert done.returncode == code and sentence in done.stderr and "entirely" not in done.stderr, done.stderr


def test_a_store_that_is_away_is_worth_another_try(
    score: Command, version: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("puzzlenet.scoring.bucket._PATIENCE", 3.0)
    words = ["s3://bucket/p", "--out", str(tmp_path), "--version-dir", str(version), "--endpoint", "127.0.0.1:1"]
    done = score(*words, AWS_ACCESS_KEY_ID="k", AWS_SECRET_ACCESS_KEY="s")
    assert done.returncode == 1 and "cannot be reached" in done.stderr
