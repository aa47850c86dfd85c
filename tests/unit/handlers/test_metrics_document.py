"""docs/metrics.md, the alert rules and the dashboard speak of metrics that exist: held against a scrape."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from tests.unit.handlers.test_telemetry import everything, families

ROOT = Path(__file__).resolve().parents[3]
CHART = ROOT / "charts" / "puzzle-operator" / "files"


def _documented() -> dict[str, tuple[str, frozenset[str], str]]:
    """Type, labels and example by name, from the tables of docs/metrics.md."""
    rows = {}
    for line in (ROOT / "docs" / "metrics.md").read_text().splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if line.startswith("| `puzzle_"):
            assert len(cells) == 5, line
            name, kind, labels, _, example = cells
            rows[name.strip("`")] = (kind, frozenset(labels.split(", ")) - {""}, example.strip("`"))
    return rows


def _offered() -> dict[str, tuple[str, frozenset[str]]]:
    found = {}
    for name, metric in families(everything()).items():
        samples = [sample.labels for sample in metric.samples]
        assert samples, f"{name}: nothing in this test makes it say anything"
        assert all(set(labels) - {"le"} == set(samples[0]) - {"le"} for labels in samples), name
        found[name] = (metric.type, frozenset(samples[0]) - {"le"})
    return found


def test_the_document_lists_every_metric_with_its_type_and_labels() -> None:
    assert {name: row[:2] for name, row in _documented().items()} == _offered()


def test_the_document_lists_every_alert() -> None:
    text = (ROOT / "docs" / "metrics.md").read_text()
    documented = re.findall(r"^\| `(Puzzle\w+)` \| (\w+) \|", text, re.MULTILINE)
    assert documented == [(rule["alert"], rule["labels"]["severity"]) for rule in _alerts()]


def _alerts() -> list[dict[str, Any]]:
    groups = yaml.safe_load((CHART / "alerts.yaml").read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


def _expressions() -> Iterator[tuple[str, str]]:
    for rule in _alerts():
        yield rule["alert"], rule["expr"]
    dashboard = json.loads((CHART / "dashboard.json").read_text())
    for panel in dashboard["panels"]:
        for target in panel.get("targets", ()):
            yield panel["title"], target["expr"]
    for variable in dashboard["templating"]["list"]:
        yield variable["name"], variable.get("definition", "")
    for name, (_, _, example) in _documented().items():
        yield name, example


def test_alerts_dashboard_and_examples_ask_for_series_and_labels_that_exist() -> None:
    """promtool would check the grammar; that a name or a label is misspelt it could not know."""
    known: dict[str, dict[str, set[str]]] = {}
    for metric in everything().registry.collect():
        for sample in metric.samples:
            labels = known.setdefault(sample.name, {})
            for label, found in sample.labels.items():
                labels.setdefault(label, set()).add(found)
    for where, expression in _expressions():
        for name, matchers in re.findall(r"\b((?:puzzle|process)_\w+)(?:\{([^}]*)\})?", expression):
            assert name in known, f"{where}: {name}"
            for label, operator, wanted in re.findall(r'(\w+)\s*(=~|!=|=)\s*"([^"]*)"', matchers):
                assert label in known[name], f"{where}: {name} has no label {label}"
                if label in {"phase", "verdict", "type", "status", "kind", "side", "limit", "outcome"}:
                    missing = set(wanted.split("|")) - known[name][label]
                    assert operator != "!=" and not missing, f"{where}: {name} never has {label}={missing}"
