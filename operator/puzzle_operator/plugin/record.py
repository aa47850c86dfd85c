"""The monitor's record of decisions: all there ever were, also of a model that is gone."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Self
from urllib.parse import quote

import httpx

from puzzle_operator.api.status import HistoryEntry

from .access import AccessError
from .changes import RefusedError

_PAGE = 500
_HOW = (
    "--all needs --monitor (or PUZZLE_MONITOR_URL): older decisions than the last 30 are kept by the monitor; "
    "`kubectl port-forward -n NAMESPACE svc/puzzle-monitor 8090` makes it http://localhost:8090"
)


@dataclass(frozen=True, slots=True)
class OnRecord:
    """One decision that is on record."""

    id: str
    uid: str
    entry: HistoryEntry

    @classmethod
    def read(cls, found: Any) -> Self:
        """Of one element of the monitor's answer.

        Raises:
            KeyError, TypeError, ValueError: if it makes no sense.
        """
        entry = HistoryEntry(
            at=datetime.fromisoformat(found["at"]),
            version=found["version"],
            outcome=found["kind"],
            replaced=found["parent"],
            message=found["message"],
        )
        return cls(str(found["id"]), str(found["uid"]), entry)


def read_record(url: str | None, token_file: Path | None, namespace: str, name: str) -> list[OnRecord]:
    """Everything that was decided about a model, oldest first.

    Raises:
        RefusedError: without an address.
        AccessError: if the monitor cannot be read.
    """
    if not url:
        raise RefusedError(_HOW)
    path = f"/v1/models/{quote(namespace, safe='')}/{quote(name, safe='')}/decisions"
    query: dict[str, int] = {"limit": _PAGE}
    found: list[OnRecord] = []
    with httpx.Client(base_url=url.rstrip("/"), headers=_headers(token_file), timeout=10.0) as client:
        while True:
            body = _get(client, path, query)
            try:
                found += [OnRecord.read(one) for one in body["decisions"]]
                following = body["next"]
            except (KeyError, TypeError, ValueError) as exc:
                raise AccessError(f"the monitor at {url} answers with something else: {exc!r}") from exc
            if following is None:
                return found[::-1]
            query["before"] = int(following)


def _headers(token_file: Path | None) -> dict[str, str]:
    if token_file is None:
        return {}
    try:
        return {"Authorization": f"Bearer {token_file.read_text().strip()}"}
    except (OSError, UnicodeDecodeError) as exc:
        raise AccessError(f"--monitor-token-file {token_file} cannot be read: {exc}") from exc


def _get(client: httpx.Client, path: str, query: dict[str, int]) -> Any:
    try:
        answer = client.get(path, params=query)
        body: Any = answer.json()
    except (httpx.HTTPError, httpx.InvalidURL, ValueError) as exc:
        raise AccessError(f"the monitor at {client.base_url} does not answer ({type(exc).__name__}): {exc}") from exc
    if answer.status_code in {401, 403}:
        raise AccessError(
            f"the monitor at {client.base_url} answers {answer.status_code}: --monitor-token-file needs a token of the "
            "role read"
        )
    if not answer.is_success:
        detail = body.get("detail", "") if isinstance(body, dict) else ""
        raise AccessError(f"the monitor at {client.base_url} answers {answer.status_code}: {detail}")
    return body
