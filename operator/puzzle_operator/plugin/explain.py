"""Why a model does what it does, what it waits for and for how long, and what a person can do about it.

Everything is computed from what the operator stored, by the operator's own rules. What cannot be known from that is
said to be unknown: a forecast that is made up costs more trust than none.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta

from rich.text import Text

from puzzle_common.durations import parse_duration
from puzzle_operator.api.conditions import ConditionType, Phase, Reason, Verdict
from puzzle_operator.core.names import short

from . import forecast, gates, holds, replayed, retraining, watched
from .snapshot import Snapshot
from .text import Page, age, paragraph, phase_style, titled

_GOING_BACK = frozenset({Phase.ROLLING_BACK, Phase.RESTORING})


@dataclass(frozen=True, slots=True)
class Section:
    """A heading and the sentences below it."""

    heading: str
    sentences: tuple[str, ...]


def explain(s: Snapshot) -> list[Section]:
    """The whole story of the moment: what it does, why, what is missing, what the evidence says, what can be done."""
    found = [
        Section("what it does", (_what(s),)),
        Section("why", _why(s)),
        Section("what is missing", _missing(s)),
        Section("what the labelled pieces say", replayed.sentences(s)),
        Section("what the evidence says", forecast.evidence(s)),
        Section("what the monitor sees", watched.sentences(s)),
        Section("if the evidence does not come", forecast.deadline(s)),
        Section("retraining", retraining.sentences(s)),
        Section("what comes next", (s.status.next,) if s.status.next else ()),
        Section("what you can do", _remedies(s)),
    ]
    return [section for section in found if section.sentences]


def lines(s: Snapshot, page: Page) -> list[Text]:
    """The story in lines of at most the page's width."""
    found = titled(s.model.key, Text().append(s.phase_name, phase_style(s.status.phase)), page)
    for section in explain(s):
        found.append(Text(section.heading, "bold"))
        for sentence in section.sentences:
            found += paragraph(sentence, page, "  - ")
    return found


def _what(s: Snapshot) -> str:
    status, rollout = s.status, s.status.active
    if not s.has_started:
        return "nothing yet: the operator has not looked at this model"
    if rollout is None:
        if not s.champion:
            return f"version {short(s.target)} is being deployed; there is no champion to compare it with"
        return f"champion {short(s.champion)} serves, no rollout is in progress"
    tried = f"challenger {short(rollout.challenger)}"
    share = s.challenger_share()
    if status.phase in _GOING_BACK:
        return f"{tried} is taken back; it has {share} % of the traffic now"
    if status.phase is Phase.STARTING:
        return f"{tried} starts, without traffic; champion {short(s.champion)} serves"
    if status.phase is Phase.CANARY:
        return (
            f"{tried} has {share} % of the traffic, at step {status.step or '?'}; champion {short(s.champion)} the rest"
        )
    return f"{tried} passed every step and has {share} % of the traffic; champion {short(s.champion)} is kept warm"


def _why(s: Snapshot) -> tuple[str, ...]:
    found = []
    if not s.is_seen:
        found.append(
            f"the operator has not looked at generation {s.model.generation} of the spec yet (last at "
            f"{s.status.observed_generation or 'none'}); if that lasts, it does not run"
        )
    if s.status.message:
        found.append(s.status.message)
    rollout = s.status.active
    if rollout is not None and rollout.frozen_since is not None:
        found.append(f"the step's clock has stood still for {age(s.now - rollout.frozen_since)}")
    if rollout is not None and rollout.cause is not None and rollout.cause.message not in (s.status.message or ""):
        found.append(f"{rollout.cause.reason}: {rollout.cause.message}")
    return tuple(found)


def _missing(s: Snapshot) -> tuple[str, ...]:
    if s.status.active is None:
        return ()
    by_phase: dict[Phase, Callable[[Snapshot], list[str]]] = {
        Phase.STARTING: _until_ready,
        Phase.CANARY: _until_next_step,
        Phase.BAKING: _until_baked,
    }
    missing = by_phase.get(s.status.phase)
    return (*missing(s), *holds.missing(s), *_consent(s)) if missing is not None else ()


def _until_ready(s: Snapshot) -> list[str]:
    rollout = s.status.active
    if rollout is None or rollout.ready_at is not None:
        return []
    deadline = s.model.spec.canary.progress_deadline
    left = parse_duration(deadline) - (s.now - rollout.started_at)
    if left <= timedelta(0):
        return [f"it is not ready, and progressDeadline ({deadline}) is over"]
    return [f"its pods must get ready within {age(left)} (progressDeadline {deadline}), or it is rolled back"]


def _until_next_step(s: Snapshot) -> list[str]:
    return [_weight(s), _time(s), _requests(s), _metrics(s), forecast.pass_in_words(s)]


def _consent(s: Snapshot) -> list[str]:
    """Who has to say so, where the automation waits for somebody; nothing where it does not."""
    gate, given = gates.gate(s.model), gates.consent(s.model)
    if gate is None:
        return []
    what = gates.label(s.model, gate)
    if s.model.promote is not None:
        return [f"consent to {what}: asked for by annotation; the operator has not answered yet"]
    if given is not None:
        how = ", without waiting for evidence" if given.without_evidence else ""
        return [f"consent to {what}: given {age(s.now - given.at)} ago{how}; done"]
    if not gates.waits_for_person(s.model):
        return []
    rule = f"automation is {s.model.spec.automation}"
    return [f"consent to {what}: of a person who may patch PuzzleModels in {s.model.namespace} ({rule})"]


