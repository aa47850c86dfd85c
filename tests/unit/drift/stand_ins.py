"""A monitor and an S3 store on real sockets, as small as they can be: what the contract says, and nothing else."""

from __future__ import annotations

import base64
import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import numpy as np
from safetensors.numpy import save

from puzzle_drift.core.records import Record, Reference

TOKEN = "drift-token"


@dataclass
class World:
    """What the two servers serve, and what was asked of them."""

    models: list[dict[str, Any]] = field(default_factory=list)
    streams: dict[tuple[str, str, str], list[dict[str, Any]]] = field(default_factory=dict)
    drift: dict[str, dict[str, Any]] = field(default_factory=dict)
    objects: dict[str, bytes] = field(default_factory=dict)
    puts: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    down: set[str] = field(default_factory=set)
    """Methods and beginnings of paths that answer 503, such as `PUT /v1/drift`."""
    url: str = ""

    @property
    def endpoint(self) -> str:
        return self.url.removeprefix("http://")

    def add_version(self, reference: Reference | None, tamper: bool = False) -> str:
        """Put a version into the store; its digest."""
        files = {"card.json": b"{}"}
        if reference is not None:
            files["reference.safetensors"] = save(
                {
                    "embeddings": reference.embeddings.astype(np.float32),
                    "probabilities": reference.probabilities.astype(np.float32),
                    "correct": reference.correct.astype(np.uint8),
                }
            )
        entries = [
            {"path": name, "sha256": hashlib.sha256(data).hexdigest(), "size": len(data)}
            for name, data in sorted(files.items())
        ]
        manifest = json.dumps({"schema": 1, "files": entries}).encode()
        digest = hashlib.sha256(manifest).hexdigest()
        prefix = f"/puzzlenet/versions/sha256-{digest}/"
        self.objects |= {prefix + name: data for name, data in files.items()}
        self.objects[prefix + "manifest.json"] = manifest
        if tamper:
            self.objects[prefix + "reference.safetensors"] += b"\0"
        return f"sha256:{digest}"

    def add_model(self, champion: str, name: str = "line-1", **drift: Any) -> dict[str, Any]:
        """Settings of a model; what is returned may be changed."""
        settings: dict[str, Any] = {
            "line": name,
            "champion": champion,
            "challenger": None,
            "drift": {
                "backend": "builtin",
                "detector": "MMDOnline",
                "expected_run_images": 200,
                "confirm_windows": 2,
                **drift,
            },
            "data_quality": None,
            "storage": {"endpoint": self.endpoint, "bucket": "puzzlenet", "secure": False},
        }
        self.models.append({"namespace": "lyon", "name": name, "settings": settings, "state": {}})
        return settings

    def send(self, version: str, records: list[Record], name: str = "line-1") -> None:
        """Append to a stream."""
        stream = self.streams.setdefault(("lyon", name, version), [])
        stream += [{**asdict(record), "id": f"r{record.seq}", "revision": "rev"} for record in records]

    def report(self, version: str, name: str = "line-1") -> dict[str, Any]:
        """The last one that was saved."""
        found: dict[str, Any] = self.drift[f"/v1/drift/lyon/{name}/{version}"]["report"]
        return found

    def state(self, version: str, name: str = "line-1") -> bytes:
        """Likewise."""
        return base64.b64decode(self.drift[f"/v1/drift/lyon/{name}/{version}"]["state"], validate=True)

    def answer(self, method: str, target: str, token: str | None, body: bytes) -> tuple[int, bytes]:
        """One request."""
        path, query = unquote(urlsplit(target).path), parse_qs(urlsplit(target).query)
        if any(f"{method} {path}".startswith(prefix) for prefix in self.down):
            return 503, b'{"detail": "away for a moment"}'
        if not path.startswith("/v1/"):
            return (200, self.objects[path]) if path in self.objects else (404, _NO_SUCH_KEY)
        if token != f"Bearer {TOKEN}":
            return 401, b'{"detail": "no such token"}'
        if path == "/v1/models":
            return 200, json.dumps({"models": self.models}).encode()
        if path == "/v1/stream":
            return 200, self._page({name: values[0] for name, values in query.items()})
        if method == "PUT":
            self.drift[path] = json.loads(body)
            self.puts.append((path, self.drift[path]))
            return 200, b"{}"
        return (200, json.dumps(self.drift[path]).encode()) if path in self.drift else (404, b'{"detail": "none"}')

    def _page(self, query: dict[str, str]) -> bytes:
        after = int(query["after"])
        stream = self.streams.get((query["namespace"], query["model"], query["version"]), [])
        page = [record for record in stream if record["seq"] > after][: int(query["limit"])]
        return json.dumps({"records": page, "next": page[-1]["seq"] if page else after}).encode()


_NO_SUCH_KEY = b"<?xml version='1.0'?><Error><Code>NoSuchKey</Code><Message>no</Message></Error>"


@contextmanager
def served() -> Iterator[World]:
    """A world on a port of its own."""
    world = World()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _do(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            status, data = world.answer(self.command, self.path, self.headers.get("Authorization"), body)
            self.send_response(status)
            kind = "application/xml" if data.startswith(b"<?xml") else "application/json"
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        do_GET = do_PUT = _do  # noqa: N815 - names of http.server

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    world.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield world
    finally:
        server.shutdown()
        server.server_close()
