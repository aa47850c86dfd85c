"""The stages of a run: what each takes, what it makes, and what it leaves in the bucket for a restart.

dataset → data quality → train → publish → gate. A stage that is done says so in ``state.json``; a run that was cut
off comes back to the first one that is not, with the same data, and goes on from the last checkpoint.
"""

import shutil
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch

from puzzlenet.errors import BadDataError, WorkerLostError
from puzzlenet.fit import Epoch, TrainConfig
from puzzlenet.gate import Paired, Verdict, decide
from puzzlenet.judging import costs, paired
from puzzlenet.manifest import Version
from puzzlenet.package import package
from puzzlenet.predictor import Predictor
from puzzlenet.quality.measure import Facts, Sample, measure
from puzzlenet.quality.report import Quality, judge
from puzzlenet.quality.suspicion import suspicion
from puzzlenet.records.observed import ObservedPredictor
from puzzlenet.registry import Registry
from puzzlenet.retrain.gather import (
    copies,
    default_golden,
    entries_of,
    kept_together,
    merged,
    target_entries,
    usable,
    wanted,
)
from puzzlenet.retrain.learning import learn
from puzzlenet.retrain.monitor import Labelled, Monitor
from puzzlenet.retrain.records import Run
from puzzlenet.retrain.rendezvous import Meeting, Solitary
from puzzlenet.retrain.settings import RetrainSettings
from puzzlenet.signing import check
from puzzlenet.store.datasets import DatasetManifest, Datasets, materialise
from puzzlenet.store.golden import Golden, GoldenEntry, GoldenSets

_REFERENCE = 400  # pictures of the champion's data that new ones are compared with
_FRUITLESS = 3  # rounds that end with a lost worker, and without an epoch, before worker 0 goes on alone


@dataclass(frozen=True, kw_only=True, slots=True)
class Champion:
    """The version to beat, verified, with what it was trained on."""

    version: Version
    predictor: ObservedPredictor
    provenance: dict[str, Any]
    data: DatasetManifest


@dataclass(frozen=True, kw_only=True, slots=True)
class Prepared:
    """What is trained on. ``numbers`` is the ``data`` of the outcome."""

    manifest: DatasetManifest
    golden: tuple[Golden, ...]
    numbers: dict[str, Any]


class DataRefusedError(Exception):
    """The new pictures may not be trained on; the message says why, with numbers."""

    def __init__(self, message: str, numbers: dict[str, Any]) -> None:
        super().__init__(message)
        self.numbers = numbers


