"""Both versions' answers to the same pictures, next to their labels."""

import io
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Protocol

from PIL import Image

from puzzlenet.errors import AwayError
from puzzlenet.images import sniff
from puzzlenet.replay.revisions import Said

GIVE_UP_AFTER = 5
"""Pieces in a row to which a version gave no answer at all: it cannot be reached, and more would only take time."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Piece:
    """A labelled picture that was on the line before, and the format in which the camera sent it."""

    id: str
    truth: str
    format: str
    picture: bytes


class Asked(Protocol):
    """Whoever answers pictures."""

    def ask(self, picture: bytes) -> Said: ...


@dataclass(kw_only=True, slots=True)
class Comparison:
    """Pieces that both versions answered, by who was wrong. An HTTP error is a wrong answer."""

    both_right: int = 0
    only_champion_wrong: int = 0
    only_challenger_wrong: int = 0
    both_wrong: int = 0
    champion_errors: int = 0
    challenger_errors: int = 0
    unanswered: int = 0
    """Pieces that are left out: one of the two could not be reached."""
    error: str = ""
    """The first error of the challenger's, in its words."""
    cut_short: bool = False
    """Whether time ran out before the last piece."""

    @property
    def pieces(self) -> int:
        """How many pieces were compared."""
        return self.both_right + self.only_champion_wrong + self.only_challenger_wrong + self.both_wrong

    def add(self, piece: Piece, champion: Said, challenger: Said) -> None:
        """One more piece."""
        if not (champion.answered and challenger.answered):
            self.unanswered += 1
            return
        self.champion_errors += bool(champion.error)
        self.challenger_errors += bool(challenger.error)
        self.error = self.error or challenger.error
        match (champion.label == piece.truth, challenger.label == piece.truth):
            case (True, True):
                self.both_right += 1
            case (False, True):
                self.only_champion_wrong += 1
            case (True, False):
                self.only_challenger_wrong += 1
            case _:
                self.both_wrong += 1


@dataclass(frozen=True, kw_only=True, slots=True)
class Side:
    """A version to ask."""

    name: str
    version: str
    revision: Asked


def compare(pieces: Iterable[Piece], champion: Side, challenger: Side, *, rate: float, seconds: float) -> Comparison:
    """Show every piece to both, at most ``rate`` pieces a second and for at most ``seconds``.

    One picture is with each at a time, so a version that is slow is asked more slowly. Raises AwayError when another
    version answers than the one that is meant: nothing that it says counts.
    """
    found, silent = Comparison(), {champion.name: 0, challenger.name: 0}
    begun = next_at = time.monotonic()
    with ThreadPoolExecutor(2) as pool:
        for piece in pieces:
            if time.monotonic() - begun > seconds:
                found.cut_short = True
                break
            time.sleep(max(0.0, next_at - time.monotonic()))
            next_at = max(next_at, time.monotonic() - 1.0 / rate) + 1.0 / rate
            picture = as_sent(piece)
            asked = [(side, pool.submit(side.revision.ask, picture)) for side in (champion, challenger)]
            said = [_checked(side, future.result()) for side, future in asked]
            found.add(piece, said[0], said[1])
            for (side, _), one in zip(asked, said, strict=True):
                silent[side.name] = 0 if one.answered else silent[side.name] + 1
                if silent[side.name] >= GIVE_UP_AFTER:
                    raise AwayError(f"the {side.name} could not be reached {GIVE_UP_AFTER} times in a row")
    return found


def _checked(side: Side, said: Said) -> Said:
    if said.version and side.version and said.version != side.version:
        raise AwayError(f"the {side.name}'s address was answered by version {said.version[:19]}, not by it")
    return said


def as_sent(piece: Piece) -> bytes:
    """The picture in the format in which the camera sent it.

    The monitor keeps JPEG. A version that takes PNG only is right for a line whose cameras send nothing else, and must
    not fail for a format that it will never be sent.
    """
    if piece.format != "png" or sniff(piece.picture) == "png":
        return piece.picture
    out = io.BytesIO()
    with Image.open(io.BytesIO(piece.picture)) as image:
        image.save(out, "PNG", compress_level=1)
    return out.getvalue()
