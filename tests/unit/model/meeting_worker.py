"""A worker that does nothing but meet: every step it prints how many take part. Run by test_rendezvous.py."""

import os
import sys
import time
from pathlib import Path

import torch

from puzzlenet.errors import WorkerLostError
from puzzlenet.retrain.rendezvous import Guest, Host, place_of
from puzzlenet.team import Team


def main(patience: float, stop: Path) -> None:
    """Meet again after each loss, until worker 0 sees the file ``stop``."""
    cpu = torch.device("cpu")
    place = place_of(os.environ)
    meeting = Host(place, cpu, patience) if place.first else Guest(place, cpu)
    while True:
        try:
            with meeting.meet() as team:
                steps(team, stop)
            return
        except WorkerLostError as exc:
            print("lost", exc, flush=True)
            time.sleep(0.2)


def steps(team: Team, stop: Path) -> None:
    """Count the workers, again and again."""
    while True:
        ones = torch.ones(1000)
        team.add(ones)
        print("sum", int(ones[0]), flush=True)
        over = b"over" if team.first and stop.exists() else b"on"
        if team.told(over if team.first else None, torch.device("cpu")) == b"over":
            return
        time.sleep(0.05)


if __name__ == "__main__":
    main(float(sys.argv[1]), Path(sys.argv[2]))
