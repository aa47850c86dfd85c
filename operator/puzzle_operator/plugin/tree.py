"""One model as a tree: what serves, what is tried, on which pods, how near a Pass and a rollback, what comes next."""

from __future__ import annotations

import math
from collections.abc import Sequence

from rich.text import Text

from puzzle_operator.api.conditions import Phase, Verdict
from puzzle_operator.api.status import MetricStatus
from puzzle_operator.core.facts import Absence, Pod, Revision, Service
from puzzle_operator.core.names import short

from . import gates, replayed, retraining, watched
from .snapshot import Snapshot, Unread
from .text import (
    Page,
    age,
    bar,
    fit,
    more_requests,
    of_bound,
    paragraph,
    phase_style,
    rate,
    titled,
    towards,
    verdict_style,
    within,
)

_CELLS = 16
_LABEL = 12


def tree(s: Snapshot, page: Page) -> list[Text]:
    """Everything about one model, in lines of at most the page's width."""
    return [
        *_head(s, page),
        Text(),
        *_versions(s, page),
        *watched.lines(s, page),
        *replayed.lines(s, page),
        *_evidence(s, page),
        *retraining.lines(s, page),
        *_quarantine(s, page),
    ]


def _head(s: Snapshot, page: Page) -> list[Text]:
    state = Text().append(s.phase_name, phase_style(s.status.phase))
    if s.status.step and s.status.step != "bake":
        state.append(f" {s.status.step}")
    if s.status.active is not None and (verdict := s.verdict_of(s.status.verdict)) is not None:
        state.append("  verdict ")
        state.append(str(verdict), verdict_style(verdict))
    if s.model.spec.paused:
        state.append("  paused", "yellow")
    lines = titled(s.model.key, state, page)
    if not s.has_started:
        return lines + paragraph("the operator has not looked at this model yet: does it run?", page, style="yellow")
    if not s.is_seen:
        lines += paragraph("the spec was edited, and the operator has not looked at it yet", page, style="yellow")
    if s.status.message:
        lines += paragraph(s.status.message, page, "  ")
    return lines + _ahead(s, page)


def _ahead(s: Snapshot, page: Page) -> list[Text]:
    """What comes next, or the command that a person is waited for with."""
    gate, given = gates.awaited(s.model), gates.consent(s.model)
    if gate is not None:
        said = f"{gates.label(s.model, gate)} {page.glyphs.dash} `kubectl puzzle promote {s.arguments}`"
        return paragraph(said, page, "  waits for: ", style="bold yellow")
    lines = paragraph(s.status.next, page, "  next: ", style="bold") if s.status.next else []
    if given is not None:
        how = " without evidence" if given.without_evidence else ""
        said = f"consent to {gates.label(s.model, given.gate)}{how} was given {age(s.now - given.at)} ago"
        lines += paragraph(said, page, "  ")
    return lines


def _versions(s: Snapshot, page: Page) -> list[Text]:
    if isinstance(s.service, Unread):
        reason = f"pods and traffic are not shown: {s.service.reason}"
        return [*_parts(s, page, None), *paragraph(reason, page, style="yellow")]
    if isinstance(s.service, Absence):
        reason = "KServe is not installed" if s.service is Absence.NO_API else "there is no InferenceService yet"
        return [*_parts(s, page, None), *paragraph(reason, page, style="yellow")]
    return _parts(s, page, s.service)


