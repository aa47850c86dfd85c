"""``puzzlenet replay``: labelled pieces shown to a challenger before its first traffic, in a Job of the operator's."""

from pathlib import Path
from typing import Annotated

import typer

_PATIENCE = 20.0  # seconds that a monitor that is away is waited for


def replay(
    namespace: Annotated[str, typer.Option(help="Namespace of the PuzzleModel.")],
    model: Annotated[str, typer.Option(help="Name of the PuzzleModel.")],
    monitor: Annotated[str, typer.Option(envvar="PUZZLE_MONITOR_URL", help="URL of the monitor.")],
    champion: Annotated[str, typer.Option(help="Revision that serves.")],
    challenger: Annotated[str, typer.Option(help="Revision that is to be tried.")],
    champion_version: Annotated[str, typer.Option(help="Digest that the champion must answer with.")] = "",
    challenger_version: Annotated[str, typer.Option(help="Digest that the challenger must answer with.")] = "",
    monitor_token_file: Annotated[Path | None, typer.Option(help="Bearer token of the role read.")] = None,
    pieces: Annotated[int, typer.Option(help="Labelled pieces at most, the newest.", min=1, max=1000)] = 200,
    since: Annotated[
        str | None, typer.Option(help="Only pieces from this time on, such as 2026-11-23T08:00:00Z.")
    ] = None,
    rate: Annotated[float, typer.Option(help="Pieces a second at most.", min=0.1, max=1000.0)] = 20.0,
    seconds: Annotated[float, typer.Option(help="Stop after this time, with what there is.", min=1.0)] = 180.0,
    address: Annotated[
        str, typer.Option(help="Where a revision is reached; {revision} and {namespace} are filled in.")
    ] = "http://{revision}.{namespace}.svc",
    termination_log: Annotated[Path | None, typer.Option(help="File that gets the result as JSON.")] = None,
) -> None:
    """Show the newest labelled pieces to champion and challenger, and count who is wrong about which.

    The pictures are those that the monitor keeps. Nothing is recorded, and no verdict is given: that is the operator's.
    Exit code 0: the result is printed as JSON, also when there was nothing to compare; 2: wrong usage.
    """
    from puzzlenet.files import canonical_json
    from puzzlenet.replay.compare import Side
    from puzzlenet.replay.result import write_termination
    from puzzlenet.replay.revisions import Revision
    from puzzlenet.replay.run import Pace
    from puzzlenet.replay.run import replay as start
    from puzzlenet.retrain.monitor import Monitor

    result = start(
        Monitor(monitor, monitor_token_file, _PATIENCE),
        (namespace, model),
        Side(name="champion", version=champion_version, revision=Revision(champion, namespace, address)),
        Side(name="challenger", version=challenger_version, revision=Revision(challenger, namespace, address)),
        Pace(pieces=pieces, since=since, rate=rate, seconds=seconds),
    )
    write_termination(result, termination_log)
    typer.echo(canonical_json(result).decode())
