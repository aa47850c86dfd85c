"""The tables. `migrations/` makes them; a test compares the two.

Times are microseconds since 1970 in UTC, in SQL: `to_timestamp(at / 1e6)` or `datetime(at / 1000000, 'unixepoch')`.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Column,
    Double,
    ForeignKey,
    Identity,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
)

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)
# SQLite counts rows by itself only in a column of type INTEGER.
_SEQ = BigInteger().with_variant(Integer, "sqlite")

series = Table(
    "series",
    metadata,
    Column("id", _SEQ, Identity(), primary_key=True),
    Column("namespace", Text, nullable=False),
    Column("model", Text, nullable=False),
    Column("line", Text, nullable=False),
    Column("revision", Text, nullable=False),
    Column("version", Text, nullable=False),
    Column("classes", Text, nullable=False),
    Column("seen", BigInteger, nullable=False),
    UniqueConstraint("namespace", "model", "line", "revision", "version", name="uq_series"),
)

predictions = Table(
    "predictions",
    metadata,
    Column("seq", _SEQ, Identity(), primary_key=True),
    Column("id", Text, nullable=False, unique=True),
    Column("at", BigInteger, nullable=False),
    Column("received", BigInteger, nullable=False),
    Column("series_id", BigInteger, ForeignKey("series.id"), nullable=False),
    Column("label", Text, nullable=False),
    Column("confidence", Double, nullable=False),
    Column("probabilities", Text, nullable=False),
    Column("image", Text, nullable=False),
    Column("embedding", LargeBinary),
    Column("image_digest", Text),
    Column("image_bytes", BigInteger),
    Column("first_truth", Text),
    Column("truth", Text),
    Column("truth_at", BigInteger),
    Column("truth_by", Text),
)
Index("ix_predictions_series_at", predictions.c.series_id, predictions.c.at, predictions.c.seq)
# Covers the confusion matrix of a window, and the export.
Index(
    "ix_predictions_labelled",
    predictions.c.series_id,
    predictions.c.at,
    predictions.c.seq,
    predictions.c.label,
    predictions.c.truth,
    sqlite_where=predictions.c.truth.is_not(None),
    postgresql_where=predictions.c.truth.is_not(None),
)

# In order of arrival, for whoever follows one version.
Index("ix_predictions_stream", predictions.c.series_id, predictions.c.seq)
# The queue of reviewers: those with a picture, the least sure or the newest first.
for _name, _column in (("pictures", predictions.c.confidence), ("pictures_at", predictions.c.at)):
    Index(
        f"ix_predictions_{_name}",
        predictions.c.series_id,
        _column,
        predictions.c.seq,
        sqlite_where=predictions.c.image_digest.is_not(None),
        postgresql_where=predictions.c.image_digest.is_not(None),
    )

# No foreign key to predictions: a label may come first.
feedback = Table(
    "feedback",
    metadata,
    Column("seq", _SEQ, Identity(), primary_key=True),
    Column("prediction_id", Text, nullable=False),
    Column("label", Text, nullable=False),
    Column("who", Text, nullable=False),
    Column("at", BigInteger, nullable=False),
    Column("received", BigInteger, nullable=False),
    Column("note", Text),
    Column("retracted", BigInteger),
    UniqueConstraint("prediction_id", "who", "at", "label", name="uq_feedback"),
)

# Counts outlive the rows that they count: pruning does not touch them.
histogram = Table(
    "histogram",
    metadata,
    Column("series_id", BigInteger, ForeignKey("series.id", ondelete="CASCADE"), primary_key=True),
    Column("label", Text, primary_key=True),
    Column("bucket", Integer, primary_key=True, autoincrement=False),
    Column("n", BigInteger, nullable=False),
    Column("total", Double, nullable=False),
)
confusion = Table(
    "confusion",
    metadata,
    Column("series_id", BigInteger, ForeignKey("series.id", ondelete="CASCADE"), primary_key=True),
    Column("label", Text, primary_key=True),
    Column("truth", Text, primary_key=True),
    Column("first", BigInteger, nullable=False),
    Column("latest", BigInteger, nullable=False),
)
# Accuracy over time: by minute of the prediction, after the newest labels, so corrections move it.
scores = Table(
    "scores",
    metadata,
    Column("series_id", BigInteger, ForeignKey("series.id", ondelete="CASCADE"), primary_key=True),
    Column("minute", BigInteger, primary_key=True, autoincrement=False),
    Column("predictions", BigInteger, nullable=False),
    Column("labelled", BigInteger, nullable=False),
    Column("wrong", BigInteger, nullable=False),
)
# Labelled predictions ever, and those of them with a picture: they outlive even the series.
label_totals = Table(
    "label_totals",
    metadata,
    Column("namespace", Text, primary_key=True),
    Column("model", Text, primary_key=True),
    Column("total", BigInteger, nullable=False),
    Column("images", BigInteger, nullable=False),
    Column("bytes", BigInteger, nullable=False),
)

# What the operator wants of each model, as JSON.
models = Table(
    "models",
    metadata,
    Column("namespace", Text, primary_key=True),
    Column("name", Text, primary_key=True),
    Column("settings", Text, nullable=False),
    Column("changed", BigInteger, nullable=False),
)
# What the drift worker found, where it stands in the stream, and what it goes on from.
drift = Table(
    "drift",
    metadata,
    Column("namespace", Text, primary_key=True),
    Column("model", Text, primary_key=True),
    Column("version", Text, primary_key=True),
    Column("report", Text, nullable=False),
    Column("cursor", BigInteger, nullable=False),
    Column("state", LargeBinary, nullable=False),
    Column("config", Text, nullable=False),
    Column("at", BigInteger, nullable=False),
)
drift_history = Table(
    "drift_history",
    metadata,
    Column("seq", _SEQ, Identity(), primary_key=True),
    Column("namespace", Text, nullable=False),
    Column("model", Text, nullable=False),
    Column("version", Text, nullable=False),
    Column("at", BigInteger, nullable=False),
    Column("images", BigInteger, nullable=False),
    Column("score", Double),
    Column("threshold", Double),
    Column("phase", Text, nullable=False),
)
Index(
    "ix_drift_history_key",
    drift_history.c.namespace,
    drift_history.c.model,
    drift_history.c.version,
    drift_history.c.seq,
)

# Who was champion when, and why. Rows are added, never changed, never pruned; `decision` is JSON.
decisions = Table(
    "decisions",
    metadata,
    Column("seq", _SEQ, Identity(), primary_key=True),
    Column("id", Text, nullable=False, unique=True),
    Column("namespace", Text, nullable=False),
    Column("model", Text, nullable=False),
    Column("at", BigInteger, nullable=False),
    Column("received", BigInteger, nullable=False),
    Column("decision", Text, nullable=False),
)
Index("ix_decisions_model", decisions.c.namespace, decisions.c.model, decisions.c.seq)

# The pictures of one line of one model, whichever version looks at them.
feeds = Table(
    "feeds",
    metadata,
    Column("id", _SEQ, Identity(), primary_key=True),
    Column("namespace", Text, nullable=False),
    Column("model", Text, nullable=False),
    Column("line", Text, nullable=False),
    Column("images", BigInteger, nullable=False),
    Column("first_received", BigInteger, nullable=False),
    Column("last_received", BigInteger, nullable=False),
    Column("last_at", BigInteger, nullable=False),
    Column("lateness", Text, nullable=False),
    Column("lateness_sum", Double, nullable=False),
    UniqueConstraint("namespace", "model", "line", name="uq_feeds"),
)
# By minute of arrival: one row is touched by a commit, however late its images are.
feed_minutes = Table(
    "feed_minutes",
    metadata,
    Column("feed_id", BigInteger, ForeignKey("feeds.id", ondelete="CASCADE"), primary_key=True),
    Column("minute", BigInteger, primary_key=True, autoincrement=False),
    Column("n", BigInteger, nullable=False),
    Column("digest", Text, nullable=False),
)
# What is usual there, and which problems hold since when; judged up to a minute.
feed_health = Table(
    "feed_health",
    metadata,
    Column("feed_id", BigInteger, ForeignKey("feeds.id", ondelete="CASCADE"), primary_key=True, autoincrement=False),
    Column("judged", BigInteger, nullable=False),
    Column("health", Text, nullable=False),
)