def _parts(s: Snapshot, page: Page, service: Service | None) -> list[Text]:
    """Champion, challenger and whatever else has traffic or pods, each with its revisions."""
    parts: list[tuple[Text, Sequence[Revision]]] = []
    if s.champion:
        since = s.status.champion.since if s.status.champion else None
        note = f"since {age(s.now - since)}" if since else ""
        parts.append((_part("champion", s.champion, s.share_of(s.champion), note, "green"), _of(service, s.champion)))
    trial = s.challenger or (s.target if s.status.phase is Phase.DEPLOYING else "")
    if trial:
        label = "challenger" if s.challenger else "first"
        share = s.challenger_share() if s.challenger else s.share_of(trial)
        parts.append((_part(label, trial, share, _wanted(s), "cyan"), _of(service, trial)))
    for version in _others(service, {s.champion, trial}):
        parts.append((_part("other", version, s.share_of(version), "", "yellow"), _of(service, version)))
    if not parts:
        return [Text("no version serves yet")]
    lines: list[Text] = []
    for index, (line, revisions) in enumerate(parts):
        end = index == len(parts) - 1
        lines.append(Text(page.glyphs.last if end else page.glyphs.branch).append_text(line))
        below = "   " if end else page.glyphs.pipe
        if service is not None:
            lines += _revisions(s, service, revisions, below, page)
    return lines


def _part(label: str, version: str, share: int | None, note: str, style: str) -> Text:
    line = Text().append(label.ljust(_LABEL), style)
    line.append(f"{short(version):<12}")
    line.append("   - %" if share is None else f" {share:>3} %", "bold")
    return line.append(f"  {note}" if note else "")


def _wanted(s: Snapshot) -> str:
    rollout, weight = s.status.active, s.status.weight
    if rollout is None or weight is None:
        return ""
    parts = [f"wanted {weight.wanted} %"] if weight.wanted != s.challenger_share() else ["as wanted"]
    if rollout.first_traffic_at:
        parts.append(f"traffic for {age(s.now - rollout.first_traffic_at)}")
    else:
        parts.append(f"started {age(s.now - rollout.started_at)} ago")
    return ", ".join(parts)


def _of(service: Service | None, version: str) -> list[Revision]:
    """Revisions of a version that count: with traffic, with pods, or the latest."""
    if service is None:
        return []
    alive = {pod.revision for pod in service.pods} | {share.revision for share in service.traffic if share.percent}
    alive |= {service.latest_ready, service.latest_created}
    found = [r for r in service.revisions if r.version == version and r.name in alive]
    return sorted(found, key=lambda r: -r.generation)


def _others(service: Service | None, known: set[str]) -> list[str]:
    """Versions that are neither, and yet have traffic or pods."""
    if service is None:
        return []
    busy = {pod.revision for pod in service.pods} | {share.revision for share in service.traffic if share.percent}
    return sorted({r.version for r in service.revisions if r.name in busy and r.version not in known})


def _revisions(s: Snapshot, service: Service, revisions: Sequence[Revision], indent: str, page: Page) -> list[Text]:
    lines: list[Text] = []
    for index, revision in enumerate(revisions):
        end = index == len(revisions) - 1
        state = ("ready", "green") if revision.ready else ("not ready", "yellow")
        branch = indent + (page.glyphs.last if end else page.glyphs.branch)
        lines.append(_node(branch, f"revision {revision.name}", [state], page))
        below = indent + ("   " if end else page.glyphs.pipe)
        if not revision.ready and revision.message:
            lines += paragraph(revision.message, page, below + "  ", style="yellow")
        pods = [pod for pod in service.pods if pod.revision == revision.name]
        for number_, pod in enumerate(pods):
            branch = below + (page.glyphs.last if number_ == len(pods) - 1 else page.glyphs.branch)
            lines.append(_node(branch, f"pod {pod.name}", _pod(s, pod), page))
            if pod.message:
                lines += paragraph(pod.message, page, below + "     ", style="yellow")
        if not pods:
            lines.append(Text(f"{below}{page.glyphs.last}no pods", "dim"))
    return lines


def _pod(s: Snapshot, pod: Pod) -> list[tuple[str, str]]:
    state = ("ready", "green") if pod.ready else (pod.waiting or "not ready", "red" if pod.waiting else "yellow")
    parts = [state]
    if pod.restarts:
        parts.append((f"{pod.restarts} restart{'s' if pod.restarts > 1 else ''}", "red"))
    if pod.started:
        parts.append((age(s.now - pod.started), ""))
    return parts


