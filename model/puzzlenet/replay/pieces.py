"""The newest labelled pieces, a few pictures at a time: all of them need not fit into memory."""

from collections.abc import Iterator, Sequence

from puzzlenet.files import sha256_of
from puzzlenet.replay.compare import Piece
from puzzlenet.retrain.monitor import Labelled, Monitor

_CHUNK = 16


def with_pictures(monitor: Monitor, rows: Sequence[Labelled]) -> Iterator[Piece]:
    """Each picture once, with its newest label, however often the line has sent it: it is evidence once.

    One that was pruned meanwhile is left out. Raises MonitorError.
    """
    known: set[str] = set()
    for start in range(0, len(rows), _CHUNK):
        chunk = rows[start : start + _CHUNK]
        pictures = monitor.pictures([row.id for row in chunk])
        for row in chunk:
            picture = pictures.get(row.id)
            if picture is None or (name := sha256_of(picture)) in known:
                continue
            known.add(name)
            yield Piece(id=row.id, truth=row.truth, format=row.format, picture=picture)
