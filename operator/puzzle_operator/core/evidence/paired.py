"""The verdict when both versions scored the same images: labelled images replayed to the challenger.

Pairs are worth far more than a split of traffic: whether an image is hard no longer matters, only where the
versions differ. The state, the sentences and `assess` are those of `judge`; only the factors differ.

*Rollback.* Under "the canary is as good" an image that only one version got wrong is as likely the canary's
as the champion's, so of z such images x are the canary's, binomial (z, 1/2): McNemar's test made sequential.
An odds ratio r has the factor (2 r / (1 + r))^x (2 / (1 + r))^(z - x), whose mean is 1.

*Promotion.* Under "the canary's error rate is at least r times the champion's plus d" every image pays at
most 0 on average to who bets on d + r * [champion wrong] - [canary wrong]. With a part b of the stake, an
image on which that is worth v multiplies it by 1 + b v. No image has to be independent of the next one's
difficulty, and nothing is asked of how often both are wrong together. That a difference is *serious*, more
than `negligible`, is the same bet with the signs turned: on [canary wrong] - [champion wrong] - d.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from . import promotion, rollback
from .judge import adapt
from .logs import log_of, log_sum
from .types import EvidenceState, Increment, Margin, MarginEvidence, MetricConfig


@dataclass(frozen=True, slots=True)
class Pairs:
    """Images that both versions scored, by who was wrong.

    Raises:
        ValueError: if one of them is negative.
    """

    both_right: int = 0
    canary_wrong: int = 0
    champion_wrong: int = 0
    both_wrong: int = 0

    def __post_init__(self) -> None:
        if min(self.both_right, self.canary_wrong, self.champion_wrong, self.both_wrong) < 0:
            raise ValueError(f"{self}: numbers of images cannot be negative")

    @property
    def images(self) -> int:
        """How many images."""
        return self.both_right + self.canary_wrong + self.champion_wrong + self.both_wrong

    def as_increment(self) -> Increment:
        """Each version's own count."""
        return Increment(
            self.images,
            self.canary_wrong + self.both_wrong,
            self.images,
            self.champion_wrong + self.both_wrong,
        )


def update_paired(state: EvidenceState, pairs: Pairs, config: MetricConfig) -> EvidenceState:
    """The state after more images; begins with `fresh`, is judged with `assess`. Every image counts once."""
    state = adapt(state, config)
    if pairs.images == 0:
        return state
    return replace(
        state,
        rollback=_step_rollback(state.rollback, pairs, state.total.canary_requests, config),
        serious=_step_serious(state.serious, pairs, state.total.canary_requests, config.negligible),
        promote=tuple(_step_promotion(item, pairs) for item in state.promote),
        total=state.total + pairs.as_increment(),
    )


def _step_rollback(
    logs: tuple[float, ...], pairs: Pairs, images_before: int, config: MetricConfig
) -> tuple[float, ...]:
    spent = rollback.reserve(images_before) - rollback.reserve(images_before + pairs.images)
    return tuple(
        log_sum((log, log_of(spent * part)))
        + pairs.canary_wrong * math.log(2.0 * ratio / (1.0 + ratio))
        + pairs.champion_wrong * math.log(2.0 / (1.0 + ratio))
        for log, (ratio, part) in zip(logs, rollback.bets(config), strict=True)
    )


def _step_serious(logs: tuple[float, ...], pairs: Pairs, images_before: int, negligible: float) -> tuple[float, ...]:
    spent = rollback.reserve(images_before) - rollback.reserve(images_before + pairs.images)
    same = pairs.both_right + pairs.both_wrong
    values = ((same, -negligible), (pairs.canary_wrong, 1.0 - negligible), (pairs.champion_wrong, -1.0 - negligible))
    stakes = []
    for log, (ratio, part) in zip(logs, rollback.SERIOUS_BETS, strict=True):
        # At one half of traffic, a canary `ratio` times as bad is best met by this part of the stake.
        bet = (ratio - 1.0) / (ratio + 1.0) / (1.0 + negligible)
        gain = math.fsum(images * math.log1p(bet * value) for images, value in values)
        stakes.append(log_sum((log, log_of(spent * part))) + gain)
    return tuple(stakes)


def _step_promotion(item: MarginEvidence, pairs: Pairs) -> MarginEvidence:
    margin: Margin = item.margin
    values = (
        (pairs.both_right, margin.excess),
        (pairs.canary_wrong, margin.excess - 1.0),
        (pairs.champion_wrong, margin.excess + margin.ratio),
        (pairs.both_wrong, margin.excess + margin.ratio - 1.0),
    )
    return replace(
        item,
        logs=tuple(
            log + math.fsum(images * math.log1p(bet * value) for images, value in values)
            for log, (bet, _) in zip(item.logs, promotion.BETS, strict=True)
        ),
    )
