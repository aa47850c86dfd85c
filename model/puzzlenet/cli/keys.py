"""``puzzlenet keys``: key pairs for signing versions."""

from pathlib import Path
from typing import Annotated

import typer

from puzzlenet.cli import console

app = typer.Typer(help="Keys that versions are signed and verified with.", no_args_is_help=True)


@app.callback()
def _group() -> None:
    """Keys that versions are signed and verified with."""


@app.command()
def new(
    private: Annotated[Path, typer.Argument(help="New file for the private key; NAME.pub gets the other half.")],
) -> None:
    """Make an elliptic-curve key pair (P-256). Nothing is ever overwritten."""
    from puzzlenet.signing import new_keys

    public = new_keys(private)
    console.say(f"{private}: keep it secret, for `package --sign-key`; {public}: for `serve --verify-key`")
