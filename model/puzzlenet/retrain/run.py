"""One run from its name to its decision."""

import logging
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from puzzlenet.errors import BadDataError
from puzzlenet.gate import Verdict
from puzzlenet.registry import Registry
from puzzlenet.retrain.monitor import Monitor
from puzzlenet.retrain.outcome import Outcome
from puzzlenet.retrain.records import Run
from puzzlenet.retrain.rendezvous import Meeting, Solitary
from puzzlenet.retrain.settings import RetrainSettings
from puzzlenet.retrain.stages import DataRefusedError, Stages
from puzzlenet.store.decisions import Decision, Decisions

log = logging.getLogger("puzzlenet")


def _utc() -> datetime:
    return datetime.now(UTC)


def retrain(
    settings: RetrainSettings,
    registry: Registry,
    monitor: Monitor,
    *,
    workdir: Path | None = None,
    now: Callable[[], datetime] = _utc,
    meeting: Meeting | None = None,
) -> Outcome:
    """Run every stage that is left, and record the decision. A run that was decided gives its decision again.

    Of several workers the first one does this; the others are at its ``meeting`` (worker.py).

    Raises PuzzleNetError; where its ``retry`` is set the same run may be started again later and goes on.
    """
    run = Run(registry.bucket, settings.run)
    if run.outcome is not None:
        log.info("run %s was decided already", settings.run)
        return run.outcome
    started = time.monotonic()
    spent = float(run.state.get("seconds", 0.0))
    with TemporaryDirectory(dir=workdir, prefix="retrain-") as work:
        stages = Stages(
            settings=settings,
            registry=registry,
            monitor=monitor,
            run=run,
            work=Path(work),
            now=now,
            meeting=meeting or Solitary(),
        )
        outcome = _decide(stages, lambda: round(spent + time.monotonic() - started, 1))
    run.note(outcome=outcome.to_dict())
    run.drop_checkpoint()
    run.progress(now(), "decided", outcome=outcome.outcome)
    return outcome


def _decide(stages: Stages, seconds: Callable[[], float]) -> Outcome:
    champion = stages.champion()
    numbers: dict[str, Any] = {}
    try:
        prepared = stages.prepare(champion)
        numbers = prepared.numbers
        challenger = stages.challenger(champion, prepared)
    except (DataRefusedError, BadDataError) as exc:
        if isinstance(exc, DataRefusedError):
            numbers = exc.numbers
        _record(stages, "Refused", None, f"data refused: {exc}", {"data": numbers})
        return Outcome(outcome="DataRefused", message=str(exc), data=numbers, seconds=seconds())
    verdict = stages.gate(champion, challenger, prepared)
    metrics = _metrics(verdict)
    kind = "Accepted" if verdict.accepted else "GateRefused"
    if verdict.accepted:
        stages.freeze(champion, prepared)
    _record(stages, "Accepted" if verdict.accepted else "Refused", challenger.digest, verdict.sentence, metrics)
    return Outcome(
        outcome="Accepted" if kind == "Accepted" else "GateRefused",
        message=verdict.sentence,
        version=challenger.digest,
        data=numbers,
        metrics=metrics,
        seconds=seconds(),
    )


def _record(stages: Stages, kind: str, version: str | None, reason: str, numbers: dict[str, Any]) -> None:
    settings = stages.settings
    Decisions(stages.registry.bucket).append(
        Decision(
            at=stages.now().isoformat(),
            line=settings.line,
            kind="Accepted" if kind == "Accepted" else "Refused",
            version=version,
            parent=settings.champion,
            run=settings.run,
            reason=reason,
            numbers=numbers,
        )
    )


def _metrics(verdict: Verdict) -> dict[str, Any]:
    """The figures of a decision: the target first, then each golden set."""
    found: dict[str, Any] = {}
    target = verdict.target
    if target is not None:
        found |= {"champion": target.champion, "challenger": target.challenger, "p_value": _short(target.p_better)}
    found["sets"] = {
        one.name: {
            "images": one.images,
            "champion": one.champion,
            "challenger": one.challenger,
            "won": one.won,
            "lost": one.lost,
            "p_worse": _short(one.p_worse),
            "noticeable_loss": one.noticeable_loss,
            "ece": one.ece[1],
        }
        for one in verdict.sets
    }
    found["latency_ms"] = {
        "champion": round(verdict.champion.latency_s * 1e3, 2),
        "challenger": round(verdict.challenger.latency_s * 1e3, 2),
    }
    return found


def _short(value: float) -> float:
    return float(f"{value:.3g}")
