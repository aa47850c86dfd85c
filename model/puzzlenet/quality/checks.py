"""The checks: pure functions of what was measured. Each says in one sentence what it saw and what it allows."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from puzzlenet.errors import PuzzleNetError
from puzzlenet.quality.measure import Facts, near_duplicates
from puzzlenet.quality.noise import Opinion

Status = Literal["pass", "warn", "fail", "unknown"]
_NEAR_BITS = 12
_PSI_BINS = 10
_OTHER = 0.25


@dataclass(frozen=True, kw_only=True, slots=True)
class Limits:
    """What is allowed. Shares are of all new pictures; None: not checked, or compared with the reference only."""

    min_images: int = 50
    max_lateness_s: float | None = 900.0
    size: tuple[int, int] | None = None
    brightness: tuple[float, float] = (0.02, 0.98)
    late_share: float = 0.1
    largest_class: float = 0.9
    corrupt: float = 0.02
    duplicates: float = 0.1
    near_duplicates: float = 0.3
    contradictions: float = 0.01
    outside: float = 0.05
    mislabelled: float = 0.15

    def __post_init__(self) -> None:
        if self.min_images < 1:
            raise PuzzleNetError(f"--min-images {self.min_images}: choose 1 or more")
        low, high = self.brightness
        if not 0.0 <= low < high <= 1.0:
            raise PuzzleNetError(f"--brightness {low},{high}: give two shares of full brightness, such as 0.1,0.9")


@dataclass(frozen=True, slots=True)
class Offender:
    """A picture that a check did not like."""

    facts: Facts
    note: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """What one check says."""

    check: str
    status: Status
    sentence: str
    value: float | None = None
    limit: float | None = None
    offenders: tuple[Offender, ...] = field(default=())


def check_all(
    new: Sequence[Facts], reference: Sequence[Facts], limits: Limits, noise: Sequence[Opinion] = ()
) -> list[Finding]:
    """Every check, in the order of the report. ``noise`` is of the pictures that can be decoded, in their order."""
    whole = [facts for facts in new if facts.error is None]
    home = [facts for facts in reference if facts.error is None]
    return [
        _volume(whole, limits),
        _corrupt(new, limits),
        _lateness(new, limits),
        _balance(whole, limits),
        _duplicates(whole, limits),
        _contradictions(whole, limits),
        _near(whole, limits),
        _size(whole, home, limits),
        _brightness(whole, limits),
        _shift(whole, home),
        _noise(whole, noise, limits),
    ]


def _volume(new: Sequence[Facts], limits: Limits) -> Finding:
    ok = len(new) >= limits.min_images
    return Finding(
        check="volume",
        status="pass" if ok else "fail",
        sentence=f"{len(new)} new labelled pictures; at least {limits.min_images} are needed",
        value=len(new),
        limit=limits.min_images,
    )


def _corrupt(new: Sequence[Facts], limits: Limits) -> Finding:
    return _share(
        "corrupt",
        [(facts, facts.error or "") for facts in new if facts.error is not None],
        len(new),
        limits.corrupt,
        "cannot be decoded and are left out",
    )


def _lateness(new: Sequence[Facts], limits: Limits) -> Finding:
    known = [facts for facts in new if facts.sample.late_s is not None]
    if limits.max_lateness_s is None or not known:
        return Finding(check="lateness", status="unknown", sentence="nobody says when these pictures arrived")
    allowed = limits.max_lateness_s
    late = [(f, f"{f.sample.late_s or 0:.0f} s late") for f in known if (f.sample.late_s or 0.0) > allowed]
    return _share(
        "lateness", late, len(known), limits.late_share, f"arrived more than {allowed:.0f} s after they were taken"
    )


def _balance(new: Sequence[Facts], limits: Limits) -> Finding:
    counts = Counter(facts.sample.label for facts in new)
    told = ", ".join(f"{name} {count}" for name, count in sorted(counts.items())) or "none"
    top = max(counts.values(), default=0) / max(1, len(new))
    few = sorted(name for name, count in counts.items() if count < 5)
    failed = len(counts) < 2 or top > limits.largest_class
    note = f"; fewer than 5 of {', '.join(few)}" if few else ""
    return Finding(
        check="class balance",
        status="fail" if failed else "warn" if few else "pass",
        sentence=f"{told}; the largest is {top:.0%} of all, allowed {limits.largest_class:.0%}, of two or more{note}",
        value=round(top, 4),
        limit=limits.largest_class,
    )


def _duplicates(new: Sequence[Facts], limits: Limits) -> Finding:
    seen: set[str] = set()
    again = []
    for facts in new:
        if facts.image in seen:
            again.append((facts, "same bytes as another"))
        seen.add(facts.image)
    return _share("duplicates", again, len(new), limits.duplicates, "are the same bytes as another")


def _contradictions(new: Sequence[Facts], limits: Limits) -> Finding:
    labels: dict[str, set[str]] = {}
    for facts in new:
        labels.setdefault(facts.image, set()).add(facts.sample.label)
    both = [(facts, " and ".join(sorted(labels[facts.image]))) for facts in new if len(labels[facts.image]) > 1]
    return _share("contradictions", both, len(new), limits.contradictions, "have two labels")


def _near(new: Sequence[Facts], limits: Limits) -> Finding:
    first: dict[str, Facts] = {}
    for facts in new:
        first.setdefault(facts.image, facts)
    distinct = list(first.values())
    found = near_duplicates([facts.hash for facts in distinct], _NEAR_BITS)
    alike = [(facts, "nearly the same as another") for facts, hit in zip(distinct, found, strict=True) if hit]
    return _share("near duplicates", alike, len(distinct), limits.near_duplicates, "are nearly the same as another")


def _size(new: Sequence[Facts], home: Sequence[Facts], limits: Limits) -> Finding:
    if limits.size is not None:
        width, height = limits.size
        other = [(f, f"{f.width} × {f.height}") for f in new if (f.width, f.height) != (width, height)]
        return _share("size", other, len(new), limits.outside, f"are not {width} × {height} pixels")
    usual = {size for size, _ in Counter((f.width, f.height) for f in home).most_common(5)}
    odd = [(f, f"{f.width} × {f.height}") for f in new if usual and (f.width, f.height) not in usual]
    finding = _share("size", odd, len(new), limits.outside, "have a size that the reference does not have")
    return _softened(finding)


def _brightness(new: Sequence[Facts], limits: Limits) -> Finding:
    low, high = limits.brightness
    odd = [
        (f, f"brightness {f.brightness:.2f}, contrast {f.contrast:.3f}")
        for f in new
        if not low <= f.brightness <= high or f.contrast < 0.01
    ]
    return _share("brightness", odd, len(new), limits.outside, f"are darker than {low}, brighter than {high}, or blank")


def _shift(new: Sequence[Facts], home: Sequence[Facts]) -> Finding:
    """Population stability index of brightness and colours. Never a failure: a new product looks different."""
    if len(home) < 50 or len(new) < 50:
        return Finding(
            check="colour shift", status="unknown", sentence="too few pictures to compare with the reference"
        )
    pick: dict[str, Callable[[Facts], float]] = {
        "brightness": lambda f: f.brightness,
        "red": lambda f: f.colour[0],
        "green": lambda f: f.colour[1],
        "blue": lambda f: f.colour[2],
    }
    found = {name: _psi([get(f) for f in home], [get(f) for f in new]) for name, get in pick.items()}
    worst = max(found.values())
    # Of so few pictures the index is above zero by chance alone; what is expected is allowed on top.
    limit = round(_OTHER + (_PSI_BINS - 1) * (1 / len(home) + 1 / len(new)), 4)
    told = ", ".join(f"{name} {value:.2f}" for name, value in found.items())
    return Finding(
        check="colour shift",
        status="warn" if worst > limit else "pass",
        sentence=f"stability index against the reference: {told} (over {limit:.2f} is another distribution; a new "
        "product may look different, so this only warns)",
        value=round(worst, 4),
        limit=limit,
    )


def _noise(new: Sequence[Facts], noise: Sequence[Opinion], limits: Limits) -> Finding:
    able = [opinion for opinion in noise if opinion.share is not None]
    told = "; ".join(opinion.reason for opinion in noise)
    if not able:
        reason = told or "no champion was asked"
        return Finding(
            check="label noise",
            status="unknown",
            sentence=f"{reason}: the gate's recall floors decide",
            limit=limits.mislabelled,
        )
    # The first that can tell decides: neighbours disagree about a product that the champion is only learning.
    opinion, share = able[0], able[0].share or 0.0
    offenders = tuple(
        Offender(facts, f"labelled {facts.sample.label}")
        for facts, hit in zip(new, opinion.suspicious, strict=True)
        if hit
    )
    status: Status = "fail" if share > limits.mislabelled else "warn" if share > limits.mislabelled / 2 else "pass"
    return Finding(
        check="label noise",
        status=status,
        sentence=f"{told}: {share:.1%} look mislabelled to the {opinion.who}, allowed {limits.mislabelled:.0%}",
        value=round(share, 4),
        limit=limits.mislabelled,
        offenders=offenders,
    )


def _share(check: str, found: Sequence[tuple[Facts, str]], of: int, limit: float, what: str) -> Finding:
    share = len(found) / max(1, of)
    return Finding(
        check=check,
        status="fail" if share > limit else "warn" if found else "pass",
        sentence=f"{len(found)} of {of} ({share:.1%}) {what}; allowed {limit:.0%}",
        value=round(share, 4),
        limit=limit,
        offenders=tuple(Offender(facts, note) for facts, note in found),
    )


def _softened(finding: Finding) -> Finding:
    if finding.status != "fail":
        return finding
    return Finding(
        check=finding.check,
        status="warn",
        sentence=finding.sentence + " (only a warning: no size is set)",
        value=finding.value,
        limit=finding.limit,
        offenders=finding.offenders,
    )


def _psi(home: Sequence[float], new: Sequence[float]) -> float:
    edges = np.quantile(np.asarray(home), np.linspace(0, 1, _PSI_BINS + 1)[1:-1])
    shares = []
    for values in (home, new):
        counts = np.bincount(np.searchsorted(edges, np.asarray(values)), minlength=_PSI_BINS) + 0.5
        shares.append(counts / counts.sum())
    return float(((shares[1] - shares[0]) * np.log(shares[1] / shares[0])).sum())
