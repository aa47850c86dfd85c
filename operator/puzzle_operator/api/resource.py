"""A PuzzleModel as read from the API server, parsed once at the edge."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from pydantic import ValidationError

from .base import JsonObject
from .names import CLASS_ANNOTATION, PROMOTE_ANNOTATION, RETRAIN_ANNOTATION, RETRY_ANNOTATION
from .status import PuzzleModelStatus, read_status
from .v1alpha1 import PuzzleModelSpec


class InvalidResourceError(ValueError):
    """The object cannot be read as a PuzzleModel; the message names the field."""


@dataclass(frozen=True, slots=True)
class PuzzleModel:
    """One PuzzleModel at one moment."""

    name: str
    namespace: str
    uid: str
    generation: int
    resource_version: str
    spec: PuzzleModelSpec
    status: PuzzleModelStatus = field(default_factory=PuzzleModelStatus)
    annotations: Mapping[str, str] = field(default_factory=dict)
    deleting: bool = False
    unreadable_status: tuple[str, ...] = ()

    @property
    def key(self) -> str:
        """namespace/name, for logs and metrics."""
        return f"{self.namespace}/{self.name}"

    @property
    def target(self) -> str:
        """The version that is meant, as it was last resolved; empty when `auto` has chosen none yet."""
        return (self.status.target or "") if self.spec.model.is_auto else self.spec.model.version

    @property
    def retry(self) -> str | None:
        """The quarantined version that a person asks to be tried again."""
        return self.annotations.get(RETRY_ANNOTATION)

    @property
    def promote(self) -> str | None:
        """The move of a rollout that a person consents to."""
        return self.annotations.get(PROMOTE_ANNOTATION)

    @property
    def retrain(self) -> str | None:
        """Why somebody asks for a run of retraining."""
        return self.annotations.get(RETRAIN_ANNOTATION)

    @property
    def operator_class(self) -> str:
        """Which operator is to act; empty for the usual one."""
        return self.annotations.get(CLASS_ANNOTATION, "")

    @classmethod
    def parse(cls, body: JsonObject) -> PuzzleModel:
        """Read the object.

        Raises:
            InvalidResourceError: if the spec does not fit the types (the API server should have refused it).
        """
        meta = body["metadata"]
        try:
            spec = PuzzleModelSpec.model_validate(body.get("spec") or {})
        except ValidationError as exc:
            first = exc.errors()[0]
            where = ".".join(["spec", *map(str, first["loc"])])
            raise InvalidResourceError(f"{where}: {first['msg']}") from exc
        status, unreadable = read_status(body.get("status"))
        return cls(
            name=meta["name"],
            namespace=meta["namespace"],
            uid=meta["uid"],
            generation=int(meta.get("generation", 1)),
            resource_version=meta.get("resourceVersion", ""),
            spec=spec,
            status=status,
            annotations=dict(meta.get("annotations") or {}),
            deleting=bool(meta.get("deletionTimestamp")),
            unreadable_status=unreadable,
        )
