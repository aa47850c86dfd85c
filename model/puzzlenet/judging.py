"""Two versions on the same pictures: the answers and costs that the gate decides on."""

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from puzzlenet.dataset import open_dataset
from puzzlenet.files import sha256_of
from puzzlenet.gate import Answers, Cost, Paired, Role, Rules, Verdict, decide
from puzzlenet.images import read_image
from puzzlenet.manifest import verify
from puzzlenet.predictor import Predictor
from puzzlenet.store.golden import GoldenEntry

_TIMED = 60
_WARM = 5
Clock = Callable[[], float]


def answers(predictor: Predictor, pictures: Sequence[bytes]) -> Answers:
    """What a version says, as it would when served; the formats that a server takes do not count here."""
    size = predictor.config.image_size
    pixels = [read_image(data, size) for data in pictures]
    probabilities = predictor.probabilities(np.stack(pixels)) if pixels else np.zeros((0, 1))
    classes = predictor.config.classes
    return Answers(
        called=tuple(classes[int(row.argmax())] for row in probabilities),
        confidence=tuple(round(float(row.max()), 6) for row in probabilities),
    )


def paired(
    name: str,
    role: Role,
    entries: Sequence[GoldenEntry],
    images: Mapping[str, bytes],
    champion: Predictor,
    challenger: Predictor,
) -> Paired:
    """Both versions on one set."""
    pictures = [images[entry.image] for entry in entries]
    return Paired(
        name=name,
        role=role,
        truth=tuple(entry.label for entry in entries),
        champion=answers(champion, pictures),
        challenger=answers(challenger, pictures),
    )


def costs(
    champion: tuple[Predictor, Path],
    challenger: tuple[Predictor, Path],
    picture: bytes,
    clock: Clock = time.perf_counter,
) -> tuple[Cost, Cost]:
    """Median seconds of one prediction, decode included, measured in turns so that a busy moment strikes both."""
    pair = (champion, challenger)
    taken: tuple[list[float], list[float]] = ([], [])
    for turn in range(_TIMED + _WARM):
        for (predictor, _), times in zip(pair, taken, strict=True):
            started = clock()
            predictor.probabilities(np.stack([read_image(picture, predictor.config.image_size)]))
            if turn >= _WARM:
                times.append(clock() - started)
    old, new = (
        Cost(latency_s=round(statistics.median(times), 6), bytes=(folder / "model.safetensors").stat().st_size)
        for (_, folder), times in zip(pair, taken, strict=True)
    )
    return old, new


def judge_folders(
    champion: Path, challenger: Path, golden: Sequence[Path], target: Path | None, rules: Rules
) -> Verdict:
    """The gate on version folders and labelled folders. Raises BadVersionError or BadDataError."""
    old, new = Predictor.load(verify(champion).folder), Predictor.load(verify(challenger).folder)
    named: list[tuple[Role, Path]] = [("golden", folder) for folder in golden]
    if target is not None:
        named.insert(0, ("target", target))
    sets, some = [], b""
    for role, folder in named:
        dataset = open_dataset(folder)
        entries, images = [], {}
        for path, label in dataset.items:
            some = path.read_bytes()
            image = sha256_of(some)
            images[image] = some
            entries.append(GoldenEntry(image=image, label=dataset.classes[label]))
        sets.append(paired(folder.name, role, entries, images, old, new))
    return decide(sets, rules, *costs((old, champion), (new, challenger), some))
