"""The detectors of alibi-detect behind our interface: loaded only where a model asks for them.

alibi-detect from 0.11.5 on is under the Business Source License 1.1: production use needs a licence (docs/drift.md).

What 0.13.0 leaves to its callers is done here. Tests are appended to an array for ever: only `score` is called, and
what grows nevertheless is cut. Thresholds, chosen references and kernel widths are not part of its saved state, and
its saved state is a pickle: arrays are taken out of the object and put back by ours. Its random choices come from
global generators: they are seeded while a detector is made, and left as they were.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from puzzle_drift.core.detector import Arrays, Detector, Look
from puzzle_drift.core.records import Floats, Record, Reference, Refused
from puzzle_drift.core.sizing import MIB, Cost, Plan, plan
from puzzle_drift.core.wanted import DriftSettings

try:
    from puzzle_drift.adapters import alibi_objects as objects
except ImportError as error:
    _missing: str | None = str(error)
else:
    _missing = None

_FLAT = 1e-6
"""Standard deviation below which a number of the embedding is left out: LSDD would divide by it."""
_GOLDEN = 0x9E3779B97F4A7C15


def backend() -> Alibi:
    """The backend. Raises Refused if alibi-detect is not installed."""
    if _missing is not None:
        raise Refused(
            f"alibi-detect is not installed in this worker ({_missing}): install it with "
            "pip install 'puzzlemodel[drift,alibi]', or set drift.backend to builtin"
        )
    return Alibi()


def spread(number: int) -> float:
    """A number in [0, 1) that looks random and always comes out the same."""
    return (number * _GOLDEN % (1 << 64)) / (1 << 64)


class _Online:
    """What the four online detectors share: an object of alibi-detect, asked for its score."""

    name = ""

    def __init__(self, object_: Any) -> None:
        self._object = object_

    def arrays(self) -> dict[str, NDArray[Any]]:
        """State, thresholds and choices."""
        return objects.taken_out(self._object)


class _OnEmbeddings(_Online):
    """MMD and LSDD: one statistic of a window that begins full of references."""

    def __init__(self, object_: Any, name: str, kept: NDArray[np.intp], size: int) -> None:
        super().__init__(object_)
        self.name, self._kept, self._size = name, kept, size

    def usable(self, record: Record) -> bool:
        """It has an embedding of the reference's size, of finite numbers: alibi-detect would answer NaN for ever."""
        embedding = record.embedding
        return embedding is not None and len(embedding) == self._size and bool(np.isfinite(embedding).all())

    def look(self, record: Record) -> Look:
        """One more image."""
        score = float(self._object.score(np.array(record.embedding, dtype=np.float32)[self._kept]))
        threshold = float(self._object.get_threshold(self._object.t))
        return Look(score, threshold, score > threshold)


class _OnConfidence(_Online):
    """CVM on the confidence. Equal confidences, such as many 1.0, are put in an order of their own."""

    name = "CVM"

    def usable(self, record: Record) -> bool:
        """Its confidence is a number."""
        return math.isfinite(record.confidence)

    def look(self, record: Record) -> Look | None:
        """One more image; nothing until the window is full."""
        value = untied(np.array([record.confidence]), np.array([spread(record.seq)]))
        return _tested(self._object, self._object.score(value))


class _OnErrors(_Online):
    """FET on whether labelled images were wrong."""

    name = "FET"

    def usable(self, record: Record) -> bool:
        """It has a label."""
        return record.truth is not None

    def look(self, record: Record) -> Look | None:
        """One more label. A tie with the threshold is decided by the seq, where alibi-detect draws lots."""
        scores = self._object.score(np.array([int(record.truth != record.label)]))
        self._object.test_stats = scores[None]
        look = _tested(self._object, scores)
        if look is None or look.score != look.threshold:
            return look
        share = float(self._object.permit_probs[min(self._object.t, len(self._object.thresholds)) - 1, 0])
        return Look(look.score, look.threshold, spread(record.seq) > share)


def _tested(object_: Any, scores: Floats) -> Look | None:
    objects.cut(object_)
    score = float(np.max(scores))
    threshold = float(np.max(object_.get_threshold(object_.t - 1)))
    return None if math.isnan(score) else Look(score, threshold, score > threshold)


class _Ks:
    """Kolmogorov and Smirnov's test of every class's probability, window by window. Scores are -log10(p)."""

    name = "KS, as -log10(p),"

    def __init__(self, object_: Any, run: float, window: Floats, filled: int) -> None:
        self._object, self._run, self._window, self._filled = object_, run, window, filled

    def usable(self, record: Record) -> bool:
        """It has as many probabilities as the reference has classes."""
        return len(record.probabilities) == self._window.shape[1] and all(map(math.isfinite, record.probabilities))

    def look(self, record: Record) -> Look | None:
        """A test when the window is full; then the next one begins."""
        self._window[self._filled] = record.probabilities
        self._filled += 1
        if self._filled < len(self._window):
            return None
        self._filled = 0
        found = self._object.predict(self._window, drift_type="batch", return_p_val=True)["data"]
        # Bonferroni's, because the probabilities of classes depend on each other.
        p_value = min(1.0, float(np.min(found["p_val"])) * self._window.shape[1])
        score, threshold = -math.log10(max(p_value, 1e-300)), math.log10(self._run)
        return Look(score, threshold, score > threshold, p_value)

    def arrays(self) -> dict[str, NDArray[Any]]:
        """The window that is being filled."""
        return {"window": self._window, "filled": np.array([self._filled])}


