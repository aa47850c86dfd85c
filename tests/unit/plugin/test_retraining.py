"""`kubectl puzzle retrain` and `lineage`, and retraining in the pictures: what is shown is what the operator stored."""

from __future__ import annotations

import json
from collections.abc import Sequence

import pytest

from puzzle_operator.api.conditions import Phase
from puzzle_operator.api.resource import PuzzleModel
from puzzle_operator.plugin import retraining
from puzzle_operator.plugin.changes import RefusedError, abort, retry
from puzzle_operator.plugin.explain import explain
from puzzle_operator.plugin.snapshot import Snapshot
from puzzle_operator.plugin.text import Page
from puzzle_operator.plugin.tree import tree
from tests.builders import V1, a_model
from tests.unit.core.factory import NEW, Factory, a_factory, a_retrained_model, words
from tests.unit.core.world import World, a_stable_world
from tests.unit.plugin.moments import carry_out, plain, seen

PAGE = Page(width=100)


def now(world: Factory) -> Snapshot:
    return seen(world)


def text(lines: Sequence[object]) -> str:
    return " ".join(" ".join(plain(lines)).split())


def test_a_request_is_carried_out_by_the_operator() -> None:
    world = a_factory(a_retrained_model(triggers={"drift": "Never"}))
    change = retraining.retrain(now(world), "new  camera")
    assert change.exact
    assert change.sentences[0] == "a run is asked for: new camera"
    assert "at most 2h with 1 x nvidia.com/gpu" in change.sentences[1]
    assert "pins 111111111111" in change.sentences[-1]
    carry_out(world, change.patch)
    world.until_job()
    assert "new camera" in (world.retraining.trigger or "")


def test_several_workers_are_told_beforehand() -> None:
    world = a_factory(a_retrained_model(triggers={"drift": "Never"}, job={"workers": 4}))
    said = " ".join(retraining.retrain(now(world), "new camera").sentences)
    assert "with 4 workers, each with 1 x nvidia.com/gpu, on the champion's data" in said


def test_what_is_in_the_way_is_told_beforehand() -> None:
    world = a_factory(a_retrained_model(budget={"runs": 1, "per": "24h"}, triggers={"drift": "Never"}))
    world.ask("first").until_job()
    world.ends(words("GateRefused")).run(3)
    world.model.paused(True)
    said = " ".join(retraining.retrain(now(world), None).sentences)
    assert "spec.paused is true" in said
    assert "the budget is 1" in said


def test_a_second_request_says_that_there_is_one() -> None:
    world = a_factory(a_retrained_model(triggers={"drift": "Never"}))
    world.model.paused(True)
    carry_out(world, retraining.retrain(now(world), "once").patch)
    assert retraining.retrain(now(world), "twice").patch is None
    world.run(3)
    change = retraining.retrain(now(world), "twice")
    assert change.patch is None
    assert "it waits: spec.paused is true" in change.sentences[0]


def test_it_is_refused_where_it_is_off_or_running() -> None:
    off = a_stable_world()
    with pytest.raises(RefusedError, match="enabled of lyon/line-1 is false"):
        retraining.retrain(seen(off), None)
    world = a_factory().drifts()
    world.until_job()
    with pytest.raises(RefusedError, match="is going on"):
        retraining.retrain(now(world), None)


def test_a_run_is_in_the_tree_and_in_the_explanation() -> None:
    world = a_factory().drifts()
    world.until_job()
    world.run(2)
    shown = text(tree(now(world), PAGE))
    assert "retraining Running" in shown
    assert "score 3.1 over 2.0" in shown
    sections = {section.heading: " ".join(section.sentences) for section in explain(now(world))}
    assert world.active[0].run in sections["retraining"]
    assert "kubectl logs -n lyon -l puzzlenet.dev/run=" in sections["what you can do"]


def test_a_cooldown_tells_how_to_go_on_at_once() -> None:
    world = a_factory().drifts()
    world.until_job()
    world.ends(words("GateRefused", message="recall 0.71 below 0.90")).run(12)
    sections = {section.heading: " ".join(section.sentences) for section in explain(now(world))}
    assert "recall 0.71 below 0.90" in sections["retraining"]
    assert "`kubectl puzzle retrain line-1 -n lyon` begins a run now" in sections["what you can do"]


def test_without_retraining_nothing_is_said_of_it() -> None:
    world = a_stable_world(model=a_model())
    assert "retraining" not in text(tree(seen(world), PAGE))
    assert "retraining" not in [section.heading for section in explain(seen(world))]


def test_the_lineage_has_champion_previous_and_why() -> None:
    world = a_factory().drifts()
    world.until_job()
    world.accepts(NEW).run(3)
    world.model.version(NEW)
    world.until(Phase.CANARY).until(Phase.STABLE)
    shown = text(retraining.lineage(now(world), PAGE))
    assert f"champion {NEW}" in shown
    assert f"previous {V1}" in shown
    assert f"last run {NEW} Accepted" in shown
    assert "Promoted, replaced 111111111111" in shown
    assert "puzzlenet registry lineage VERSION --endpoint minio.puzzle-system:9000 --bucket puzzlenet" in shown
    assert "--all" not in shown
    stored = json.loads(world.stored)
    stored["history"] *= 15
    world.stored = json.dumps(stored)
    assert "`kubectl puzzle history line-1 -n lyon --all` shows what came before" in text(
        retraining.lineage(now(world), PAGE)
    )


def test_abort_and_retry_speak_of_auto() -> None:
    world = a_stable_world()
    world.model.version("auto")
    stored = json.loads(world.stored)
    stored["target"] = NEW
    world.stored = json.dumps(stored)
    said = abort(now_model(world)).sentences
    assert said[0].startswith("spec.model.version: auto (now aaaaaaaaaaaa) becomes 111111111111")
    stored["quarantined"] = [{"version": NEW, "reason": "EvidenceAgainst", "at": "2026-11-23T14:00:00Z"}]
    world.stored = json.dumps(stored)
    assert "spec.model.version is auto" in retry(now_model(world), None).sentences[1]


def now_model(world: World) -> PuzzleModel:
    return seen(world).model
