"""From what there is to what is trained on: which pictures are new, which side each goes to. Pure."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC
from typing import Any

import numpy as np

from puzzlenet.errors import BadDataError
from puzzlenet.quality.measure import Facts, Sample
from puzzlenet.retrain.monitor import Labelled
from puzzlenet.splits import hold_out
from puzzlenet.store.datasets import DatasetManifest, Entry, Side, groups_of
from puzzlenet.store.golden import GoldenEntry

_MOST_COPIES = 6
_ENOUGH_GROUPS = 10
# Leading signs of a time that make a moment: a minute, ten seconds, a second, nothing.
UNITS = {"minute": 16, "ten seconds": 18, "second": 19, "piece": 0}


@dataclass(frozen=True, kw_only=True, slots=True)
class NewPicture:
    """A labelled picture that the champion was not trained on."""

    row: Labelled
    sample: Sample


def wanted(rows: Sequence[Labelled], base: DatasetManifest, most: int | None) -> list[Labelled]:
    """Rows that are not in the champion's data yet; of too many the newest."""
    known = {entry.prediction for entry in base.entries}
    fresh = sorted((row for row in rows if row.id not in known), key=lambda row: (row.at, row.id))
    return fresh if most is None else fresh[-most:]


def usable(pictures: Sequence[tuple[Labelled, Facts]], known: Collection[str]) -> list[tuple[Labelled, Facts]]:
    """What may be trained on: decodable, not known, each picture once, and none that was given two labels."""
    labels: dict[str, set[str]] = {}
    for row, facts in pictures:
        labels.setdefault(facts.image, set()).add(row.truth)
    kept: dict[str, tuple[Labelled, Facts]] = {}
    for row, facts in pictures:
        if facts.error is None and facts.image not in known and len(labels[facts.image]) == 1:
            kept.setdefault(facts.image, (row, facts))
    return list(kept.values())


def entries_of(pictures: Sequence[tuple[Labelled, Facts]], share: float, seed: int) -> tuple[list[Entry], str]:
    """Entries with about ``share`` of them on the test side, and the unit of time that is kept together.

    The coarsest unit that leaves every class on both sides: where all pictures are of two minutes, holding out a
    minute would leave nothing to judge on.
    """
    plain = [
        Entry(
            image=facts.image,
            label=row.truth,
            line=row.line,
            time=row.at.astimezone(UTC).isoformat(timespec="microseconds"),
            source=row.id.rpartition(":")[0] or row.id,
            prediction=row.id,
        )
        for row, facts in pictures
    ]
    labels = np.unique([entry.label for entry in plain], return_inverse=True)[1].astype(np.int64)
    counts = np.bincount(labels)
    held, chosen = np.zeros(len(plain), dtype=bool), "piece"
    for name, unit in UNITS.items():
        held, chosen = hold_out(labels, share, seed, groups_of(plain, unit)), name
        got = np.bincount(labels[held], minlength=len(counts))
        if 0.5 * share <= held.mean() <= 1.5 * share and bool(np.all((got > 0) | (counts < 1 / share))):
            break
    sides: tuple[Side, Side] = ("train", "test")
    return [entry.model_copy(update={"split": sides[int(hit)]}) for entry, hit in zip(plain, held, strict=True)], chosen


def merged(base: DatasetManifest, new: Sequence[Entry], line: str, golden: Collection[str]) -> DatasetManifest:
    """The champion's data and the new pictures. What is in a golden set is on the test side, wherever it was."""
    labels = dict.fromkeys([*base.classes, *sorted({entry.label for entry in new})])
    entries = [
        entry.model_copy(update={"split": "test"}) if entry.image in golden else entry
        for entry in [*base.entries, *new]
    ]
    return DatasetManifest(
        line=line,
        classes=tuple(labels),
        symmetries=base.symmetries,
        profile=base.profile,
        parents=(base.digest,),
        entries=tuple(entries),
    )


def default_golden(base: DatasetManifest, provenance: Mapping[str, Any], line: str) -> list[GoldenEntry]:
    """The held-out part of the champion's data: its test side, or else what its training held out to validate.

    Training draws that from the order of the folder by its seed, so it can be drawn again; with another folder than
    the one that was trained on that would be a lie, and BadDataError says so.
    """
    marked = [entry for entry in base.of("test") if entry.line == line]
    if marked:
        return [GoldenEntry(image=entry.image, label=entry.label) for entry in marked]
    if not any(entry.line == line for entry in base.entries):
        return []
    data, parameters = provenance.get("dataset") or {}, provenance.get("parameters") or {}
    if base.folder is None or data.get("digest") != base.folder:
        raise BadDataError(
            f"data set {base.digest} has no test side, and the champion was not trained on just this folder: freeze a "
            f"golden set first (`puzzlenet golden freeze --line {line} DATASET`)"
        )
    order = sorted(base.entries, key=lambda entry: (base.classes.index(entry.label), entry.source or ""))
    labels = np.array([base.classes.index(entry.label) for entry in order], dtype=np.int64)
    held = hold_out(labels, float(parameters.get("validation", 0.15)), int(parameters.get("seed", 0)))
    return [
        GoldenEntry(image=entry.image, label=entry.label)
        for entry, hit in zip(order, held, strict=True)
        if hit and entry.line == line
    ]


def target_entries(manifest: DatasetManifest, base: DatasetManifest) -> list[GoldenEntry]:
    """The held-out part of what is new in a data set."""
    known = {entry.image for entry in base.entries}
    return [
        GoldenEntry(image=entry.image, label=entry.label) for entry in manifest.of("test") if entry.image not in known
    ]


def copies(manifest: DatasetManifest, base: DatasetManifest) -> dict[str, int]:
    """How often each new picture is trained on in an epoch: a new product is rare at first, and would be drowned."""
    new = _new(manifest, base)
    if not new:
        return {}
    times = max(1, min(_MOST_COPIES, round((len(manifest.of("train")) - len(new)) / len(new))))
    return {entry.image: times for entry in new}


def kept_together(manifest: DatasetManifest, base: DatasetManifest) -> int:
    """Leading signs of a time within which pictures are on one side when training holds some out to validate.

    The coarsest unit of which the new pictures fill several. Of two minutes neither is a small share, so none would be
    held out: the best epoch would be chosen on old pictures alone, and be the one that has learnt nothing yet.
    """
    new = _new(manifest, base)
    enough = (unit for unit in UNITS.values() if len(set(groups_of(new, unit))) >= _ENOUGH_GROUPS)
    return next(enough, UNITS["piece"])


def _new(manifest: DatasetManifest, base: DatasetManifest) -> list[Entry]:
    known = {entry.image for entry in base.entries}
    return [entry for entry in manifest.of("train") if entry.image not in known]
