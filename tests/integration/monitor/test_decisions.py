"""Decisions about champions, over real HTTP on both engines: appended once, kept for ever, read in pages."""

from __future__ import annotations

from datetime import timedelta
from itertools import count
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import text
from sqlalchemy.exc import DatabaseError

from puzzle_monitor.adapters.sql.engine import Database
from puzzle_monitor.adapters.sql.store import SqlStore
from puzzle_monitor.core.stored import NewDecision
from puzzle_monitor.core.times import micros
from puzzlenet.retrain import monitor as client
from tests.integration.monitor.live import TOKENS, Server, bearer
from tests.integration.monitor.test_models import SETTINGS, V1, V2
from tests.integration.monitor.test_store import NOW

_numbers = count()


@pytest.fixture
def model() -> str:
    """A name that no other test uses."""
    return f"decided-{next(_numbers)}"


def a_decision(name: str, **changes: Any) -> dict[str, Any]:
    return {
        "id": name,
        "uid": "2f0c1d3e-0000-4000-8000-000000000001",
        "at": "2026-11-24T10:00:00Z",
        "line": "line-1",
        "kind": "RolledBack",
        "version": V2,
        "parent": V1,
        "reason": "EvidenceAgainst",
        "message": "errors: 9 of 17 requests failed",
        "numbers": {"errors.challenger.bad": 9.0, "errors.challenger.requests": 17},
    } | changes


def post(live: Server, model: str, *decisions: dict[str, Any], who: str = "operator") -> httpx.Response:
    with live.client(who) as client:
        return client.post(f"/v1/models/lyon/{model}/decisions", json={"decisions": list(decisions)})


def read(live: Server, model: str, who: str = "trainer", **query: Any) -> dict[str, Any]:
    answer = httpx.get(f"{live.url}/v1/models/lyon/{model}/decisions", params=query, headers=bearer(who))
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def test_what_was_decided_is_on_record_once_and_as_it_was_told_first(live: Server, model: str) -> None:
    first = a_decision(f"{model}-1", kind="Deployed", version=V1, parent=None, reason=None, numbers={})
    second = a_decision(f"{model}-2")
    assert post(live, model, first, second).json() == {"stored": 2, "duplicates": 0}
    again = second | {"message": "told another way", "numbers": {}}
    assert post(live, model, again, a_decision(f"{model}-3", kind="Promoted")).json() == {"stored": 1, "duplicates": 1}
    found = read(live, model)
    assert [(one["id"], one["kind"]) for one in found["decisions"]] == [
        (f"{model}-3", "Promoted"),
        (f"{model}-2", "RolledBack"),
        (f"{model}-1", "Deployed"),
    ]
    assert {name: found["decisions"][1][name] for name in second} == second
    assert found["next"] is None
    twice = a_decision(f"{model}-4")
    assert post(live, model, twice, twice).json() == {"stored": 1, "duplicates": 1}


def test_a_long_record_is_read_in_pages_that_neither_miss_nor_repeat(live: Server, model: str) -> None:
    ids = [f"{model}-{n}" for n in range(25)]
    for start in range(0, 25, 10):
        post(live, model, *(a_decision(one) for one in ids[start : start + 10])).raise_for_status()
    seen: list[str] = []
    query: dict[str, Any] = {"limit": 10}
    while True:
        found = read(live, model, **query)
        seen += [one["id"] for one in found["decisions"]]
        if found["next"] is None:
            break
        query["before"] = found["next"]
        post(live, model, a_decision(f"{model}-late-{len(seen)}")).raise_for_status()
    assert seen == ids[::-1]


def test_the_state_of_a_model_tells_which_are_on_record(live: Server, model: str) -> None:
    post(live, model, *(a_decision(f"{model}-{n}") for n in range(50))).raise_for_status()
    post(live, model, a_decision(f"{model}-50")).raise_for_status()
    with live.client("operator") as operator:
        state = operator.put(f"/v1/models/lyon/{model}", json=SETTINGS).json()
        assert state["decisions"] == [f"{model}-{n}" for n in range(50, 0, -1)]
        operator.delete(f"/v1/models/lyon/{model}").raise_for_status()
    assert len(read(live, model)["decisions"]) == 51, "the record outlives the model"


def test_the_registrys_log_reads_all_pages(
    live: Server, model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "_DECISIONS", 4)
    post(live, model, *(a_decision(f"{model}-{n}", message=f"reason {n}") for n in range(10))).raise_for_status()
    (tmp_path / "token").write_text(TOKENS["trainer"])
    found = client.Monitor(live.url, tmp_path / "token").decisions("lyon", model)
    assert [one.reason for one in found] == [f"reason {n}" for n in range(10)]
    assert {(one.line, one.kind, one.version) for one in found} == {("line-1", "RolledBack", V2)}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"kind": "Elected"}, "decisions[0].kind"),
        ({"reason": "two words"}, "decisions[0].reason"),
        ({"numbers": {str(n): n for n in range(65)}}, "decisions[0].numbers"),
        ({"at": "yesterday"}, "decisions[0].at"),
        ({"colour": 1}, "decisions[0].colour"),
    ],
)
def test_one_that_makes_no_sense_refuses_all_and_is_named(
    live: Server, model: str, changes: dict[str, Any], words: str
) -> None:
    answer = post(live, model, a_decision(f"{model}-1") | changes, a_decision(f"{model}-2"))
    assert answer.status_code == 422 and words in answer.json()["detail"], answer.text
    assert read(live, model)["decisions"] == []


def test_nobody_but_the_operator_writes_and_nobody_changes(live: Server, model: str) -> None:
    for who in set(TOKENS) - {"operator"}:
        assert post(live, model, a_decision(f"{model}-1"), who=who).status_code == 403
    for who in ("operator", "drift", "inspector"):
        assert read(live, model, who)["decisions"] == []
    path = f"{live.url}/v1/models/lyon/{model}/decisions"
    assert httpx.get(path, headers=bearer("handler")).status_code == 403
    for method in ("PUT", "PATCH", "DELETE"):
        answer = httpx.request(method, path, headers=bearer("operator"))
        assert (answer.status_code, answer.headers["Allow"]) == (405, "GET, POST")


def test_no_retention_applies_to_them(store: SqlStore) -> None:
    old = NOW - timedelta(days=3650)
    found = [NewDecision("d-1", micros(old), "{}")]
    assert store.append_decisions("lyon", "line-1", found, micros(old)) == 1
    later = micros(NOW)
    store.delete_states(later, later, 100)
    store.delete_leftovers(later, 100)
    store.forget_settings("lyon", "line-1")
    assert len(store.decisions("lyon", "line-1", None, 10)) == 1


@pytest.mark.parametrize("statement", ["UPDATE decisions SET decision = ''", "DELETE FROM decisions"])
def test_the_database_refuses_to_change_one(database: Database, store: SqlStore, statement: str) -> None:
    store.append_decisions("lyon", "line-1", [NewDecision("d-1", micros(NOW), "{}")], micros(NOW))
    with pytest.raises(DatabaseError, match="appended, never changed or deleted"), database.writing() as connection:
        connection.execute(text(statement))
    assert [one.decision for one in store.decisions("lyon", "line-1", None, 10)] == ["{}"]
