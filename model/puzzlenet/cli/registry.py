"""``puzzlenet registry``: versions in MinIO or another S3, what was decided about them, and where they come from."""

import json
import os
import time
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated

import typer

from puzzlenet.cli import console
from puzzlenet.errors import MonitorError, PuzzleNetError

if TYPE_CHECKING:
    from puzzlenet.registry import Registry

app = typer.Typer(
    help="Publish, list and fetch versions; decisions and lineage. "
    "Credentials: AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY.",
    no_args_is_help=True,
)

_Row = tuple[datetime, str, str | None, str, str]
Endpoint = Annotated[str, typer.Option(envvar="PUZZLE_S3_ENDPOINT", help="host:port of the S3 service.")]
Bucket = Annotated[str, typer.Option(envvar="PUZZLE_S3_BUCKET", help="Bucket.")]
Insecure = Annotated[bool, typer.Option("--insecure", envvar="PUZZLE_S3_INSECURE", help="http instead of https.")]
Line = Annotated[str, typer.Option(help="Production line.")]
Digest = Annotated[str, typer.Argument(help="Version: sha256:<64 hex>.")]


@app.command()
def push(
    folder: Annotated[Path, typer.Argument(help="Version folder of `puzzlenet package`.")],
    endpoint: Endpoint,
    bucket: Bucket = "puzzlenet",
    insecure: Insecure = False,
) -> None:
    """Verify and upload a version; the manifest last, so that a cut-off upload is not visible. Prints the digest."""
    pushed = connect(endpoint, bucket, insecure).push(folder)
    console.err.print(f"{pushed.uploaded} files uploaded, {pushed.present} already there")
    console.say(pushed.digest)


@app.command("list")
def list_(endpoint: Endpoint, bucket: Bucket = "puzzlenet", insecure: Insecure = False) -> None:
    """Every visible version with its accuracy on the held-out share and the data it was trained on."""
    registry = connect(endpoint, bucket, insecure)
    for digest in registry.versions():
        card = registry.document(digest, "card.json")
        accuracy = (card.get("validation") or {}).get("accuracy")
        data = card.get("trained_on") or {}
        shown = "-" if accuracy is None else f"{accuracy:.4f}"
        console.say(f"{digest}  validation {shown}  trained on {data.get('profile') or data.get('digest') or '-'}")


@app.command()
def show(digest: Digest, endpoint: Endpoint, bucket: Bucket = "puzzlenet", insecure: Insecure = False) -> None:
    """A version's manifest, model card and provenance as JSON, checked against its digest."""
    registry = connect(endpoint, bucket, insecure)
    documents = {name: registry.document(digest, f"{name}.json") for name in ("card", "provenance")}
    manifest = registry.manifest(digest).model_dump(by_alias=True)
    typer.echo(json.dumps({"version": digest, "manifest": manifest, **documents}, indent=2, sort_keys=True))


@app.command()
def pull(
    digest: Digest,
    out: Annotated[Path, typer.Argument(help="New folder for the version.")],
    endpoint: Endpoint,
    bucket: Bucket = "puzzlenet",
    insecure: Insecure = False,
) -> None:
    """Fetch a version; the folder appears only when every file hashes to the manifest."""
    version = connect(endpoint, bucket, insecure).pull(digest, out)
    console.say(f"{out}: {version.digest}")


@app.command()
def verify(
    digest: Digest,
    verify_key: Annotated[list[Path], typer.Option(help="Public key; several while keys are rotated.")],
    endpoint: Endpoint,
    bucket: Bucket = "puzzlenet",
    insecure: Insecure = False,
) -> None:
    """Fetch a version and check every hash and its signature (exit code 2 when one does not hold)."""
    from puzzlenet.signing import check

    with TemporaryDirectory() as scratch:
        version = connect(endpoint, bucket, insecure).pull(digest, Path(scratch) / "version")
        key = check(version, verify_key)
    console.say(f"{digest}: every file is as packaged, signed with {key.name}")


