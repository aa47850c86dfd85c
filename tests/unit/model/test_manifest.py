"""A version's digest: any change of any byte is noticed, and nothing else matters."""

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from puzzlenet.errors import BadVersionError
from puzzlenet.files import sha256_of
from puzzlenet.manifest import FILES, MANIFEST, build_manifest, check_digest, parse_manifest, verify


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A version of small files."""
    for name in FILES:
        (tmp_path / name).write_bytes(name.encode())
    (tmp_path / MANIFEST).write_bytes(build_manifest(tmp_path).to_bytes())
    return tmp_path


def test_the_digest_is_the_hash_of_the_canonical_manifest(folder: Path) -> None:
    data = (folder / MANIFEST).read_bytes()
    value = json.loads(data)
    assert data == json.dumps(value, sort_keys=True, separators=(",", ":")).encode()
    assert value["schema"] == 1 and [entry["path"] for entry in value["files"]] == sorted(FILES)
    assert verify(folder).digest == "sha256:" + sha256_of(data)


@settings(max_examples=25, deadline=None)
@given(st.dictionaries(st.sampled_from(FILES), st.binary(max_size=40), min_size=1))
def test_equal_files_have_equal_digests_and_other_files_others(
    tmp_path_factory: pytest.TempPathFactory, changed: dict[str, bytes]
) -> None:
    def digest(contents: dict[str, bytes]) -> str:
        root = tmp_path_factory.mktemp("version")
        for name in FILES:
            (root / name).write_bytes(contents.get(name, b"same"))
        return build_manifest(root).digest

    assert digest(changed) == digest(dict(changed))
    assert (digest(changed) == digest({})) == all(data == b"same" for data in changed.values())


@pytest.mark.parametrize("name", FILES)
def test_an_altered_file_is_named(folder: Path, name: str) -> None:
    data = bytearray((folder / name).read_bytes())
    data[0] ^= 1
    (folder / name).write_bytes(data)
    with pytest.raises(BadVersionError, match=f"{name} is not the file"):
        verify(folder)


def test_a_missing_file_is_named(folder: Path) -> None:
    (folder / "card.json").unlink()
    with pytest.raises(BadVersionError, match=r"card\.json is missing"):
        verify(folder)


def test_a_folder_without_a_manifest_is_no_version(tmp_path: Path) -> None:
    with pytest.raises(BadVersionError, match="not a packaged version"):
        verify(tmp_path)


def test_another_version_than_the_expected_one_is_refused(folder: Path) -> None:
    with pytest.raises(BadVersionError, match="not to the version sha256:00"):
        verify(folder, "sha256:" + "0" * 64)


@pytest.mark.parametrize("text", ["", "latest", "sha256:", "sha256:" + "G" * 64, "sha256-" + "0" * 64, "0" * 64])
def test_a_version_must_be_spelled_as_a_digest(text: str) -> None:
    with pytest.raises(BadVersionError, match="64 lower-case hex digits"):
        check_digest(text)


@pytest.mark.parametrize(
    "edit",
    [
        lambda value: value["files"].reverse(),
        lambda value: value["files"].pop(0),
        lambda value: value["files"][0].update(path="../../etc/passwd"),
        lambda value: value["files"][0].update(path=MANIFEST),
        lambda value: value["files"][0].update(sha256="0"),
        lambda value: value["files"][0].update(size=-1),
        lambda value: value.update(schema=2),
        lambda value: value.update(extra=1),
    ],
)
def test_a_manifest_that_could_mislead_is_refused_even_if_its_digest_fits(folder: Path, edit) -> None:  # type: ignore[no-untyped-def]
    value = json.loads((folder / MANIFEST).read_bytes())
    edit(value)
    data = json.dumps(value, sort_keys=True, separators=(",", ":")).encode()
    with pytest.raises(BadVersionError):
        parse_manifest(data, "sha256:" + sha256_of(data))


def test_a_manifest_in_another_spelling_is_refused(folder: Path) -> None:
    value = json.loads((folder / MANIFEST).read_bytes())
    with pytest.raises(BadVersionError, match="canonical"):
        parse_manifest(json.dumps(value, indent=2, sort_keys=True).encode())


def test_a_version_of_before_there_was_a_drift_reference_is_still_one(folder: Path) -> None:
    value = json.loads((folder / MANIFEST).read_bytes())
    assert value["files"].pop()["path"] == "reference.safetensors"
    data = json.dumps(value, sort_keys=True, separators=(",", ":")).encode()
    assert len(parse_manifest(data, "sha256:" + sha256_of(data)).files) == len(FILES) - 1
