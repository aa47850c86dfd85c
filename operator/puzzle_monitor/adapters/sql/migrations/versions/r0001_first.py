"""The first tables: series, predictions, feedback, and the counts."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_SEQ = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "series",
        sa.Column("id", _SEQ, sa.Identity(), nullable=False),
        *(sa.Column(name, sa.Text, nullable=False) for name in ("namespace", "model", "line", "revision", "version")),
        sa.Column("classes", sa.Text, nullable=False),
        sa.Column("seen", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_series"),
        sa.UniqueConstraint("namespace", "model", "line", "revision", "version", name="uq_series"),
    )
    _predictions()
    op.create_table(
        "feedback",
        sa.Column("seq", _SEQ, sa.Identity(), nullable=False),
        *(sa.Column(name, sa.Text, nullable=False) for name in ("prediction_id", "label", "who")),
        sa.Column("at", sa.BigInteger, nullable=False),
        sa.Column("received", sa.BigInteger, nullable=False),
        sa.Column("note", sa.Text),
        sa.PrimaryKeyConstraint("seq", name="pk_feedback"),
        sa.UniqueConstraint("prediction_id", "who", "at", "label", name="uq_feedback"),
    )
    _counts("histogram", sa.Column("bucket", sa.Integer, nullable=False), "n", sa.Column("total", sa.Double))
    _counts("confusion", sa.Column("truth", sa.Text, nullable=False), "first", sa.Column("latest", sa.BigInteger))


def _predictions() -> None:
    op.create_table(
        "predictions",
        sa.Column("seq", _SEQ, sa.Identity(), nullable=False),
        sa.Column("id", sa.Text, nullable=False),
        sa.Column("at", sa.BigInteger, nullable=False),
        sa.Column("received", sa.BigInteger, nullable=False),
        sa.Column("series_id", sa.BigInteger, nullable=False),
        sa.Column("label", sa.Text, nullable=False),
        sa.Column("confidence", sa.Double, nullable=False),
        sa.Column("probabilities", sa.Text, nullable=False),
        sa.Column("image", sa.Text, nullable=False),
        sa.Column("embedding", sa.LargeBinary),
        *(sa.Column(name, sa.Text) for name in ("image_digest", "first_truth", "truth")),
        sa.Column("truth_at", sa.BigInteger),
        sa.Column("truth_by", sa.Text),
        sa.PrimaryKeyConstraint("seq", name="pk_predictions"),
        sa.UniqueConstraint("id", name="uq_predictions_id"),
        sa.ForeignKeyConstraint(["series_id"], ["series.id"], name="fk_predictions_series_id"),
    )
    op.create_index("ix_predictions_series_at", "predictions", ["series_id", "at", "seq"])
    op.create_index(
        "ix_predictions_labelled",
        "predictions",
        ["series_id", "at", "seq", "label", "truth"],
        sqlite_where=sa.text("truth IS NOT NULL"),
        postgresql_where=sa.text("truth IS NOT NULL"),
    )


def _counts(name: str, second: sa.Column, count: str, other: sa.Column) -> None:  # type: ignore[type-arg]
    other.nullable = False
    op.create_table(
        name,
        sa.Column("series_id", sa.BigInteger, nullable=False),
        sa.Column("label", sa.Text, nullable=False),
        second,
        sa.Column(count, sa.BigInteger, nullable=False),
        other,
        sa.PrimaryKeyConstraint("series_id", "label", second.name, name=f"pk_{name}"),
        sa.ForeignKeyConstraint(["series_id"], ["series.id"], name=f"fk_{name}_series_id", ondelete="CASCADE"),
    )


def downgrade() -> None:
    """Drop everything."""
    for name in ("confusion", "histogram", "feedback", "predictions", "series"):
        op.drop_table(name)
