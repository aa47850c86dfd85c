"""/metrics for Prometheus; /healthz and /readyz for Kubernetes."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from puzzle_drift.service.telemetry import Telemetry

STUCK = 900.0
"""Seconds without a sign of life after which the process is taken for stuck. A set-up takes a minute or two."""


@dataclass(slots=True)
class Pulse:
    """Signs of life of the loop."""

    monotonic: Callable[[], float] = time.monotonic
    ready: bool = False
    """The monitor has answered at least once."""
    last: float = field(init=False)

    def __post_init__(self) -> None:
        self.last = self.monotonic()

    def beat(self, *, ready: bool = False) -> None:
        """A cycle ended, well or not."""
        self.last, self.ready = self.monotonic(), self.ready or ready

    @property
    def alive(self) -> bool:
        """It beat not too long ago."""
        return self.monotonic() - self.last < STUCK


def serve(host: str, port: int, telemetry: Telemetry, pulse: Pulse) -> ThreadingHTTPServer:
    """Serve in the background until `shutdown()`. Raises OSError if the port is taken."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, kind, body = _answer(self.path.partition("?")[0], telemetry, pulse)
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            """Probes are not news."""

    server = ThreadingHTTPServer((host, port), Handler)
    threading.Thread(target=server.serve_forever, name="endpoint", daemon=True).start()
    return server


def _answer(path: str, telemetry: Telemetry, pulse: Pulse) -> tuple[int, str, bytes]:
    if path == "/metrics":
        return 200, "text/plain; version=0.0.4; charset=utf-8", telemetry.expose()
    if path == "/healthz":
        return (200, "text/plain", b"ok\n") if pulse.alive else (503, "text/plain", b"the loop is stuck\n")
    if path == "/readyz":
        return (200, "text/plain", b"ok\n") if pulse.ready else (503, "text/plain", b"the monitor did not answer yet\n")
    return 404, "text/plain", b"/metrics, /healthz or /readyz\n"
