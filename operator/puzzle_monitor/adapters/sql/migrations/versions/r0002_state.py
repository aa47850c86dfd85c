"""State of models: settings, drift, input health, accuracy by minute, retracted labels, sizes of pictures."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_SEQ = sa.BigInteger().with_variant(sa.Integer, "sqlite")
_PICTURES = sa.text("image_digest IS NOT NULL")


def upgrade() -> None:
    """Make the new tables, and count what is there already."""
    with op.batch_alter_table("predictions") as table:
        table.add_column(sa.Column("image_bytes", sa.BigInteger))
    with op.batch_alter_table("feedback") as table:
        table.add_column(sa.Column("retracted", sa.BigInteger))
    op.create_index("ix_predictions_stream", "predictions", ["series_id", "seq"])
    for name, column in (("pictures", "confidence"), ("pictures_at", "at")):
        op.create_index(
            f"ix_predictions_{name}",
            "predictions",
            ["series_id", column, "seq"],
            sqlite_where=_PICTURES,
            postgresql_where=_PICTURES,
        )
    _scores()
    _models()
    _feeds()
    for statement in _COUNTS:
        op.execute(statement)


def _texts(*names: str) -> list["sa.Column[str]"]:
    return [sa.Column(name, sa.Text, nullable=False) for name in names]


def _numbers(*names: str) -> list["sa.Column[int]"]:
    return [sa.Column(name, sa.BigInteger, nullable=False) for name in names]


def _scores() -> None:
    op.create_table(
        "scores",
        *_numbers("series_id", "minute", "predictions", "labelled", "wrong"),
        sa.PrimaryKeyConstraint("series_id", "minute", name="pk_scores"),
        sa.ForeignKeyConstraint(["series_id"], ["series.id"], name="fk_scores_series_id", ondelete="CASCADE"),
    )
    op.create_table(
        "label_totals",
        *_texts("namespace", "model"),
        *_numbers("total", "images", "bytes"),
        sa.PrimaryKeyConstraint("namespace", "model", name="pk_label_totals"),
    )


def _models() -> None:
    op.create_table(
        "models",
        *_texts("namespace", "name", "settings"),
        *_numbers("changed"),
        sa.PrimaryKeyConstraint("namespace", "name", name="pk_models"),
    )
    op.create_table(
        "drift",
        *_texts("namespace", "model", "version", "report"),
        *_numbers("cursor"),
        sa.Column("state", sa.LargeBinary, nullable=False),
        *_texts("config"),
        *_numbers("at"),
        sa.PrimaryKeyConstraint("namespace", "model", "version", name="pk_drift"),
    )
    op.create_table(
        "drift_history",
        sa.Column("seq", _SEQ, sa.Identity(), nullable=False),
        *_texts("namespace", "model", "version"),
        *_numbers("at", "images"),
        sa.Column("score", sa.Double),
        sa.Column("threshold", sa.Double),
        *_texts("phase"),
        sa.PrimaryKeyConstraint("seq", name="pk_drift_history"),
    )
    op.create_index("ix_drift_history_key", "drift_history", ["namespace", "model", "version", "seq"])


def _feeds() -> None:
    op.create_table(
        "feeds",
        sa.Column("id", _SEQ, sa.Identity(), nullable=False),
        *_texts("namespace", "model", "line"),
        *_numbers("images", "first_received", "last_received", "last_at"),
        *_texts("lateness"),
        sa.Column("lateness_sum", sa.Double, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_feeds"),
        sa.UniqueConstraint("namespace", "model", "line", name="uq_feeds"),
    )
    for name, first, text in (("feed_minutes", ["minute", "n"], "digest"), ("feed_health", ["judged"], "health")):
        key = ["feed_id", "minute"] if name == "feed_minutes" else ["feed_id"]
        op.create_table(
            name,
            *_numbers("feed_id", *first),
            *_texts(text),
            sa.PrimaryKeyConstraint(*key, name=f"pk_{name}"),
            sa.ForeignKeyConstraint(["feed_id"], ["feeds.id"], name=f"fk_{name}_feed_id", ondelete="CASCADE"),
        )


# Sizes of pictures that were kept before are not known; they count as 0 bytes.
_COUNTS = (
    """INSERT INTO scores (series_id, minute, predictions, labelled, wrong)
    SELECT series_id, at / 60000000, count(*), count(truth),
        coalesce(sum(CASE WHEN truth <> label THEN 1 ELSE 0 END), 0)
    FROM predictions GROUP BY series_id, at / 60000000""",
    """INSERT INTO label_totals (namespace, model, total, images, bytes)
    SELECT s.namespace, s.model, sum(c.n),
        (SELECT count(*) FROM predictions p JOIN series o ON o.id = p.series_id
         WHERE o.namespace = s.namespace AND o.model = s.model
             AND p.first_truth IS NOT NULL AND p.image_digest IS NOT NULL), 0
    FROM series s JOIN (SELECT series_id, sum(first) AS n FROM confusion GROUP BY series_id) c ON c.series_id = s.id
    GROUP BY s.namespace, s.model""",
    """INSERT INTO feeds
        (namespace, model, line, images, first_received, last_received, last_at, lateness, lateness_sum)
    SELECT s.namespace, s.model, s.line, sum(h.n), max(s.seen), max(s.seen), max(s.seen), '[]', 0
    FROM series s JOIN (SELECT series_id, sum(n) AS n FROM histogram GROUP BY series_id) h ON h.series_id = s.id
    GROUP BY s.namespace, s.model, s.line""",
)


def downgrade() -> None:
    """Drop it again."""
    for name in ("feed_health", "feed_minutes", "feeds", "drift_history", "drift", "models", "label_totals", "scores"):
        op.drop_table(name)
    for name in ("ix_predictions_pictures", "ix_predictions_pictures_at", "ix_predictions_stream"):
        op.drop_index(name, "predictions")
    with op.batch_alter_table("feedback") as table:
        table.drop_column("retracted")
    with op.batch_alter_table("predictions") as table:
        table.drop_column("image_bytes")