@app.command()
def sign(
    digest: Digest,
    sign_key: Annotated[Path, typer.Option(help="Private key of `keys new`.")],
    endpoint: Endpoint,
    bucket: Bucket = "puzzlenet",
    insecure: Insecure = False,
) -> None:
    """Sign a version that is in the registry: one from before there were keys, or all that stay when keys are rotated.

    Every file is checked against the digest first; the new signature takes the place of an old one.
    """
    from puzzlenet.signing import sign as seal

    registry = connect(endpoint, bucket, insecure)
    with TemporaryDirectory() as scratch:
        version = registry.pull(digest, Path(scratch) / "version")
        seal(version.folder, sign_key)
        registry.push(version.folder)
    console.say(f"{digest}: signed with {sign_key.name}")


@app.command()
def log(
    line: Line,
    endpoint: Endpoint,
    model: Annotated[
        list[str] | None, typer.Option(help="PuzzleModel (namespace/name) whose champions the monitor knows.")
    ] = None,
    monitor: Annotated[str | None, typer.Option(envvar="PUZZLE_MONITOR_URL", help="URL of the monitor.")] = None,
    monitor_token_file: Annotated[Path | None, typer.Option(help="Bearer token of the role read.")] = None,
    bucket: Bucket = "puzzlenet",
    insecure: Insecure = False,
) -> None:
    """What was decided about versions for a line, oldest first; with --model also who was champion when."""
    from puzzlenet.store.decisions import Decisions

    rows: list[_Row] = [
        (datetime.fromisoformat(one.at), one.kind, one.version, f" (run {one.run})" if one.run else "", one.reason)
        for one in Decisions(connect(endpoint, bucket, insecure).bucket).log(line)
    ]
    for name in model or ():
        rows += _championship(name, line, monitor, monitor_token_file)
    for at, kind, version, of, reason in sorted(rows, key=lambda row: row[0]):
        console.say(f"{at.isoformat()}  {kind:<10} {version or 'no version'}{of}: {reason}")


@app.command()
def accept(
    digest: Digest,
    line: Line,
    reason: Annotated[str, typer.Option(help="Why, for the record.")],
    endpoint: Endpoint,
    bucket: Bucket = "puzzlenet",
    insecure: Insecure = False,
) -> None:
    """Accept a version for a line by hand: what `spec.model.version: auto` resolves to from now on."""
    from puzzlenet.store.decisions import Decision, Decisions

    registry = connect(endpoint, bucket, insecure)
    registry.manifest(digest)
    decisions = Decisions(registry.bucket)
    before = decisions.accepted(line)
    record = decisions.append(
        Decision(
            at=datetime.now(UTC).isoformat(),
            line=line,
            kind="Accepted",
            version=digest,
            parent=before.version if before else None,
            reason=reason,
        )
    )
    console.say(f"{record.at}: {digest} is accepted for {line}")


@app.command()
def lineage(
    endpoint: Endpoint,
    digest: Annotated[str | None, typer.Argument(help="Version: sha256:<64 hex>.")] = None,
    prediction: Annotated[str | None, typer.Option(help="Id of a prediction, instead of a version.")] = None,
    monitor: Annotated[str | None, typer.Option(envvar="PUZZLE_MONITOR_URL", help="URL of the monitor.")] = None,
    monitor_token_file: Annotated[Path | None, typer.Option(help="Bearer token of the role read.")] = None,
    bucket: Bucket = "puzzlenet",
    insecure: Insecure = False,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
) -> None:
    """Which commit, image, data and parents made a version, or the version behind a prediction."""
    from puzzlenet.store.lineage import History

    if (digest is None) == (prediction is None):
        raise PuzzleNetError("name either a version or --prediction, not both and not neither")
    said = ""
    if digest is None:
        digest, said = _behind(str(prediction), monitor, monitor_token_file)
    chain = History(connect(endpoint, bucket, insecure)).chain(digest)
    if as_json:
        typer.echo(json.dumps([asdict(origin) for origin in chain], indent=2, sort_keys=True))
        return
    if prediction is not None:
        console.say(f"prediction {prediction}" + (f"; {said}" if said else ""))
    for depth, origin in enumerate(chain):
        console.say(f"{'  ' * depth}{'made by ' if depth == 0 and prediction else ''}{origin.version}")
        console.say(f"{'  ' * depth}  {origin.sentence()}")
    if chain[-1].parent is not None:
        console.say(f"{'  ' * len(chain)}{chain[-1].parent} is not in the registry any more")


