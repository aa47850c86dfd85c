"""Turns the types into the resource definition: `python -m puzzle_operator.api.crd` writes
`crds/puzzlemodels.yaml` and the chart's copy; with `--check` it only compares, and fails when they differ.

Kubernetes wants a *structural* schema: no `$ref`, no `anyOf … null`, defaults spelled out at every level.
Pydantic emits all three, so its output is flattened here.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from enum import Enum
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from .base import JsonObject, Wire, cel
from .names import GROUP, KIND, PLURAL, VERSION
from .status import PuzzleModelStatus
from .v1alpha1 import PuzzleModelSpec

COLUMNS: tuple[tuple[str, str, str, int], ...] = (
    ("Phase", "string", ".status.phase", 0),
    ("Step", "string", ".status.step", 0),
    ("Weight", "integer", ".status.weight.observed", 0),
    ("Verdict", "string", ".status.verdict", 0),
    ("Evidence", "string", ".status.evidence", 0),
    ("Samples", "integer", ".status.samples", 0),
    ("Drift", "string", ".status.drift.shown", 0),
    ("Input", "string", ".status.input.shown", 1),
    ("Champion", "string", ".status.championShort", 1),
    ("Challenger", "string", ".status.challengerShort", 1),
    ("Reason", "string", ".status.reason", 1),
    ("Retraining", "string", ".status.retraining.phase", 1),
    ("Next", "string", ".status.next", 1),
    ("Age", "date", ".metadata.creationTimestamp", 0),
)
NAME_RULE = cel(
    "self.metadata.name.size() <= 40 && self.metadata.name.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$')",
    "metadata.name must be at most 40 lower case letters, digits and dashes, beginning with a letter: "
    "KServe makes host and revision names of it",
)
REPOSITORY = Path(__file__).resolve().parents[3]
HEADER = "# Generated from operator/puzzle_operator/api by `make crds`. Do not edit.\n"
_DROPPED = frozenset({"title", "$defs", "additionalProperties_", "discriminator"})


def flatten(node: Any, definitions: JsonObject) -> Any:
    """Structural form of one schema node: references put in place, `anyOf … null` made optional."""
    if isinstance(node, list):
        return [flatten(item, definitions) for item in node]
    if not isinstance(node, dict):
        return node
    if "$ref" in node:
        target = definitions[node["$ref"].rsplit("/", 1)[-1]]
        node = {**target, **{key: value for key, value in node.items() if key != "$ref"}}
        return flatten(node, definitions)
    if "anyOf" in node and "x-kubernetes-int-or-string" not in node:
        (kind,) = [option for option in node["anyOf"] if option.get("type") != "null"]
        rest = {key: value for key, value in node.items() if key not in {"anyOf", "default"}}
        return flatten({**kind, **rest}, definitions)
    flat = {key: value for key, value in node.items() if key not in _DROPPED}
    if "const" in flat:
        flat["enum"] = [flat.pop("const")]
    if flat.get("format") == "date-time":
        flat.pop("format")
    for key in ("properties",):
        if key in flat:
            flat[key] = {name: flatten(child, definitions) for name, child in flat[key].items()}
    for key in ("items", "additionalProperties"):
        if isinstance(flat.get(key), dict):
            flat[key] = flatten(flat[key], definitions)
    if flat.get("type") == "object" and flat.get("additionalProperties") is True:
        del flat["additionalProperties"]
    return flat


def add_defaults(schema: JsonObject, model: type[BaseModel]) -> None:
    """Spell defaults out as Kubernetes needs them: `{}` for a part with defaults of its own, lists in
    full."""
    for name, info in model.model_fields.items():
        child = schema["properties"][info.alias or name]
        inner = _model_of(info)
        if inner is not None:
            add_defaults(child["items"] if child.get("type") == "array" else child, inner)
        if info.is_required():
            continue
        default = info.get_default(call_default_factory=True, validated_data={})
        if default is None:
            child.pop("default", None)
        elif isinstance(default, tuple):
            child["default"] = [_plain(item) for item in default]
        else:
            child["default"] = _plain(default)


def _plain(value: object) -> object:
    """As JSON has it."""
    if isinstance(value, Wire):
        return value.to_wire()
    return value.value if isinstance(value, Enum) else value


def _model_of(info: FieldInfo) -> type[BaseModel] | None:
    for candidate in (info.annotation, *getattr(info.annotation, "__args__", ())):
        if isinstance(candidate, type) and issubclass(candidate, BaseModel):
            return candidate
    return None


def schema_of(model: type[BaseModel], *, defaults: bool) -> JsonObject:
    """Structural schema of a type. Status has no defaults: the operator writes it whole."""
    raw = model.model_json_schema(by_alias=True)
    schema: JsonObject = flatten(raw, raw.get("$defs", {}))
    if defaults:
        add_defaults(schema, model)
    else:
        _strip_defaults(schema)
    return schema


def _strip_defaults(node: Any) -> None:
    if isinstance(node, dict):
        node.pop("default", None)
        for value in node.values():
            _strip_defaults(value)
    elif isinstance(node, list):
        for value in node:
            _strip_defaults(value)


def definition() -> JsonObject:
    """The CustomResourceDefinition."""
    columns = [
        {"name": name, "type": kind, "jsonPath": path, **({"priority": priority} if priority else {})}
        for name, kind, path, priority in COLUMNS
    ]
    schema = {
        "description": "A PuzzleNet model on one production line: which version serves, and how a new one takes over.",
        "type": "object",
        "required": ["spec"],
        "x-kubernetes-validations": [NAME_RULE],
        "properties": {
            "apiVersion": {"type": "string"},
            "kind": {"type": "string"},
            "metadata": {"type": "object"},
            "spec": schema_of(PuzzleModelSpec, defaults=True),
            "status": schema_of(PuzzleModelStatus, defaults=False),
        },
    }
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{PLURAL}.{GROUP}"},
        "spec": {
            "group": GROUP,
            "scope": "Namespaced",
            "names": {
                "kind": KIND,
                "listKind": f"{KIND}List",
                "plural": PLURAL,
                "singular": KIND.lower(),
                "shortNames": ["pzm"],
                "categories": ["puzzle"],
            },
            "versions": [
                {
                    "name": VERSION,
                    "served": True,
                    "storage": True,
                    "subresources": {"status": {}},
                    "additionalPrinterColumns": columns,
                    "schema": {"openAPIV3Schema": schema},
                }
            ],
        },
    }


def rendered() -> dict[str, str]:
    """Paths in the repository and what each must hold. The chart's copy outlives `helm uninstall`: models
    would go with it, and with them what serves."""
    plain = definition()
    kept = {**plain, "metadata": {**plain["metadata"], "annotations": {"helm.sh/resource-policy": "keep"}}}
    return {
        "crds/puzzlemodels.yaml": HEADER + _dump(plain),
        "charts/puzzle-operator/templates/crd.yaml": HEADER + _dump(kept),
    }


def _dump(obj: JsonObject) -> str:
    return yaml.dump(obj, Dumper=_Plain, sort_keys=False, allow_unicode=True, width=110)


class _Plain(yaml.SafeDumper):
    """Without anchors: shared pieces are written out."""

    def ignore_aliases(self, _data: object) -> bool:
        return True


def main(argv: Sequence[str] | None = None) -> int:
    """Write or check the generated files; 1 when a check finds a difference."""
    parser = argparse.ArgumentParser(prog="python -m puzzle_operator.api.crd", description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing, fail on a difference")
    parser.add_argument("--root", type=Path, default=REPOSITORY, help="repository to write to")
    args = parser.parse_args(argv)
    stale = []
    for name, text in rendered().items():
        path = args.root / name
        if path.exists() and path.read_text(encoding="utf-8") == text:
            continue
        stale.append(name)
        if not args.check:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
            print(f"wrote {name}")
    if args.check and stale:
        print(f"not as generated from the types: {', '.join(stale)}; run `make crds`", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