@dataclass(frozen=True, kw_only=True, slots=True)
class Stages:
    """What every stage needs. ``work`` is a folder of this process alone; at ``meeting`` are those who train."""

    settings: RetrainSettings
    registry: Registry
    monitor: Monitor
    run: Run
    work: Path
    now: Callable[[], datetime]
    meeting: Meeting = field(default_factory=Solitary)
    datasets: Datasets = field(init=False)
    golden: GoldenSets = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "datasets", Datasets(self.registry.bucket))
        object.__setattr__(self, "golden", GoldenSets(self.registry.bucket))

    def champion(self) -> Champion:
        """Fetch and verify the champion; its signature too where there are keys."""
        self.run.progress(self.now(), "champion", version=self.settings.champion)
        version = self._pull(self.settings.champion, "champion")
        predictor = ObservedPredictor.load(version.folder, torch.device("cpu"))
        provenance = self.registry.document(version.digest, "provenance.json")
        data = provenance.get("dataset") or {}
        digest = data.get("manifest") or data.get("digest")
        if not digest:
            raise BadDataError(f"champion {version.digest} does not say which data it was trained on")
        return Champion(
            version=version, predictor=predictor, provenance=provenance, data=self.datasets.manifest(digest)
        )

    def prepare(self, champion: Champion) -> Prepared:
        """The data set of this run: made and checked once, and the same one after a restart."""
        golden = self._golden(champion)
        if (known := self.run.state.get("dataset")) is not None:
            return Prepared(manifest=self.datasets.manifest(known), golden=golden, numbers=self.run.state["data"])
        self.run.progress(self.now(), "dataset")
        rows = self.monitor.labelled(self.settings.namespace, self.settings.model)
        fresh = wanted(rows, champion.data, self.settings.max_images)
        pictures = self.monitor.pictures([row.id for row in fresh])
        measured = [
            (row, measure(Sample(data=pictures[row.id], label=row.truth, source=row.id, late_s=row.late_s)))
            for row in fresh
            if row.id in pictures
        ]
        numbers: dict[str, Any] = {"images": len(champion.data.entries), "new": len(measured), "labels": len(rows)}
        quality = self._quality(champion, measured)
        if not quality.passed:
            raise DataRefusedError(quality.sentence, numbers)
        kept = usable(measured, {entry.image for entry in champion.data.entries})
        if len(kept) < self.settings.limits.min_images:
            needed = self.settings.limits.min_images
            raise DataRefusedError(f"volume: {len(kept)} of the new pictures can be used; {needed} are needed", numbers)
        entries, unit = entries_of(kept, self.settings.test_share, self.settings.seed)
        frozen = {image for one in golden for image in one.images}
        manifest = merged(champion.data, entries, self.settings.line, frozen)
        data = {facts.image: facts.sample.data for _, facts in kept}
        self.datasets.push(manifest, lambda image: data[image] if image in data else self.datasets.image(image))
        numbers |= {"images": len(manifest.entries), "new": len(entries), "kept_together": unit}
        self.run.note(dataset=manifest.digest, data=numbers)
        return Prepared(manifest=manifest, golden=golden, numbers=numbers)

    def challenger(self, champion: Champion, prepared: Prepared) -> Version:
        """Train, package, sign and publish; after a restart the version that was published."""
        if (known := self.run.state.get("version")) is not None:
            return self._pull(known, "challenger")
        folder = self.lay_out(champion, prepared.manifest)
        self._train(folder, self.recipe(champion), champion.version.folder)
        version = package(
            self.work / "run",
            self.work / "challenger",
            accept=champion.predictor.config.serving.accept,
            views=champion.predictor.config.serving.views,
            parent=champion.version.digest,
            sign_key=self.settings.sign_key,
            made_by={"name": self.settings.run, "trigger": self.settings.trigger},
        )
        self.run.progress(self.now(), "publish", version=version.digest)
        self.registry.push(version.folder)
        self.run.note(version=version.digest)
        return version

    def lay_out(self, champion: Champion, manifest: DatasetManifest) -> Path:
        """The folder that is trained on: the same for every worker."""
        folder = self.work / "data"
        train_side = manifest.of("train")
        images = self.datasets.images([entry.image for entry in train_side])
        unit = kept_together(manifest, champion.data)
        materialise(manifest, train_side, images, folder, copies(manifest, champion.data), unit)
        return folder

    def recipe(self, champion: Champion) -> TrainConfig:
        """The champion's own options, with those of this run on top."""
        known = {one.name for one in fields(TrainConfig)}
        options = {key: value for key, value in (champion.provenance.get("parameters") or {}).items() if key in known}
        options |= {"device": self.settings.device, "threads": self.settings.threads, "seed": self.settings.seed}
        if self.settings.epochs is not None:
            options["epochs"] = self.settings.epochs
        return TrainConfig(**options)

    def gate(self, champion: Champion, challenger: Version, prepared: Prepared) -> Verdict:
        """Both versions on the held-out new pictures and on every golden set."""
        self.run.progress(self.now(), "gate", version=challenger.digest)
        if self.settings.verify_keys:
            check(challenger, self.settings.verify_keys)
        old, new = champion.predictor, Predictor.load(challenger.folder)
        target = target_entries(prepared.manifest, champion.data)
        everything = {entry.image for entry in target} | {image for one in prepared.golden for image in one.images}
        images = self.datasets.images(everything)
        sets: list[Paired] = [paired("new pictures", "target", target, images, old, new)]
        sets += [paired(f"golden {one.name}", "golden", one.entries, images, old, new) for one in prepared.golden]
        some = images[min(images)]
        costs_of = costs((old, champion.version.folder), (new, challenger.folder), some)
        verdict = decide(sets, self.settings.rules, *costs_of)
        self.run.report("gate.json", verdict.to_dict())
        return verdict

    def freeze(self, champion: Champion, prepared: Prepared) -> None:
        """What the accepted challenger was judged on becomes part of the line's golden set."""
        line = self.settings.line
        before = self.golden.newest(line)
        mine = [*(before.entries if before else ()), *target_entries(prepared.manifest, champion.data)]
        self.golden.freeze(line, mine, prepared.manifest.digest, self.now())

    def _golden(self, champion: Champion) -> tuple[Golden, ...]:
        """The golden sets that this run is judged on: the newest of each line when it began, even after a restart."""
        if (known := self.run.state.get("golden")) is not None:
            return tuple(self.golden.read(line, number) for line, number in known)
        found = []
        for line in sorted({*champion.data.lines, self.settings.line}):
            newest = self.golden.newest(line)
            if newest is None:
                entries: list[GoldenEntry] = default_golden(champion.data, champion.provenance, line)
                newest = self.golden.freeze(line, entries, champion.data.digest, self.now()) if entries else None
            if newest is not None:
                found.append(newest)
        self.run.note(golden=[[one.line, one.number] for one in found])
        return tuple(found)

    def _quality(self, champion: Champion, measured: list[tuple[Labelled, Facts]]) -> Quality:
        self.run.progress(self.now(), "data quality", new=len(measured))
        home = champion.data.of("train") or champion.data.entries
        keep = np.random.default_rng(0).permutation(len(home))[:_REFERENCE]
        reference = [
            measure(Sample(data=self.datasets.image(home[i].image), label=home[i].label, source=home[i].source or ""))
            for i in keep
        ]
        facts = [one for _, one in measured]
        noise = suspicion(champion.version.folder, champion.predictor, facts)
        title = f"Data of run {self.settings.run}, line {self.settings.line}"
        quality = judge(title, facts, reference, self.settings.limits, noise)
        self.run.report("quality.json", quality.to_dict())
        self.run.page("quality.html", quality.to_html())
        return quality

    def _train(self, folder: Path, config: TrainConfig, start: Path) -> None:
        """Train with whoever comes; after a loss all go on from the checkpoint."""
        losses = 0

        def tell(epoch: Epoch) -> None:
            nonlocal losses
            losses = 0
            self.run.progress(
                self.now(),
                "train",
                epoch=epoch.number,
                of=epoch.of,
                loss=round(epoch.loss, 4),
                accuracy=round(epoch.accuracy, 4),
                eta_s=round(epoch.eta),
            )

        def begin_anew(why: str) -> None:
            self.run.progress(self.now(), "train", again=why)
            self.run.drop_checkpoint()

        kept = self.run.checkpoint(self.settings.checkpoint_every, config.epochs)
        while True:
            try:
                with self.meeting.meet(alone=losses >= _FRUITLESS) as team:
                    learn(folder, self.work / "run", config, start, team, kept, tell, begin_anew)
                return
            except WorkerLostError as exc:
                losses += 1
                self.run.progress(self.now(), "train", again=str(exc))

    def _pull(self, digest: str, name: str) -> Version:
        folder = self.work / name
        shutil.rmtree(folder, ignore_errors=True)
        version = self.registry.pull(digest, folder)
        if self.settings.verify_keys:
            check(version, self.settings.verify_keys)
        return version
