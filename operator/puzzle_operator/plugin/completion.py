"""Words for the shell: verbs, flags, and the names of models and versions.

kubectl asks a program named `kubectl_complete-puzzle` on PATH, with the words after `kubectl puzzle`, and expects one
candidate in each line and then a colon with a directive (cobra's ShellCompDirective; 4: no file names).
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Mapping, Sequence

import typer

from puzzle_operator.core.names import short

from .access import Access, AccessError, Where

_NO_FILES = ":4"
_PATIENCE = 2.0
FLAGS = ("--namespace", "--context", "--kubeconfig", "--help")
VERBS: Mapping[str, tuple[str, ...]] = {
    "get": ("--all-namespaces",),
    "watch": ("--all-namespaces", "--interval"),
    "status": ("--wait", "--timeout"),
    "explain": (),
    "history": ("--all", "--monitor", "--monitor-token-file"),
    "retry": ("--dry-run",),
    "pause": ("--dry-run",),
    "resume": ("--dry-run",),
    "promote": ("--without-evidence", "--dry-run"),
    "abort": ("--dry-run",),
    "retrain": ("--reason", "--dry-run"),
    "lineage": (),
}
"""Verbs and the flags that are theirs."""
_VALUED = {
    "-n": "namespace",
    "--namespace": "namespace",
    "--context": "context",
    "--kubeconfig": "kubeconfig",
    "--timeout": "",
    "--reason": "",
    "--monitor": "",
    "--monitor-token-file": "",
    "--interval": "",
}


def candidates(
    words: Sequence[str], names: Callable[[Where], list[str]], versions: Callable[[Where, str], list[str]]
) -> list[str]:
    """What may stand in place of the last word."""
    *before, last = words or [""]
    if before and before[-1] in _VALUED:
        return []  # the value of a flag: nothing to propose
    plain, where = _sorted_out(before)
    if last.startswith("-"):
        own = VERBS.get(plain[0], ()) if plain else ()
        found: list[str] = [*own, *FLAGS] if plain else ["--help"]
    elif not plain:
        found = list(VERBS)
    elif len(plain) == 1 and plain[0] in VERBS:
        found = names(where)
    elif len(plain) == 2 and plain[0] == "retry":
        found = versions(where, plain[1])
    else:
        found = []
    return [word for word in found if word.startswith(last)]


def _sorted_out(words: Sequence[str]) -> tuple[list[str], Where]:
    """Verb and arguments without flags, and what the flags say about where to look."""
    plain: list[str] = []
    flags: dict[str, str] = {}
    rest = iter(words)
    for word in rest:
        flag, _, value = word.partition("=")
        if flag in _VALUED:
            flags[_VALUED[flag]] = value or next(rest, "")
        elif not word.startswith("-"):
            plain.append(word)
    return plain, _where(flags)


def _where(flags: Mapping[str, str]) -> Where:
    return Where(
        namespace=flags.get("namespace") or None,
        context=flags.get("context") or None,
        kubeconfig=flags.get("kubeconfig") or None,
        timeout=_PATIENCE,
    )


def model_names(where: Where) -> list[str]:
    """Names of the models there; none when they cannot be read: completion never complains."""
    with contextlib.suppress(AccessError):
        return [s.model.name for s in Access.connect(where).models(everywhere=False)]
    return []


def quarantined(where: Where, name: str) -> list[str]:
    """Versions of a model that may be retried, short."""
    with contextlib.suppress(AccessError):
        return [short(entry.version) for entry in Access.connect(where).one(name, alone=True).status.quarantined]
    return []


def complete_name(ctx: typer.Context, incomplete: str) -> list[str]:
    """For typer: the names of models, with the flags given so far."""
    given = {key: str(value) for key, value in ctx.params.items() if value}
    return [name for name in model_names(_where(given)) if name.startswith(incomplete)]


def complete_version(ctx: typer.Context, incomplete: str) -> list[str]:
    """For typer: the quarantined versions of the model named before."""
    given = {key: str(value) for key, value in ctx.params.items() if value}
    found = quarantined(_where(given), given.get("name", ""))
    return [version for version in found if version.startswith(incomplete)]


def main() -> None:
    """Entry point `kubectl_complete-puzzle`."""
    for word in candidates(sys.argv[1:], model_names, quarantined):
        print(word)
    print(_NO_FILES)
