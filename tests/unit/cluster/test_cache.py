"""Keys change exactly when an input does, and a half-made folder is never taken for a whole one."""

from pathlib import Path

import pytest

from tests.cluster import golang
from tests.cluster.cache import digest, prune, publish
from tests.cluster.images import TARGETS, reference


def test_key_depends_on_names_and_values_not_on_order() -> None:
    assert digest({"a": b"1", "b": b"2"}) == digest({"b": b"2", "a": b"1"})
    assert digest({"a": b"1", "b": b"2"}) != digest({"a": b"2", "b": b"1"})
    assert digest({"ab": b"c"}) != digest({"a": b"bc"})


@pytest.mark.parametrize("changed", ["go.mod", "go.sum"])
def test_a_changed_pin_changes_the_key_of_its_group_alone(tmp_path: Path, changed: str) -> None:
    for group in golang.GROUPS:
        (tmp_path / group.name).mkdir()
        (tmp_path / group.name / "go.mod").write_text(f"module {group.name}\n")
        (tmp_path / group.name / "go.sum").write_text("")
    before = {group.name: digest(golang.inputs(group, tmp_path)) for group in golang.GROUPS}
    (tmp_path / "helm" / changed).write_text("module helm // another pin\n")
    after = {group.name: digest(golang.inputs(group, tmp_path)) for group in golang.GROUPS}
    assert {name for name in before if before[name] != after[name]} == {"helm"}


def test_flags_are_part_of_the_key(tmp_path: Path) -> None:
    plain = golang.Group("pause", ("pause",), 1)
    tagged = golang.Group("pause", ("pause",), 1, tags="netgo")
    assert digest(golang.inputs(plain, tmp_path)) != digest(golang.inputs(tagged, tmp_path))


def test_every_group_has_its_pins_committed() -> None:
    for group in golang.GROUPS:
        assert {f"{group.name}/go.mod", f"{group.name}/go.sum"} <= set(golang.inputs(group))


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ("go version go1.26.8 linux/amd64", (1, 26)),
        ("go version go1.27rc1 linux/amd64", (1, 27)),
        ("gccgo", None),
    ],
)
def test_go_version(text: str, version: tuple[int, int] | None) -> None:
    assert golang.version_of(text) == version


def test_published_folder_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    target = tmp_path / "thing-0123456789ab"
    with pytest.raises(RuntimeError), publish(target) as work:
        (work / "half").touch()
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []
    (tmp_path / f".{target.name}.work").mkdir()
    (tmp_path / f".{target.name}.work" / "left by a kill").touch()
    with publish(target) as work:
        (work / "whole").touch()
    assert [path.name for path in target.iterdir()] == ["whole"]


def test_prune_removes_older_keys_of_the_same_thing_only(tmp_path: Path) -> None:
    for name in ("go-aaaaaaaaaaaa", "go-bbbbbbbbbbbb", "go-tool-aaaaaaaaaaaa", "other"):
        (tmp_path / name).mkdir()
    prune(tmp_path / "go-aaaaaaaaaaaa", "go")
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "go-aaaaaaaaaaaa",
        "go-tool-aaaaaaaaaaaa",
        "other",
    ]


def test_image_tag_follows_its_own_sources(tmp_path: Path) -> None:
    for name in ("Dockerfile", ".dockerignore", "uv.lock", "pyproject.toml", "README.md", "LICENSE"):
        (tmp_path / name).write_text(name)
    for name in ("docker/install", "operator/a.py", "model/b.py", "tests/cluster/storage_initializer.py"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    before = {name: reference(target, tmp_path) for name, target in TARGETS.items()}
    (tmp_path / "operator" / "__pycache__").mkdir()
    (tmp_path / "operator" / "__pycache__" / "a.pyc").write_text("byte code")
    assert {name: reference(target, tmp_path) for name, target in TARGETS.items()} == before
    (tmp_path / "operator" / "a.py").write_text("changed")
    after = {name: reference(target, tmp_path) for name, target in TARGETS.items()}
    assert {name for name in before if before[name] != after[name]} == {"operator", "monitor", "model", "drift"}
    (tmp_path / "docker" / "install").write_text("changed")
    assert not {reference(target, tmp_path) for target in TARGETS.values()} & set(after.values())
