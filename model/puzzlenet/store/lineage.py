"""From a version back to its root, and from a data set forward to the versions that it influenced.

Pure over what the registry says; ``History`` does the reading.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from puzzlenet.errors import RegistryError
from puzzlenet.registry import Registry
from puzzlenet.store.datasets import DatasetManifest, Datasets

DIRECTLY = "trained on it"


@dataclass(frozen=True, kw_only=True, slots=True)
class Origin:
    """What made one version. None: its provenance does not say."""

    version: str
    parent: str | None
    commit: str | None
    image: str | None
    dataset: str | None
    images: int | None
    run: str | None
    trigger: str | None
    seed: int | None

    def sentence(self) -> str:
        """For people."""
        data = f"data set {self.dataset or 'unknown'} ({self.images if self.images is not None else '?'} pictures)"
        why = f", run {self.run} ({self.trigger})" if self.run else ""
        return f"commit {self.commit or 'unknown'}, image {self.image or 'none'}, {data}, seed {self.seed}{why}"


def origin_of(version: str, provenance: Mapping[str, Any]) -> Origin:
    """Read a provenance.json."""
    data, code = provenance.get("dataset") or {}, provenance.get("code") or {}
    counts = data.get("counts") or {}
    return Origin(
        version=version,
        parent=provenance.get("parent"),
        commit=code.get("commit"),
        image=code.get("image"),
        dataset=data.get("manifest") or data.get("digest"),
        images=sum(counts.values()) if counts else None,
        run=(provenance.get("run") or {}).get("name"),
        trigger=(provenance.get("run") or {}).get("trigger"),
        seed=(provenance.get("parameters") or {}).get("seed"),
    )


def pictures(manifest: DatasetManifest) -> int:
    """Different pictures that there were to train on: a run shows a few of them several times."""
    return len({entry.image for entry in manifest.of("train")})


class History:
    """Lineage as the registry tells it."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._datasets = Datasets(registry.bucket)

    def origin(self, version: str) -> Origin:
        """What made a version."""
        return origin_of(version, self._registry.document(version, "provenance.json"))

    def chain(self, version: str) -> list[Origin]:
        """A version, its parent, and so on to the root; a parent that is gone ends it."""
        found = [self._counted(self.origin(version))]
        known = set(self._registry.versions())
        while (parent := found[-1].parent) is not None and parent in known and parent not in {o.version for o in found}:
            found.append(self._counted(self.origin(parent)))
        return found

    def _counted(self, origin: Origin) -> Origin:
        """With different pictures counted, where the data set is at hand: a provenance counts copies too."""
        if origin.dataset is None:
            return origin
        try:
            return replace(origin, images=pictures(self._datasets.manifest(origin.dataset)))
        except RegistryError as exc:
            if exc.retry:
                raise
            return origin  # never pushed, or taken away

    def influenced(self, dataset: str) -> list[tuple[Origin, str]]:
        """Versions that were trained on a data set, or on one that contains it, each with how."""
        spellings = self._spellings(dataset)
        found = []
        for version in self._registry.versions():
            origin = self.origin(version)
            if origin.dataset is None:
                continue
            if origin.dataset in spellings:
                found.append((origin, DIRECTLY))
            elif spellings & self._contained(origin.dataset):
                found.append((origin, f"trained on {origin.dataset}, which contains it"))
        return found

    def _spellings(self, dataset: str) -> set[str]:
        manifest = self._datasets.manifest(dataset)
        return {dataset, manifest.digest, *([manifest.folder] if manifest.folder else [])}

    def _contained(self, dataset: str) -> set[str]:
        """Digests of every data set that one is made of, over any number of steps."""
        found: set[str] = set()
        waiting = [dataset]
        while waiting:
            try:
                manifest = self._datasets.manifest(waiting.pop())
            except RegistryError as exc:
                if exc.retry:
                    raise
                continue  # never pushed: what it was made of is not known
            for parent in manifest.parents:
                if parent not in found:
                    found.add(parent)
                    waiting.append(parent)
            if manifest.folder:
                found.add(manifest.folder)
        return found
