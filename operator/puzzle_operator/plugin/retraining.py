"""Retraining for people: asking for a run, what it would be and what is in its way; which version came from where."""

from __future__ import annotations

from rich.text import Text

from puzzle_operator.api.names import RETRAIN_ANNOTATION
from puzzle_operator.api.resource import PuzzleModel
from puzzle_operator.api.retraining import RetrainingPhase, RetrainingStatus
from puzzle_operator.api.status import MAX_HISTORY
from puzzle_operator.core.names import short
from puzzle_operator.core.retraining.blocks import budget
from puzzle_operator.core.situation import AT_REST

from .changes import Change, RefusedError
from .snapshot import Snapshot
from .text import Page, age, paragraph

_DEFAULT_REASON = "kubectl puzzle retrain"
_LONGEST = 200
_STYLES = {"Accepted": "green", "Failed": "red", "DataRefused": "yellow", "GateRefused": "yellow"}


def retrain(s: Snapshot, reason: str | None) -> Change:
    """The annotation that asks for a run.

    Raises:
        RefusedError: if the spec has retraining switched off, or a run is going on.
    """
    model, state = s.model, s.status.retraining
    if not model.spec.retraining.enabled:
        raise RefusedError(f"spec.retraining.enabled of {model.key} is false: set it to true first")
    if state is not None and state.is_running:
        raise RefusedError(f"run {state.run} of {model.key} is going on: {state.message or state.trigger}")
    text = " ".join((reason or _DEFAULT_REASON).split())[:_LONGEST]
    if model.retrain is not None:
        return Change(None, (f"a run is asked for already ({model.retrain}); the operator has not answered yet",))
    if state is not None and state.requested is not None:
        waits = f"; it waits: {state.blocked}" if state.blocked else ""
        return Change(None, (f"a run is asked for already ({state.requested.text}){waits}",))
    patch = {"metadata": {"annotations": {RETRAIN_ANNOTATION: text}}}
    return Change(patch, (f"a run is asked for: {text}", _what(model), *_waits(s)), exact=True)


def _what(model: PuzzleModel) -> str:
    job = model.spec.retraining.job
    where = f"{job.gpus} x nvidia.com/gpu" if job.gpus else "CPUs"
    if job.workers > 1:
        where = f"{job.workers} workers, each with {where}"
    if job.node_selector:
        where += " on nodes with " + ", ".join(f"{k}={v}" for k, v in sorted(job.node_selector.items()))
    champion = short(model.status.champion.version) if model.status.champion else "-"
    gate = model.spec.retraining.gate
    return (
        f"a Job in {model.namespace} trains for at most {job.deadline} with {where}, on the champion's data and what "
        f"was labelled since; its version must not be worse than champion {champion} by more than {gate.margin:g} of "
        "the golden sets"
    )


def _waits(s: Snapshot) -> list[str]:
    """What keeps the run from beginning at once, as far as it can be known from here."""
    model, found = s.model, []
    if s.status.champion is None:
        found.append("it waits until a first version serves")
    elif s.status.phase not in AT_REST:
        found.append(f"it waits until the rollout has ended ({s.phase_name})")
    if model.spec.paused:
        found.append("spec.paused is true: it waits until `kubectl puzzle resume`")
    state = s.status.retraining or RetrainingStatus()
    if (over := budget(model.spec.retraining, state, s.now)) is not None:
        found.append(f"it waits: {over.message}")
    if model.spec.model.is_auto:
        found.append("spec.model.version is auto: what the gate accepts is rolled out by itself")
    else:
        found.append(f"spec.model.version pins {short(model.target)}: what the gate accepts waits to be named")
    return found


def lines(s: Snapshot, page: Page) -> list[Text]:
    """Retraining in the picture of one model; nothing where it is switched off and never ran."""
    state = s.status.retraining
    if state is None:
        return []
    head = Text().append("retraining", "bold").append("  ").append(str(state.phase), _phase_style(state.phase))
    if state.is_running and state.started_at is not None:
        head.append(f"  for {age(s.now - state.started_at)}")
        head.append(f"  pod {state.pod}" if state.pod else "")
    return [Text(), head, *(line for sentence in sentences(s) for line in paragraph(sentence, page, "  "))]


def _phase_style(phase: RetrainingPhase) -> str:
    styles = {RetrainingPhase.RUNNING: "cyan", RetrainingPhase.WAITING: "yellow", RetrainingPhase.COOLDOWN: "yellow"}
    return styles.get(phase, "")


def sentences(s: Snapshot) -> tuple[str, ...]:
    """What is known of the present or last run, and of the next one."""
    state, found = s.status.retraining, []
    if state is None:
        return ()
    if state.is_running:
        found.append(f"run {state.run}: {state.trigger}")
        found += [state.message] if state.message else []
    elif state.run is not None:
        ended = f"{age(s.now - state.finished_at)} ago" if state.finished_at else "at an unknown time"
        found.append(f"the last run, {state.run}, ended {ended}, {state.outcome}: {state.message}")
    if state.asks is not None and state.blocked:
        found.append(f"{state.asks.text}; it waits: {state.blocked}")
    elif state.blocked:
        found.append(state.blocked)
    if state.next:
        found.append(f"next: {state.next}")
    return tuple(found)


def remedies(s: Snapshot) -> list[str]:
    """What a person can do about retraining."""
    state = s.status.retraining
    if state is None or not s.model.spec.retraining.enabled:
        return []
    if state.is_running:
        return [f"`kubectl logs -n {s.model.namespace} -l puzzlenet.dev/run={state.run} -f` shows the trainer at work"]
    if state.blocked_by in {"Manual", "Cooldown"}:
        return [f"`kubectl puzzle retrain {s.arguments}` begins a run now"]
    return []


def lineage(s: Snapshot, page: Page) -> list[Text]:
    """Which versions this model had, what replaced what and why; the registry knows what each was made of."""
    found = [Text(s.model.key, "bold")]
    replaced = next((e.replaced for e in reversed(s.status.history) if e.version == s.champion and e.replaced), None)
    for label, version in (("champion", s.champion), ("previous", replaced or ""), ("challenger", s.challenger)):
        if version:
            found.append(Text(f"  {label:<12}").append(version, "bold"))
    state = s.status.retraining
    if state is not None and state.version and state.outcome is not None:
        line = Text("  last run    ").append(state.version, "bold")
        found.append(line.append("  ").append(str(state.outcome), _STYLES.get(str(state.outcome), "")))
        found += paragraph(f"{state.run}: {state.trigger}", page, " " * 14, style="dim")
    for entry in s.status.history:
        line = Text(f"{entry.at:%Y-%m-%d %H:%M:%S}Z  ").append(f"{short(entry.version):<12}", "bold")
        line.append(f"  {entry.outcome}")
        line.append(f", replaced {short(entry.replaced)}" if entry.replaced and entry.outcome == "Promoted" else "")
        found += [line, *paragraph(entry.message, page, " " * 22, style="dim")]
    if len(found) == 1:
        return [Text("no version served yet")]
    storage = s.model.spec.storage
    how = (
        f"`puzzlenet registry lineage VERSION --endpoint {storage.endpoint} --bucket {storage.bucket}` shows the "
        "commit, the data and the parent of each"
    )
    if len(s.status.history) >= MAX_HISTORY:
        found += paragraph(f"`kubectl puzzle history {s.arguments} --all` shows what came before", page)
    return [*found, *paragraph(how, page)]
