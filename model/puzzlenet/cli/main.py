"""``puzzlenet``: from a seed or a folder of pictures to a served model, one command for each step."""

import os
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import Annotated, Literal

import typer

from puzzlenet.cli import console
from puzzlenet.cli.data import app as dataset_app
from puzzlenet.cli.golden import app as golden_app
from puzzlenet.cli.golden import gate
from puzzlenet.cli.keys import app as keys_app
from puzzlenet.cli.registry import app as registry_app
from puzzlenet.cli.replay import replay
from puzzlenet.cli.retrain import retrain
from puzzlenet.cli.score import score
from puzzlenet.errors import BadVersionError, PuzzleNetError

app = typer.Typer(
    name="puzzlenet",
    help="PuzzleNet classifies pictures of jigsaw pieces: make data, train, judge, package, publish, serve.\n\n"
    "Exit codes: 0 done; 1 done, but the model is below --min-accuracy, or something is away and another try is worth "
    "it; 2 bad input, named in one line.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.add_typer(dataset_app, name="dataset")
app.add_typer(registry_app, name="registry")
app.add_typer(golden_app, name="golden")
app.add_typer(keys_app, name="keys")
app.command()(retrain)
app.command()(replay)
app.command()(gate)
app.command()(score)


def main() -> None:
    """Entry point: run a command and turn what users cause into one line and exit code 2."""
    # Before torch is imported: idle threads that spin would take the CPU from everything else on a small machine.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    try:
        app()
    except PuzzleNetError as exc:
        console.fail(str(exc))
        sys.exit(1 if exc.retry else 2)
    except KeyboardInterrupt:
        console.fail("interrupted; nothing half-written was left behind")
        sys.exit(130)


@app.command()
def generate(
    out: Annotated[Path, typer.Argument(help="New folder for the data set.")],
    profile: Annotated[str, typer.Option(help="Which line's pieces: line-1 or line-2.")] = "line-1",
    count: Annotated[int, typer.Option(help="Images; 30 % are ok, the five defects share the rest.")] = 3000,
    seed: Annotated[int, typer.Option(help="The same seed gives the same bytes.")] = 0,
    format: Annotated[Literal["png", "jpeg", "mixed"], typer.Option(help="File format.")] = "png",
    corrupt_labels: Annotated[
        float, typer.Option(help="Share of images filed under a wrong label. For rehearsals of bad data only.")
    ] = 0.0,
    workers: Annotated[int, typer.Option(help="Processes.", min=1, max=256)] = 1,
) -> None:
    """Draw pictures of jigsaw pieces from a seed: <OUT>/<label>/*.png and dataset.json."""
    from puzzlenet.generate import Order
    from puzzlenet.generate import generate as make

    order = Order(profile=profile, count=count, seed=seed, format=format, corrupt_labels=corrupt_labels)
    with console.counting(f"drawing {profile}") as progress:
        info = make(order, out, workers=workers, progress=progress)
    wrong = f", {info.corrupted} of them under a wrong label" if info.corrupted else ""
    console.say(f"{out}: {count} images of {profile}{wrong}, {info.digest}")


@app.command()
def train(
    data: Annotated[Path, typer.Argument(help="Data set: a folder <label>/*.png|jpg.")],
    out: Annotated[Path, typer.Argument(help="New folder for the run.")],
    epochs: Annotated[int, typer.Option(help="Passes over the data, at most.")] = 16,
    batch: Annotated[int, typer.Option(help="Images in a step.")] = 32,
    learning_rate: Annotated[float, typer.Option(help="Peak of the one-cycle schedule.")] = 4e-3,
    patience: Annotated[int, typer.Option(help="Stop after this many epochs without a better one.")] = 6,
    validation: Annotated[float, typer.Option(help="Share held out, evenly from every label.")] = 0.15,
    seed: Annotated[int, typer.Option(help="Seed of weights, order, split and augmentation.")] = 0,
    width: Annotated[int, typer.Option(help="Channels of the first stage.")] = 16,
    blocks: Annotated[int, typer.Option(help="Residual blocks of each stage.")] = 1,
    image_size: Annotated[int, typer.Option(help="Pixels the pictures are scaled to.")] = 64,
    class_weights: Annotated[
        Literal["balanced", "none"], typer.Option(help="balanced: rare labels count more.")
    ] = "balanced",
    symmetries: Annotated[
        Literal["auto", "square", "none"],
        typer.Option(help="Flips and quarter turns that keep a label; auto asks dataset.json."),
    ] = "auto",
    threads: Annotated[int, typer.Option(help="CPU threads.")] = 1,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    compile: Annotated[
        bool | None,
        typer.Option(
            "--compile/--no-compile", help="torch.compile the network; by default on a GPU with a C compiler beside it."
        ),
    ] = None,
    checkpoint: Annotated[
        Path | None,
        typer.Option(help="Folder for the state after every epoch; a run that was cut off goes on from it."),
    ] = None,
    distributed: Annotated[
        bool, typer.Option("--distributed", help="Be one of several workers, under torchrun or in an Indexed Job.")
    ] = False,
) -> None:
    """Train PuzzleNet on a data set and write a run folder.

    With --distributed the place among the workers comes from RANK and WORLD_SIZE (torchrun) or JOB_COMPLETION_INDEX
    and JOB_COMPLETIONS, and MASTER_ADDR names worker 0, which alone writes. --batch is that of all workers together.
    """
    from puzzlenet.checkpoint import FolderCheckpoint
    from puzzlenet.dataset import open_dataset
    from puzzlenet.fit import Epoch, TrainConfig
    from puzzlenet.team import ALONE, join
    from puzzlenet.train import pick_device
    from puzzlenet.train import train as fit

    config = TrainConfig(
        epochs=epochs,
        batch=batch,
        learning_rate=learning_rate,
        patience=patience,
        validation=validation,
        seed=seed,
        width=width,
        blocks=blocks,
        image_size=image_size,
        class_weights=class_weights,
        symmetries=symmetries,
        threads=threads,
        device=device,
        compile=compile,
    )

    def show(epoch: Epoch) -> None:
        console.say(
            f"epoch {epoch.number:>3}/{epoch.of}  loss {epoch.loss:.4f}  validation {epoch.accuracy:.4f}"
            f"  best {epoch.best:.4f}  {epoch.seconds:5.0f} s  to go {epoch.eta:4.0f} s"
        )

    keep = FolderCheckpoint(checkpoint) if checkpoint is not None else None
    meeting = join(os.environ, pick_device(device)) if distributed else nullcontext(ALONE)
    with console.counting("reading images") as loading, meeting as team:
        dataset = open_dataset(data)
        trained = fit(dataset, out, config, on_epoch=show, on_load=loading, checkpoint=keep, team=team)
    if not team.first:
        return
    console.show_scores("held-out share", trained.validation, trained.config.classes)
    console.say(
        f"{out}: best epoch {trained.best_epoch} of {trained.epochs}, {trained.parameters} parameters, "
        f"temperature {trained.config.temperature:.3f}, trained in {trained.seconds:.0f} s"
    )


@app.command()
def evaluate(
    model: Annotated[Path, typer.Argument(help="Run or version folder.")],
    data: Annotated[Path, typer.Argument(help="Data set that the model has not seen.")],
    out: Annotated[Path | None, typer.Option(help="Write the report as JSON here.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
    min_accuracy: Annotated[float, typer.Option(help="Exit with 1 below this accuracy.", min=0.0, max=1.0)] = 0.0,
) -> None:
    """Judge a model on labelled pictures: accuracy, recalls, confusion matrix, calibration."""
    from puzzlenet.evaluate import evaluate as judge
    from puzzlenet.files import pretty_json, write_atomically

    with console.counting("reading images") as progress:
        report = judge(model, data, progress=progress)
    if out is not None:
        write_atomically(out, pretty_json(report.to_dict()))
    if json:
        sys.stdout.write(pretty_json(report.to_dict()).decode())
    else:
        console.show_scores(str(data), report.scores, report.classes)
    if report.scores.accuracy < min_accuracy:
        console.fail(f"accuracy {report.scores.accuracy:.4f} is below --min-accuracy {min_accuracy}")
        raise typer.Exit(1)


@app.command()
def package(
    run: Annotated[Path, typer.Argument(help="Run folder of `puzzlenet train`.")],
    out: Annotated[Path, typer.Argument(help="New folder for the version.")],
    accept: Annotated[
        str | None, typer.Option(help="Formats the server takes: png,jpeg (default), png or jpeg.")
    ] = None,
    views: Annotated[
        int | None,
        typer.Option("--views", "--tta", help="Average this many views of a picture (1 to 128): slower, steadier."),
    ] = None,
    parent: Annotated[str | None, typer.Option(help="Digest of the version this one replaces.")] = None,
    evaluation: Annotated[
        list[Path] | None, typer.Option(help="Report of `evaluate --out`, for the model card.")
    ] = None,
    sign_key: Annotated[Path | None, typer.Option(help="Private key of `keys new`; adds model.sig.")] = None,
) -> None:
    """Package a run as a version: weights, card, provenance, TorchServe archive. Prints its digest.

    The same run and options give the same digest, on any machine.
    """
    from puzzlenet.package import package as make

    formats = tuple(part.strip() for part in accept.split(",")) if accept is not None else None
    reports = tuple(evaluation or ())
    version = make(run, out, accept=formats, views=views, parent=parent, evaluations=reports, sign_key=sign_key)
    console.say(version.digest)


@app.command()
def serve(
    model_dir: Annotated[Path, typer.Option(help="Folder of the version.")] = Path("/mnt/models"),
    version: Annotated[
        str, typer.Option(envvar="PUZZLENET_VERSION", help="Digest that the folder must have: sha256:…")
    ] = "",
    workdir: Annotated[Path, typer.Option(help="Writable folder for everything TorchServe writes.")] = Path(
        "/tmp/puzzlenet"  # noqa: S108 - the pod's own emptyDir
    ),
    host: Annotated[str, typer.Option(help="Address for inference and metrics.")] = "0.0.0.0",  # noqa: S104
    port: Annotated[int, typer.Option(help="Inference.")] = 8080,
    metrics_port: Annotated[int, typer.Option(help="Prometheus metrics.")] = 8082,
    management_port: Annotated[int, typer.Option(help="Management, on loopback only.")] = 8081,
    grpc_port: Annotated[int, typer.Option(help="gRPC, on loopback only.")] = 7070,
    grpc_management_port: Annotated[int, typer.Option(help="gRPC management, on loopback only.")] = 7071,
    heap: Annotated[int, typer.Option(help="Java heap in MiB.")] = 192,
    threads: Annotated[int, typer.Option(help="CPU threads of the network.", min=1, max=64)] = 1,
    drain: Annotated[float, typer.Option(help="Seconds to go on answering after SIGTERM.", min=0.0, max=300.0)] = 3.0,
    verify_key: Annotated[
        list[Path] | None,
        typer.Option(
            envvar="PUZZLENET_VERIFY_KEY",
            help="Public key; an unsigned or altered version is refused. Several: rotation.",
        ),
    ] = None,
    check: Annotated[
        bool, typer.Option("--check", help="Verify and write the configuration, but do not start.")
    ] = False,
) -> None:
    """Verify a version against its digest and serve it with TorchServe, in the foreground.

    Answers POST /v2/models/puzzlenet/infer, POST /v1/models/puzzlenet:predict, GET /ping and, on the metrics
    port, GET /metrics. Exit code 65: the version is refused, because it is not what its digest says, or not signed
    with a key that is asked for; another start cannot help it.
    """
    from puzzlenet.serve import REFUSED, ServeConfig, prepare

    if not version:
        raise PuzzleNetError("--version (or PUZZLENET_VERSION) is missing: name the digest to serve, sha256:…")
    config = ServeConfig(
        model_dir=model_dir,
        version=version,
        workdir=workdir,
        host=host,
        port=port,
        metrics_port=metrics_port,
        management_port=management_port,
        grpc_port=grpc_port,
        grpc_management_port=grpc_management_port,
        heap_mib=heap,
        threads=threads,
        drain=drain,
        verify_keys=tuple(verify_key or ()),
    )
    try:
        verified, launch = prepare(config, dict(os.environ))
    except BadVersionError as exc:
        console.fail(str(exc))
        raise typer.Exit(REFUSED) from exc
    print(f"puzzlenet: {verified.digest} verified in {model_dir}", flush=True)
    if not check:
        os.chdir(workdir)
        os.execve(launch.command[0], launch.command, launch.environment)  # noqa: S606 - becomes the supervisor
