"""``puzzlenet registry``: publish versions to MinIO or another S3, and fetch them."""

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from puzzlenet.cli import console

if TYPE_CHECKING:
    from puzzlenet.registry import Registry

app = typer.Typer(
    help="Publish, list and fetch versions. Credentials: AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY.",
    no_args_is_help=True,
)

Endpoint = Annotated[str, typer.Option(envvar="PUZZLE_S3_ENDPOINT", help="host:port of the S3 service.")]
Bucket = Annotated[str, typer.Option(envvar="PUZZLE_S3_BUCKET", help="Bucket.")]
Insecure = Annotated[bool, typer.Option("--insecure", envvar="PUZZLE_S3_INSECURE", help="http instead of https.")]
Digest = Annotated[str, typer.Argument(help="Version: sha256:<64 hex>.")]


@app.command()
def push(
    folder: Annotated[Path, typer.Argument(help="Version folder of `puzzlenet package`.")],
    endpoint: Endpoint,
    bucket: Bucket = "puzzlenet",
    insecure: Insecure = False,
) -> None:
    """Verify and upload a version; the manifest last, so that a cut-off upload is not visible. Prints the digest."""
    pushed = _connect(endpoint, bucket, insecure).push(folder)
    console.err.print(f"{pushed.uploaded} files uploaded, {pushed.present} already there")
    console.say(pushed.digest)


@app.command("list")
def list_(endpoint: Endpoint, bucket: Bucket = "puzzlenet", insecure: Insecure = False) -> None:
    """Every visible version with its accuracy on the held-out share and the data it was trained on."""
    registry = _connect(endpoint, bucket, insecure)
    for digest in registry.versions():
        card = registry.document(digest, "card.json")
        accuracy = (card.get("validation") or {}).get("accuracy")
        data = card.get("trained_on") or {}
        shown = "-" if accuracy is None else f"{accuracy:.4f}"
        console.say(f"{digest}  validation {shown}  trained on {data.get('profile') or data.get('digest') or '-'}")


@app.command()
def show(digest: Digest, endpoint: Endpoint, bucket: Bucket = "puzzlenet", insecure: Insecure = False) -> None:
    """A version's manifest, model card and provenance as JSON, checked against its digest."""
    registry = _connect(endpoint, bucket, insecure)
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
    version = _connect(endpoint, bucket, insecure).pull(digest, out)
    console.say(f"{out}: {version.digest}")


def _connect(endpoint: str, bucket: str, insecure: bool) -> "Registry":
    from puzzlenet.registry import Location, Registry

    location = Location(endpoint=endpoint, bucket=bucket, secure=not insecure)
    return Registry.connect(location, os.environ)
