"""Signatures: who made a version, and is it still what was made; refused before anything is loaded."""

import shutil
from pathlib import Path

import pytest

from puzzlenet.errors import BadVersionError, PuzzleNetError
from puzzlenet.manifest import MANIFEST, SIGNATURE, build_manifest, verify
from puzzlenet.package import package
from puzzlenet.serve import ServeConfig, prepare
from puzzlenet.signing import check, new_keys, sign, verify_signed


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two pairs: this factory's and somebody else's."""
    folder = tmp_path_factory.mktemp("keys")
    for name in ("ours", "theirs"):
        new_keys(folder / name)
    return folder


@pytest.fixture
def signed(run: Path, keys: Path, tmp_path: Path) -> Path:
    """A version that was signed when it was packaged."""
    package(run, tmp_path / "signed", sign_key=keys / "ours")
    return tmp_path / "signed"


def test_a_signed_version_has_the_digest_of_an_unsigned_one(signed: Path, version: Path, keys: Path) -> None:
    assert verify(signed).digest == verify(version).digest
    assert check(verify(signed), [keys / "ours.pub"]) == keys / "ours.pub"


def test_several_keys_are_tried_while_keys_are_rotated(signed: Path, keys: Path) -> None:
    assert check(verify(signed), [keys / "theirs.pub", keys / "ours.pub"]).name == "ours.pub"


def test_one_file_may_hold_several_public_keys(run: Path, keys: Path, tmp_path: Path) -> None:
    """As the Secret of a cluster does while keys are rotated: what was signed before and after is served."""
    bundle = tmp_path / "verify.pub"
    bundle.write_bytes((keys / "theirs.pub").read_bytes() + (keys / "ours.pub").read_bytes())
    for name in ("ours", "theirs"):
        package(run, tmp_path / name, sign_key=keys / name)
        assert check(verify(tmp_path / name), [bundle]) == bundle
    new_keys(tmp_path / "strangers")
    package(run, tmp_path / "foreign", sign_key=tmp_path / "strangers")
    with pytest.raises(BadVersionError, match=r"verify\.pub, key 1: .*; verify\.pub, key 2: "):
        check(verify(tmp_path / "foreign"), [bundle])


def test_an_unsigned_version_is_refused(version: Path, keys: Path) -> None:
    with pytest.raises(BadVersionError, match="is not signed"):
        verify_signed(version, verify(version).digest, [keys / "ours.pub"])


def test_somebody_elses_key_is_refused(signed: Path, keys: Path) -> None:
    with pytest.raises(BadVersionError, match="fits no key"):
        check(verify(signed), [keys / "theirs.pub"])


def test_a_version_that_was_altered_with_its_manifest_is_refused(signed: Path, keys: Path) -> None:
    (signed / "card.json").write_text("{}")
    (signed / MANIFEST).write_bytes(build_manifest(signed).to_bytes())
    altered = verify(signed)  # the digest fits: only the signature tells
    with pytest.raises(BadVersionError, match="fits no key"):
        check(altered, [keys / "ours.pub"])


def test_files_that_others_leave_beside_a_version_do_not_matter(signed: Path, keys: Path) -> None:
    (signed / ".done").write_text("storage initializer")
    assert check(verify(signed), [keys / "ours.pub"])


def test_the_server_refuses_before_it_writes_anything(version: Path, keys: Path, tmp_path: Path) -> None:
    config = ServeConfig(
        model_dir=version,
        version=verify(version).digest,
        workdir=tmp_path / "work",
        verify_keys=(keys / "ours.pub",),
    )
    with pytest.raises(BadVersionError, match="is not signed"):
        prepare(config, {})
    assert not (tmp_path / "work").exists()


@pytest.mark.parametrize("name", ["ours.pub", "missing", "nonsense"])
def test_a_key_that_is_none_is_named(version: Path, keys: Path, tmp_path: Path, name: str) -> None:
    shutil.copytree(version, tmp_path / "v")
    (tmp_path / "nonsense").write_text("nonsense")
    key = tmp_path / name if name == "nonsense" else keys / name
    with pytest.raises(PuzzleNetError, match="--sign-key"):
        sign(tmp_path / "v", key)
    assert not (tmp_path / "v" / SIGNATURE).exists()


def test_a_key_is_never_overwritten_and_never_readable_by_others(tmp_path: Path) -> None:
    new_keys(tmp_path / "key")
    assert (tmp_path / "key").stat().st_mode & 0o077 == 0
    with pytest.raises(PuzzleNetError, match="never overwritten"):
        new_keys(tmp_path / "key")
