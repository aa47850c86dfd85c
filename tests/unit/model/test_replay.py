"""Labelled pieces shown to two versions: who is asked what, and what counts as wrong."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from puzzlenet.errors import AwayError, PuzzleNetError
from puzzlenet.images import sniff
from puzzlenet.replay import REPLAY_HEADER, revisions
from puzzlenet.replay.compare import GIVE_UP_AFTER, Comparison, Piece, Side, as_sent, compare
from puzzlenet.replay.result import compared, write_termination
from puzzlenet.replay.revisions import Revision, Said
from tests.revision import ADDRESS, Standing

Picture = Callable[..., bytes]
FAST = {"rate": 1000.0, "seconds": 60.0}


class Knows:
    """Answers by a rule, without a network."""

    def __init__(self, answer: Callable[[bytes], Said]) -> None:
        self.answer, self.asked = answer, list[bytes]()

    def ask(self, picture: bytes) -> Said:
        self.asked.append(picture)
        return self.answer(picture)


def pieces(count: int) -> list[Piece]:
    return [Piece(id=f"p{n}", truth="ok", format="jpeg", picture=bytes([n])) for n in range(count)]


def side(name: str, answer: Callable[[bytes], Said], version: str = "v") -> Side:
    return Side(name=name, version=version, revision=Knows(answer))


def right(_: bytes) -> Said:
    return Said(label="ok", version="v")


def silent(_: bytes) -> Said:
    return Said()


@pytest.fixture(autouse=True)
def no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(revisions, "_PAUSE_S", 0.01)


def test_every_piece_is_counted_by_who_was_wrong_and_an_error_is_wrong() -> None:
    champion = [Said(label="ok"), Said(label="ok"), Said(label="bent"), Said(label="bent"), Said(error="HTTP 500: x")]
    challenger = [
        Said(label="ok"),
        Said(error="HTTP 415: PNG only"),
        Said(label="ok"),
        Said(label="bent"),
        Said(label="ok"),
    ]
    found = compare(
        pieces(5),
        side("champion", lambda picture: champion[picture[0]]),
        side("challenger", lambda picture: challenger[picture[0]]),
        **FAST,
    )
    assert found == Comparison(
        both_right=1,
        only_challenger_wrong=1,
        only_champion_wrong=2,
        both_wrong=1,
        champion_errors=1,
        challenger_errors=1,
        error="HTTP 415: PNG only",
    )
    assert found.pieces == 5


def test_a_piece_that_one_could_not_be_asked_about_is_left_out() -> None:
    def sometimes(picture: bytes) -> Said:
        return Said() if picture[0] % 3 == 1 else Said(label="ok", version="v")

    found = compare(pieces(9), side("champion", right), side("challenger", sometimes), **FAST)
    assert (found.pieces, found.unanswered) == (6, 3)
    assert "3 could not be shown to both" in compared(found, 1.0)["message"]


def test_a_version_that_cannot_be_reached_is_given_up() -> None:
    champion = side("champion", right)
    with pytest.raises(AwayError, match=f"the challenger could not be reached {GIVE_UP_AFTER} times"):
        compare(pieces(100), champion, side("challenger", silent), **FAST)
    assert isinstance(champion.revision, Knows) and len(champion.revision.asked) == GIVE_UP_AFTER


def test_the_answers_of_another_version_count_for_nothing() -> None:
    with pytest.raises(AwayError, match="the challenger's address was answered by version v"):
        compare(pieces(3), side("champion", right), side("challenger", right, version="w"), **FAST)


def test_when_time_is_over_what_there_is_counts() -> None:
    found = compare(pieces(50), side("champion", right), side("challenger", right), rate=20.0, seconds=0.2)
    assert 0 < found.pieces < 50 and found.cut_short


def test_a_picture_is_sent_in_the_cameras_format(picture: Picture) -> None:
    jpeg = picture(format="JPEG")
    assert as_sent(Piece(id="a", truth="ok", format="jpeg", picture=jpeg)) == jpeg
    assert as_sent(Piece(id="a", truth="ok", format="", picture=jpeg)) == jpeg
    assert sniff(as_sent(Piece(id="a", truth="ok", format="png", picture=jpeg))) == "png"


def test_a_revision_is_asked_directly_and_told_that_the_piece_was_there_before() -> None:
    with Standing(lambda picture: picture.decode(), "v1") as standing:
        said = Revision(standing.name, "lyon", ADDRESS).ask(b"bent")
    assert said == Said(label="bent", version="v1")
    (headers,) = standing.headers
    assert headers["knative-serving-namespace"] == "lyon" and headers["knative-serving-revision"] == standing.name
    assert headers[REPLAY_HEADER.lower()] == "1"


def test_a_proxys_error_is_tried_again_and_the_versions_own_is_not() -> None:
    with Standing(lambda _: "ok", errors=[503, 502]) as standing:
        assert Revision(standing.name, "lyon", ADDRESS).ask(b"x").label == "ok"
        standing.errors = [503, 503, 503]
        assert Revision(standing.name, "lyon", ADDRESS).ask(b"x") == Said(error="HTTP 503: not today")
        standing.errors = [415]
        assert Revision(standing.name, "lyon", ADDRESS).ask(b"x").error.startswith("HTTP 415")
    assert len(standing.headers) == 7


def test_nobody_there_is_no_answer_and_nonsense_is_a_wrong_one() -> None:
    with Standing(lambda _: "", "v1") as standing:
        assert "HTTP 200 with what is no answer" in Revision(standing.name, "lyon", ADDRESS).ask(b"x").error
    assert not Revision(standing.name, "lyon", ADDRESS).ask(b"x").answered


def test_an_address_that_makes_no_sense_is_named() -> None:
    with pytest.raises(PuzzleNetError, match="--address"):
        Revision("r", "n", "http://{pod}")


def test_the_result_is_short_enough_for_the_kubelet(tmp_path: Path) -> None:
    found = Comparison(both_right=1000, challenger_errors=7, error="x" * 5000)
    write_termination(compared(found, 12.34), tmp_path / "log")
    data = (tmp_path / "log").read_bytes()
    assert len(data) < 4096 and json.loads(data)["bothRight"] == 1000


def test_the_command_starts_without_torch() -> None:
    modules = "puzzlenet.cli.main, puzzlenet.replay.run, puzzlenet.replay.revisions"
    code = f"import sys, {modules}; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
