"""Champion against challenger on the same pictures: better where it has to be, and not worse elsewhere?

Pure. Pictures are paired: only those count that one of the two gets right and the other does not. With w won and l
lost of them, the exact McNemar test asks how likely so lopsided a count is if both were equally good, which is a
fair coin thrown w + l times (McNemar 1947; Dietterich 1998 for why not to compare two accuracies instead).

Three rules. On the target (the new pictures) the challenger must win, significantly. On every golden set, and on all
of them pooled, it must not be worse: it is refused where it has lost more than the margin and that is significant.
And no class may fall below its recall floor, as far as the number of pictures can tell. Where a bound is given,
confidences must mean what they say: the expected calibration error of few pictures is large by chance, so it is held
against that of answers that are calibrated by construction (consistency resampling, Bröcker & Smith 2007).
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from math import comb, exp, lgamma, log
from typing import Any, Literal

import numpy as np

from puzzlenet.errors import PuzzleNetError
from puzzlenet.metrics import calibration_error

Role = Literal["target", "golden"]
_DRAWS = 999
_FEW = 1000  # up to so many throws, binomials are summed exactly


@dataclass(frozen=True, kw_only=True, slots=True)
class Rules:
    """What is asked of a challenger. ``min_images``: a smaller set proves nothing, and a gate without proof is none."""

    margin: float = 0.005
    alpha: float = 0.05
    recall_floor: float = 0.9
    max_latency_s: float | None = None
    max_bytes: int | None = None
    max_ece: float | None = None
    min_images: int = 50

    def __post_init__(self) -> None:
        for name, low, high in (("margin", 0.0, 0.5), ("alpha", 1e-6, 0.5), ("recall_floor", 0.0, 1.0)):
            value = getattr(self, name)
            if not low <= value <= high:
                option = {"margin": "--gate-margin", "alpha": "--gate-alpha"}.get(name, "--recall-floor")
                raise PuzzleNetError(f"{option} {value}: choose {low:g} to {high:g}")
        if self.max_ece is not None and not 0.0 < self.max_ece <= 1.0:
            raise PuzzleNetError(f"--max-calibration-error {self.max_ece}: choose above 0, at most 1")
        if self.max_bytes is not None and self.max_bytes < 1:
            raise PuzzleNetError(f"--max-bytes {self.max_bytes}: choose 1 or more")


@dataclass(frozen=True, kw_only=True, slots=True)
class Answers:
    """What one version said about a set: the label called, and how sure it was, for each picture."""

    called: tuple[str, ...]
    confidence: tuple[float, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Paired:
    """A set of pictures with the truth and the answers of both."""

    name: str
    role: Role
    truth: tuple[str, ...]
    champion: Answers
    challenger: Answers


@dataclass(frozen=True, kw_only=True, slots=True)
class Cost:
    """What a version costs: median seconds of one prediction in process, and the bytes of its weights."""

    latency_s: float
    bytes: int


@dataclass(frozen=True, kw_only=True, slots=True)
class SetVerdict:
    """The figures of one set. ``p_better`` and ``p_worse`` are one-sided exact McNemar p-values."""

    name: str
    role: Role
    images: int
    champion: float
    challenger: float
    won: int
    lost: int
    p_better: float
    p_worse: float
    noticeable_loss: float  # the smallest net loss that would have been significant beside the pictures won
    recalls: dict[str, tuple[int, float | None, float | None]]  # pictures, champion's and challenger's recall
    ece: tuple[float, float]
    refusals: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Verdict:
    """The decision, with every figure that it rests on."""

    accepted: bool
    sets: tuple[SetVerdict, ...]
    champion: Cost
    challenger: Cost
    refusals: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """``gate.json``."""
        return {"schema": 1, **asdict(self)}

    @property
    def target(self) -> SetVerdict | None:
        """The figures on the new pictures."""
        return next((one for one in self.sets if one.role == "target"), None)

    @property
    def sentence(self) -> str:
        """Why, with numbers."""
        if not self.accepted:
            return "; ".join(self.refusals)
        told = [f"{one.name} {one.champion:.3f} → {one.challenger:.3f} (n={one.images})" for one in self.sets]
        target = self.target
        proof = f", p={target.p_better:.2g}" if target else ""
        return f"challenger beats champion{proof}: " + ", ".join(told)


def decide(sets: Sequence[Paired], rules: Rules, champion: Cost, challenger: Cost) -> Verdict:
    """Judge every set alone, and the golden ones together."""
    golden = [one for one in sets if one.role == "golden"]
    every = [*sets, *([_pooled(golden)] if len(golden) > 1 else [])]
    judged = tuple(_judge(one, rules) for one in every)
    refusals = [f"{one.name}: {reason}" for one in judged for reason in one.refusals]
    if not sets:
        refusals.append("there is nothing to judge on: no golden set, no held-out new pictures")
    if rules.max_latency_s is not None and challenger.latency_s > rules.max_latency_s:
        refusals.append(
            f"a prediction takes {challenger.latency_s * 1e3:.1f} ms (median), allowed {rules.max_latency_s * 1e3:g} ms"
        )
    if rules.max_bytes is not None and challenger.bytes > rules.max_bytes:
        refusals.append(f"the weights have {challenger.bytes} bytes, allowed {rules.max_bytes}")
    return Verdict(
        accepted=not refusals,
        sets=judged,
        champion=champion,
        challenger=challenger,
        refusals=tuple(refusals),
    )


def _pooled(sets: Sequence[Paired]) -> Paired:
    def joined(pick: Sequence[Answers]) -> Answers:
        return Answers(
            called=tuple(label for one in pick for label in one.called),
            confidence=tuple(value for one in pick for value in one.confidence),
        )

    return Paired(
        name="all golden sets",
        role="golden",
        truth=tuple(label for one in sets for label in one.truth),
        champion=joined([one.champion for one in sets]),
        challenger=joined([one.challenger for one in sets]),
    )


def _judge(pair: Paired, rules: Rules) -> SetVerdict:
    count = len(pair.truth)
    old = [called == truth for called, truth in zip(pair.champion.called, pair.truth, strict=True)]
    new = [called == truth for called, truth in zip(pair.challenger.called, pair.truth, strict=True)]
    won = sum(after and not before for before, after in zip(old, new, strict=True))
    lost = sum(before and not after for before, after in zip(old, new, strict=True))
    p_better, p_worse = at_least(won, won + lost, 0.5), at_least(lost, won + lost, 0.5)
    recalls = _recalls(pair.truth, old, new)
    loss = (lost - won) / max(1, count)
    refusals = [f"{count} pictures are too few to judge on, {rules.min_images} are needed"] * (count < rules.min_images)
    paired = f"won {won} and lost {lost} of {count} pictures"
    accuracies = f"{sum(old) / max(1, count):.3f} → {sum(new) / max(1, count):.3f}"
    if pair.role == "target" and p_better > rules.alpha:
        refusals.append(f"not shown to be better: {accuracies}, {paired}, p={p_better:.2g}, needed {rules.alpha:g}")
    if pair.role == "golden" and loss > rules.margin and p_worse <= rules.alpha:
        refusals.append(f"worse: {accuracies}, {paired}, p={p_worse:.2g}, margin {rules.margin:.1%}")
    refusals.extend(_below_floor(recalls, pair.role, rules))
    ece = _ece(pair.champion, old), _ece(pair.challenger, new)
    refusals.extend(_not_calibrated(pair, ece, rules))
    return SetVerdict(
        name=pair.name,
        role=pair.role,
        images=count,
        champion=round(sum(old) / max(1, count), 6),
        challenger=round(sum(new) / max(1, count), 6),
        won=won,
        lost=lost,
        p_better=p_better,
        p_worse=p_worse,
        noticeable_loss=noticeable_loss(won, count, rules.alpha),
        recalls=recalls,
        ece=ece,
        refusals=tuple(refusals),
    )


def _recalls(
    truth: Sequence[str], old: Sequence[bool], new: Sequence[bool]
) -> dict[str, tuple[int, float | None, float | None]]:
    found: dict[str, tuple[int, float | None, float | None]] = {}
    for name in sorted(set(truth)):
        members = [index for index, label in enumerate(truth) if label == name]
        found[name] = (
            len(members),
            round(sum(old[index] for index in members) / len(members), 6),
            round(sum(new[index] for index in members) / len(members), 6),
        )
    return found


def _below_floor(recalls: dict[str, tuple[int, float | None, float | None]], role: Role, rules: Rules) -> list[str]:
    """Classes whose recall is below the floor beyond chance; on golden sets only where the champion does better."""
    found = []
    for name, (count, before, after) in recalls.items():
        if (
            after is None
            or after >= rules.recall_floor
            or (role == "golden" and before is not None and after >= before)
        ):
            continue
        missed = round((1.0 - after) * count)
        chance = at_least(missed, count, 1.0 - rules.recall_floor)
        if chance <= rules.alpha:
            found.append(
                f"recall of {name} is {after:.3f} on {count} pictures, floor {rules.recall_floor:g} (p={chance:.2g})"
            )
    return found


def _ece(answers: Answers, right: Sequence[bool]) -> float:
    if not right:
        return 0.0
    return round(calibration_error(np.asarray(answers.confidence), np.asarray(right, dtype=bool)), 6)


def _not_calibrated(pair: Paired, ece: tuple[float, float], rules: Rules) -> list[str]:
    """A calibration error above the bound and beyond chance; on golden sets only where the champion's is smaller."""
    before, after = ece
    if rules.max_ece is None or after <= rules.max_ece or (pair.role == "golden" and after <= before):
        return []
    chance = chance_of_error(pair.challenger.confidence, after)
    if chance > rules.alpha:
        return []
    return [f"calibration error is {after:.3f}, allowed {rules.max_ece:g} (p={chance:.2g} if it were calibrated)"]


