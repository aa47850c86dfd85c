"""Garbage in the registry: refused versions, their data, and what interrupted uploads left.

What may go is what somebody has decided against and nothing that stays needs; what nothing is known about stays.
The first half is pure; ``Collector`` reads the bucket, page by page, and removes. It can be cut off anywhere: data
sets go before the versions that name them, and pictures last, so that the next one finds the rest.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from puzzlenet.registry import PREFIX as VERSIONS
from puzzlenet.registry import Registry
from puzzlenet.store.bucket import POOL, Found
from puzzlenet.store.datasets import Datasets, image_key
from puzzlenet.store.decisions import Decision, Decisions
from puzzlenet.store.golden import GoldenSets
from puzzlenet.store.lineage import History, Origin

GRACE_S = 7 * 86_400.0
_BATCH = 200
_RUNS = "runs/"
_CHECKPOINT = "checkpoint.safetensors"


@dataclass(frozen=True, slots=True)
class Garbage:
    """What may go, and why each other one stays."""

    remove: tuple[str, ...]
    keep: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Lot:
    """Objects that nothing needs: how many, and their bytes."""

    count: int = 0
    size: int = 0

    def __add__(self, other: "Lot") -> "Lot":
        return Lot(self.count + other.count, self.size + other.size)


@dataclass(frozen=True, slots=True)
class DataFacts:
    """What is known about data sets, by digest of their manifests.

    ``dated``: seconds since 1970. ``users``: the versions that were trained on one. ``decided``: named by a run that
    has ended, or that nobody has touched for the grace time. ``running``: named by any other run.
    """

    dated: Mapping[str, float]
    parents: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    users: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    golden: Mapping[str, str] = field(default_factory=dict)
    decided: Collection[str] = ()
    running: Mapping[str, str] = field(default_factory=dict)


def garbage(
    dated: Mapping[str, float], parents: Mapping[str, str | None], log: Sequence[Decision], keep: int
) -> Garbage:
    """Which versions may be removed: refused ones that nothing is built on, but for the newest ``keep`` of them.

    Whatever was accepted or promoted stays, so champion and previous champion do; so does everything that they
    descend from; and so does a version that nothing was decided about, since somebody may serve it.
    """
    reasons: dict[str, str] = {}
    refused = {record.version for record in log if record.kind in ("Refused", "RolledBack") and record.version}
    for record in log:
        if record.version and record.kind in ("Accepted", "Promoted"):
            reasons.setdefault(record.version, f"{record.kind.lower()} on line {record.line}")
        if record.parent:
            reasons.setdefault(record.parent, f"was champion on line {record.line}")
    for version in dated:
        if version not in refused:
            reasons.setdefault(version, "nothing was decided about it")
    newest = sorted((v for v in refused if v in dated and v not in reasons), key=lambda v: (-dated[v], v))
    for version in newest[:keep]:
        reasons[version] = f"among the newest {keep} refused"
    _add_ancestors(reasons, {version: (parent,) if parent else () for version, parent in parents.items()})
    return _sorted(dated, reasons)


def data_garbage(facts: DataFacts, versions: Garbage, fresh: float) -> Garbage:
    """Which data sets may be removed: those of refused versions and refused runs that nothing else needs.

    ``fresh``: what was written since then (seconds since 1970) stays, for it may be part of something unfinished.
    """
    reasons: dict[str, str] = {}
    for digest, at in facts.dated.items():
        users = facts.users.get(digest, ())
        kept = [user for user in users if user in versions.keep]
        if kept:
            reasons[digest] = f"made {kept[0]}"
        elif digest in facts.golden:
            reasons[digest] = f"golden set {facts.golden[digest]} comes of it"
        elif digest in facts.running:
            reasons[digest] = f"run {facts.running[digest]} works with it"
        elif not users and digest not in facts.decided:
            reasons[digest] = "nothing was decided about what it made"
        elif at >= fresh:
            reasons[digest] = "written lately"
    _add_ancestors(reasons, facts.parents)
    return _sorted(facts.dated, reasons)


def _add_ancestors(reasons: dict[str, str], parents: Mapping[str, tuple[str, ...]]) -> None:
    for child in list(reasons):
        waiting = list(parents.get(child, ()))
        while waiting:
            parent = waiting.pop()
            if parent not in reasons:
                reasons[parent] = f"lineage of {child}"
                waiting.extend(parents.get(parent, ()))


def _sorted(dated: Mapping[str, float], reasons: Mapping[str, str]) -> Garbage:
    return Garbage(
        remove=tuple(sorted(name for name in dated if name not in reasons)),
        keep={name: reason for name, reason in sorted(reasons.items()) if name in dated},
    )


@dataclass(frozen=True, slots=True)
class Plan:
    """What would go. Pictures and leftovers are counted when they are looked at, for they can be millions."""

    versions: Garbage
    datasets: Garbage


class Collector:
    """One collection. ``now`` is seconds since 1970; what is younger than ``grace_s`` and unnamed stays."""

    def __init__(self, registry: Registry, *, keep: int, now: float, grace_s: float = GRACE_S) -> None:
        self._registry, self._bucket = registry, registry.bucket
        self._datasets = Datasets(registry.bucket)
        self._keep, self._fresh = keep, now - grace_s

    def plan(self, champions: Iterable[str] = ()) -> Plan:
        """What may go. ``champions`` are kept whatever the records say."""
        dated = self._registry.dated()
        history = History(self._registry)
        origins = {version: history.origin(version) for version in dated}
        decisions = Decisions(self._bucket)
        log = [record for line in decisions.lines() for record in decisions.log(line)]
        log += [
            Decision(at="1970-01-01T00:00:00+00:00", line="-", kind="Accepted", version=version, reason="named")
            for version in champions
        ]
        versions = garbage(dated, {version: origin.parent for version, origin in origins.items()}, log, self._keep)
        return Plan(versions, data_garbage(self._data_facts(origins), versions, self._fresh))

    def remove_named(self, plan: Plan, told: Callable[[str], None]) -> None:
        """Remove data sets, then versions; ``told`` hears of each when it is gone."""
        for digest in plan.datasets.remove:
            self._datasets.remove(digest)
            told(digest)
        for version in plan.versions.remove:
            self._registry.remove(version)
            told(version)

    def pictures(self, plan: Plan, *, delete: bool) -> Lot:
        """Pictures of no data set and no golden set that stays.

        Before each batch goes, data sets that came meanwhile are asked; a push looks again, after its manifest is
        visible, whether all its pictures are there.
        """
        asked = set(plan.datasets.remove)
        needed: set[bytes] = self._golden_pictures()
        found = Lot()
        unneeded = (item for item in self._bucket.walk("images/") if item.modified < self._fresh)
        while batch := list(islice(unneeded, _BATCH)):
            self._ask_new_datasets(needed, asked)
            gone = [item for item in batch if (name := _picture(item.key)) is not None and name not in needed]
            found += self._remove(gone, delete=delete)
        return found

    def leftovers(self, *, delete: bool) -> Lot:
        """Files of versions whose upload was never finished, and checkpoints of runs that were given up."""
        visible = {digest.replace(":", "-", 1) for digest in self._registry.versions()}
        found = Lot()
        parts = (item for item in self._stale(VERSIONS) if item.key.split("/")[1] not in visible)
        checkpoints = (item for item in self._stale(_RUNS) if item.key.endswith(f"/{_CHECKPOINT}"))
        for source in (parts, checkpoints):
            while batch := list(islice(source, _BATCH)):
                found += self._remove(batch, delete=delete)
        return found

    def _stale(self, prefix: str) -> Iterator[Found]:
        return (item for item in self._bucket.walk(prefix) if item.modified < self._fresh)

    def _remove(self, items: Sequence[Found], *, delete: bool) -> Lot:
        if delete:
            with ThreadPoolExecutor(POOL) as pool:
                list(pool.map(lambda item: self._bucket.remove(item.key), items))
        return Lot(len(items), sum(item.size for item in items))

    def _ask_new_datasets(self, needed: set[bytes], asked: set[str]) -> None:
        for digest in self._datasets.digests():
            if digest not in asked:
                needed.update(bytes.fromhex(entry.image) for entry in self._datasets.manifest(digest).entries)
                asked.add(digest)

    def _golden_pictures(self) -> set[bytes]:
        golden = GoldenSets(self._bucket)
        return {bytes.fromhex(image) for line in golden.lines() for one in golden.all(line) for image in one.images}

    def _data_facts(self, origins: Mapping[str, Origin]) -> DataFacts:
        dated = self._datasets.dated()
        parents: dict[str, tuple[str, ...]] = {}
        spelled: dict[str, str] = {}
        for digest in dated:
            manifest = self._datasets.manifest(digest)
            parents[digest] = manifest.parents
            spelled |= {digest: digest} | ({manifest.folder: digest} if manifest.folder else {})
        parents = {digest: tuple(spelled.get(one, one) for one in named) for digest, named in parents.items()}
        users: dict[str, tuple[str, ...]] = {}
        for version, origin in sorted(origins.items()):
            digest = spelled.get(origin.dataset or "", "")
            users[digest] = (*users.get(digest, ()), version)
        golden = GoldenSets(self._bucket)
        frozen = {spelled.get(one.dataset, one.dataset): one.name for at in golden.lines() for one in golden.all(at)}
        decided, running = self._runs()
        return DataFacts(dated=dated, parents=parents, users=users, golden=frozen, decided=decided, running=running)

    def _runs(self) -> tuple[set[str], dict[str, str]]:
        """The data sets of ended runs, and of those that go on."""
        decided, running = set[str](), dict[str, str]()
        touched: dict[str, float] = {}
        for item in self._bucket.walk(_RUNS):
            name = item.key.split("/")[1]
            touched[name] = max(touched.get(name, 0.0), item.modified)
        for name, at in sorted(touched.items()):
            state: Mapping[str, Any] = self._bucket.document(f"{_RUNS}{name}/state.json") or {}
            if (digest := state.get("dataset")) is None:
                continue
            if state.get("outcome") is not None or at < self._fresh:
                decided.add(digest)
            else:
                running[digest] = name
        return decided, running


def _picture(key: str) -> bytes | None:
    """The hash that a key of a picture is made of; None for anything else that lies there."""
    name = key.rpartition("/")[2]
    try:
        data = bytes.fromhex(name)
    except ValueError:
        return None
    return data if len(data) == 32 and key == image_key(name) else None
