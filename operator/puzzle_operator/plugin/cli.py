"""The verbs of `kubectl puzzle`. Wiring only: flags in, a snapshot, lines out, an exit code."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Annotated

import typer
from rich.text import Text

from puzzle_common.durations import parse_duration
from puzzle_operator.api.resource import PuzzleModel

from . import changes, consent, retraining, screen
from .access import Access, AccessError, UnreachableError, Where
from .changes import Change, RefusedError
from .completion import complete_version
from .explain import lines as explain_lines
from .history import history as history_lines
from .history import whole as whole_history
from .listing import headline, rows
from .options import AnyName, DryRun, Everywhere, MonitorToken, MonitorUrl, Name, located
from .record import read_record
from .snapshot import Snapshot
from .standing import Exit, Standing, standing
from .text import Page, brief
from .tree import tree

_LOOK_EVERY = 1.0
_INTERRUPTED = 130  # as a shell says it of SIGINT
cli = typer.Typer(
    name="kubectl-puzzle",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="What PuzzleModels do, why, and what comes next.",
)


@cli.command("get")
@located
def get_(where: Where, name: AnyName = None, everywhere: Everywhere = False) -> None:
    """List models, or show one as a tree.

    The tree has versions, revisions and pods, the evidence, and what comes next.
    """
    with _errors():
        access = Access.connect(where)
        out = screen.console()
        screen.show(out, _picture(access, name, everywhere, screen.page(out)))


@cli.command()
@located
def watch(
    where: Where,
    name: AnyName = None,
    everywhere: Everywhere = False,
    interval: Annotated[str, typer.Option(help="Time between two looks.")] = "2s",
) -> None:
    """The same, live, until Ctrl-C.

    Into a pipe it writes one line whenever something changed.
    """
    with _errors():
        every = _span(interval, "--interval")
        access = Access.connect(where)
        out = screen.console()
        draw = partial(_picture, access, name, everywhere)
        draw(screen.page(out))  # a wrong name is an error, not a picture
        if out.is_terminal:
            screen.watch_live(out, draw, every)
        else:
            screen.watch_lines(out, partial(_headlines, access, name, everywhere), every)


@cli.command()
@located
def status(
    where: Where,
    name: Name,
    wait: Annotated[
        bool, typer.Option("--wait", "-w", help="Until it serves, is refused, or somebody has to decide.")
    ] = False,
    timeout: Annotated[str, typer.Option(help="How long to wait.")] = "10m",
) -> None:
    """Say where the version in the spec stands, by exit code.

    \b
    0  it serves all traffic
    1  rolled back, quarantined, or replaced in the spec while waiting
    2  wrong usage, no such model, no access
    3  --wait: still open after --timeout
    4  a rollout is in progress
    5  held until a person decides or does something, or something comes back;
       --wait ends with it only where a decision is missing: promote or abort
    """
    with _errors():
        limit = _span(timeout, "--timeout")
        access = Access.connect(where)
        found = _awaited(access, name, limit) if wait else standing(access.one(name, alone=True))
        typer.echo(brief(f"{name}: {found.sentence}"))
    raise typer.Exit(int(found.code))


@cli.command()
@located
def explain(where: Where, name: Name) -> None:
    """Say why it waits, for what, and for how long."""
    with _errors():
        out = screen.console()
        found = Access.connect(where).one(name)
        screen.show(out, explain_lines(found, screen.page(out)))


@cli.command()
@located
def history(
    where: Where,
    name: Name,
    everything: Annotated[
        bool, typer.Option("--all", help="All there ever were, from the monitor; also of a model that is gone.")
    ] = False,
    monitor: MonitorUrl = None,
    monitor_token_file: MonitorToken = None,
) -> None:
    """Show what was decided, when and why; the newest last."""
    with _errors():
        out = screen.console()
        access = Access.connect(where)
        if not everything:
            screen.show(out, history_lines(access.one(name, alone=True), screen.page(out)))
            return
        record = read_record(monitor, monitor_token_file, access.namespace, name)
        screen.show(out, whole_history(record, _if_there(access, name, bool(record)), screen.page(out)))


@cli.command()
@located
def retry(
    where: Where,
    name: Name,
    version: Annotated[
        str | None,
        typer.Argument(
            help="Digest or its first digits; by default the one in the spec.",
            autocompletion=complete_version,
            show_default=False,
        ),
    ] = None,
    dry_run: DryRun = False,
) -> None:
    """Let a quarantined version be tried again."""
    _change(where, name, lambda model: changes.retry(model, version), dry_run)


@cli.command()
@located
def pause(where: Where, name: Name, dry_run: DryRun = False) -> None:
    """Keep the weight where it is. A failing challenger is still taken back."""
    _change(where, name, lambda model: changes.set_paused(model, True), dry_run)


@cli.command()
@located
def resume(where: Where, name: Name, dry_run: DryRun = False) -> None:
    """Go on after a pause."""
    _change(where, name, lambda model: changes.set_paused(model, False), dry_run)


@cli.command()
@located
def promote(
    where: Where,
    name: Name,
    without_evidence: Annotated[
        bool,
        typer.Option("--without-evidence", help="Wait for neither evidence nor minDuration. A Fail still rolls back."),
    ] = False,
    dry_run: DryRun = False,
) -> None:
    """Consent to the next move: more traffic, or promotion.

    It may be given early: the move comes when everything else is there.
    """
    _change(where, name, lambda model: consent.promote(model, without_evidence), dry_run)


@cli.command()
@located
def abort(where: Where, name: Name, dry_run: DryRun = False) -> None:
    """Go back to the champion.

    The spec names its version again, and the challenger loses its traffic at once.
    """
    _change(where, name, changes.abort, dry_run)


@cli.command()
@located
def retrain(
    where: Where,
    name: Name,
    reason: Annotated[str | None, typer.Option("--reason", help="Why, for the record.", show_default=False)] = None,
    dry_run: DryRun = False,
) -> None:
    """Ask for a run of retraining, and say what it would be and what it waits for."""
    _change(where, name, lambda model: retraining.retrain(Snapshot.of(model), reason), dry_run)


@cli.command()
@located
def lineage(where: Where, name: Name) -> None:
    """Show which version replaced which, when and why, and where to read what each was made of."""
    with _errors():
        out = screen.console()
        found = Access.connect(where).one(name, alone=True)
        screen.show(out, retraining.lineage(found, screen.page(out)))


def _if_there(access: Access, name: str, known: bool) -> Snapshot | None:
    """The model; None for one that is gone, of which there is a record."""
    try:
        return access.one(name, alone=True)
    except UnreachableError:
        raise
    except AccessError:
        if not known:
            raise
        return None


def _picture(access: Access, name: str | None, everywhere: bool, page: Page) -> list[Text]:
    if name is not None:
        if everywhere:
            raise RefusedError("a name and --all-namespaces exclude each other: say -n NAMESPACE")
        return tree(access.one(name), page)
    models = access.models(everywhere=everywhere)
    if not models:
        where = "this cluster" if everywhere else f"namespace {access.namespace}"
        return [Text(f"there is no PuzzleModel in {where}")]
    return rows(models, page, namespaces=everywhere)


def _headlines(access: Access, name: str | None, everywhere: bool) -> list[str]:
    models = [access.one(name, alone=True)] if name is not None else access.models(everywhere=everywhere)
    return [brief(headline(s)) for s in models]


def _awaited(access: Access, name: str, limit: float) -> Standing:
    """Where the version stands that the spec named first, as soon as that is final; every turn goes to stderr."""
    end, told = time.monotonic() + limit, ""
    wanted: str | None = None
    found = Standing(Exit.MOVING, "was not seen")
    while True:
        try:
            seen: Snapshot = access.one(name, alone=True)
            wanted = wanted or seen.target
            found = standing(seen, wanted)
        except UnreachableError as exc:
            if wanted is None:
                raise
            found = Standing(Exit.BLOCKED, str(exc))
        left = end - time.monotonic()
        if found.is_final:
            return found
        if left <= 0:
            return Standing(Exit.TIMEOUT, f"still open after the time allowed: {found.sentence}")
        if found.sentence != told:
            typer.echo(brief(f"{name}: {found.sentence}"), err=True)
            told = found.sentence
        time.sleep(min(_LOOK_EVERY, max(0.05, left)))


def _change(where: Where, name: str, plan: Callable[[PuzzleModel], Change], dry_run: bool) -> None:
    with _errors():
        access = Access.connect(where)
        done = access.change(name, plan, dry_run=dry_run)
        tried = " (dry run, nothing was changed)" if dry_run and done.patch is not None else ""
        first, *rest = done.sentences
        typer.echo(f"puzzlemodel {access.namespace}/{name}: {first}{tried}")
        for sentence in rest:
            typer.echo(f"  {sentence}")


def _span(text: str, flag: str) -> float:
    try:
        return parse_duration(text, positive=True).total_seconds()
    except ValueError as exc:
        raise RefusedError(f"{flag}: {exc}") from exc


@contextmanager
def _errors() -> Iterator[None]:
    """Whatever goes wrong is one sentence on stderr and exit code 2."""
    try:
        yield
    except (AccessError, RefusedError) as exc:
        print(f"kubectl puzzle: {exc}", file=sys.stderr)
        raise typer.Exit(int(Exit.USAGE)) from exc
    except KeyboardInterrupt as exc:
        raise typer.Exit(_INTERRUPTED) from exc


def main() -> None:
    """Entry point of the package."""
    cli()


if __name__ == "__main__":
    main()