def chance_of_error(confidence: Sequence[float], error: float) -> float:
    """How often answers that are right as often as they say show a calibration error at least so large."""
    sure, rng = np.asarray(confidence), np.random.default_rng(0)
    larger = sum(calibration_error(sure, rng.random(len(sure)) < sure) >= error for _ in range(_DRAWS))
    return (1 + larger) / (1 + _DRAWS)


def at_least(hits: int, throws: int, chance: float) -> float:
    """P(X ≥ hits) of a binomial, exact."""
    if hits <= 0:
        return 1.0
    if chance <= 0.0:
        return 0.0
    if chance >= 1.0:
        return 1.0
    if throws <= _FEW and chance == 0.5:
        return float(sum(comb(throws, k) for k in range(hits, throws + 1)) / 2**throws)
    whole = lgamma(throws + 1)
    logs = [
        whole - lgamma(k + 1) - lgamma(throws - k + 1) + k * log(chance) + (throws - k) * log(1.0 - chance)
        for k in range(hits, throws + 1)
    ]
    return min(1.0, sum(exp(value) for value in logs))


def noticeable_loss(won: int, images: int, alpha: float) -> float:
    """The smallest net loss, as a share of the pictures, that is significant beside so many won ones."""
    lost = won
    while lost <= won + images and at_least(lost, won + lost, 0.5) > alpha:
        lost += 1
    return round((lost - won) / max(1, images), 6)
