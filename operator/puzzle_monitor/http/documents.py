"""Pieces of the OpenAPI document that FastAPI cannot derive, because bodies are parsed by us."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, TypeAdapter

from puzzle_monitor.core import answers
from puzzle_monitor.core.decisions import DecisionBatch
from puzzle_monitor.core.models import DriftState, ModelSettings, Retraction
from puzzle_monitor.core.records import MAX_FEEDBACK, Batch, Feedback
from puzzle_monitor.http.problems import MEDIA_TYPE

_REASONS = {
    400: "The body cannot be read at all.",
    401: "No token, or one that is not known.",
    403: "The token has no role for this.",
    404: "There is no such thing.",
    408: "The body came too slowly.",
    409: "Something else has this place already.",
    413: "More than one request may hold.",
    415: "Not a type of content that is taken here.",
    422: "A field is wrong; `errors` names it.",
    429: "Too much in too short a time; wait `Retry-After` seconds.",
    503: "The database or the image store does not answer, or too much waits; send it again later.",
}
_WITH_BODY = (400, 408, 413, 415, 422)
_ALWAYS = (401, 403, 429, 503)
_RECORD = {
    "id": "0b9c6a34-8d0e-4a5e-9a8e-1f6f5a3c2b10",
    "at": "2026-11-23T08:15:00.250Z",
    "namespace": "lyon",
    "model": "line-1",
    "line": "line-1",
    "revision": "line-1-predictor-00003",
    "version": "sha256:9f2b",
    "label": "ok",
    "probabilities": {"ok": 0.97, "scratch": 0.02, "stain": 0.01},
    "confidence": 0.97,
    "image": {"format": "jpeg", "width": 128, "height": 128, "bytes": 5120, "brightness": 0.52, "blur": 180.5},
    "embedding": [0.12, -0.8, 0.4],
}
_CSV_EXAMPLE = "prediction_id,label,who,at,note\np-1,scratch,inspector-7,2026-11-23T08:15:00Z,left edge\n"


def refusals(*more: int, body: bool = False, guarded: bool = True) -> dict[int | str, dict[str, Any]]:
    """The answers of 400 and above that a route may give."""
    codes = sorted({*more, *(_WITH_BODY if body else ()), *(_ALWAYS if guarded else ())})
    schema = {"$ref": "#/components/schemas/Problem"}
    answers: dict[int | str, dict[str, Any]] = {}
    for code in codes:
        answers[code] = {"description": _REASONS[code], "content": {MEDIA_TYPE: {"schema": schema}}}
        if code in {429, 503}:
            answers[code]["headers"] = {"Retry-After": {"schema": {"type": "integer", "minimum": 1}}}
        if code == 401:
            answers[code]["headers"] = {"WWW-Authenticate": {"schema": {"type": "string"}}}
    return answers


def batch_body() -> dict[str, Any]:
    """The body of a batch of predictions."""
    schema = {"$ref": "#/components/schemas/Batch"}
    return _body({"application/json": {"schema": schema, "example": {"records": [_RECORD]}}})


def feedback_body() -> dict[str, Any]:
    """One feedback, a list, or a table."""
    one = {"$ref": "#/components/schemas/Feedback"}
    many = {"type": "array", "items": one, "minItems": 1, "maxItems": MAX_FEEDBACK}
    return _body(
        {
            "application/json": {"schema": {"oneOf": [one, many]}},
            "text/csv": {"schema": {"type": "string"}, "example": _CSV_EXAMPLE},
        }
    )


def image_body() -> dict[str, Any]:
    """A JPEG."""
    return _body({"image/jpeg": {"schema": {"type": "string", "format": "binary"}}})


def object_body(schema: str) -> dict[str, Any]:
    """One JSON object of a schema."""
    return _body({"application/json": {"schema": {"$ref": f"#/components/schemas/{schema}"}}})


def complete(document: dict[str, Any]) -> dict[str, Any]:
    """Add the schemas that are only named by us, and drop those that FastAPI adds for errors which we never send."""
    schemas = document.setdefault("components", {}).setdefault("schemas", {})
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)
    models: tuple[type[BaseModel], ...] = (
        Batch,
        Feedback,
        Retraction,
        ModelSettings,
        DriftState,
        DecisionBatch,
        answers.Problem,
    )
    for model in models:
        schema = TypeAdapter(model).json_schema(ref_template="#/components/schemas/{model}")
        schemas |= schema.pop("$defs", {})
        schemas[model.__name__] = schema
    for route in document["paths"].values():
        for operation in route.values():
            for parameter in operation.get("parameters", ()):
                parameter["schema"] = _without_null(parameter["schema"])
    document["components"]["schemas"] = dict(sorted(schemas.items()))
    return document


def _without_null(schema: dict[str, Any]) -> dict[str, Any]:
    """A parameter that may be left out; there is no way to write null into a URL."""
    kinds = [kind for kind in schema.get("anyOf", ()) if kind != {"type": "null"}]
    if len(kinds) != 1:
        return schema
    (kind,) = kinds
    return {key: value for key, value in schema.items() if key != "anyOf"} | dict(kind)


def _body(content: dict[str, Any]) -> dict[str, Any]:
    return {"requestBody": {"required": True, "content": content}}
