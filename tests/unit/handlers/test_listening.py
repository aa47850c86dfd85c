"""The monitor's part of a pass: told what is wanted, asked for no number that a rollout would wait for."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

from puzzle_operator.api.conditions import Phase
from puzzle_operator.core.facts import Missing, MissingKind
from puzzle_operator.core.monitor import MonitorState
from puzzle_operator.handlers.reconcile import Reconciler
from puzzle_operator.ports import Credentials, Unavailable
from puzzle_operator.settings import Settings
from tests.builders import T0, V1, V2, a_model
from tests.unit.handlers.test_passes import Fake, a_reconciler, at_rest, serving

URL = "http://puzzle-monitor.puzzle-system:8090"


def with_monitor(fake: Fake) -> Reconciler:
    plain = a_reconciler(fake, Settings(monitor_url=URL))
    return Reconciler(replace(plain.ports, monitor=fake), plain.settings, plain.telemetry)


def run(reconciler: Reconciler) -> float | None:
    return asyncio.run(reconciler.run("lyon", "line-1"))


def test_a_pass_tells_the_monitor_what_is_wanted_and_shows_what_it_says() -> None:
    fake = at_rest()
    run(with_monitor(fake))
    (namespace, name, settings), *_ = fake.asked
    assert (namespace, name, settings["champion"], settings["challenger"]) == ("lyon", "line-1", V1, None)
    assert settings["drift"]["expected_run_images"] == 3_000_000, "40 pictures a second for a day, roughly"
    conditions = {c["type"]: c["reason"] for c in fake.statuses[-1]["conditions"]}
    assert conditions["DriftDetected"] == "DriftNotWatched"


def test_the_predictors_record_for_it_from_then_on() -> None:
    fake = at_rest()
    run(with_monitor(fake))
    (service,) = [obj for obj in fake.applied if obj["kind"] == "InferenceService"]
    env = {entry["name"]: entry["value"] for entry in service["spec"]["predictor"]["model"]["env"]}
    assert env["PUZZLE_MONITOR_URL"] == URL


def test_in_a_rollout_nobody_waits_for_the_lines_pace() -> None:
    fake = at_rest()
    reconciler = with_monitor(fake)
    assert fake.body is not None
    fake.body["spec"]["model"]["version"] = V2
    run(reconciler)
    asked = fake.rates
    assert fake.statuses[-1]["phase"] == Phase.STARTING
    run(reconciler)
    run(reconciler)
    assert fake.rates == asked
    assert fake.asked[-1][2]["challenger"] == V2


def test_an_outage_of_the_monitor_changes_nothing_about_a_pass() -> None:
    silent, talking = at_rest(), at_rest()
    silent.heard = Missing(MissingKind.UNAVAILABLE, "the monitor does not answer")
    delays = [run(with_monitor(fake)) for fake in (silent, talking)]
    assert delays[0] == delays[1] is not None
    assert silent.statuses[-1]["phase"] == talking.statuses[-1]["phase"] == "Stable"
    assert silent.applied == talking.applied


class Stores(Fake):
    """A cluster whose Secret says that the store speaks https, until it does not answer."""

    looks = 0

    async def credentials(self, namespace: str, secret: str) -> Credentials | None:
        type(self).looks += 1
        if self.looks > 1:
            raise Unavailable("the API does not answer")
        return Credentials("key", "secret", https=True)


def test_whether_the_store_speaks_https_is_read_once_in_a_while() -> None:
    fake = Stores(a_model().body, seen=serving())
    reconciler = with_monitor(fake)
    for _ in range(3):
        run(reconciler)
    assert [settings["storage"]["secure"] for _, _, settings in fake.asked] == [True] * 3
    assert Stores.looks == 1


def test_of_a_model_that_was_deleted_nothing_is_watched_any_more() -> None:
    fake = at_rest()
    reconciler = with_monitor(fake)
    run(reconciler)
    fake.body = None
    assert run(reconciler) is None
    assert run(reconciler) is None
    assert fake.forgotten == [("lyon", "line-1")]


def test_a_model_that_was_never_told_of_is_not_taken_from_whoever_did() -> None:
    fake = at_rest()
    fake.body = None
    assert run(with_monitor(fake)) is None
    assert fake.forgotten == []


def test_the_monitor_is_told_whose_a_model_is() -> None:
    fake = at_rest()
    run(with_monitor(fake))
    assert fake.asked[0][2]["owner"] == "cluster-1/"


def test_every_pass_offers_what_was_decided_so_far() -> None:
    fake = at_rest()
    reconciler = with_monitor(fake)
    run(reconciler)
    (first,) = fake.told
    assert (first["kind"], first["version"], first["uid"]) == ("Deployed", V1, "uid-line-1")
    run(reconciler)
    assert fake.told == (first,), "the same again, so that it can be told again"


def test_what_it_says_reaches_the_decision() -> None:
    fake = at_rest()
    fake.heard = MonitorState(T0)
    reconciler = with_monitor(fake)
    assert fake.body is not None

    async def observed() -> Any:
        from puzzle_operator.api.resource import PuzzleModel

        return await reconciler.observe(PuzzleModel.parse(fake.body or {}))

    facts = asyncio.run(observed())
    assert (facts.monitor, facts.run_images) == (fake.heard, 3_000_000)
