"""Arguments and options that several verbs take, each declared once."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Concatenate, ParamSpec

import typer

from .access import Where
from .completion import complete_name

_P = ParamSpec("_P")
Name = Annotated[str, typer.Argument(help="The PuzzleModel.", autocompletion=complete_name, show_default=False)]
AnyName = Annotated[
    str | None, typer.Argument(help="One PuzzleModel; without, all.", autocompletion=complete_name, show_default=False)
]
Everywhere = Annotated[bool, typer.Option("--all-namespaces", "-A", help="Models of all namespaces.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Let the API server check it, and change nothing.")]
MonitorUrl = Annotated[
    str | None,
    typer.Option("--monitor", envvar="PUZZLE_MONITOR_URL", help="Address of the monitor.", show_default=False),
]
MonitorToken = Annotated[
    Path | None,
    typer.Option(
        "--monitor-token-file",
        envvar="PUZZLE_MONITOR_TOKEN_FILE",
        help="File with a token of the role read.",
        show_default=False,
    ),
]
_WHERE = {
    "namespace": typer.Option("--namespace", "-n", help="Namespace; by default the context's.", show_default=False),
    "context": typer.Option("--context", help="Context of the kubeconfig.", show_default=False),
    "kubeconfig": typer.Option("--kubeconfig", help="Path to a kubeconfig.", show_default=False),
}


def located(verb: Callable[Concatenate[Where, _P], None]) -> Callable[..., None]:
    """A verb whose first parameter comes from kubectl's own flags, which stand last in its help.

    typer reads a command's options off its signature and cannot share any, so the shared ones are added to it.
    """

    @functools.wraps(verb)
    def command(*args: Any, **given: Any) -> None:
        flags = {name: given.pop(name) for name in _WHERE}
        verb(Where(**flags), *args, **given)

    signature = inspect.signature(verb, eval_str=True)
    own = list(signature.parameters.values())[1:]
    shared = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=Annotated[str | None, option])
        for name, option in _WHERE.items()
    ]
    command.__signature__ = signature.replace(parameters=[*own, *shared])  # type: ignore[attr-defined]
    return command
