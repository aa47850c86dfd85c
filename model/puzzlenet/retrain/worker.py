"""Every worker but the first: it trains on what the first one has prepared, and decides nothing.

What it knows of the run is ``state.json`` in the bucket, which the first worker writes: the data set once it passed
its checks, the version once training is done, the outcome in the end. So it does not matter when this worker comes.
"""

import logging
import time
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

from puzzlenet.errors import BadDataError, WorkerLostError
from puzzlenet.options import TrainConfig
from puzzlenet.registry import Registry
from puzzlenet.retrain.learning import learn
from puzzlenet.retrain.monitor import Monitor
from puzzlenet.retrain.records import Run
from puzzlenet.retrain.rendezvous import Meeting
from puzzlenet.retrain.settings import RetrainSettings
from puzzlenet.retrain.stages import Stages

log = logging.getLogger("puzzlenet")
_PAUSE = 2.0  # seconds between two looks at the state of the run


class Worker:
    """One worker of a run, and what it is to train with once that is known."""

    def __init__(self, settings: RetrainSettings, registry: Registry, monitor: Monitor, meeting: Meeting) -> None:
        self._settings, self._registry, self._monitor, self._meeting = settings, registry, monitor, meeting
        self._ready: tuple[Path, TrainConfig, Path] | None = None
        self._said = ""

    def work(self, workdir: Path | None = None) -> str:
        """Train until there is nothing left to train; why it ended.

        Raises PuzzleNetError for what only this worker suffers from, such as a store that is away.
        """
        with TemporaryDirectory(dir=workdir, prefix="retrain-") as work:
            while True:
                run = Run(self._registry.bucket, self._settings.run, speaks=False)
                if run.outcome is not None:
                    return f"the run is decided: {run.outcome.outcome}"
                if run.state.get("version") is not None:
                    return "training is done"
                if run.state.get("dataset") is None:
                    self._wait("worker 0 has not prepared the data yet")
                elif (end := self._train(run, Path(work))) is not None:
                    return end

    def _train(self, run: Run, work: Path) -> str | None:
        """One try to be of the team; None when there is more to do."""
        folder, config, start = self._ready = self._ready or self._prepare(run, work)
        try:
            with self._meeting.meet() as team:
                log.info("worker %d of %d trains", team.rank, team.size)
                learn(folder, work / "run", config, start, team)
        except BadDataError as exc:
            return f"worker 0 tells what is wrong with the data ({exc})"
        except WorkerLostError as exc:
            self._wait(str(exc))
            return None
        return "training is done"

    def _prepare(self, run: Run, work: Path) -> tuple[Path, TrainConfig, Path]:
        stages = Stages(
            settings=self._settings,
            registry=self._registry,
            monitor=self._monitor,
            run=run,
            work=work,
            now=lambda: datetime.now(UTC),
        )
        champion = stages.champion()
        folder = stages.lay_out(champion, stages.datasets.manifest(run.state["dataset"]))
        return folder, stages.recipe(champion), champion.version.folder

    def _wait(self, why: str) -> None:
        """Say it once, and wait a little."""
        if why != self._said:
            log.info("%s", why)
        self._said = why
        time.sleep(_PAUSE)
