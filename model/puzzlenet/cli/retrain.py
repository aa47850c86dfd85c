"""``puzzlenet retrain``: one run of the loop, started by the operator as a Job; and ``puzzlenet gate`` alone."""

import logging
import os
import signal
import sys
import tempfile
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated

import typer

from puzzlenet.cli import console
from puzzlenet.cli.registry import Bucket, Endpoint, Insecure
from puzzlenet.errors import PuzzleNetError

if TYPE_CHECKING:
    from puzzlenet.retrain.rendezvous import Place
    from puzzlenet.retrain.settings import RetrainSettings

_PATIENCE = 120.0  # seconds that a store or monitor that is away is waited for, before the Job is tried again
_GROUP_GONE = 3  # exit code: nothing is wrong with this worker, and it has to be started again

Margin = Annotated[float, typer.Option(help="Share of a golden set that may be lost, net, without being called worse.")]
Alpha = Annotated[float, typer.Option(help="Chance of calling two equally good versions different.")]
Floor = Annotated[float, typer.Option(help="Recall that every class must have.")]
Latency = Annotated[str | None, typer.Option(help="Median of one prediction in process, such as 50ms.")]
Bytes = Annotated[int | None, typer.Option(help="Size of the weights at most.")]
Calibration = Annotated[
    float | None,
    typer.Option("--max-calibration-error", help="Expected calibration error at most, such as 0.1; default: no bound."),
]


