"""Which record belongs to which picture, and how an answer says so: feedback names a prediction by this id.

A client's own id is taken where it can be one, so that an inspector's station can send feedback about a piece by the
number it knows. It has to be unique then: the monitor keeps the first prediction of an id and counts later ones.
"""

import re
import uuid
from collections.abc import Sequence
from typing import Any

from puzzlenet.protocol import Request

_USABLE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:~-]{0,127}")


def record_ids(request: Request, request_id: str) -> tuple[str, ...]:
    """An id for each picture: a v1 instance's own, else that of the request, numbered where there are several."""
    count = len(request.pictures)
    numbers = [""] if count == 1 else [f":{index}" for index in range(count)]
    candidates = [name for name in (request.id, request_id) if name and _USABLE.fullmatch(name + numbers[-1])]
    base = candidates[0] if candidates else str(uuid.uuid4())
    own = request.ids or (None,) * count
    return tuple(
        name if name and _USABLE.fullmatch(name) else base + number for name, number in zip(own, numbers, strict=True)
    )


def name_records(request: Request, reply: dict[str, Any], ids: Sequence[str]) -> dict[str, Any]:
    """Say the ids in an answer: in v2 the tensor ``record``; in v1 ``id``, or ``record`` where ``id`` is taken."""
    if request.protocol == "v2":
        tensor = {"name": "record", "datatype": "BYTES", "shape": [len(ids)], "data": list(ids)}
        return {**reply, "outputs": [*reply["outputs"], tensor]}
    if request.protocol == "raw":
        return {**reply, "id": ids[0]}
    named = [_named(one, record) for one, record in zip(reply["predictions"], ids, strict=True)]
    return {**reply, "predictions": named}


def _named(prediction: dict[str, Any], record: str) -> dict[str, Any]:
    own = prediction.get("id", record)
    return {**prediction, "id": own} if own == record else {**prediction, "record": record}
