"""What a replay comes to, as the operator reads it from the Job's termination message; the verdict is not here."""

from pathlib import Path
from typing import Any

from puzzlenet.files import canonical_json
from puzzlenet.replay.compare import Comparison
from puzzlenet.retrain.outcome import write_message

_SENTENCE = 1000


def compared(found: Comparison, seconds: float) -> dict[str, Any]:
    """The counts of a comparison, and a sentence."""
    late = "; time ran out before the last piece" if found.cut_short else ""
    lost = f"; {found.unanswered} could not be shown to both" if found.unanswered else ""
    wrong = found.only_challenger_wrong + found.both_wrong
    message = (
        f"{found.pieces} labelled pieces: the challenger was wrong about {wrong}, "
        f"the champion about {found.only_champion_wrong + found.both_wrong}{lost}{late}"
    )
    return {
        "outcome": "Compared",
        "message": message,
        "pieces": found.pieces,
        "bothRight": found.both_right,
        "onlyChampionWrong": found.only_champion_wrong,
        "onlyChallengerWrong": found.only_challenger_wrong,
        "bothWrong": found.both_wrong,
        "championErrors": found.champion_errors,
        "challengerErrors": found.challenger_errors,
        "unanswered": found.unanswered,
        "error": found.error[:_SENTENCE],
        "seconds": round(seconds, 1),
    }


def skipped(why: str) -> dict[str, Any]:
    """Nothing was compared, and it is not the challenger's fault."""
    return {"outcome": "Skipped", "message": why[:_SENTENCE]}


def write_termination(result: dict[str, Any], path: Path | None) -> None:
    """Write the result where the kubelet looks for it."""
    write_message(canonical_json(result), path)
