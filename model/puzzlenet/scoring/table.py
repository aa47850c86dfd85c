"""The result as Parquet: a row for each picture, the same columns in every part of a version."""

import io
from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.parquet as pq

from puzzlenet.errors import PuzzleNetError
from puzzlenet.predictor import Prediction


@dataclass(frozen=True, slots=True)
class Row:
    """One picture: an answer, or why there is none."""

    path: str
    prediction: Prediction | None
    error: str | None = None

    @property
    def label(self) -> str | None:
        """What the picture was called."""
        return None if self.prediction is None else self.prediction.label

    @property
    def confidence(self) -> float | None:
        """The top probability."""
        return None if self.prediction is None else self.prediction.confidence


def schema(classes: Sequence[str]) -> pa.Schema:
    """path, label, confidence, probabilities (a field for each class), version, error."""
    probabilities = pa.struct([pa.field(name, pa.float64()) for name in classes])
    return pa.schema(
        [
            pa.field("path", pa.string(), nullable=False),
            pa.field("label", pa.string()),
            pa.field("confidence", pa.float64()),
            pa.field("probabilities", probabilities),
            pa.field("version", pa.string(), nullable=False),
            pa.field("error", pa.string()),
        ]
    )


def to_parquet(rows: Sequence[Row], classes: Sequence[str], version: str) -> bytes:
    """The bytes of one part."""
    columns = {
        "path": [_text(row.path) for row in rows],
        "label": [row.label for row in rows],
        "confidence": [row.confidence for row in rows],
        "probabilities": [
            row.prediction and dict(zip(classes, row.prediction.probabilities, strict=True)) for row in rows
        ],
        "version": [version] * len(rows),
        "error": [row.error and _text(row.error) for row in rows],
    }
    out = io.BytesIO()
    pq.write_table(pa.table(columns, schema=schema(classes)), out, compression="zstd")
    return out.getvalue()


def verdicts(data: bytes, name: str) -> list[tuple[str | None, float | None, str | None]]:
    """Label, confidence and error of each row of a part. Raises PuzzleNetError naming a part that is no Parquet."""
    try:
        table = pq.read_table(io.BytesIO(data), columns=["label", "confidence", "error"])
    except (pa.ArrowInvalid, OSError, KeyError) as exc:
        raise PuzzleNetError(f"{name} is not a part of a result ({exc}): remove it and score again") from exc
    return list(zip(*(table.column(one).to_pylist() for one in ("label", "confidence", "error")), strict=True))


def _text(value: str) -> str:
    """File names may hold bytes that are no text; Parquet's strings may not."""
    return value.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
