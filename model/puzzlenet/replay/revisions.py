"""One Knative revision asked directly, whether a route gives it traffic or not.

Knative makes a Service of every revision's own. Behind it is the revision itself, or the activator where there are few
pods or none; that one knows whom a request is for by two headers, so they are always sent.
"""

import base64
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import urllib3

from puzzlenet.errors import PuzzleNetError
from puzzlenet.replay import REPLAY_HEADER

ADDRESS = "http://{revision}.{namespace}.svc"
INFER_PATH = "/v2/models/puzzlenet/infer"
_CONNECT_S, _READ_S = 5.0, 60.0
_TRIES = 3
_PAUSE_S = 1.0
_AGAIN = (429, 502, 503, 504)
"""What a proxy says of a pod that is busy or only just gone; a version that goes on saying it is at fault."""


@dataclass(frozen=True, slots=True)
class Said:
    """What became of one picture: a label; an error of the version's; or neither, when nobody could be reached."""

    label: str = ""
    error: str = ""
    version: str = ""

    @property
    def answered(self) -> bool:
        """Whether there was an HTTP response at all."""
        return bool(self.label or self.error)


class Revision:
    """Asks one revision, one picture at a time. Any HTTP error is an answer of the version's; no answer is none."""

    def __init__(self, name: str, namespace: str, address: str = ADDRESS) -> None:
        try:
            self._url = address.format(revision=name, namespace=namespace).rstrip("/") + INFER_PATH
        except (KeyError, IndexError, ValueError) as exc:
            raise PuzzleNetError(f"--address {address!r}: only {{revision}} and {{namespace}} are filled in") from exc
        self._headers = {
            "Content-Type": "application/json",
            "Knative-Serving-Namespace": namespace,
            "Knative-Serving-Revision": name,
            REPLAY_HEADER: "1",
        }
        self._pool = urllib3.PoolManager(
            timeout=urllib3.Timeout(connect=_CONNECT_S, read=_READ_S), retries=False, maxsize=1
        )

    def ask(self, picture: bytes) -> Said:
        """The answer to one picture."""
        data = [base64.b64encode(picture).decode()]
        body = json.dumps({"inputs": [{"name": "image", "shape": [1], "datatype": "BYTES", "data": data}]}).encode()
        said = Said()
        for tried in range(_TRIES):
            if tried:
                time.sleep(_PAUSE_S * tried)
            said, again = self._once(body)
            if not again:
                break
        return said

    def _once(self, body: bytes) -> tuple[Said, bool]:
        try:
            response = self._pool.request("POST", self._url, body=body, headers=self._headers)
        except (urllib3.exceptions.HTTPError, OSError):
            return Said(), True
        if response.status != 200:
            return Said(error=f"HTTP {response.status}: {_sentence(response.data)}"), response.status in _AGAIN
        try:
            return _read(json.loads(response.data)), False
        except (ValueError, KeyError, TypeError, IndexError):
            return Said(error=f"HTTP 200 with what is no answer: {response.data[:80]!r}"), False


def _read(answer: Mapping[str, Any]) -> Said:
    outputs = {one["name"]: one["data"] for one in answer["outputs"]}
    label = outputs["label"][0]
    if not isinstance(label, str) or not label:
        raise ValueError("no label")
    return Said(label=label, version=str(answer.get("model_version", "")))


def _sentence(data: bytes) -> str:
    try:
        return str(json.loads(data)["error"])[:200]
    except (ValueError, KeyError, TypeError):
        return data[:100].decode(errors="replace").strip() or "no reason given"
