"""``puzzlenet dataset``: pictures from elsewhere, several sets in one, and what a data set holds."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from puzzlenet.cli import console
from puzzlenet.errors import BadDataError

app = typer.Typer(
    help="Import a folder of pictures as a data set, merge several, or describe one.", no_args_is_help=True
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
