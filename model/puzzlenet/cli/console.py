"""What the commands say: progress and results on the terminal, one-line errors with exit code 2."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

if TYPE_CHECKING:
    from puzzlenet.metrics import Scores

out = Console(highlight=False, soft_wrap=True)
err = Console(stderr=True, highlight=False, soft_wrap=True)


def fail(message: str) -> None:
    """One red line on standard error."""
    err.print(f"[red]error:[/red] {_escape(message)}")


def say(message: str) -> None:
    """One line of result."""
    out.print(_escape(message))


@contextmanager
def counting(what: str) -> Iterator[Callable[[int, int], None]]:
    """Progress of countable work: a bar on a terminal, a line about every five seconds elsewhere."""
    if err.is_terminal:
        columns = (TextColumn(what), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        with Progress(*columns, console=err, transient=True) as progress:
            task = progress.add_task(what, total=None)
            yield lambda done, total: progress.update(task, completed=done, total=total)
        return
    last = time.monotonic()

    def line(done: int, total: int) -> None:
        nonlocal last
        if time.monotonic() - last >= 5.0:
            last = time.monotonic()
            print(f"{what}: {done} of {total}", file=sys.stderr, flush=True)

    yield line


def show_scores(title: str, scores: "Scores", classes: tuple[str, ...]) -> None:
    """Accuracy, calibration, and the confusion matrix with each class's recall and precision."""
    say(
        f"{title}: accuracy {scores.accuracy:.4f} on {scores.images} images, "
        f"calibration error {scores.ece:.4f}, log loss {scores.log_loss:.4f}, "
        f"{scores.low_confidence:.1%} below 0.6"
    )
    width = max(len(name) for name in classes)
    short = [name if len(name) <= 8 else name[:7] + "…" for name in classes]
    head = "  ".join(f"{name:>8}" for name in short)
    say(f"{'true, predicted':<{max(width, 16)}}  {head}    recall  precision")
    for row, one in zip(scores.confusion, scores.per_class, strict=True):
        recall = "-" if one.recall is None else f"{one.recall:.3f}"
        precision = "-" if one.precision is None else f"{one.precision:.3f}"
        cells = "  ".join(f"{n if n else '·':>8}" for n in row)
        say(f"{one.name:<{max(width, 16)}}  {cells}  {recall:>8}  {precision:>9}")


def _escape(text: str) -> str:
    return text.replace("[", "\\[")
