"""Who was champion when a prediction was made, asked of a running monitor."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

from puzzlenet.retrain.champion import champion_at, sentence
from puzzlenet.retrain.monitor import Monitor
from tests.integration.monitor.live import TOKENS, Server, a_record
from tests.integration.monitor.test_decisions import a_decision, post
from tests.integration.monitor.test_models import V1, V2


def test_the_champion_behind_a_prediction_is_found_on_the_monitors_record(live: Server, tmp_path: Path) -> None:
    model = "reigned"
    record = a_record(model=model, version=V2)
    with live.client("handler") as handler:
        handler.post("/v1/predictions", json={"records": [record]}).raise_for_status()
    token = tmp_path / "token"
    token.write_text(TOKENS["trainer"])
    monitor = Monitor(live.url, token)
    made = monitor.made(record["id"])
    assert (made.version, made.model) == (V2, model)
    assert champion_at(monitor.decisions(made.namespace, model), made.at) is None

    def told(name: str, kind: str, minutes: int, version: str) -> dict[str, object]:
        at = made.at + timedelta(minutes=minutes)
        return a_decision(f"{model}-{name}", kind=kind, version=version, at=at.isoformat())

    post(live, model, told("first", "Deployed", -60, V1), told("tried", "RolledBack", -30, V2)).raise_for_status()
    found = champion_at(monitor.decisions(made.namespace, model), made.at)
    assert found is not None and found.version == V1 and found.at == made.at - timedelta(minutes=60)
    assert f"champion of lyon/{model} then was {V1}" in sentence(made, found)
