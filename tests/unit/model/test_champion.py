"""Who was champion when: by the newest decision of before that made one, whatever was tried since."""

from datetime import UTC, datetime

import pytest

from puzzlenet.retrain.champion import Made, Told, champion_at, sentence


def at(hour: int, minute: int = 30) -> datetime:
    return datetime(2026, 11, 24, hour, minute, tzinfo=UTC)


RECORD = [
    Told(at=at(hour, 0), line="line-1", kind=kind, version=version, reason="")
    for hour, kind, version in (
        (10, "Deployed", "a"),
        (11, "Promoted", "b"),
        (12, "RolledBack", "x"),
        (13, "Promoted", "c"),
    )
]


@pytest.mark.parametrize(
    ("moment", "version"), [(at(14), "c"), (at(13, 0), "c"), (at(12), "b"), (at(11), "b"), (at(10), "a"), (at(9), None)]
)
def test_the_champion_is_the_last_one_that_was_made_one(moment: datetime, version: str | None) -> None:
    found = champion_at(RECORD, moment)
    assert (found.version if found else None) == version


def test_a_sentence_tells_a_champion_from_a_challenger() -> None:
    crowned = champion_at(RECORD, at(12))
    assert crowned is not None
    by_champion, by_challenger = (
        sentence(Made(version=version, namespace="lyon", model="line-1", at=at(12)), crowned) for version in "bx"
    )
    assert by_champion == "it was champion of lyon/line-1 then, since 2026-11-24 11:00:00Z (Promoted)"
    assert by_challenger == "champion of lyon/line-1 then was b, since 2026-11-24 11:00:00Z (Promoted)"
