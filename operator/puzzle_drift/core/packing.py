"""State as bytes: a safetensors file with one JSON document in it. Nothing is ever unpickled."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load, save

_DOCUMENT = "document"
LIMIT = 3 << 20
"""Bytes. The monitor takes 4 MiB of base64, which are 3 MiB."""


def pack(document: dict[str, Any], arrays: dict[str, NDArray[Any]]) -> bytes:
    """Document and arrays. Floats of JSON are exact: Python writes the shortest text that reads back the same."""
    text = np.frombuffer(json.dumps(document, sort_keys=True, allow_nan=False).encode(), dtype=np.uint8)
    whole = {_DOCUMENT: text, **{f"detector.{name}": np.ascontiguousarray(array) for name, array in arrays.items()}}
    return bytes(save(whole))


def unpack(data: bytes) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """What `pack` was given. Raises ValueError for anything else."""
    try:
        whole = load(data)
        document = json.loads(whole.pop(_DOCUMENT).tobytes())
    except (SafetensorError, KeyError, ValueError) as error:
        raise ValueError(f"the stored state cannot be read: {error}") from error
    return document, {name.removeprefix("detector."): array for name, array in whole.items()}
