"""What a run came to: the trainer's last words, or else the registry's record, or else why its Job ended."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from puzzle_operator.api.names import VERSION_PATTERN
from puzzle_operator.api.retraining import RunOutcome
from puzzle_operator.core.names import short

from .facts import DecisionRecord, JobState, TrainerPod, TrainingRun

_VERSION = re.compile(VERSION_PATTERN)
_LONGEST = 600
WRONG_USAGE = 2
"""Exit code of a trainer that cannot make sense of its arguments."""


@dataclass(frozen=True, slots=True)
class Result:
    """The end of a run."""

    outcome: RunOutcome
    message: str
    version: str | None = None


def last_words(run: TrainingRun) -> Result | None:
    """What the trainer said when it ended: JSON as the contract has it. The newest pod that said something counts;
    of several workers the first one speaks."""
    for pod in run.deciding:
        if (found := read_words(pod.last_words)) is not None:
            return found
    return None


def read_words(text: str) -> Result | None:
    """A termination message; None when it is no such thing."""
    try:
        said: Any = json.loads(text)
    except ValueError:
        return None
    if not isinstance(said, dict) or said.get("outcome") not in set(RunOutcome):
        return None
    outcome, version = RunOutcome(said["outcome"]), said.get("version")
    if not isinstance(version, str) or not _VERSION.match(version):
        version = None
    message = str(said.get("message") or outcome)[:_LONGEST]
    if outcome is RunOutcome.ACCEPTED and version is None:
        return Result(RunOutcome.FAILED, f"the trainer accepts a version and does not say which: {message}")
    return Result(outcome, message + _numbers(said), version)


def _numbers(said: Mapping[str, Any]) -> str:
    """The figures that the sentence leaves out."""
    metrics, data = said.get("metrics"), said.get("data")
    parts = []
    if isinstance(metrics, dict):
        parts += [f"{k} {_number(v)}" for k, v in metrics.items() if isinstance(v, int | float)][:6]
    if isinstance(data, dict):
        parts += [f"{data[k]} {k}" for k in ("images", "new", "labels") if isinstance(data.get(k), int)]
    if isinstance(said.get("seconds"), int | float):
        parts.append(f"{said['seconds']:.0f} s")
    return f" ({', '.join(parts)})" if parts else ""


def _number(value: float) -> str:
    return f"{value:.4g}"


def progress_words(text: bytes) -> str:
    """How far a run is: `train: epoch 3, of 10, loss 0.12`; empty when it makes no sense."""
    try:
        said: Any = json.loads(text)
    except ValueError:
        return ""
    if not isinstance(said, dict) or not isinstance(said.get("stage"), str):
        return ""
    parts = [
        f"{key} {_number(value) if isinstance(value, float) else short(str(value)) if key == 'version' else value}"
        for key, value in said.items()
        if key not in {"at", "stage", "eta_s"} and isinstance(value, str | int | float)
    ]
    return f"{said['stage']}{': ' if parts else ''}{', '.join(parts)}"[:_LONGEST]


def of_record(record: DecisionRecord) -> Result:
    """What the registry has on record, where the pod's words are lost."""
    where = f"by the registry's record {record.key.rsplit('/', 1)[-1]}"
    if record.kind == "Accepted":
        return Result(RunOutcome.ACCEPTED, f"{short(record.version)} was accepted, {where}", record.version)
    # What the data forbid has made no version.
    refused = RunOutcome.GATE_REFUSED if record.version else RunOutcome.DATA_REFUSED
    return Result(refused, f"refused, {where}: {record.reason}"[:_LONGEST], record.version or None)


def of_job(run: TrainingRun) -> Result:
    """How the Job ended, where nobody else has anything to say."""
    pod = _blamed(run)
    words = f": {pod.last_words.strip().splitlines()[-1][:200]}" if pod is not None and pod.last_words.strip() else ""
    if run.state is JobState.SUCCEEDED:
        return Result(RunOutcome.FAILED, f"the Job ended without saying what it came to{words}")
    if run.reason == "DeadlineExceeded":
        return Result(RunOutcome.FAILED, f"it took longer than spec.retraining.job.deadline allows{words}")
    if pod is not None and pod.exit_code == WRONG_USAGE:
        return Result(RunOutcome.FAILED, f"the trainer does not understand its arguments (exit code 2){words}")
    code = ""
    if pod is not None and pod.exit_code is not None:
        who = f"worker {pod.worker}" if run.failed_worker is not None else "the last one"
        code = f", {who} with exit code {pod.exit_code}"
    why = run.message or run.reason or "its pods failed"
    return Result(RunOutcome.FAILED, f"the Job failed{code}: {why}{words}"[:_LONGEST])


def _blamed(run: TrainingRun) -> TrainerPod | None:
    """The pod whose end tells most: the newest one of the worker that failed for good, else of the first."""
    own = [pod for pod in run.pods if pod.worker == (run.failed_worker or 0)]
    return own[0] if own else None
