"""Which pictures are held out: a share of every class, and never one half of what belongs together.

Two pictures of one piece, or of one minute of one line, look alike; with one of them in training and the other in
the test, a model is praised for what it has seen. Pure functions; the same input gives the same split.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Mask = NDArray[np.bool_]


def hold_out(labels: Ints, share: float, seed: int, groups: Sequence[str] | None = None) -> Mask:
    """Which of n pictures are held out: about ``share`` of every class, one at least. Groups stay whole."""
    if groups is None:
        return _single(labels, share, seed)
    return _grouped(labels, share, seed, groups)


def together(pieces: Sequence[str], moments: Sequence[str | None], images: Sequence[str]) -> list[str]:
    """The group of each picture: those with the same piece, moment or bytes are in one, over any number of steps."""
    parent: dict[tuple[str, str], tuple[str, str]] = {}

    def root(node: tuple[str, str]) -> tuple[str, str]:
        parent.setdefault(node, node)
        while parent[node] != node:
            parent[node] = parent[parent[node]]
            node = parent[node]
        return node

    for piece, moment, image in zip(pieces, moments, images, strict=True):
        own = root(("image", image))
        for other in (("piece", piece), ("moment", moment)):
            if other[1] is not None:
                parent[root((other[0], other[1]))] = own
                own = root(own)
    return [":".join(root(("image", image))) for image in images]


def _single(labels: Ints, share: float, seed: int) -> Mask:
    rng = np.random.default_rng(seed)
    held = np.zeros(len(labels), dtype=bool)
    for label in np.unique(labels):
        members = rng.permutation(np.flatnonzero(labels == label))
        held[members[: max(1, round(share * len(members)))]] = True
    return held


def _grouped(labels: Ints, share: float, seed: int, groups: Sequence[str]) -> Mask:
    """Groups in random order, each taken while it brings more of what is missing than of what is not."""
    classes, coded = np.unique(labels, return_inverse=True)
    names, group_of = np.unique(np.asarray(groups), return_inverse=True)
    table = np.zeros((len(names), len(classes)), dtype=np.int64)
    np.add.at(table, (group_of, coded), 1)
    total = table.sum(axis=0)
    wanted = np.maximum(1, np.round(share * total)).astype(np.int64)
    have = np.zeros_like(total)
    taken = np.zeros(len(names), dtype=bool)
    for index in np.random.default_rng(seed).permutation(len(names)):
        row = table[index]
        useful = int(np.minimum(row, np.maximum(wanted - have, 0)).sum())
        if 2 * useful > int(row.sum()) and not bool(np.any((row > 0) & (have + row >= total))):
            taken[index] = True
            have += row
    held: Mask = taken[group_of]
    return held