def untied(values: Floats, spread_: Floats) -> Floats:
    """Confidences, to the seven digits that records carry, with equal ones told apart."""
    return (np.round(values, 6) + 1e-7 * spread_)[:, None]


def _online(step: int) -> Callable[[Plan], int]:
    """Bytes of CVM and FET: streams by their length, and a batch of comparisons of everything with everything."""

    def needed(sizes: Plan) -> int:
        length = 2 * sizes.window - 1
        return 160 * MIB + 64 * sizes.streams * length + step * (sizes.references + length) ** 2

    return needed


# Bytes as measured: 2,000 and 10,000 streams of 1,000 references, and half of the references (docs/drift.md).
COSTS: Mapping[str, Cost] = {
    "MMDOnline": Cost(lambda s: 64 * MIB + 24 * s.streams * s.references + 24 * s.references**2, 500),
    "LSDDOnline": Cost(lambda s: 96 * MIB + 18 * s.window * s.streams * s.references, 200),
    "CVMOnline": Cost(_online(objects.BATCH * 4 if _missing is None else 0), 500),
    "FETOnline": Cost(_online(0), 1_000),
    "KS": Cost(lambda s: 64 * MIB + 64 * s.references * s.window, 10_000, windows=True, window=100),
}


class Alibi:
    """The backend."""

    def plan(self, wanted: DriftSettings, reference: Reference, memory: int) -> Plan:
        """Sizes that fit. FET wants errors among the references."""
        if wanted.detector == "FETOnline" and not reference.correct.any():
            raise Refused(
                "every piece of the version's reference is wrong: FETOnline has nothing to hold errors against"
            )
        return plan(wanted, reference.size, memory, COSTS[wanted.detector])

    def build(self, wanted: DriftSettings, plan: Plan, reference: Reference, seed: int, /) -> Detector:
        """Simulate thresholds with alibi-detect's own code, then make the detector as after a restart.

        The numbers alone do not do: a matrix that the simulation left transposed in memory is multiplied in another
        order than its stored copy, and the last bits of LSDD differ.
        """
        picked = np.sort(np.random.default_rng(seed).permutation(reference.size)[: plan.references])
        try:
            with objects.seeded(seed):
                arrays = _made(wanted, plan, reference, picked, None).arrays()
        except ValueError as error:
            raise Refused(f"alibi-detect refuses {wanted.detector} with {plan}: {error}") from error
        return self.restore(wanted, plan, reference, arrays)

    def restore(self, wanted: DriftSettings, plan: Plan, reference: Reference, arrays: Arrays, /) -> Detector:
        """The same objects with the stored numbers in them; nothing is simulated."""
        return _made(wanted, plan, reference, arrays["picked"], arrays)


class _Picked:
    """A detector together with the references that were picked for it."""

    def __init__(self, inner: Any, picked: NDArray[np.intp]) -> None:
        self._inner, self._picked, self.name = inner, picked, str(inner.name)

    def usable(self, record: Record) -> bool:
        return bool(self._inner.usable(record))

    def look(self, record: Record) -> Look | None:
        look: Look | None = self._inner.look(record)
        return look

    def arrays(self) -> dict[str, NDArray[Any]]:
        return {**self._inner.arrays(), "picked": self._picked}


def _made(
    wanted: DriftSettings, plan: Plan, reference: Reference, picked: NDArray[np.intp], stored: Arrays | None
) -> Detector:
    make = {"MMDOnline": _mmd, "LSDDOnline": _lsdd, "CVMOnline": _cvm, "FETOnline": _fet, "KS": _ks}
    return _Picked(make[wanted.detector](plan, reference, picked, stored), picked)


def _mmd(plan: Plan, reference: Reference, picked: NDArray[np.intp], stored: Arrays | None) -> _OnEmbeddings:
    embeddings = reference.embeddings[picked].astype(np.float32)
    kept = np.arange(embeddings.shape[1])
    return _OnEmbeddings(objects.mmd(plan, embeddings, stored), "MMD", kept, embeddings.shape[1])


def _lsdd(plan: Plan, reference: Reference, picked: NDArray[np.intp], stored: Arrays | None) -> _OnEmbeddings:
    embeddings = reference.embeddings[picked].astype(np.float32)
    kept = np.flatnonzero(embeddings.std(axis=0) > _FLAT)
    if len(kept) == 0:
        raise Refused("all embeddings of the version's reference are equal: they say nothing about what is normal")
    return _OnEmbeddings(objects.lsdd(plan, embeddings[:, kept], stored), "LSDD", kept, embeddings.shape[1])


def _cvm(plan: Plan, reference: Reference, picked: NDArray[np.intp], stored: Arrays | None) -> _OnConfidence:
    values = untied(reference.confidence[picked], np.array([spread(-int(index) - 1) for index in picked]))
    return _OnConfidence(objects.cvm(plan, values, stored))


def _fet(plan: Plan, reference: Reference, picked: NDArray[np.intp], stored: Arrays | None) -> _OnErrors:
    errors = (~reference.correct[picked]).astype(np.int64)
    if not errors.any():  # a reference without any error would make every error an alarm
        errors = np.append(errors, 1)
    return _OnErrors(objects.fet(plan, errors[:, None], stored))


def _ks(plan: Plan, reference: Reference, picked: NDArray[np.intp], stored: Arrays | None) -> _Ks:
    probabilities = reference.probabilities[picked]
    window = np.zeros((plan.window, probabilities.shape[1])) if stored is None else stored["window"].copy()
    filled = 0 if stored is None else int(stored["filled"][0])
    return _Ks(objects.ks(plan, probabilities), plan.run, window, filled)
