"""Numbers as an SRE says them: verdicts are read at night, so every one carries its own proof."""

from __future__ import annotations

import math

from .types import Assessment, MetricConfig, MetricVerdict


def sentence(found: Assessment, config: MetricConfig, share: float) -> str:
    """For example::

    errors: 14 of 310 canary requests bad (4.5 %) against 9 of 2,790 (0.3 %) of the champion: evidence 182 of
    the 100 needed to roll back
    """
    goal = "be promoted" if share >= 1.0 else f"go to {100 * share:g} %"
    seen = (
        f"{config.name}: {found.canary_bad:,} of {found.canary_requests:,} canary requests {config.bad_noun}"
        f"{percent(found.canary_bad, found.canary_requests)} against {found.champion_bad:,} of "
        f"{found.champion_requests:,}{percent(found.champion_bad, found.champion_requests)} of the champion"
    )
    bounds = evidence(found.log_bound), evidence(found.log_bound_promote)
    against = f"{evidence(found.log_e_rollback)} of the {bounds[0]} needed to roll back"
    towards = f"evidence {evidence(found.log_e_promote)} of the {bounds[1]} needed to {goal}"
    if found.verdict is MetricVerdict.PASS:
        return f"{seen}: {towards}"
    if found.verdict is MetricVerdict.FAIL:
        return f"{seen}: evidence {against}"
    if found.log_e_rollback >= found.log_bound:
        slight = f"worse, but not clearly by more than the {100 * config.negligible:g} % that are negligible"
        return f"{seen}: {slight}; {towards}{_missing(found.requests_needed)}"
    return f"{seen}: {towards}{_missing(found.requests_needed)}, {against}"


def _missing(requests: int | None) -> str:
    if requests is None:
        return " (not to be expected at these rates)"
    return f" (about {requests_rounded(requests):,} more canary requests)"


def requests_rounded(requests: int) -> int:
    """Two leading digits, upwards: a forecast should not look exact."""
    if requests < 100:
        return requests
    unit = int(10 ** (len(str(requests)) - 2))
    return -(-requests // unit) * unit


def percent(bad: int, requests: int) -> str:
    """' (4.5 %)', with enough digits for rare things; empty when there is no request to speak of."""
    if requests == 0:
        return ""
    rate = 100.0 * bad / requests
    digits = 1 if rate >= 0.095 or bad == 0 else 2 if rate >= 0.0095 else 3
    return f" ({rate:.{digits}f} %)"


def evidence(log: float) -> str:
    """exp(log) for a person: two digits below 10, whole above, and no more than a million."""
    if log > math.log(1e6):
        return "over a million"
    value = math.exp(log)
    return f"{value:,.0f}" if value >= 9.95 else f"{value:.2g}" if value >= 0.01 else "under 0.01"
