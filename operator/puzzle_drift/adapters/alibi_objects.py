"""Objects of alibi-detect 0.13, made with simulated thresholds or with stored numbers. Importing it imports torch."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from alibi_detect.cd import CVMDriftOnline, FETDriftOnline, KSDrift
from alibi_detect.cd.pytorch.lsdd_online import LSDDDriftOnlineTorch
from alibi_detect.cd.pytorch.mmd_online import MMDDriftOnlineTorch
from numpy.typing import NDArray

from puzzle_drift.core.sizing import Plan

Stored = Mapping[str, NDArray[Any]]
BATCH = 16
"""Streams that CVM simulates at a time. By default it is 64, of (references + 2W)² comparisons each."""
_KEPT: Mapping[str, tuple[str, ...]] = {
    "mmd": ("t", "thresholds", "ref_inds", "init_test_inds", "k_xx_sub_sum", "test_window", "k_xy"),
    "lsdd": ("t", "thresholds", "kernel_centers", "H_lam_inv", "c2s", "test_window", "k_xtc"),
    "cvm": ("t", "thresholds", "xs", "ids_ref_wins", "ids_wins_ref", "ids_wins_wins"),
    "fet": ("t", "thresholds", "permit_probs", "xs", "test_stats"),
}
_TENSORS = frozenset({"mmd", "lsdd"})

# MMD allocates a copy of most of the kernel matrix for every simulated stream, and keeps a little of each. Once glibc
# has seen large blocks freed, it puts such copies into the heap; what is kept then holds the heap apart, and 2,000
# streams of 1,000 references took 2.9 GiB instead of 44 MiB. A fixed threshold keeps the copies out of the heap.
_M_MMAP_THRESHOLD = -3
if hasattr(ctypes.CDLL(None), "mallopt"):
    ctypes.CDLL(None).mallopt(_M_MMAP_THRESHOLD, 64 * 1024)

# A worker folds one record after the other; more threads would wait for each other, and add in another order.
torch.set_num_threads(1)


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """numpy's and torch's global generators start at the seed, and are put back afterwards."""
    before = np.random.get_state()
    np.random.seed(seed)
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            yield
    finally:
        np.random.set_state(before)


class _Mmd(MMDDriftOnlineTorch):  # type: ignore[misc]
    """MMD that takes its thresholds and references from where they are stored."""

    stored: Stored

    def _configure_thresholds(self) -> None:
        self.thresholds = self.stored["thresholds"]

    def _configure_ref_subset(self) -> None:
        _put_back(self, "mmd", self.stored)
        self._initialise_state()
        _put_back(self, "mmd", self.stored)


class _Lsdd(LSDDDriftOnlineTorch):  # type: ignore[misc]
    """LSDD likewise."""

    stored: Stored

    def _configure_kernel_centers(self) -> None:
        """Stored."""

    def _configure_thresholds(self) -> None:
        """Stored."""

    def _configure_ref_subset(self) -> None:
        _put_back(self, "lsdd", self.stored)


class _Cvm(CVMDriftOnline):  # type: ignore[misc]
    """CVM likewise; its reference is all of it."""

    stored: Stored

    def _configure_thresholds(self) -> None:
        _put_back(self, "cvm", self.stored)


class _Fet(FETDriftOnline):  # type: ignore[misc]
    """FET likewise."""

    stored: Stored

    def _configure_thresholds(self) -> None:
        _put_back(self, "fet", self.stored)


def _put_back(object_: Any, kind: str, stored: Stored) -> None:
    for name in _KEPT[kind]:
        array = stored[name]
        if name == "t":
            value: Any = int(array[0])
        elif kind in _TENSORS and name != "thresholds":
            value = torch.from_numpy(array.copy())
            value = value.reshape(()) if name == "k_xx_sub_sum" else value
        else:
            value = array.copy()
        setattr(object_, name, value)
    if kind in _TENSORS:
        with torch.no_grad():
            object_.kernel.log_sigma.copy_(torch.from_numpy(stored["log_sigma"].copy()))


def taken_out(object_: Any) -> dict[str, NDArray[Any]]:
    """All numbers that `_put_back` puts back."""
    kind = object_.puzzle_kind
    found = {name: _array(getattr(object_, name)) for name in _KEPT[kind]}
    if kind in _TENSORS:
        found["log_sigma"] = _array(object_.kernel.log_sigma)
    return found


def _array(value: Any) -> NDArray[Any]:
    if isinstance(value, torch.Tensor):
        value = value.detach().cpu().numpy()
    elif isinstance(value, list):
        value = [float(item) for item in value]
    found: NDArray[Any] = np.atleast_1d(np.array(value))
    return found


def cut(object_: Any) -> None:
    """Drop what the object would keep of the stream for ever: it never reads more than a window of it."""
    if len(object_.xs) > object_.max_ws:
        object_.xs = object_.xs[-object_.max_ws :]


def _made(kind: str, built: type, restored: type, stored: Stored | None, *given: Any, **named: Any) -> Any:
    if stored is None:
        made = built(*given, **named)
    else:
        # The numbers are there before the constructor asks for them.
        made = type(restored.__name__, (restored,), {"stored": stored})(*given, **named)
        del type(made).stored
        if kind not in _TENSORS:
            _put_back(made, kind, stored)
    made.puzzle_kind = kind
    return made


def _sigma(stored: Stored | None) -> dict[str, Any]:
    # Only an array is taken for a width; a float would be ignored without a word.
    return {} if stored is None else {"sigma": np.exp(stored["log_sigma"])}


def mmd(plan: Plan, embeddings: NDArray[np.float32], stored: Stored | None) -> Any:
    """MMDDriftOnline on embeddings."""
    sizes = {"ert": plan.run, "window_size": plan.window, "n_bootstraps": plan.streams, "device": "cpu"}
    return _made("mmd", MMDDriftOnlineTorch, _Mmd, stored, embeddings, verbose=False, **sizes, **_sigma(stored))


def lsdd(plan: Plan, embeddings: NDArray[np.float32], stored: Stored | None) -> Any:
    """LSDDDriftOnline on embeddings without constant columns."""
    sizes = {"ert": plan.run, "window_size": plan.window, "n_bootstraps": plan.streams, "device": "cpu"}
    return _made("lsdd", LSDDDriftOnlineTorch, _Lsdd, stored, embeddings, verbose=False, **sizes, **_sigma(stored))


def cvm(plan: Plan, values: NDArray[np.float64], stored: Stored | None) -> Any:
    """CVMDriftOnline on one number."""
    sizes = {"ert": plan.run, "window_sizes": [plan.window], "n_bootstraps": plan.streams, "batch_size": BATCH}
    return _made("cvm", CVMDriftOnline, _Cvm, stored, values, verbose=False, **sizes)


def fet(plan: Plan, errors: NDArray[np.int64], stored: Stored | None) -> Any:
    """FETDriftOnline on errors."""
    sizes = {"ert": plan.run, "window_sizes": [plan.window], "n_bootstraps": plan.streams}
    return _made("fet", FETDriftOnline, _Fet, stored, errors, verbose=False, **sizes)


def ks(plan: Plan, probabilities: NDArray[np.float64]) -> Any:
    """KSDrift on the probabilities of the classes. It has no state."""
    return KSDrift(probabilities, p_val=1.0 / plan.run)
