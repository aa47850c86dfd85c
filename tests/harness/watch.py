"""A live table of one PuzzleModel: the columns of `kubectl get puzzlemodels`, next to what the line saw.

The rows come from the API server's own table rendering, so what the demo prints is what a user sees. The watcher
also notes, second by second, which share KServe says each revision gets: that gives the time from a bad canary's
first traffic to none, measured outside the operator.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from typing import Any

from kubernetes import client
from kubernetes.client.exceptions import ApiException
from urllib3.exceptions import HTTPError

from tests.harness.line import Tally
from tests.harness.models import GROUP, PLURAL, VERSION, Namespace

_TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io"
_HIDDEN = {"Age"}
REPEAT_SECONDS = 20.0


class Watcher:
    """Prints a row whenever the model's columns change, and at least every 20 s. A context manager."""

    def __init__(self, space: Namespace, name: str, tally: Callable[[], Tally], out: Callable[[str], None]):
        self._space, self._name, self._tally, self._out = space, name, tally, out
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watch", daemon=True)
        self._shares: list[tuple[float, dict[str, int]]] = []

    def __enter__(self) -> Watcher:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(30)

    def seconds_with_traffic(self, revision: str) -> float | None:
        """Seconds from the revision's first observed traffic to its first 0 % after that; None if never."""
        first: float | None = None
        for moment, shares in list(self._shares):
            if first is None and shares.get(revision, 0) > 0:
                first = moment
            elif first is not None and shares.get(revision, 0) == 0:
                return moment - first
        return None

    def _run(self) -> None:
        last: tuple[str, ...] = ()
        printed_at = 0.0
        while not self._stop.wait(1.0):
            try:
                shares, (names, cells) = self._space.observed_weights(self._name), self._row()
            except (ApiException, HTTPError) as exc:
                self._out(f"{time.strftime('%H:%M:%S')}  (the API server did not answer: {type(exc).__name__})")
                continue
            if shares and (not self._shares or self._shares[-1][1] != shares):
                self._shares.append((time.monotonic(), shares))
            if not last:
                self._print("TIME", names, "ANSWERED REFUSED LOST")
            if cells != last or time.monotonic() - printed_at > REPEAT_SECONDS:
                seen = self._tally()
                counts = f"{seen.answered:8d} {seen.refused:7d} {seen.lost:4d}"
                self._print(time.strftime("%H:%M:%S"), cells, counts)
                last, printed_at = cells, time.monotonic()

    def _print(self, stamp: str, cells: tuple[str, ...], counts: str) -> None:
        widths = (8, 11, 6, 7, 8, 11, 8, 11)
        row = " ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=False))
        self._out(f"{stamp:8s}  {row}  {counts}")

    def _row(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Names and cells of the default columns, as the API server renders them for kubectl."""
        path = f"/apis/{GROUP}/{VERSION}/namespaces/{self._space.name}/{PLURAL}/{self._name}"
        table = _get_json(path, _TABLE)
        shown = [
            index
            for index, column in enumerate(table["columnDefinitions"])
            if column.get("priority", 0) == 0 and column["name"] not in _HIDDEN
        ]
        names = tuple(str(table["columnDefinitions"][index]["name"]).upper() for index in shown)
        cells = table["rows"][0]["cells"]
        return names, tuple("" if cells[index] is None else str(cells[index]) for index in shown)


def _get_json(path: str, accept: str) -> dict[str, Any]:
    api = client.ApiClient()
    response: Any = api.call_api(
        *api.param_serialize(
            method="GET", resource_path=path, header_params={"Accept": accept}, auth_settings=["BearerToken"]
        )
    )
    body: dict[str, Any] = json.loads(response.read())
    return body