def _until_baked(s: Snapshot) -> list[str]:
    spent = s.at_step_since()
    if spent is None:
        return [_weight(s)]
    left = parse_duration(s.model.spec.canary.bake) - spent
    return [f"time: {age(spent)} of {s.model.spec.canary.bake} baked; {_left(left)}"]


def _left(left: timedelta) -> str:
    seconds = math.ceil(left.total_seconds())
    return f"{age(timedelta(seconds=seconds))} left" if seconds > 0 else "done"


def _weight(s: Snapshot) -> str:
    wanted = s.status.weight.wanted if s.status.weight else 0
    seen = s.challenger_share()
    if seen == wanted:
        return f"weight: KServe shows the {wanted} % that are wanted; done"
    return f"weight: KServe shows {seen} %, {wanted} % are wanted; nothing counts until it does"


def _time(s: Snapshot) -> str:
    rollout, steps = s.status.active, s.model.spec.canary.steps
    spent = s.at_step_since()
    if rollout is None or rollout.step >= len(steps):
        return "time: unknown, the steps were edited"
    step = steps[rollout.step]
    if spent is None:
        return f"time: {step.min_duration} from when KServe shows the weight"
    return f"time: {age(spent)} of {step.min_duration} at this weight; {_left(step.stay() - spent)}"


def _requests(s: Snapshot) -> str:
    wanted, seen = s.model.spec.canary.analysis.min_requests, s.step_requests()
    if seen is None:
        return f"requests: {wanted} of the challenger are needed in this step; none was counted yet"
    missing = wanted - seen
    if missing <= 0:
        return f"requests: {seen:,} of {wanted:,} in this step; done"
    return f"requests: {seen:,} of {wanted:,} in this step; {missing:,} more, {forecast.how_long(missing, s)}"


def _metrics(s: Snapshot) -> str:
    blind = [metric for metric in s.status.metrics if metric.verdict is Verdict.UNKNOWN]
    if blind:
        return "metrics: " + "; ".join(metric.message for metric in blind)
    failing = [metric.name for metric in s.status.metrics if metric.verdict is Verdict.FAIL]
    if failing:
        return f"metrics: {', '.join(failing)} speaks against the challenger"
    return "metrics: every one has data; done"


def _remedies(s: Snapshot) -> tuple[str, ...]:
    name, found = s.arguments, []
    if s.model.spec.paused:
        found.append(f"`kubectl puzzle resume {name}` lets it go on")
    if s.status.quarantine_of(s.target) is not None:
        found.append(f"`kubectl puzzle retry {name}` has version {short(s.target)} tried again")
    found += _promotions(s)
    found += holds.remedies(s)
    if s.champion and s.target != s.champion:
        found.append(f"`kubectl puzzle abort {name}` names champion {short(s.champion)} again")
    if s.status.active is not None and not s.model.spec.paused and s.status.phase in {Phase.STARTING, Phase.CANARY}:
        found.append(f"`kubectl puzzle pause {name}` keeps the weight where it is")
    found += _shorter(s)
    found += retraining.remedies(s)
    flag = s.status.condition(ConditionType.METRICS_AVAILABLE)
    if flag is not None and flag.status == "False" and flag.reason == Reason.METRIC_ABSENT:
        found.append("look at the metric's query in spec.canary.analysis.metrics, and at what Prometheus scrapes")
    return tuple(found)


def _promotions(s: Snapshot) -> list[str]:
    """Consent, where it is waited for or may be given early, and the way without evidence with its risk."""
    gate, given = gates.gate(s.model), gates.consent(s.model)
    if gate is None or s.model.spec.paused or s.model.promote is not None or s.target != s.challenger:
        return []
    command, what, found = f"kubectl puzzle promote {s.arguments}", gates.label(s.model, gate), []
    if gates.awaited(s.model) is not None:
        found.append(f"`{command}` consents to {what}: nothing else is missing")
    elif gates.waits_for_person(s.model) and given is None:
        found.append(f"`{command}` consents to {what} already; it comes once the rest is there")
    unproven = ", ".join(metric.name for metric in s.status.metrics if metric.verdict is Verdict.HOLD)
    open_ = unproven and s.status.phase is Phase.CANARY and s.status.verdict is Verdict.HOLD
    if open_ and (given is None or not given.without_evidence):
        found.append(
            f"`{command} --without-evidence` goes on to {what} at once; the risk: by {unproven} the version may be "
            "worse than tolerable, and then serves more people badly until a guard or a Fail takes it back"
        )
    return found


def _shorter(s: Snapshot) -> list[str]:
    """What would make the evidence come sooner, where it is late."""
    if not forecast.is_late(s):
        return []
    hopeless = [metric.name for metric in s.status.metrics if metric.verdict is Verdict.HOLD and metric.needed is None]
    edit = "larger negligible or maxRiskRatio"
    anew = "(evidence for a Pass is then gathered anew, and more slips through)"
    if hopeless:
        return [f"where what {', '.join(hopeless)} shows is acceptable: a {edit} of the metric {anew}"]
    return ["more requests to the line shorten the wait", f"so does a {edit} of a metric {anew}"]


__all__: Sequence[str] = ["Section", "explain", "lines"]
