"""Running other programs: output goes to a log file, and a failure carries the end of that log and what to do."""

import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

TAIL_LINES = 25


class ClusterError(Exception):
    """Something went wrong that a person has to read about; the message says what to do."""


def tail(path: Path, lines: int = TAIL_LINES) -> str:
    """The last lines of a text file, or an empty string when it is missing."""
    try:
        return "\n".join(path.read_text(errors="replace").splitlines()[-lines:])
    except OSError:
        return ""


def run(
    command: Sequence[str | Path],
    log: Path,
    *,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    stdin: bytes | None = None,
    hint: str = "",
    timeout: float | None = None,
) -> None:
    """Run a command, append its output to `log`, raise ClusterError with the log's tail when it fails."""
    log.parent.mkdir(parents=True, exist_ok=True)
    words = [str(word) for word in command]
    with log.open("ab") as out:
        out.write(f"$ {' '.join(words)}\n".encode())
        out.flush()
        try:
            done = subprocess.run(
                words,
                stdout=out,
                stderr=subprocess.STDOUT,
                input=stdin,
                stdin=subprocess.DEVNULL if stdin is None else None,
                env=None if env is None else {**os.environ, **env},
                cwd=cwd,
                timeout=timeout,
                check=False,
            )
            code, why = done.returncode, f"exit status {done.returncode}"
        except FileNotFoundError as missing:
            code, why = 127, f"not found: {missing.filename}"
        except subprocess.TimeoutExpired:
            code, why = 124, f"no end after {timeout:.0f} s"
    if code != 0:
        advice = f"\n{hint}" if hint else ""
        raise ClusterError(f"{words[0]} failed ({why}); log {log}:\n{tail(log)}{advice}")


def capture(
    command: Sequence[str | Path],
    *,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    timeout: float | None = 60,
) -> str:
    """Standard output of a command, stripped. Raises ClusterError with its standard error when it fails."""
    words = [str(word) for word in command]
    try:
        done = subprocess.run(
            words,
            capture_output=True,
            text=True,
            env=None if env is None else {**os.environ, **env},
            cwd=cwd,
            timeout=timeout,
            check=False,
        )
    except FileNotFoundError as missing:
        raise ClusterError(f"not found: {missing.filename}") from missing
    except subprocess.TimeoutExpired as late:
        raise ClusterError(f"{' '.join(words)}: no answer after {timeout:.0f} s") from late
    if done.returncode != 0:
        raise ClusterError(f"{' '.join(words)}: {done.stderr.strip() or done.stdout.strip()}")
    return done.stdout.strip()


def succeeds(command: Sequence[str | Path], timeout: float = 30) -> bool:
    """Whether a command ends with status 0; its output is dropped."""
    try:
        done = subprocess.run(
            [str(word) for word in command],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            stdin=subprocess.DEVNULL,
            timeout=timeout,
            check=False,
        )
    except (FileNotFoundError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0
