"""A predictor for integration tests: its version says how it behaves. Runs in a pod, with the standard library only."""

import json
import os
import random
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

with open("/mnt/models/manifest.json") as source:  # noqa: PTH123
    BEHAVIOUR = json.load(source)["behaviour"]


class Predictor(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.answer(200)

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if BEHAVIOUR == "crashes" or (BEHAVIOUR == "brittle" and self.headers.get("Poison")):
            os._exit(3)
        time.sleep(1.5 if BEHAVIOUR == "slow" else 0.005)
        self.answer(500 if BEHAVIOUR == "fails" and random.random() < 0.5 else 200)

    def answer(self, code: int) -> None:
        body = json.dumps({"version": os.environ.get("PUZZLENET_VERSION")}).encode()
        self.send_response(code)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Silence."""


if __name__ == "__main__":
    if BEHAVIOUR == "refuses":
        sys.exit("this version does not load")
    ThreadingHTTPServer(("0.0.0.0", 8080), Predictor).serve_forever()  # noqa: S104
