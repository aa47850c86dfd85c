"""A stand-in for a Knative revision: a real HTTP server that answers as a version would, or misbehaves."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

Label = Callable[[bytes], str]


@dataclass
class Standing:
    """Answers on loopback with `label` of the picture; with the next of `errors` as long as there are any."""

    label: Label
    version: str = ""
    errors: list[int] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    server: ThreadingHTTPServer | None = None

    def __enter__(self) -> Standing:
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        assert self.server is not None
        self.server.shutdown()
        self.server.server_close()

    @property
    def name(self) -> str:
        """Its port, which stands in for the name of a revision: `--address http://127.0.0.1:{revision}`."""
        assert self.server is not None
        return str(self.server.server_address[1])


ADDRESS = "http://127.0.0.1:{revision}"


def _handler(standing: Standing) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            picture = base64.b64decode(body["inputs"][0]["data"][0])
            standing.bodies.append(picture)
            standing.headers.append({name.lower(): value for name, value in self.headers.items()})
            if standing.errors:
                self._say(standing.errors.pop(0), {"error": "not today"})
                return
            label = {"name": "label", "datatype": "BYTES", "shape": [1], "data": [standing.label(picture)]}
            self._say(200, {"model_version": standing.version, "outputs": [label]})

        def _say(self, status: int, answer: object) -> None:
            data = json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, format: str, *args: object) -> None:
            pass

    return Handler
