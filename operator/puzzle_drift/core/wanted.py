"""What a model's settings ask for, and its fingerprint: another one means to start again."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

BACKENDS = ("builtin", "alibi-detect")
DETECTORS = ("MMDOnline", "LSDDOnline", "CVMOnline", "FETOnline", "KS")
SCHEMA = 1
"""Of the state. A worker that finds another one starts again instead of guessing."""


@dataclass(frozen=True, slots=True)
class DriftSettings:
    """`drift` of the model's settings."""

    backend: str = "builtin"
    detector: str = "MMDOnline"
    expected_run_images: int = 100_000
    """Images between two false alarms that a model without drift may raise, on average."""
    confirm_windows: int = 3
    """Windows that do not overlap and must all be over the threshold."""


@dataclass(frozen=True, slots=True)
class Storage:
    """Where the versions of a model lie."""

    endpoint: str
    bucket: str
    secure: bool


@dataclass(frozen=True, slots=True)
class Key:
    """What has a detector of its own."""

    namespace: str
    model: str
    version: str


@dataclass(frozen=True, slots=True)
class Model:
    """One model as the monitor lists it."""

    namespace: str
    name: str
    champion: str | None
    challenger: str | None
    drift: DriftSettings | None
    storage: Storage | None

    @property
    def keys(self) -> tuple[Key, ...]:
        """Its versions that are watched: none unless drift is asked for."""
        if self.drift is None:
            return ()
        versions = dict.fromkeys(version for version in (self.champion, self.challenger) if version)
        return tuple(Key(self.namespace, self.name, version) for version in versions)


def parse_model(raw: Mapping[str, Any]) -> Model:
    """One element of `GET /v1/models`. Raises ValueError naming the field that makes no sense."""
    settings = raw.get("settings") or {}
    name = raw.get("name", raw.get("model"))
    if not raw.get("namespace") or not name:
        raise ValueError("a model has no namespace or no name")
    storage = settings.get("storage")
    return Model(
        namespace=str(raw["namespace"]),
        name=str(name),
        champion=settings.get("champion"),
        challenger=settings.get("challenger"),
        drift=_drift(settings["drift"]) if settings.get("drift") else None,
        storage=Storage(str(storage["endpoint"]), str(storage["bucket"]), bool(storage.get("secure", False)))
        if storage
        else None,
    )


def _drift(raw: Mapping[str, Any]) -> DriftSettings:
    wanted = DriftSettings(**{name: raw[name] for name in DriftSettings.__dataclass_fields__ if name in raw})
    if wanted.backend not in BACKENDS:
        raise ValueError(f"drift.backend is {wanted.backend!r}: one of {', '.join(BACKENDS)}")
    if wanted.detector not in DETECTORS:
        raise ValueError(f"drift.detector is {wanted.detector!r}: one of {', '.join(DETECTORS)}")
    if not isinstance(wanted.expected_run_images, int) or wanted.expected_run_images < 1:
        raise ValueError(f"drift.expected_run_images is {wanted.expected_run_images!r}: a whole number from 1 on")
    if not isinstance(wanted.confirm_windows, int) or not 1 <= wanted.confirm_windows <= 1_000:
        raise ValueError(f"drift.confirm_windows is {wanted.confirm_windows!r}: a whole number from 1 to 1000")
    return wanted


def fingerprint(wanted: DriftSettings, key: Key, champion: str | None, reference_sha256: str) -> str:
    """Changes when a detector has to start again: other settings, another reference, or a rollout that ended.

    The memory limit is not part of it: a pod that gets more of it goes on with the detector that it has.
    """
    parts = {"schema": SCHEMA, **asdict(wanted), **asdict(key), "champion": champion, "reference": reference_sha256}
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def seed_of(config: str) -> int:
    """Of every random choice of a detector: the same settings make the same thresholds."""
    return int(config[:8], 16)
