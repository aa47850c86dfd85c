"""``puzzlenet score``: answer for a folder of any size, one shard of it, or sum up what was answered."""

import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from puzzlenet.cli import console
from puzzlenet.errors import PuzzleNetError

if TYPE_CHECKING:
    from puzzlenet.manifest import Version
    from puzzlenet.predictor import Predictor
    from puzzlenet.scoring.places import Access
    from puzzlenet.scoring.run import Progress
    from puzzlenet.scoring.tally import Tally

_EVERY_S = 5.0


def score(
    source: Annotated[str | None, typer.Argument(help="Folder of .png and .jpg files, or s3://bucket/prefix.")] = None,
    out: Annotated[str | None, typer.Option(help="Folder or s3://bucket/prefix for the Parquet files.")] = None,
    version_dir: Annotated[Path | None, typer.Option(help="Folder of the version.")] = None,
    version: Annotated[
        str | None,
        typer.Option(envvar="PUZZLENET_VERSION", help="Digest sha256:…: fetched, or that of the folder."),
    ] = None,
    endpoint: Annotated[str, typer.Option(envvar="PUZZLE_S3_ENDPOINT", help="host:port of the S3 service.")] = "",
    bucket: Annotated[str, typer.Option(envvar="PUZZLE_S3_BUCKET", help="Bucket of the registry.")] = "puzzlenet",
    insecure: Annotated[
        bool, typer.Option("--insecure", envvar="PUZZLE_S3_INSECURE", help="http instead of https.")
    ] = False,
    shard: Annotated[
        str | None, typer.Option(help="i/n: one of n workers; by default JOB_COMPLETION_INDEX/JOB_COMPLETIONS.")
    ] = None,
    per_part: Annotated[int, typer.Option(help="Images in a Parquet file; one is lost at most.", min=1)] = 1000,
    batch: Annotated[int, typer.Option(help="Images through the network at once.", min=1, max=4096)] = 64,
    readers: Annotated[int, typer.Option(help="Images read at the same time.", min=1, max=256)] = 8,
    threads: Annotated[int, typer.Option(help="CPU threads of the network.", min=1, max=1024)] = 1,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    max_bad: Annotated[
        float, typer.Option(help="Exit with 3 when a larger share of the images has no answer.", min=0.0, max=1.0)
    ] = 1.0,
    summary: Annotated[str | None, typer.Option(help="Sum up this result instead; exit 1 when unfinished.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print the summary as JSON.")] = False,
) -> None:
    """Answer for every picture below SOURCE as the server would, into Parquet files of path, label, confidence,
    probabilities, version and error. Run again, it goes on after the last file that was finished.

    Exit codes: 0 done; 1 something is away, run it again; 2 wrong usage; 3 more bad images than --max-bad.
    """
    from puzzlenet.scoring.places import Access, place_at
    from puzzlenet.scoring.plan import shard_of
    from puzzlenet.scoring.run import Job
    from puzzlenet.scoring.run import score as answer
    from puzzlenet.scoring.tally import summarise

    s3 = Access(endpoint, not insecure, os.environ)
    if summary is not None:
        total = summarise(place_at(summary, s3))
        _show(total.to_dict(), json)
        if total.missing:
            console.fail(f"not finished: shards {', '.join(map(str, total.missing))} of {total.run['shards']}")
            raise typer.Exit(1)
        _judge(total.tally, max_bad)
        return
    if source is None or out is None:
        raise PuzzleNetError("name SOURCE and --out, or --summary with the place of a result")
    own = shard_of(shard, os.environ)
    with _version(version_dir, version, s3, bucket) as verified:
        job = Job(
            source=place_at(source, s3),
            target=place_at(out, s3),
            shard=own,
            version=verified.digest,
            per_part=per_part,
            batch=batch,
            readers=readers,
        )
        tally = answer(_predictor(verified.folder, device, threads), job, on_progress=_lines())
    _show({"shard": str(own), "version": verified.digest, **tally.to_dict()}, json)
    _judge(tally, max_bad)


@contextmanager
def _version(folder: Path | None, digest: str | None, s3: "Access", bucket: str) -> "Iterator[Version]":
    """A verified version: the folder that was named, or one fetched from the registry for as long as it is needed."""
    from puzzlenet.manifest import verify
    from puzzlenet.registry import Location, Registry

    if folder is not None:
        yield verify(folder, digest)
        return
    if not digest:
        raise PuzzleNetError("name the version: --version-dir FOLDER, or --version sha256:… with --endpoint")
    if not s3.endpoint:
        raise PuzzleNetError("--endpoint (or PUZZLE_S3_ENDPOINT) is missing: host:port of the registry")
    location = Location(endpoint=s3.endpoint, bucket=bucket, secure=s3.secure)
    with tempfile.TemporaryDirectory(prefix="puzzlenet-") as work:
        yield Registry.connect(location, s3.environment).pull(digest, Path(work) / "version")


def _predictor(folder: Path, device: str, threads: int) -> "Predictor":
    import torch

    from puzzlenet.predictor import Predictor
    from puzzlenet.train import pick_device

    torch.set_num_threads(threads)
    return Predictor.load(folder, pick_device(device))


def _lines() -> "Callable[[Progress], None]":
    """A line on standard error about every five seconds."""
    last = time.monotonic()

    def line(now: "Progress") -> None:
        nonlocal last
        if time.monotonic() - last >= _EVERY_S:
            last = time.monotonic()
            bad = f", {now.bad} without an answer" if now.bad else ""
            again = f", {now.skipped} of them before" if now.skipped else ""
            text = f"shard {now.shard}: {now.images} images{again}{bad}, {now.rate:.0f} a second"
            print(text, file=sys.stderr, flush=True)

    return line


def _show(summary: dict[str, object], as_json: bool) -> None:
    from puzzlenet.files import pretty_json

    if as_json:
        sys.stdout.write(pretty_json(summary).decode())
        return
    labels, errors = summary["labels"], summary["errors"]
    console.say(
        f"{summary['images']} images, {summary['unanswered']} without an answer, mean confidence "
        f"{summary['mean_confidence']}, {summary['below_0.6']} below 0.6, version {summary['version']}"
    )
    for counts, indent in ((labels, ""), (errors, "no answer: ")):
        if isinstance(counts, dict):
            for name, count in counts.items():
                console.say(f"{count:>10}  {indent}{name}")


def _judge(tally: "Tally", max_bad: float) -> None:
    if tally.images and tally.bad / tally.images > max_bad:
        console.fail(f"{tally.bad} of {tally.images} images have no answer, more than --max-bad {max_bad}")
        raise typer.Exit(3)
