"""``puzzlenet golden`` and ``puzzlenet gate``: the pictures that versions are judged on, and the judgement."""

import json
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from puzzlenet.cli import console
from puzzlenet.cli.registry import Bucket, Endpoint, Insecure, connect
from puzzlenet.cli.retrain import Alpha, Bytes, Calibration, Floor, Latency, Margin
from puzzlenet.errors import BadDataError

if TYPE_CHECKING:
    from puzzlenet.registry import Registry
    from puzzlenet.store.datasets import DatasetManifest

app = typer.Typer(help="Golden sets: pictures of a line that every challenger is judged on.", no_args_is_help=True)
Line = Annotated[str, typer.Option(help="Production line.")]


@app.command()
def freeze(
    dataset: Annotated[str, typer.Argument(help="Data set of the registry: sha256:…")],
    line: Line,
    endpoint: Endpoint,
    bucket: Bucket = "puzzlenet",
    insecure: Insecure = False,
    version: Annotated[
        str | None, typer.Option(help="Version trained on it, whose held-out share is taken when no side is marked.")
    ] = None,
) -> None:
    """Write the next golden set of a line, from the test side of a data set. It is never rewritten."""
    from puzzlenet.retrain.gather import default_golden
    from puzzlenet.store.datasets import Datasets
    from puzzlenet.store.golden import GoldenSets

    registry = connect(endpoint, bucket, insecure)
    manifest = Datasets(registry.bucket).manifest(dataset)
    provenance = registry.document(version, "provenance.json") if version else _trained_on(registry, manifest)
    entries = default_golden(manifest, provenance, line)
    golden = GoldenSets(registry.bucket).freeze(line, entries, manifest.digest, datetime.now(UTC))
    console.say(f"{golden.name}: {len(golden.entries)} pictures of {manifest.digest}")


@app.command("list")
def list_(line: Line, endpoint: Endpoint, bucket: Bucket = "puzzlenet", insecure: Insecure = False) -> None:
    """Golden sets of a line, oldest first."""
    from puzzlenet.store.golden import GoldenSets

    for golden in GoldenSets(connect(endpoint, bucket, insecure).bucket).all(line):
        console.say(f"{golden.name}  {len(golden.entries)} pictures  {golden.at}  {golden.dataset}")


def _trained_on(registry: "Registry", manifest: "DatasetManifest") -> dict[str, Any]:
    """The provenance whose held-out share is meant. Before any training it is the one that training will hold out."""
    from puzzlenet.options import TrainConfig
    from puzzlenet.store.lineage import DIRECTLY, History

    if manifest.of("test") or manifest.folder is None:
        return {}
    made = [origin.version for origin, how in History(registry).influenced(manifest.digest) if how == DIRECTLY]
    known = {version: registry.document(version, "provenance.json") for version in made}
    drawn = {(one["parameters"]["seed"], one["parameters"]["validation"]) for one in known.values()}
    if len(drawn) > 1:
        raise BadDataError(f"{len(made)} versions held out different parts of it: name one with --version")
    if known:
        return next(iter(known.values()))
    usual = TrainConfig()
    console.err.print(
        f"no version was trained on it: train with --seed {usual.seed}, or these pictures are not held out"
    )
    parameters = {"seed": usual.seed, "validation": usual.validation}
    return {"dataset": {"digest": manifest.folder}, "parameters": parameters}


def gate(
    champion: Annotated[Path, typer.Argument(help="Folder of the version that serves.")],
    challenger: Annotated[Path, typer.Argument(help="Folder of the version that wants to.")],
    golden: Annotated[list[Path], typer.Option(help="Labelled folder on which it must not be worse; several.")],
    target: Annotated[Path | None, typer.Option(help="Labelled folder on which it must be better.")] = None,
    margin: Margin = 0.005,
    alpha: Alpha = 0.05,
    recall_floor: Floor = 0.9,
    max_latency: Latency = None,
    max_bytes: Bytes = None,
    max_ece: Calibration = None,
    out: Annotated[Path | None, typer.Option(help="File for the verdict as JSON.")] = None,
) -> None:
    """Judge a challenger against the champion on the same pictures. Exit code 1 when it is refused, with numbers."""
    from puzzlenet.files import pretty_json, write_atomically
    from puzzlenet.gate import Rules
    from puzzlenet.judging import judge_folders
    from puzzlenet.retrain.settings import duration

    rules = Rules(
        margin=margin,
        alpha=alpha,
        recall_floor=recall_floor,
        max_latency_s=duration(max_latency, "--max-latency") if max_latency else None,
        max_bytes=max_bytes,
        max_ece=max_ece,
    )
    verdict = judge_folders(champion, challenger, golden, target, rules)
    if out is not None:
        write_atomically(out, pretty_json(verdict.to_dict()))
    for one in verdict.sets:
        console.say(
            f"{one.name} ({one.role}): {one.champion:.4f} → {one.challenger:.4f} on {one.images}, won {one.won}, "
            f"lost {one.lost}, p better {one.p_better:.3g}, p worse {one.p_worse:.3g}, "
            f"ECE {one.ece[0]:.3f} → {one.ece[1]:.3f}"
        )
    console.say(json.dumps({"accepted": verdict.accepted, "why": verdict.sentence}, ensure_ascii=False))
    if not verdict.accepted:
        sys.exit(1)
