"""Several real processes train what one does; a worker that is told nonsense or dies is named."""

import os
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from puzzlenet.augment import apply, augment, draw
from puzzlenet.checkpoint import FolderCheckpoint
from puzzlenet.dataset import open_dataset
from puzzlenet.errors import PuzzleNetError
from puzzlenet.fit import Epoch, TrainConfig
from puzzlenet.team import Team, join
from puzzlenet.train import Trained, train

# 102 training pictures: an odd last batch too.
CONFIG = TrainConfig(epochs=2, width=4, image_size=16, batch=33, threads=1)
OPTIONS = ["--epochs", "2", "--width", "4", "--image-size", "16", "--batch", "33", "--device", "cpu"]
PUZZLENET = [sys.executable, "-c", "from puzzlenet.cli import main; main()"]


def _free_port() -> str:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return str(one.getsockname()[1])


def _environment(**more: str) -> dict[str, str]:
    drop = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT", "JOB_COMPLETION_INDEX", "JOB_COMPLETIONS")
    kept = {name: value for name, value in os.environ.items() if name not in drop}
    return {**kept, "GLOO_SOCKET_IFNAME": "lo", "OMP_NUM_THREADS": "1", **more}


def _torchrun(*words: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "torch.distributed.run", "--nnodes=1", "--nproc-per-node=2"]
    command += ["--master-addr=127.0.0.1", f"--master-port={_free_port()}", "--no-python", *PUZZLENET, "train"]
    words = (*words, *OPTIONS, "--distributed")
    return subprocess.run(
        [*command, *map(str, words)], env=_environment(), capture_output=True, text=True, timeout=300, check=False
    )


@pytest.fixture(scope="module")
def alone(pieces: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Trained]:
    """The run of one process with the whole batch."""
    run = tmp_path_factory.mktemp("alone") / "run"
    return run, train(open_dataset(pieces), run, CONFIG)


def _same(one: Path, other: Path) -> None:
    a, b = load_file(one / "model.safetensors"), load_file(other / "model.safetensors")
    assert set(a) == set(b)
    for name, value in a.items():
        assert torch.allclose(value.float(), b[name].float(), rtol=1e-3, atol=2e-4), name


def test_two_processes_under_torchrun_train_what_one_does(
    pieces: Path, alone: tuple[Path, Trained], tmp_path: Path
) -> None:
    done = _torchrun(pieces, tmp_path / "run", "--checkpoint", tmp_path / "state")
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.count("epoch   1/2") == 1, "worker 0 alone tells of progress"
    _same(alone[0], tmp_path / "run")
    assert '"workers": 2' in (tmp_path / "run" / "training.json").read_text()
    # What two workers kept, one goes on from: nothing is left to do, and the result is theirs.
    train(open_dataset(pieces), tmp_path / "again", CONFIG, checkpoint=FolderCheckpoint(tmp_path / "state"))
    _same(tmp_path / "run", tmp_path / "again")


def test_workers_of_an_indexed_job_go_on_from_what_one_process_kept(
    pieces: Path, alone: tuple[Path, Trained], tmp_path: Path
) -> None:
    class CutOffError(Exception):
        """The node goes away."""

    def cut(_line: Epoch) -> None:
        raise CutOffError

    with pytest.raises(CutOffError):
        keep = FolderCheckpoint(tmp_path / "state")
        train(open_dataset(pieces), tmp_path / "run", CONFIG, on_epoch=cut, checkpoint=keep)
    command = [*PUZZLENET, "train", str(pieces), str(tmp_path / "run"), *OPTIONS, "--distributed"]
    port, running = _free_port(), []
    for index in ("0", "1"):
        job = {"JOB_COMPLETION_INDEX": index, "JOB_COMPLETIONS": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
        # Only worker 0 can see the checkpoint, as in pods without a common volume.
        words = [*command, "--checkpoint", str(tmp_path / ("state" if index == "0" else "nowhere"))]
        running.append(subprocess.Popen(words, env=_environment(**job), stdout=subprocess.PIPE, text=True))
    told = [one.communicate(timeout=300)[0] for one in running]
    assert [one.returncode for one in running] == [0, 0]
    assert "epoch   1/2" not in told[0] and "epoch   2/2" in told[0] and told[1] == ""
    assert not (tmp_path / "nowhere").exists()
    _same(alone[0], tmp_path / "run")


def test_a_worker_that_is_lost_ends_the_others_with_exit_code_1(pieces: Path, tmp_path: Path) -> None:
    port, running = _free_port(), []
    for index, data in enumerate((pieces, tmp_path / "missing")):
        place = {"RANK": str(index), "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
        words = [*PUZZLENET, "train", str(data), str(tmp_path / "run"), *OPTIONS, "--distributed"]
        environment = _environment(**place)
        running.append(subprocess.Popen(words, env=environment, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL))
    errors = [one.communicate(timeout=300)[1].decode() for one in running]
    assert [one.returncode for one in running] == [1, 2], errors
    assert "a worker of this run cannot be reached" in errors[0] and "missing is not a folder" in errors[1]
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("environment", "sentence"),
    [
        ({}, "set RANK"),
        ({"RANK": "0"}, "set WORLD_SIZE .* or JOB_COMPLETIONS"),
        ({"RANK": "2", "WORLD_SIZE": "2"}, "worker 2 of 2 cannot be"),
        ({"RANK": "x", "WORLD_SIZE": "2"}, "no number"),
        ({"JOB_COMPLETION_INDEX": "1", "JOB_COMPLETIONS": "2"}, "MASTER_ADDR is not set"),
    ],
)
def test_a_place_that_cannot_be_is_named(environment: dict[str, str], sentence: str) -> None:
    with pytest.raises(PuzzleNetError, match=sentence), join(environment, torch.device("cpu")):
        pass


def test_several_workers_do_not_compile(pieces: Path, tmp_path: Path) -> None:
    with pytest.raises(PuzzleNetError, match="--compile: not with several workers"):
        train(open_dataset(pieces), tmp_path / "run", replace(CONFIG, compile=True), team=Team(0, 2))
    assert not (tmp_path / "run").exists()


def test_a_team_of_one_needs_nobody() -> None:
    with join({"RANK": "0", "WORLD_SIZE": "1"}, torch.device("cpu")) as team:
        assert team == Team() and team.told(b"x", torch.device("cpu")) == b"x"


@pytest.mark.parametrize("count", [1, 2, 7, 32])
@pytest.mark.parametrize("size", [1, 2, 3, 5])
def test_shares_are_everything_once(count: int, size: int) -> None:
    parts = [list(range(count))[Team(rank, size).share(count)] for rank in range(size)]
    assert [one for part in parts for one in part] == list(range(count))
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


def test_workers_see_their_part_of_what_one_process_would_see() -> None:
    x = torch.rand(7, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    whole = augment(x, "square", torch.Generator().manual_seed(1))
    chance = draw(7, 16, "square", torch.Generator().manual_seed(1))
    parts = [Team(rank, 3).share(7) for rank in range(3)]
    assert torch.equal(torch.cat([apply(x[part], chance.of(part)) for part in parts]), whole)
