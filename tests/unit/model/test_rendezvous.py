"""Workers as real processes meet, lose each other and meet again."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import pytest

from puzzlenet.errors import PuzzleNetError
from puzzlenet.retrain.rendezvous import Place, place_of

SCRIPT = Path(__file__).with_name("meeting_worker.py")
PLACE = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT", "JOB_COMPLETION_INDEX", "JOB_COMPLETIONS")


@dataclass
class Crew:
    """Processes of one run, each with a file of what it printed."""

    folder: Path
    size: int
    patience: float
    port: int = 0
    running: list[tuple[int, subprocess.Popen[bytes], Path]] = field(default_factory=list)

    def start(self, index: int) -> subprocess.Popen[bytes]:
        """As the Job controller starts a pod."""
        kept = {name: value for name, value in os.environ.items() if name not in PLACE}
        environment = {
            **kept,
            "JOB_COMPLETION_INDEX": str(index),
            "JOB_COMPLETIONS": str(self.size),
            "MASTER_ADDR": "127.0.0.1",
            "MASTER_PORT": str(self.port),
            "GLOO_SOCKET_IFNAME": "lo",
            "OMP_NUM_THREADS": "1",
        }
        log = self.folder / f"{index}-{len(self.running)}.log"
        command = [sys.executable, str(SCRIPT), str(self.patience), str(self.folder / "stop")]
        with log.open("wb") as sink:
            process = subprocess.Popen(command, env=environment, stdout=sink, stderr=sink)
        self.running.append((index, process, log))
        return process

    def said(self, index: int) -> list[str]:
        """What the newest worker of a number has printed."""
        return next(log for number, _, log in reversed(self.running) if number == index).read_text().splitlines()

    def until(self, holds: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + 120
        while not holds():
            if time.monotonic() > deadline:
                logs = "\n".join(f"{log.name}\n{log.read_text()[-1500:]}" for _, _, log in self.running)
                raise AssertionError(f"not within two minutes: {what}\n{logs}")
            time.sleep(0.1)


@pytest.fixture
def crew(tmp_path: Path) -> Iterator[Callable[[int, float], Crew]]:
    """Makes a crew; none of it outlives the test."""
    made: list[Crew] = []

    def make(size: int, patience: float) -> Crew:
        with socket.socket() as one:
            one.bind(("127.0.0.1", 0))
            port = int(one.getsockname()[1])
        made.append(Crew(tmp_path, size, patience, port))
        return made[0]

    yield make
    for one in made:
        for _, process, _ in one.running:
            process.kill()
            process.wait()


def test_who_is_lost_is_done_without_and_comes_back_at_the_next_meeting(crew: Callable[[int, float], Crew]) -> None:
    three = crew(3, 3.0)
    one, two = three.start(1), three.start(2)
    for index in (1, 2):
        three.until(partial(_sees, three, index, _looks), "they look for worker 0")
    zero = three.start(0)
    for index in range(3):
        three.until(partial(_sees, three, index, _counts_three), "all three count three")
    one.kill()
    three.until(lambda: "sum 2" in three.said(0) and "sum 2" in three.said(2), "two go on when patience is over")
    last = [three.start(1), three.start(2)]  # as if the second pod had been lost, too
    for index in (1, 2):
        three.until(partial(_sees, three, index, _is_late), "the late ones wait")
    assert three.said(0)[-1] == "sum 2", "nobody stops for a worker that is late"
    two.kill()
    three.until(lambda: all(three.said(index)[-1:] == ["sum 3"] for index in range(3)), "all three are back")
    (three.folder / "stop").touch()
    assert [process.wait(60) for process in (zero, *last)] == [0, 0, 0]


def _sees(crew: Crew, index: int, holds: Callable[[list[str]], bool]) -> bool:
    return holds(crew.said(index))


def _counts_three(said: list[str]) -> bool:
    return "sum 3" in said


def _looks(said: list[str]) -> bool:
    return any("worker 0 does not listen" in line for line in said)


def _is_late(said: list[str]) -> bool:
    return any("trains without this one" in line for line in said)


def test_a_first_worker_that_is_replaced_is_found_again(crew: Callable[[int, float], Crew]) -> None:
    two = crew(2, 60.0)
    zero, one = two.start(0), two.start(1)
    two.until(lambda: "sum 2" in two.said(0) and "sum 2" in two.said(1), "both count two")
    zero.kill()
    two.until(lambda: _looks(two.said(1)[-1:]), "it is looked for")
    again = two.start(0)
    two.until(lambda: "sum 2" in two.said(0), "both count two again")
    (two.folder / "stop").touch()
    assert [process.wait(60) for process in (again, one)] == [0, 0]


@pytest.mark.parametrize(
    ("environment", "place"),
    [
        ({}, Place()),
        ({"JOB_COMPLETION_INDEX": "0", "JOB_COMPLETIONS": "1"}, Place()),
        (
            {"JOB_COMPLETION_INDEX": "3", "JOB_COMPLETIONS": "4", "MASTER_ADDR": "run-0.team"},
            Place(3, 4, "run-0.team", 29500),
        ),
        ({"RANK": "1", "WORLD_SIZE": "2", "MASTER_ADDR": "a", "MASTER_PORT": "17"}, Place(1, 2, "a", 17)),
    ],
)
def test_a_place_is_read(environment: dict[str, str], place: Place) -> None:
    assert place_of(environment) == place


@pytest.mark.parametrize(
    ("environment", "sentence"),
    [
        ({"JOB_COMPLETION_INDEX": "0"}, "JOB_COMPLETIONS is not set"),
        ({"JOB_COMPLETIONS": "2"}, "JOB_COMPLETION_INDEX is not set"),
        ({"JOB_COMPLETION_INDEX": "2", "JOB_COMPLETIONS": "2"}, "worker 2 of 2 cannot be"),
        ({"JOB_COMPLETION_INDEX": "1", "JOB_COMPLETIONS": "2"}, "MASTER_ADDR is not set"),
        ({"JOB_COMPLETION_INDEX": "x", "JOB_COMPLETIONS": "2"}, "'x', which is no number"),
    ],
)
def test_a_place_that_cannot_be_is_named(environment: dict[str, str], sentence: str) -> None:
    with pytest.raises(PuzzleNetError, match=sentence):
        place_of(environment)