def _node(branch: str, name: str, notes: Sequence[tuple[str, str]], page: Page) -> Text:
    room = page.width - len(branch) - sum(len(text) + 2 for text, _ in notes)
    line = Text(branch).append(fit(name, room, page.glyphs))
    for text, style in notes:
        line.append("  ").append(text, style)
    return line


def _evidence(s: Snapshot, page: Page) -> list[Text]:
    rollout = s.last
    if rollout is None or not s.status.metrics:
        return []
    whose = f"evidence on challenger {short(rollout.challenger)}"
    if not rollout.is_active:
        ended = f" {age(s.now - rollout.finished_at)} ago" if rollout.finished_at else ""
        whose = f"evidence on {short(rollout.challenger)}, {rollout.outcome}{ended}"
    decides = "takes it back" if s.is_promoted else "decides"
    lines = [Text(), *paragraph(f"{whose}; a full bar {decides}", page, style="bold")]
    for metric in s.status.metrics:
        lines += _metric(s, metric, page)
    return lines


def _metric(s: Snapshot, metric: MetricStatus, page: Page) -> list[Text]:
    """What was counted, a bar towards Pass and one towards rollback."""
    width = max(len(other.name) for other in s.status.metrics)
    ours, theirs = metric.challenger, metric.champion
    verdict = s.verdict_of(metric.verdict)
    title = Text(f"  {metric.name:<{width}}  ").append(f"{verdict or '-':<7}", verdict_style(verdict))
    counted = f"bad: {rate(ours.bad, ours.requests)}, champion {rate(theirs.bad, theirs.requests)}"
    lines = [title.append(f"  {counted}")]
    if title.cell_len > page.width:
        title = title[: width + 11]
        title.rstrip()
        lines = [title, *paragraph(counted, page, "    ")]
    if not s.is_promoted:
        lines += _bar("Pass", metric.evidence_for, metric.bound_for, _towards_pass(s, metric), "green", page)
    lines += _bar("rollback", metric.evidence, metric.bound, _towards_rollback(metric), "red", page)
    if ours.p95 is not None or theirs.p95 is not None:
        lines.append(Text(f"    p95       {within(ours.p95)}, champion {within(theirs.p95)}", "dim"))
    return lines


def _bar(label: str, evidence: float | None, bound: float | None, note: str, style: str, page: Page) -> list[Text]:
    line, way = Text(f"    {label:<8}  "), towards(evidence, bound)
    if way is None or evidence is None or bound is None:
        return [line.append("no evidence stored", "dim")]
    line.append(bar(way, _CELLS, page.glyphs), style if way >= 0.5 else "")
    line.append(f" {math.floor(100 * way):>3} %  {of_bound(evidence, bound)}")
    if note and line.cell_len + len(note) + 2 > page.width:
        return [line, Text(" " * 14 + note)]
    return [line.append(f", {note}" if note else "")]


def _towards_pass(s: Snapshot, metric: MetricStatus) -> str:
    if s.status.phase is not Phase.CANARY or metric.verdict is not Verdict.HOLD:
        return ""
    return "not in sight" if metric.needed is None else more_requests(metric.needed)


def _towards_rollback(metric: MetricStatus) -> str:
    """A difference that is proven and slight fills the bar, and takes nobody back."""
    full = metric.evidence is not None and metric.bound is not None and metric.evidence >= metric.bound
    return "but perhaps negligible" if full and metric.verdict is not Verdict.FAIL else ""


def _quarantine(s: Snapshot, page: Page) -> list[Text]:
    if not s.status.quarantined:
        return []
    lines = [Text(), Text("quarantined; `kubectl puzzle retry` lets one be tried again", "bold")]
    for entry in s.status.quarantined:
        lines += paragraph(f"{age(s.now - entry.at)} ago, {entry.reason}", page, f"  {short(entry.version)}  ")
    return lines
