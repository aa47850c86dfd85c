"""How often a shadow replay refuses a challenger, by how much worse it is and by how many labelled pieces there are.

The verdict is the operator's own; pieces are drawn. Half of what the better version gets wrong, the other gets wrong
too: hard pieces are hard for both. The rates are those on the labelled pieces, which are harder than the line's.
"""

from __future__ import annotations

import argparse
import json

import numpy as np

from puzzle_operator.api.canary import Canary
from puzzle_operator.api.replay import ReplayOutcome, ReplayStatus
from puzzle_operator.core.evidence import Pairs
from puzzle_operator.core.replay.verdict import Said, judged

PIECES = (50, 100, 200, 1000)
RATES = (
    (0.02, 0.02),
    (0.1, 0.1),
    (0.3, 0.3),
    (0.05, 0.1),
    (0.05, 0.15),
    (0.05, 0.2),
    (0.05, 0.3),
    (0.1, 0.3),
    (0.05, 1.0),
)


def refused(champion: float, challenger: float, pieces: int, runs: int, rng: np.random.Generator) -> float:
    """Share of replays that refuse."""
    both = champion if challenger == 1.0 else min(champion, challenger) / 2
    chances = (max(0.0, 1.0 - champion - challenger + both), challenger - both, champion - both, both)
    canary, count = Canary(), 0
    for drawn in rng.multinomial(pieces, chances, size=runs):
        pairs = Pairs(*(int(value) for value in drawn))
        count += judged(ReplayStatus(), Said(pairs, ""), pairs, canary).outcome is ReplayOutcome.FAILED
    return count / runs


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=4000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    rng = np.random.default_rng(given.seed)
    found = [
        {"champion": old, "challenger": new, **{str(n): refused(old, new, n, given.runs, rng) for n in PIECES}}
        for old, new in RATES
    ]
    if given.json:
        print(json.dumps({"runs": given.runs, "refused": found}, indent=2))
        return
    print("| champion wrong | challenger wrong | " + " | ".join(f"{n:,} pieces" for n in PIECES) + " |")
    print("| --- | --- |" + " --- |" * len(PIECES))
    for row in found:
        cells = " | ".join(f"{row[str(n)]:.2%}" if row[str(n)] < 0.1 else f"{row[str(n)]:.0%}" for n in PIECES)
        print(f"| {row['champion']:.0%} | {row['challenger']:.0%} | {cells} |")


if __name__ == "__main__":
    main()
