"""From what a replay's Job says to a verdict: the paired form of the evidence, looked at once.

alpha is the chance that a challenger as good as the champion is ever taken back before its promotion. The replay is one
more way to be taken back, so where it was judged it counts as one more metric among which alpha is divided.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass

from puzzle_operator.api.analysis import Metric, MetricType
from puzzle_operator.api.canary import Canary
from puzzle_operator.api.replay import ReplayOutcome, ReplayStatus
from puzzle_operator.core.evidence import MetricConfig, MetricVerdict, Pairs, assess, fresh, update_paired
from puzzle_operator.core.evidence.sentences import evidence, percent

_MOST = 100_000
_LONGEST = 300


@dataclass(frozen=True, slots=True)
class Said:
    """What the Job said: counts, or why there are none."""

    pairs: Pairs | None
    message: str
    champion_errors: int = 0
    challenger_errors: int = 0
    error: str = ""


def read_words(text: str) -> Said | None:
    """The termination message; None: it is none of a replay's."""
    try:
        found = json.loads(text)
        if found["outcome"] != "Compared":
            return Said(None, str(found["message"])[:_LONGEST])
        pairs = Pairs(*(_count(found, key) for key in _COUNTS))
        errors = _count(found, "championErrors"), _count(found, "challengerErrors")
        if not pairs.images:
            return Said(None, "no piece was compared")
        return Said(pairs, str(found["message"])[:_LONGEST], *errors, str(found.get("error") or "")[:_LONGEST])
    except (ValueError, TypeError, KeyError):
        return None


_COUNTS = ("bothRight", "onlyChallengerWrong", "onlyChampionWrong", "bothWrong")


def _count(found: dict[str, object], key: str) -> int:
    value = found[key]
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= _MOST:
        raise ValueError(f"{key} is {value!r}")
    return value


def judged(status: ReplayStatus, said: Said, pairs: Pairs, canary: Canary) -> ReplayStatus:
    """The replay with its verdict: Failed when the evidence against the challenger is enough to roll back on."""
    config = config_of(canary)
    found = assess(update_paired(fresh(config), pairs, config), config)
    failed = found.verdict is MetricVerdict.FAIL
    seen = pairs.as_increment()
    return status.but(
        outcome=ReplayOutcome.FAILED if failed else ReplayOutcome.PASSED,
        pieces=pairs.images,
        challenger_wrong=seen.canary_bad,
        champion_wrong=seen.champion_bad,
        only_challenger_wrong=pairs.canary_wrong,
        only_champion_wrong=pairs.champion_wrong,
        challenger_errors=said.challenger_errors,
        champion_errors=said.champion_errors,
        evidence=found.evidence_rollback,
        bound=math.exp(found.log_bound),
        message=_sentence(said, pairs, evidence(found.log_e_rollback), evidence(found.log_bound)),
    )


def config_of(canary: Canary) -> MetricConfig:
    """What is tolerable is what the spec says of wrong labels; where it says nothing, a metric's defaults."""
    metrics = canary.analysis.metrics
    wrong = next(
        (metric for metric in metrics if metric.type is MetricType.LABELLED_ERRORS),
        Metric(name="replay", type=MetricType.LABELLED_ERRORS),
    )
    return MetricConfig(
        "replay",
        alpha_rollback=canary.analysis.alpha / (len(metrics) + 1),
        max_risk_ratio=wrong.max_risk_ratio,
        negligible=wrong.negligible,
        bad_noun="wrong",
    )


def _sentence(said: Said, pairs: Pairs, reached: str, bound: str) -> str:
    seen, total = pairs.as_increment(), pairs.images
    errors = f", {said.challenger_errors:,} of them errors" if said.challenger_errors else ""
    quoted = f" ({said.error})" if said.error else ""
    return (
        f"replay of {total:,} labelled pieces: challenger wrong about {seen.canary_bad:,}"
        f"{percent(seen.canary_bad, total)}{errors}{quoted}, champion about {seen.champion_bad:,}"
        f"{percent(seen.champion_bad, total)}; {pairs.canary_wrong:,} only the challenger's, "
        f"{pairs.champion_wrong:,} only the champion's: evidence {reached} of the {bound} needed to refuse it"
    )
