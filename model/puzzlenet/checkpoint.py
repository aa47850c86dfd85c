"""What a training run needs to go on after it was cut off, and where it is kept.

Tensors and a JSON object travel together as one safetensors file (the JSON lies in its header), so that there is
nothing to unpickle, and no moment at which one of them is newer than the other. The training loop knows only the
protocol; a folder is one place, a bucket may be another.
"""

import json
import os
from pathlib import Path
from typing import Any, Protocol

from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from puzzlenet.errors import BadCheckpointError, PuzzleNetError
from puzzlenet.files import canonical_json, write_atomically

Tensors = dict[str, Tensor]
Meta = dict[str, Any]
FILE = "checkpoint.safetensors"
_HEADER = "state"


class Checkpoint(Protocol):
    """A place for the newest state of one run. It is asked once, at the beginning, and told after every epoch.

    ``meta`` holds JSON values only, among them ``epoch`` (the last that was finished). A place may leave out saves,
    for instance all but every fifth: a run then repeats the epochs since, to the same result.
    """

    def load(self) -> tuple[Tensors, Meta] | None:
        """The newest state, or None where there is none yet. Raises PuzzleNetError for one that cannot be read."""

    def save(self, tensors: Tensors, meta: Meta) -> None:
        """Keep this state in place of the one before; whoever loads meanwhile sees one of the two, whole."""


def encode(tensors: Tensors, meta: Meta) -> bytes:
    """One safetensors file. The same state gives the same bytes."""
    plain = {name: value.detach().cpu().contiguous() for name, value in sorted(tensors.items())}
    return save(plain, {_HEADER: canonical_json(meta).decode()})


def decode(data: bytes, name: str = "the checkpoint") -> tuple[Tensors, Meta]:
    """The state that was encoded, tensors on the CPU. Raises BadCheckpointError calling it ``name``."""
    try:
        tensors = load(data)
        header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
        meta = json.loads(header["__metadata__"][_HEADER])
    except (SafetensorError, ValueError, KeyError, TypeError) as exc:
        raise BadCheckpointError(f"{name} cannot be read ({exc}): remove it, and training begins anew") from exc
    if not isinstance(meta, dict):
        raise BadCheckpointError(f"{name} holds no state: remove it, and training begins anew")
    return tensors, meta


class FolderCheckpoint:
    """A checkpoint in a folder of its own, which is made when the first state is kept."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / FILE

    def load(self) -> tuple[Tensors, Meta] | None:
        """What the folder holds."""
        try:
            data = self._path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as exc:
            raise PuzzleNetError(f"--checkpoint {self._path} cannot be read: {exc.strerror}") from exc
        return decode(data, str(self._path))

    def save(self, tensors: Tensors, meta: Meta) -> None:
        """Write beside the old file, then take its name."""
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(self._path, encode(tensors, meta))
        except OSError as exc:
            reason = exc.strerror or os.strerror(exc.errno or 0)
            raise PuzzleNetError(f"--checkpoint {self._path.parent} cannot be written: {reason}") from exc
