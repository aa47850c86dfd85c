"""A stand-in for the monitor: a real HTTP server that keeps what it is sent and misbehaves on request.

python -m tests.receiver PORT [SECONDS]      # takes everything, keeps nothing: for benchmarks; answers after so long
"""

from __future__ import annotations

import json
import socket
import sys
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Literal

Mood = Literal["fine", "slow", "broken", "unauthorised", "busy", "hangs up", "unprocessable"]
_STATUS = {"fine": 200, "broken": 500, "unauthorised": 401, "busy": 429, "unprocessable": 422}


@dataclass
class Receiver:
    """Answers on loopback. ``slowness`` is the seconds before an answer in the mood "slow"."""

    mood: Mood = "fine"
    token: str | None = None
    slowness: float = 30.0
    keep: bool = True
    requests: int = 0
    batches: list[list[dict[str, Any]]] = field(default_factory=list)
    pictures: dict[str, bytes] = field(default_factory=dict)
    tokens: list[str | None] = field(default_factory=list)
    released: threading.Event = field(default_factory=threading.Event)
    server: ThreadingHTTPServer | None = None

    def start(self, port: int = 0) -> Receiver:
        """Listen."""
        self.server = ThreadingHTTPServer(("127.0.0.1", port), _handler(self))
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        return self

    def stop(self) -> None:
        """Stop listening; requests that are kept waiting end."""
        self.released.set()
        if self.server is not None:
            self.server.shutdown()
            self.server.server_close()
            self.server = None

    @property
    def port(self) -> int:
        """Where it listens."""
        assert self.server is not None
        return int(self.server.server_address[1])

    @property
    def url(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def records(self) -> list[dict[str, Any]]:
        """All records that were taken, in the order of their arrival."""
        return [record for batch in self.batches for record in batch]

    def wait_for(self, count: int, timeout: float = 10.0) -> list[dict[str, Any]]:
        """The records once there are so many; what there is after ``timeout`` seconds."""
        deadline = time.monotonic() + timeout
        while len(self.records) < count and time.monotonic() < deadline:
            time.sleep(0.02)
        return self.records


def _handler(receiver: Receiver) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        # As the monitor's server has it: headers and body are two writes, and the second would wait 40 ms.
        disable_nagle_algorithm = True

        def do_POST(self) -> None:
            self._take()

        def do_PUT(self) -> None:
            self._take()

        def _take(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            receiver.requests += 1
            receiver.tokens.append(self.headers.get("Authorization"))
            if receiver.mood == "slow":
                receiver.released.wait(receiver.slowness)
            if receiver.mood == "hangs up":
                self.connection.shutdown(socket.SHUT_RDWR)
                self.close_connection = True
                return
            status = _STATUS.get(receiver.mood, 200)
            if receiver.token and self.headers.get("Authorization") != f"Bearer {receiver.token}":
                status = 401
            if status == 200 and receiver.keep:
                self._keep(body)
            self._say(status)

        def _keep(self, body: bytes) -> None:
            if self.command == "POST":
                receiver.batches.append(json.loads(body)["records"])
            else:
                receiver.pictures[self.path.split("/")[-2]] = body

        def _say(self, status: int) -> None:
            answer = b'{"conflicts": []}' if status == 200 else b'{"detail": "not today"}'
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(answer)))
            if status == 429:
                self.send_header("Retry-After", "1")
            self.end_headers()
            with suppress(ConnectionError):  # who asked has waited long enough
                self.wfile.write(answer)

        def log_message(self, format: str, *args: object) -> None:
            pass

    return Handler


if __name__ == "__main__":
    wait = float(sys.argv[2]) if len(sys.argv) > 2 else 0.0
    Receiver(mood="slow" if wait else "fine", slowness=wait, keep=False).start(int(sys.argv[1]))
    threading.Event().wait()
