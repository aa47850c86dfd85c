"""The resource definition follows from the types, and is structural."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from puzzle_operator.api import crd


def nodes(node: Any, path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    if isinstance(node, dict):
        yield path, node
        for key, value in node.items():
            yield from nodes(value, f"{path}/{key}")
    elif isinstance(node, list):
        for index, value in enumerate(node):
            yield from nodes(value, f"{path}[{index}]")


def schema() -> dict[str, Any]:
    found: dict[str, Any] = crd.definition()["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    return found


def test_the_schema_is_structural() -> None:
    for path, node in nodes(schema()):
        assert "$ref" not in node, path
        assert "$defs" not in node, path
        if "anyOf" in node:
            assert node.get("x-kubernetes-int-or-string"), f"{path}: anyOf outside int-or-string"
        if "properties" in node and path.endswith(("/spec", "/status")):
            assert node["type"] == "object"


def test_every_field_of_the_spec_that_people_write_is_documented() -> None:
    spec = schema()["properties"]["spec"]
    for path, node in nodes(spec):
        for name, child in node.get("properties", {}).items() if isinstance(node.get("properties"), dict) else ():
            assert child.get("description"), f"{path}/{name} has no description"


def test_optional_fields_have_their_defaults_spelled_out() -> None:
    canary = schema()["properties"]["spec"]["properties"]["canary"]
    assert canary["default"]["bake"] == "10m"
    assert [step["weight"] for step in canary["properties"]["steps"]["default"]] == [10, 25, 50]
    assert schema()["properties"]["spec"]["required"] == ["line", "model"]


def test_the_status_has_no_defaults_and_the_columns_point_into_it() -> None:
    status = schema()["properties"]["status"]
    assert all("default" not in node for _, node in nodes(status))
    for name, _, path, _ in crd.COLUMNS:
        if path.startswith(".status."):
            node = status
            for part in path.removeprefix(".status.").split("."):
                assert part in node["properties"], f"column {name}: {path}"
                node = node["properties"][part]


def test_the_charts_copy_outlives_the_chart_and_is_otherwise_the_same() -> None:
    plain, kept = (yaml.safe_load(text) for text in crd.rendered().values())
    assert kept["metadata"].pop("annotations") == {"helm.sh/resource-policy": "keep"}
    assert plain == kept
    assert all("{{" not in text for text in crd.rendered().values()), "helm would take it for a template"


def test_check_fails_on_a_difference_and_names_the_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert crd.main(["--root", str(tmp_path)]) == 0
    assert crd.main(["--root", str(tmp_path), "--check"]) == 0
    (tmp_path / "crds/puzzlemodels.yaml").write_text("edited by hand")
    assert crd.main(["--root", str(tmp_path), "--check"]) == 1
    assert "crds/puzzlemodels.yaml" in capsys.readouterr().err


def test_the_repositorys_files_are_as_generated() -> None:
    assert crd.main(["--check"]) == 0