def retrain(
    run: Annotated[str, typer.Option(help="Name of the run; the same name never decides twice.")],
    namespace: Annotated[str, typer.Option(help="Namespace of the PuzzleModel.")],
    model: Annotated[str, typer.Option(help="Name of the PuzzleModel.")],
    line: Annotated[str, typer.Option(help="Production line.")],
    champion: Annotated[str, typer.Option(help="Version to beat: sha256:…")],
    endpoint: Endpoint,
    monitor: Annotated[str, typer.Option(envvar="PUZZLE_MONITOR_URL", help="URL of the monitor.")],
    trigger: Annotated[str, typer.Option(help="Why this run was started, in words.")],
    bucket: Bucket = "puzzlenet",
    insecure: Insecure = False,
    monitor_token_file: Annotated[Path | None, typer.Option(help="Bearer token of the role read.")] = None,
    sign_key: Annotated[Path | None, typer.Option(help="Private key that signs the new version.")] = None,
    verify_key: Annotated[list[Path] | None, typer.Option(help="Public key; several while keys are rotated.")] = None,
    gate_margin: Margin = 0.005,
    gate_alpha: Alpha = 0.05,
    recall_floor: Floor = 0.9,
    max_latency: Latency = None,
    max_bytes: Bytes = None,
    max_ece: Calibration = None,
    epochs: Annotated[int | None, typer.Option(help="Passes over the data; default: the champion's.")] = None,
    min_images: Annotated[int, typer.Option(help="New labelled pictures that are needed.")] = 50,
    max_images: Annotated[int | None, typer.Option(help="New pictures at most, the newest of them.")] = None,
    max_lateness: Annotated[str, typer.Option(help="How late a record may arrive, such as 15m.")] = "15m",
    size: Annotated[str | None, typer.Option(help="Size that pictures must have, such as 128x128.")] = None,
    brightness: Annotated[str | None, typer.Option(help="Bounds of brightness, such as 0.1,0.9.")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    threads: Annotated[int, typer.Option(help="CPU threads.")] = 1,
    seed: Annotated[int, typer.Option(help="Seed of the split and of training.")] = 0,
    workdir: Annotated[Path | None, typer.Option(help="Writable folder for pictures and runs.")] = None,
    wait_for_workers: Annotated[str, typer.Option(help="How long worker 0 waits for the others, such as 2m.")] = "2m",
    termination_log: Annotated[Path | None, typer.Option(help="File that gets the outcome as JSON.")] = None,
) -> None:
    """Train on the champion's data and what was labelled since, and decide whether the result may replace it.

    Exit code 0: there is a decision, printed as JSON; 1: try again later, it goes on from where it was; 2: wrong usage.
    Of several workers (JOB_COMPLETION_INDEX, JOB_COMPLETIONS, MASTER_ADDR) the first one decides, the others train
    with it; 3: NCCL lost a worker, start this one again.
    """
    from puzzlenet.gate import Rules
    from puzzlenet.quality.checks import Limits
    from puzzlenet.retrain.rendezvous import GroupGoneError, Place, place_of
    from puzzlenet.retrain.settings import RetrainSettings, duration
    from puzzlenet.retrain.settings import brightness as bounds
    from puzzlenet.retrain.settings import size as pixels
    from puzzlenet.store.bucket import Location

    place = Place()
    try:
        settings = RetrainSettings(
            run=run,
            namespace=namespace,
            model=model,
            line=line,
            champion=champion,
            location=Location(endpoint=endpoint, bucket=bucket, secure=not insecure),
            monitor=monitor,
            trigger=trigger,
            token_file=monitor_token_file,
            sign_key=sign_key,
            verify_keys=tuple(verify_key or ()),
            rules=Rules(
                margin=gate_margin,
                alpha=gate_alpha,
                recall_floor=recall_floor,
                max_latency_s=duration(max_latency, "--max-latency") if max_latency else None,
                max_bytes=max_bytes,
                max_ece=max_ece,
            ),
            limits=Limits(
                min_images=min_images,
                max_lateness_s=duration(max_lateness, "--max-lateness"),
                size=pixels(size) if size else None,
                brightness=bounds(brightness) if brightness else Limits().brightness,
            ),
            epochs=epochs,
            max_images=max_images,
            device=device,
            threads=threads,
            seed=seed,
        )
        place = place_of(os.environ)
        _run(settings, place, duration(wait_for_workers, "--wait-for-workers"), workdir, termination_log)
    except GroupGoneError as exc:
        console.fail(str(exc))
        os._exit(_GROUP_GONE)  # what is left of NCCL would hold up the end
    except PuzzleNetError as exc:
        if place.first:
            _failed(exc, termination_log)
        console.fail(str(exc))
        # What is wrong with the run itself is for worker 0 to say: it ends the Job.
        sys.exit(1 if exc.retry or not place.first else 2)


def _run(
    settings: "RetrainSettings", place: "Place", patience: float, workdir: Path | None, termination_log: Path | None
) -> None:
    from puzzlenet.disk import naming_full_disks
    from puzzlenet.registry import Registry
    from puzzlenet.retrain.monitor import Monitor
    from puzzlenet.retrain.outcome import write_termination
    from puzzlenet.retrain.rendezvous import Guest, Host, Solitary
    from puzzlenet.retrain.run import retrain as start
    from puzzlenet.retrain.worker import Worker
    from puzzlenet.train import pick_device

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", stream=sys.stderr)
    signal.signal(signal.SIGTERM, _evicted)
    registry = Registry.connect(settings.location, os.environ, _PATIENCE)
    monitor = Monitor(settings.monitor, settings.token_file, _PATIENCE)
    device = pick_device(settings.device)
    scratch = workdir or Path(tempfile.gettempdir())
    with naming_full_disks(scratch, "give --workdir (in a Job, the node's disk) more room"):
        if not place.first:
            ended = Worker(settings, registry, monitor, Guest(place, device)).work(workdir)
            console.err.print(f"worker {place.index}: {ended}")
            return
        meeting = Host(place, device, patience) if place.size > 1 else Solitary()
        outcome = start(settings, registry, monitor, workdir=workdir, meeting=meeting)
    write_termination(outcome, termination_log)
    typer.echo(outcome.to_message().decode())


def _failed(error: PuzzleNetError, termination_log: Path | None) -> None:
    """Say it where the operator looks; that this cannot be written must not hide the error itself."""
    from puzzlenet.retrain.outcome import Outcome, write_termination

    try:
        write_termination(Outcome(outcome="Failed", message=str(error)), termination_log)
    except PuzzleNetError as exc:
        console.fail(str(exc))


def _evicted(_signal: int, _frame: FrameType | None) -> None:
    """SIGTERM: end now, tidily; the next pod goes on from the last checkpoint."""
    raise SystemExit(1)
