"""From increments to a verdict: the only place that knows when evidence is enough.

The order of events is the operator's: `fresh` when a challenger gets traffic, `update` with what every
scrape added, `assess` whenever somebody looks. Looking changes nothing and may happen at any time; why that
is allowed is in `rollback` and `promotion`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from . import promotion, rollback
from .sentences import sentence
from .types import Assessment, EvidenceState, Increment, Margin, MarginEvidence, MetricConfig, MetricVerdict


def margin_for(config: MetricConfig, share: float) -> Margin:
    """What is tolerable on the way to traffic `share`.

    The harm to all users together is what counts: a canary worse by h at a share w does the harm w h. So the
    margin of an early step is wider, and every Pass bounds the harm of what follows by the same amount.
    """
    return Margin(ratio=1.0 + (config.max_risk_ratio - 1.0) / share, excess=min(config.negligible / share, 1.0))


def fresh(config: MetricConfig) -> EvidenceState:
    """The state before the first request."""
    margins = dict.fromkeys(margin_for(config, share) for share in config.shares)
    return EvidenceState(
        rollback=rollback.start(config),
        serious=rollback.start_serious(),
        promote=tuple(MarginEvidence(margin, promotion.start()) for margin in margins),
    )


def update(state: EvidenceState, increment: Increment, config: MetricConfig) -> EvidenceState:
    """The state after one more scrape.

    Scrapes are gathered into a block until the quieter side has `config.block` requests, or
    `config.block_scrapes` have passed; only closed blocks are evidence. When a block closes depends on
    requests and never on bad ones, which is what keeps the factors fair. Blocks are needed because the share
    of one short scrape is mostly chance: judged scrape by scrape, a third of the evidence would be lost at
    ten requests a scrape.
    """
    state = adapt(state, config)
    if increment.is_empty and state.pending.is_empty:
        return state
    grown = replace(
        state,
        total=state.total + increment,
        pending=state.pending + increment,
        pending_scrapes=state.pending_scrapes + 1,
    )
    quiet = min(grown.pending.canary_requests, grown.pending.champion_requests)
    if quiet >= config.block or grown.pending_scrapes >= config.block_scrapes:
        return settle(grown, config)
    return grown


def settle(state: EvidenceState, config: MetricConfig) -> EvidenceState:
    """Close the open block now.

    To be called when the weight changes, so that no block spans two weights: if the bad rate of both
    versions moved at the same moment, the mixture of two shares would look like a difference.
    """
    state = adapt(state, config)
    block, before = state.pending, state.judged_canary_requests
    return replace(
        state,
        rollback=rollback.step(state.rollback, block, before, config),
        serious=rollback.step_serious(state.serious, block, before, config.negligible),
        promote=tuple(
            MarginEvidence(item.margin, promotion.step(item.logs, block, item.margin)) for item in state.promote
        ),
        pending=Increment(),
        pending_scrapes=0,
    )


def assess(state: EvidenceState, config: MetricConfig, share: float = 1.0, weight: float | None = None) -> Assessment:
    """The verdict on moving on to traffic `share` (1.0: promotion). Fail outranks Pass.

    A Fail needs evidence that the canary is worse, and some that it is so by more than what is negligible.

    Args:
        state: what is known.
        config: how it is judged. A share that is not in `config.shares` has no evidence yet: Hold.
        share: where a Pass would lead, as a fraction of traffic.
        weight: the canary's share of traffic now, for the forecast of requests needed; None: as seen so far.
    """
    state = adapt(state, config)
    margin = margin_for(config, share)
    logs: Sequence[float] = promotion.start()
    for item in state.promote:
        if item.margin == margin:
            logs = item.logs
    against = rollback.log_evidence(state.rollback, state.judged_canary_requests)
    tolerable = promotion.log_evidence(logs)
    bound = -math.log(config.alpha_rollback)
    bound_promote = -math.log(config.alpha_promote if share >= 1.0 else config.alpha_advance)
    serious = rollback.log_evidence(state.serious, state.judged_canary_requests)
    verdict = MetricVerdict.HOLD
    if against >= bound and serious >= -math.log(config.alpha_negligible):
        verdict = MetricVerdict.FAIL
    elif tolerable >= bound_promote:
        verdict = MetricVerdict.PASS
    now = weight if weight is not None else _share_seen(state.total)
    found = Assessment(
        verdict=verdict,
        log_e_rollback=against,
        log_e_serious=serious,
        log_e_promote=tolerable,
        log_bound=bound,
        log_bound_promote=bound_promote,
        canary_requests=state.total.canary_requests,
        canary_bad=state.total.canary_bad,
        champion_requests=state.total.champion_requests,
        champion_bad=state.total.champion_bad,
        requests_needed=promotion.requests_needed(logs, margin, state.total, now, bound_promote),
        sentence="",
    )
    return replace(found, sentence=sentence(found, config, share))


def _share_seen(total: Increment) -> float:
    """The canary's share of all requests so far; a tenth when there were none."""
    requests = total.canary_requests + total.champion_requests
    return total.canary_requests / requests if total.canary_requests else 0.1


def adapt(state: EvidenceState, config: MetricConfig) -> EvidenceState:
    """Start what the state lacks: everything after an empty status, a margin that an edit of the spec added.

    Evidence against an old margin says nothing of a new one, so that starts anew, and so does what was found
    about a serious difference when no margin is left; what speaks for a rollback depends on neither.
    """
    begun = fresh(config)
    known = {item.margin: item for item in state.promote if len(item.logs) == len(promotion.BETS)}
    same = len(state.serious) == len(begun.serious) and any(item.margin in known for item in begun.promote)
    return replace(
        state,
        rollback=state.rollback if len(state.rollback) == len(begun.rollback) else begun.rollback,
        serious=state.serious if same else begun.serious,
        promote=tuple(known.get(item.margin, item) for item in begun.promote),
    )
