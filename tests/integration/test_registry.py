"""The registry against a real object store: what is visible, what is refused, what a cut-off upload leaves."""

import io
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from puzzlenet.cli.main import app
from puzzlenet.errors import BadVersionError, PuzzleNetError, RegistryError
from puzzlenet.manifest import FILES, MANIFEST, verify
from puzzlenet.registry import Registry
from puzzlenet.signing import check, new_keys
from puzzlenet.store.decisions import Decision, Decisions
from tests.integration.conftest import S3
from tests.integration.monitor.live import TOKENS, Server

OLD, NEW = (f"sha256:{digit * 64}" for digit in "12")


@pytest.fixture
def registry(s3: S3) -> Registry:
    """A registry in a bucket of its own."""
    return Registry.connect(s3.location, os.environ)


def _put(s3: S3, digest: str, name: str, data: bytes) -> None:
    key = f"versions/{digest.replace(':', '-')}/{name}"
    s3.client.put_object(bucket_name=s3.location.bucket, object_name=key, data=io.BytesIO(data), length=len(data))


def test_a_version_comes_back_as_it_was_pushed(registry: Registry, version: Path, tmp_path: Path) -> None:
    pushed = registry.push(version)
    assert pushed.uploaded == len(FILES) + 1 and registry.versions() == [pushed.digest]
    pulled = registry.pull(pushed.digest, tmp_path / "pulled")
    assert pulled.digest == pushed.digest
    for name in (*FILES, MANIFEST):
        assert (tmp_path / "pulled" / name).read_bytes() == (version / name).read_bytes()


def test_pushing_again_uploads_nothing(registry: Registry, version: Path) -> None:
    first = registry.push(version)
    again = registry.push(version)
    assert (again.digest, again.uploaded, again.present) == (first.digest, 0, len(FILES) + 1)


def test_a_cut_off_upload_is_invisible_and_the_next_push_finishes_it(
    registry: Registry, s3: S3, version: Path, tmp_path: Path
) -> None:
    digest = verify(version).digest
    for name in FILES[:3]:
        _put(s3, digest, name, (version / name).read_bytes()[:100])
    assert registry.versions() == []
    with pytest.raises(RegistryError, match="is not in bucket"):
        registry.pull(digest, tmp_path / "pulled")
    registry.push(version)
    assert registry.versions() == [digest]
    assert registry.pull(digest, tmp_path / "pulled").digest == digest


@pytest.mark.parametrize("name", [*FILES, MANIFEST])
def test_an_altered_object_is_refused_and_nothing_is_left(
    registry: Registry, s3: S3, version: Path, tmp_path: Path, name: str
) -> None:
    digest = registry.push(version).digest
    data = bytearray((version / name).read_bytes())
    data[-1] ^= 1
    _put(s3, digest, name, bytes(data))
    with pytest.raises(BadVersionError, match=name.replace(".", r"\.")):
        registry.pull(digest, tmp_path / "pulled")
    assert list(tmp_path.iterdir()) == []


def test_a_foreign_manifest_in_its_place_stops_a_push(registry: Registry, s3: S3, version: Path) -> None:
    _put(s3, verify(version).digest, MANIFEST, b"{}")
    with pytest.raises(RegistryError, match="another manifest"):
        registry.push(version)


def test_a_version_in_the_registry_is_signed_anew_when_keys_are_rotated(
    registry: Registry, s3: S3, version: Path, tmp_path: Path
) -> None:
    digest = registry.push(version).digest
    for name in ("old", "new"):
        public = new_keys(tmp_path / name)
        words = ["registry", "sign", digest, "--sign-key", str(tmp_path / name), "--bucket", s3.location.bucket]
        words += ["--endpoint", s3.location.endpoint, *([] if s3.location.secure else ["--insecure"])]
        command = [sys.executable, "-c", "from puzzlenet.cli import main; main()", *words]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, env=dict(os.environ), check=False)
        assert done.returncode == 0, done.stderr
        assert check(registry.pull(digest, tmp_path / f"from-{name}"), [public])
    with pytest.raises(BadVersionError, match="fits no key"):
        check(registry.pull(digest, tmp_path / "again"), [tmp_path / "old.pub"])


