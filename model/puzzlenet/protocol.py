"""The two request protocols of KServe, read and written without a server in sight.

v2 is the open inference protocol: one BYTES tensor of base64 pictures. v1 is TensorFlow Serving's
``{"instances": [{"image": {"b64": …}}]}``. A plain PNG or JPEG body is a third way in, handy with curl.
Every refusal is a BadImageError with an HTTP status and one sentence: a client's mistake is never a server error.
"""

import base64
import binascii
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from puzzlenet.errors import BadImageError
from puzzlenet.images import MAX_BYTES, sniff
from puzzlenet.predictor import Prediction

MAX_IMAGES = 32
_MAX_ID = 256
_MAX_B64 = (MAX_BYTES + 2) // 3 * 4


@dataclass(frozen=True, slots=True)
class Request:
    """Pictures asked about, in order. ``ids`` are the v1 instances' own ids, or None."""

    protocol: Literal["v1", "v2", "raw"]
    pictures: tuple[bytes, ...]
    id: str | None = None
    ids: tuple[str | None, ...] = ()

    def names(self) -> list[str]:
        """What an error message calls each picture."""
        if self.protocol == "raw":
            return ["the image"]
        field = "instances" if self.protocol == "v1" else "inputs[0].data"
        return [f"{field}[{index}]" for index in range(len(self.pictures))]


def parse_request(body: Any) -> Request:
    """Read a request's body: bytes as they came, or JSON that the server has decoded already. Raises BadImageError."""
    if isinstance(body, bytearray | bytes | memoryview):
        data = bytes(body)
        if not data:
            raise BadImageError("the body is empty: send JSON of protocol v1 or v2, or a PNG or JPEG")
        if sniff(data) != "unknown":
            return Request("raw", (data,))
        body = _json(data)
    elif isinstance(body, str):
        body = _json(body.encode())
    if not isinstance(body, dict):
        raise BadImageError("the body must be a JSON object with 'inputs' (protocol v2) or 'instances' (protocol v1)")
    request_id = _id(body.get("id"), "id")
    if "inputs" in body:
        return Request("v2", _v2_pictures(body["inputs"]), request_id)
    if "instances" in body:
        return _v1(body["instances"], request_id)
    raise BadImageError("the body must have 'inputs' (protocol v2) or 'instances' (protocol v1)")


def answer(
    request: Request, predictions: Sequence[Prediction], *, classes: Sequence[str], version: str, fallback_id: str
) -> dict[str, Any]:
    """The response in the protocol of the request. ``fallback_id`` is used where v2 demands an id and none came."""
    if request.protocol == "v2":
        return _v2_answer(request, predictions, classes, version, fallback_id)
    answers = [_v1_answer(prediction, classes, version) for prediction in predictions]
    if request.protocol == "raw":
        return {**answers[0], "id": fallback_id}
    for one, own_id in zip(answers, request.ids, strict=True):
        if own_id is not None:
            one["id"] = own_id
    return {"id": request.id or fallback_id, "predictions": answers}


def _v1_answer(prediction: Prediction, classes: Sequence[str], version: str) -> dict[str, Any]:
    return {
        "label": prediction.label,
        "confidence": prediction.confidence,
        "probabilities": dict(zip(classes, prediction.probabilities, strict=True)),
        "version": version,
    }


def _v2_answer(
    request: Request, predictions: Sequence[Prediction], classes: Sequence[str], version: str, fallback_id: str
) -> dict[str, Any]:
    count, width = len(predictions), len(classes)
    flat = [p for prediction in predictions for p in prediction.probabilities]
    return {
        "id": request.id or fallback_id,
        "model_name": "puzzlenet",
        "model_version": version,
        "outputs": [
            {"name": "label", "datatype": "BYTES", "shape": [count], "data": [p.label for p in predictions]},
            {"name": "probabilities", "datatype": "FP32", "shape": [count, width], "data": flat},
            {"name": "classes", "datatype": "BYTES", "shape": [width], "data": list(classes)},
        ],
    }


def _v2_pictures(inputs: Any) -> tuple[bytes, ...]:
    if not isinstance(inputs, list) or len(inputs) != 1 or not isinstance(inputs[0], dict):
        raise BadImageError("'inputs' must hold exactly one tensor")
    tensor = inputs[0]
    if tensor.get("datatype") != "BYTES":
        raise BadImageError(f'inputs[0].datatype is {tensor.get("datatype")!r}; it must be "BYTES" (base64 strings)')
    data = tensor.get("data")
    if not isinstance(data, list):
        raise BadImageError("inputs[0].data must be a list of base64 strings")
    flat = [item for part in data for item in (part if isinstance(part, list) else [part])]
    shape = tensor.get("shape")
    if shape is not None:
        _check_shape(shape, len(flat))
    _check_count(len(flat), "inputs[0].data")
    return tuple(_picture(item, f"inputs[0].data[{index}]") for index, item in enumerate(flat))


def _check_shape(shape: Any, count: int) -> None:
    if not isinstance(shape, list) or not all(isinstance(n, int) and not isinstance(n, bool) and n >= 0 for n in shape):
        raise BadImageError("inputs[0].shape must be a list of whole numbers, such as [1]")
    product = 1
    for size in shape[:8]:
        product *= size
    if len(shape) > 8 or product != count:
        raise BadImageError(f"inputs[0].shape {shape} does not fit the {count} strings of inputs[0].data")


def _v1(instances: Any, request_id: str | None) -> Request:
    if not isinstance(instances, list):
        raise BadImageError("'instances' must be a list")
    _check_count(len(instances), "instances")
    pictures, ids = [], []
    for index, instance in enumerate(instances):
        field = f"instances[{index}]"
        if not isinstance(instance, dict):
            raise BadImageError(f'{field} must be an object: {{"image": {{"b64": "…"}}}}')
        image = instance.get("image", instance)
        coded = image.get("b64") if isinstance(image, dict) else image
        pictures.append(_picture(coded, f"{field}.image.b64"))
        ids.append(_id(instance.get("id"), f"{field}.id"))
    return Request("v1", tuple(pictures), request_id, tuple(ids))


def _picture(coded: Any, field: str) -> bytes:
    if not isinstance(coded, str):
        raise BadImageError(f"{field} must be a base64 string of a PNG or JPEG file")
    if len(coded) > _MAX_B64 + 64:
        raise BadImageError(f"{field} is longer than {MAX_BYTES} bytes decoded", status=413)
    try:
        return base64.b64decode(coded, validate=True)
    except (binascii.Error, ValueError) as exc:
        raise BadImageError(f"{field} is not valid base64: {exc}") from exc


def _check_count(count: int, field: str) -> None:
    if count == 0:
        raise BadImageError(f"{field} is empty: send one image at least")
    if count > MAX_IMAGES:
        raise BadImageError(f"{field} has {count} images; at most {MAX_IMAGES} are answered in one request", status=413)


def _id(value: Any, field: str) -> str | None:
    if value is None or value == "":
        return None
    if not isinstance(value, str) or len(value) > _MAX_ID:
        raise BadImageError(f"'{field}' must be a string of at most {_MAX_ID} characters")
    return value


def _json(data: bytes) -> Any:
    try:
        return json.loads(data)
    except (ValueError, RecursionError) as exc:
        raise BadImageError("the body is neither valid JSON nor a PNG or JPEG") from exc
