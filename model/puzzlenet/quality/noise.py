"""Are the labels likely to be right? Two opinions that need no clean labels, each used only where it can tell.

The champion's: of pictures that look like those it was trained on (their embedding is as near to the version's
reference as the reference is to itself), the share whose label contradicts a confident answer.
The neighbours': out-of-fold k-nearest neighbours on the champion's embeddings, counting the pictures whose
neighbours agree among each other. It is asked where the champion cannot tell. Where a new product drifted away from
what the champion has learnt, neither can; then only the gate can, which asks the challenger for its recall on held-out
labels.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Mask = NDArray[np.bool_]

CONFIDENT = 0.9
NEIGHBOURS = 30
AGREED = 0.5
_ENOUGH = 40  # pictures that an opinion rests on, at least
# Of them that the neighbours must agree about, or the embedding does not tell classes apart: with a champion that had
# begun to learn a product they agreed about 75 % of well labelled pictures, and were wrong about a quarter of those.
_SHARE = 0.9
_FAMILIAR = 0.95
_NEAREST = 5


@dataclass(frozen=True, kw_only=True, slots=True)
class Opinion:
    """What one of the two says. ``share`` of ``judged`` pictures look mislabelled; None: it cannot tell."""

    who: str
    share: float | None
    judged: int
    suspicious: Mask
    reason: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Evidence:
    """What the champion makes of n new pictures, and its reference of m pieces; ``labels`` index its classes, or -1."""

    embeddings: Floats
    probabilities: Floats
    labels: Ints
    reference: Floats


def opinions(evidence: Evidence) -> tuple[Opinion, Opinion]:
    """The champion's and the neighbours' opinion."""
    return _champion(evidence), _neighbours(evidence)


def _champion(evidence: Evidence) -> Opinion:
    called = evidence.probabilities.argmax(axis=1)
    sure = evidence.probabilities.max(axis=1) >= CONFIDENT
    judged = sure & familiar(evidence.embeddings, evidence.reference) & (evidence.labels >= 0)
    suspicious = judged & (called != evidence.labels)
    count = int(judged.sum())
    if count < _ENOUGH:
        return Opinion(
            who="champion",
            share=None,
            judged=count,
            suspicious=np.zeros_like(judged),
            reason=f"only {count} of {len(judged)} pictures look like those that the champion was trained on",
        )
    return Opinion(
        who="champion",
        share=float(suspicious.sum() / count),
        judged=count,
        suspicious=suspicious,
        reason=f"{int(suspicious.sum())} of {count} labels contradict a champion that is sure",
    )


def _neighbours(evidence: Evidence) -> Opinion:
    count = len(evidence.labels)
    if count < 2 * NEIGHBOURS:
        return Opinion(
            who="neighbours",
            share=None,
            judged=0,
            suspicious=np.zeros(count, dtype=bool),
            reason=f"{count} pictures are too few to compare with their neighbours",
        )
    votes = _votes(evidence.embeddings, evidence.labels)
    agreed = votes.max(axis=1) >= AGREED
    suspicious = agreed & (votes.argmax(axis=1) != evidence.labels)
    judged = int(agreed.sum())
    if judged < max(_ENOUGH, _SHARE * count):
        return Opinion(
            who="neighbours",
            share=None,
            judged=judged,
            suspicious=np.zeros(count, dtype=bool),
            reason=f"neighbours agree about {judged} of {count} pictures only: the champion's embedding "
            "does not tell these classes apart",
        )
    return Opinion(
        who="neighbours",
        share=float(suspicious.sum() / judged),
        judged=judged,
        suspicious=suspicious,
        reason=f"{int(suspicious.sum())} of {judged} labels contradict neighbours that agree",
    )


def familiar(embeddings: Floats, reference: Floats) -> Mask:
    """Which pictures are as near to the reference as 95 % of the reference is to the rest of itself."""
    mean, deviation = reference.mean(axis=0), reference.std(axis=0) + 1e-6
    home, new = (reference - mean) / deviation, (embeddings - mean) / deviation
    near = min(_NEAREST, len(home) - 1)
    if near < 1:
        return np.zeros(len(new), dtype=bool)
    own = np.sort(_distances(home, home), axis=1)[:, near]  # column 0 is the piece itself
    found: Mask = np.sort(_distances(new, home), axis=1)[:, near - 1] <= np.quantile(own, _FAMILIAR)
    return found


def _distances(left: Floats, right: Floats) -> Floats:
    squares = (left**2).sum(axis=1)[:, None] + (right**2).sum(axis=1)[None, :] - 2.0 * left @ right.T
    distances: Floats = np.sqrt(np.maximum(squares, 0.0))
    return distances


def _votes(embeddings: Floats, labels: Ints) -> Floats:
    """Share of each class among the nearest neighbours of each picture, without the picture itself."""
    unit = (embeddings - embeddings.mean(axis=0)) / (embeddings.std(axis=0) + 1e-6)
    unit /= np.linalg.norm(unit, axis=1, keepdims=True) + 1e-9
    classes = int(labels.max()) + 1
    votes = np.zeros((len(labels), classes))
    for start in range(0, len(labels), 1024):
        likeness = unit[start : start + 1024] @ unit.T
        rows = np.arange(len(likeness))
        likeness[rows, start + rows] = -np.inf
        nearest = np.argpartition(-likeness, NEIGHBOURS, axis=1)[:, :NEIGHBOURS]
        for column in range(NEIGHBOURS):
            found = labels[nearest[:, column]]
            known = found >= 0
            votes[start + rows[known], found[known]] += 1.0 / NEIGHBOURS
    return votes