def test_an_object_that_the_manifest_lists_and_is_gone_is_named(
    registry: Registry, s3: S3, version: Path, tmp_path: Path
) -> None:
    digest = registry.push(version).digest
    key = f"versions/{digest.replace(':', '-')}/model.safetensors"
    s3.client.remove_object(bucket_name=s3.location.bucket, object_name=key)
    with pytest.raises(RegistryError, match="a file of the version is missing"):
        registry.pull(digest, tmp_path / "pulled")
    assert list(tmp_path.iterdir()) == []


def test_card_and_provenance_are_read_without_the_weights(registry: Registry, version: Path) -> None:
    digest = registry.push(version).digest
    assert registry.document(digest, "card.json")["name"] == "PuzzleNet"
    assert registry.document(digest, "provenance.json")["dataset"]["profile"] == "line-1"


def test_a_bucket_that_does_not_exist_is_named(s3: S3, version: Path) -> None:
    registry = Registry.connect(replace(s3.location, bucket="no-such-bucket-here"), os.environ)
    for act in (registry.versions, lambda: registry.push(version)):
        with pytest.raises(RegistryError, match="bucket 'no-such-bucket-here' does not exist"):
            act()


@pytest.mark.parametrize("variable", ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"])
def test_wrong_credentials_are_named_and_not_repeated(s3: S3, variable: str) -> None:
    registry = Registry.connect(s3.location, {**os.environ, variable: "entirely-wrong"})
    with pytest.raises(RegistryError, match=variable) as refused:
        registry.versions()
    assert "entirely-wrong" not in str(refused.value) and os.environ["AWS_SECRET_ACCESS_KEY"] not in str(refused.value)


def test_a_version_that_is_not_there_is_named(registry: Registry, tmp_path: Path) -> None:
    with pytest.raises(RegistryError, match="is not in bucket"):
        registry.pull("sha256:" + "0" * 64, tmp_path / "pulled")


def test_a_store_that_is_away_is_named_within_seconds(s3: S3) -> None:
    registry = Registry.connect(replace(s3.location, endpoint="127.0.0.1:1"), os.environ)
    with pytest.raises(PuzzleNetError, match=r"127\.0\.0\.1:1 cannot be reached"):
        registry.versions()


def test_the_log_of_a_line_has_what_trainers_and_what_the_operator_decided(
    registry: Registry, s3: S3, tmp_path: Path
) -> None:
    Decisions(registry.bucket).append(
        Decision(at="2026-11-24T11:00:00Z", line="line-1", kind="Accepted", version=NEW, run="r-1", reason="better")
    )
    told = [
        {
            "id": f"d-{hour}",
            "uid": "u",
            "at": f"2026-11-24T{hour}:00:00Z",
            "line": line,
            "kind": kind,
            "version": version,
        }
        for hour, line, kind, version in (
            (10, "line-1", "Deployed", OLD),
            (12, "line-1", "Promoted", NEW),
            (13, "line-2", "Aborted", OLD),
        )
    ]
    monitor = Server(tmp_path, f"sqlite:///{tmp_path}/monitor.db").start()
    try:
        with monitor.client("operator") as operator:
            operator.post("/v1/models/lyon/m/decisions", json={"decisions": told}).raise_for_status()
        (tmp_path / "token").write_text(TOKENS["trainer"])
        where = s3.location
        words = ["registry", "log", "--line", "line-1", "--endpoint", where.endpoint, "--bucket", where.bucket]
        words += [] if where.secure else ["--insecure"]
        alone = CliRunner().invoke(app, words)
        words += ["--model", "lyon/m", "--monitor", monitor.url, "--monitor-token-file", str(tmp_path / "token")]
        both = CliRunner().invoke(app, words)
        assert (alone.exit_code, both.exit_code) == (0, 0), both.output
        assert [line.split()[1] for line in alone.stdout.splitlines()] == ["Accepted"]
        assert [line.split()[1:3] for line in both.stdout.splitlines()] == [
            ["Deployed", OLD],
            ["Accepted", NEW],
            ["Promoted", NEW],
        ]
    finally:
        monitor.kill()