@app.command()
def influenced(
    dataset: Annotated[str, typer.Option(help="Data set of the registry: sha256:…")],
    endpoint: Endpoint,
    bucket: Bucket = "puzzlenet",
    insecure: Insecure = False,
) -> None:
    """Versions that were trained on a data set, or on one that contains it."""
    from puzzlenet.store.lineage import History

    for origin, how in History(connect(endpoint, bucket, insecure)).influenced(dataset):
        console.say(f"{origin.version}  {how}")


@app.command()
def gc(
    endpoint: Endpoint,
    keep: Annotated[int, typer.Option(help="Refused versions to keep, the newest.", min=0)],
    champion: Annotated[list[str] | None, typer.Option(help="Version to keep whatever the records say.")] = None,
    grace: Annotated[str, typer.Option(help="What was written since then and nothing names yet stays.")] = "168h",
    dry_run: Annotated[bool, typer.Option("--dry-run/--delete", help="Only say what would go (default).")] = True,
    bucket: Bucket = "puzzlenet",
    insecure: Insecure = False,
) -> None:
    """Remove refused versions that nothing is built on, their data, pictures of no data set, and cut-off uploads.

    Champions past and present, their lineage, golden sets and what nothing was decided about stay.
    """
    from puzzlenet.retrain.settings import duration
    from puzzlenet.store.garbage import Collector

    collector = Collector(
        connect(endpoint, bucket, insecure), keep=keep, now=time.time(), grace_s=duration(grace, "--grace")
    )
    plan = collector.plan(champion or ())
    for kind, part in (("data set", plan.datasets), ("version ", plan.versions)):
        for name, reason in part.keep.items():
            console.say(f"keep     {kind}  {name}  {reason}")
        for name in part.remove if dry_run else ():
            console.say(f"remove   {kind}  {name}")
    if not dry_run:
        collector.remove_named(plan, lambda name: console.say(f"removed  {name}"))
    word = "remove " if dry_run else "removed"
    pictures, parts = collector.pictures(plan, delete=not dry_run), collector.leftovers(delete=not dry_run)
    console.say(f"{word}  {pictures.count} pictures of no data set ({pictures.size / 1e6:.1f} MB)")
    console.say(f"{word}  {parts.count} files of uploads and runs that were given up ({parts.size / 1e6:.1f} MB)")
    if dry_run:
        console.say("nothing was removed: give --delete")


def _championship(name: str, line: str, monitor: str | None, token_file: Path | None) -> list[_Row]:
    """Decisions about the champions that a model had on a line."""
    from puzzlenet.retrain.monitor import Monitor

    namespace, _, model = name.partition("/")
    if not model:
        raise PuzzleNetError(f"--model is {name!r}: write NAMESPACE/NAME")
    if not monitor:
        raise PuzzleNetError("--monitor (or PUZZLE_MONITOR_URL) is missing: it has the record of a model's champions")
    told = Monitor(monitor, token_file).decisions(namespace, model)
    return [(one.at, one.kind, one.version, f" ({name})", one.reason) for one in told if one.line == line]


def _behind(prediction: str, monitor: str | None, token_file: Path | None) -> tuple[str, str]:
    """The version that made a prediction, and a sentence about who was champion then; empty where nobody knows."""
    from puzzlenet.retrain.champion import champion_at, sentence
    from puzzlenet.retrain.monitor import Monitor

    if not monitor:
        raise PuzzleNetError("--monitor (or PUZZLE_MONITOR_URL) is missing: it knows which version made a prediction")
    asked = Monitor(monitor, token_file)
    made = asked.made(prediction)
    try:
        crowned = champion_at(asked.decisions(made.namespace, made.model), made.at)
    except MonitorError as exc:  # lineage does not hang on it
        return made.version, f"who was champion then is not known: {exc}"
    return made.version, sentence(made, crowned) if crowned else ""


def connect(endpoint: str, bucket: str, insecure: bool) -> "Registry":
    """The registry that the options of a command name."""
    from puzzlenet.registry import Location, Registry

    location = Location(endpoint=endpoint, bucket=bucket, secure=not insecure)
    return Registry.connect(location, os.environ)
