"""Evidence: is the canary worse than the champion, good enough, or not known yet?

Pure: no I/O, no clock, no randomness, and nothing but the standard library.

Import from here; the modules behind it may move. In the order of a rollout::

    config = MetricConfig("errors", shares=(0.25, 0.5, 1.0))
    state = fresh(config)
    state = update(state, increment, config)      # once for every scrape
    assess(state, config, share=0.25)             # PASS: the weight may go to 25 %
    assess(state, config)                         # PASS: may be promoted

`tally` makes increments of counters; `update_paired` is for images that both versions scored; the bake
functions watch a version that has all the traffic; bounds are for display. docs/evidence.md says what the
verdicts are worth.
"""

from .bake import BakeState, BakeVerdict, assess_bake, start_bake, update_bake
from .bounds import Interval, quantile_bounds, rate_bounds
from .counters import CounterState, Reading, Sample, Tally, tally
from .judge import assess, fresh, margin_for, settle, update
from .paired import Pairs, update_paired
from .types import Assessment, EvidenceState, Increment, Margin, MetricConfig, MetricVerdict

__all__ = [
    "Assessment",
    "BakeState",
    "BakeVerdict",
    "CounterState",
    "EvidenceState",
    "Increment",
    "Interval",
    "Margin",
    "MetricConfig",
    "MetricVerdict",
    "Pairs",
    "Reading",
    "Sample",
    "Tally",
    "assess",
    "assess_bake",
    "fresh",
    "margin_for",
    "quantile_bounds",
    "rate_bounds",
    "settle",
    "start_bake",
    "tally",
    "update",
    "update_bake",
    "update_paired",
]
