"""What a run leaves in the bucket: ``runs/<run>/`` with its state, progress, checkpoint and reports."""

import logging
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from puzzlenet.checkpoint import Meta, Tensors, decode, encode
from puzzlenet.errors import BadCheckpointError, RegistryError
from puzzlenet.files import pretty_json
from puzzlenet.retrain.outcome import Outcome, from_dict
from puzzlenet.store.bucket import MAX_FILE, Bucket

log = logging.getLogger("puzzlenet")


class Run:
    """The folder of one run. ``state`` is what a restarted run goes on from.

    Of several workers the first speaks; what the others do is no progress of the run.
    """

    def __init__(self, bucket: Bucket, name: str, *, speaks: bool = True) -> None:
        self._bucket, self._speaks = bucket, speaks
        self._prefix = f"runs/{name}/"
        self.state: dict[str, Any] = bucket.document(self._prefix + "state.json") or {}

    @property
    def outcome(self) -> Outcome | None:
        """The decision, once there is one."""
        found = self.state.get("outcome")
        return from_dict(found) if found else None

    def note(self, **values: Any) -> None:
        """Keep what was reached, so that a restart does not do it again."""
        self.state.update(values)
        self._bucket.put_json(self._prefix + "state.json", self.state)

    def progress(self, now: datetime, stage: str, **values: Any) -> None:
        """Tell how far it is. A store that is away does not stop the work."""
        told = {"at": now.isoformat(), "stage": stage, **values}
        log.info("%s %s", stage, " ".join(f"{key}={value}" for key, value in values.items()))
        if not self._speaks:
            return
        try:
            self._bucket.put_json(self._prefix + "progress.json", told)
        except RegistryError as exc:
            if not exc.retry:
                raise
            log.warning("progress is not stored: %s", exc)

    def report(self, name: str, value: Mapping[str, Any]) -> None:
        """A JSON report for people and programs."""
        self._bucket.put(self._prefix + name, pretty_json(value), "application/json")

    def page(self, name: str, text: str) -> None:
        """A page for people."""
        self._bucket.put(self._prefix + name, text.encode(), "text/html; charset=utf-8")

    def checkpoint(self, every: int, epochs: int) -> "BucketCheckpoint":
        """Where training keeps its state."""
        return BucketCheckpoint(self._bucket, self._prefix + "checkpoint.safetensors", every, epochs)

    def drop_checkpoint(self) -> None:
        """A decided run does not need it any more."""
        self._bucket.remove(self._prefix + "checkpoint.safetensors")


class BucketCheckpoint:
    """Training state in the bucket, kept after each few epochs. A damaged one is as good as none.

    A store that is away must not end the training that it protects: a save that fails is logged and forgotten.
    """

    def __init__(self, bucket: Bucket, key: str, every: int, epochs: int) -> None:
        self._bucket, self._key, self._every, self._epochs = bucket, key, every, epochs

    def load(self) -> tuple[Tensors, Meta] | None:
        """The newest state that was kept."""
        data = self._bucket.find(self._key, MAX_FILE)
        if data is None:
            return None
        try:
            found = decode(data, self._bucket.where(self._key))
        except BadCheckpointError as exc:
            log.warning("%s; training begins anew", exc)
            return None
        log.info("going on after epoch %s", found[1].get("epoch"))
        return found

    def save(self, tensors: Tensors, meta: Meta) -> None:
        """Keep a state, if its epoch is one of those that are kept."""
        epoch = int(meta.get("epoch", 0))
        if epoch % self._every and epoch != self._epochs:
            return
        try:
            self._bucket.put(self._key, encode(tensors, meta))
        except RegistryError as exc:
            if not exc.retry:
                raise
            log.warning("the state after epoch %d is not stored: %s", epoch, exc)
