"""The benchmark counts what is there: a short run of it, on both engines."""

from __future__ import annotations

from pathlib import Path

from benchmarks.ingest import Order, measure, table


def test_a_short_run_loses_nothing(database_url: str, tmp_path: Path) -> None:
    order = Order(seconds=2, rate=200, batch=20, senders=2, embedding=8, labelled=0.2, warm_up=0.5)
    result = measure("engine", database_url, order, tmp_path)
    assert (result.sent, result.stored, result.refused, result.lost, result.labels_lost) == (400, 400, 0, 0, 0)
    assert result.labels_sent > 20 and result.problems == [] and 0 < result.p50_ms <= result.max_ms
    assert 20 < result.rss_start_mib < 500 and "acknowledged but lost" in table([result])
