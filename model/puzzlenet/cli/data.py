"""``puzzlenet dataset``: pictures from elsewhere, several sets in one, the registry's, and their checks."""

import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Literal

import typer

from puzzlenet.cli import console
from puzzlenet.cli.registry import Bucket, Endpoint, Insecure, connect
from puzzlenet.errors import BadDataError

app = typer.Typer(
    help="Import a folder of pictures as a data set, merge, describe or check it; push and pull the registry's.",
    no_args_is_help=True,
)


@app.command("import")
def import_(
    source: Annotated[Path, typer.Argument(help="Folder with one folder of .png or .jpg files for each label.")],
    out: Annotated[Path, typer.Argument(help="New folder for the data set.")],
    symmetries: Annotated[
        Literal["none", "square"],
        typer.Option(help="square: flips and quarter turns keep a label (pieces do, digits do not)."),
    ] = "none",
) -> None:
    """Open every picture, copy the folder and write dataset.json. One bad picture stops it, and nothing is left."""
    from puzzlenet.dataset import import_dataset

    with console.counting("checking images") as progress:
        info = import_dataset(source, out, symmetries=symmetries, progress=progress)
    console.say(f"{out}: {sum(info.counts.values())} images of {len(info.classes)} labels, {info.digest}")


@app.command()
def merge(
    out: Annotated[Path, typer.Argument(help="New folder for the data set.")],
    sources: Annotated[list[Path], typer.Argument(help="Data sets, such as those of two lines.")],
) -> None:
    """Copy several data sets into one, so that a model learns all of them."""
    from puzzlenet.dataset import merge_datasets

    with console.counting("copying images") as progress:
        info = merge_datasets(sources, out, progress=progress)
    console.say(f"{out}: {sum(info.counts.values())} images of {len(info.classes)} labels, {info.digest}")


@app.command()
def info(folder: Annotated[Path, typer.Argument(help="Data set.")]) -> None:
    """Count the labels, and compare the folder with the digest in its dataset.json (exit code 2 when it differs)."""
    from puzzlenet.dataset import open_dataset

    dataset = open_dataset(folder)
    digest = dataset.digest()
    for name, count in dataset.counts().items():
        console.say(f"{name:<20} {count:>8}")
    described = dataset.info
    origin = "no dataset.json" if described is None else f"{described.kind}, profile {described.profile or '-'}"
    console.say(f"{len(dataset.items)} images, {origin}, symmetries {dataset.symmetries}, {digest}")
    if described is not None and described.corrupted:
        console.say(f"{described.corrupted} images are under a wrong label on purpose")
    if described is not None and described.digest != digest:
        raise BadDataError(
            f"{folder} is not what its dataset.json describes ({described.digest}): it was changed since"
        )


@app.command()
def push(
    folder: Annotated[Path, typer.Argument(help="Data set.")],
    line: Annotated[str, typer.Option(help="Production line that the pictures are of.")],
    endpoint: Endpoint,
    bucket: Bucket = "puzzlenet",
    insecure: Insecure = False,
) -> None:
    """Upload a folder: each picture once, the manifest last. Prints the digest. Doing it twice is harmless."""
    from puzzlenet.store.datasets import Datasets

    registry = connect(endpoint, bucket, insecure)
    with console.counting("uploading pictures") as progress:
        pushed = Datasets(registry.bucket).push_folder(folder, line, progress)
    console.err.print(f"{pushed.uploaded} of {pushed.images} pictures uploaded, the others were there")
    console.say(pushed.digest)


@app.command()
def pull(
    digest: Annotated[str, typer.Argument(help="Data set of the registry: sha256:…")],
    out: Annotated[Path, typer.Argument(help="New folder for it.")],
    endpoint: Endpoint,
    bucket: Bucket = "puzzlenet",
    insecure: Insecure = False,
    side: Annotated[
        Literal["all", "train", "test"],
        typer.Option(help="Everything, or the side to train on or to judge on."),
    ] = "all",
) -> None:
    """Fetch a data set as a folder to train on; every picture is checked against its hash."""
    from puzzlenet.store.datasets import Datasets

    registry = connect(endpoint, bucket, insecure)
    with console.counting("fetching pictures") as progress:
        manifest = Datasets(registry.bucket).pull(digest, out, None if side == "all" else side, progress)
    console.say(f"{out}: {manifest.digest}")


@app.command("list")
def list_(endpoint: Endpoint, bucket: Bucket = "puzzlenet", insecure: Insecure = False) -> None:
    """Data sets of the registry."""
    from puzzlenet.store.datasets import Datasets

    datasets = Datasets(connect(endpoint, bucket, insecure).bucket)
    for digest in datasets.digests():
        manifest = datasets.manifest(digest)
        test = len(manifest.of("test"))
        console.say(
            f"{digest}  {len(manifest.entries)} pictures ({test} held out) of {', '.join(manifest.lines)}, "
            f"{len(manifest.classes)} labels"
        )


@app.command()
def check(
    data: Annotated[str, typer.Argument(help="Folder, or digest of a data set of the registry.")],
    reference: Annotated[Path | None, typer.Option(help="Folder of pictures that are known to be good.")] = None,
    champion: Annotated[Path | None, typer.Option(help="Version folder that is asked about the labels.")] = None,
    out: Annotated[Path | None, typer.Option(help="Folder for quality.json and quality.html.")] = None,
    min_images: Annotated[int, typer.Option(help="Pictures that are needed.")] = 50,
    size: Annotated[str | None, typer.Option(help="Size that pictures must have, such as 128x128.")] = None,
    brightness: Annotated[str | None, typer.Option(help="Bounds of brightness, such as 0.1,0.9.")] = None,
    endpoint: Annotated[str | None, typer.Option(envvar="PUZZLE_S3_ENDPOINT", help="host:port, for a digest.")] = None,
    bucket: Bucket = "puzzlenet",
    insecure: Insecure = False,
) -> None:
    """Run the data quality gate. Exit code 1 when the data is refused, with the numbers."""
    from puzzlenet.quality.checks import Limits
    from puzzlenet.quality.folder import check_folder
    from puzzlenet.retrain.settings import brightness as bounds
    from puzzlenet.retrain.settings import size as pixels

    limits = Limits(
        min_images=min_images,
        size=pixels(size) if size else None,
        brightness=bounds(brightness) if brightness else Limits().brightness,
    )
    with TemporaryDirectory() as scratch:
        folder = Path(data)
        if data.startswith("sha256:"):
            from puzzlenet.store.datasets import Datasets

            if endpoint is None:
                raise BadDataError("--endpoint is missing: it says where the data set lies")
            folder = Path(scratch) / "data"
            Datasets(connect(endpoint, bucket, insecure).bucket).pull(data, folder)
        quality = check_folder(folder, limits, reference=reference, champion=champion, title=data)
    if out is not None:
        quality.write(out)
    for finding in quality.findings:
        console.say(f"{finding.status:<8} {finding.check}: {finding.sentence}")
    if not quality.passed:
        sys.exit(1)
