"""What `kubectl puzzle` says of a replay: while it goes on, when it refused a version, when there was none."""

from __future__ import annotations

from puzzle_operator.api.conditions import Phase
from puzzle_operator.plugin.text import Page
from puzzle_operator.plugin.tree import tree
from tests.builders import V2
from tests.unit.core.showroom import WORSE, Showroom, a_showroom
from tests.unit.core.world import a_canary
from tests.unit.plugin.moments import plain, seen
from tests.unit.plugin.test_explain import section

HEADING = "what the labelled pieces say"


def starting(**fields: object) -> Showroom:
    world = a_showroom(**fields)
    world.model.version(V2)
    return world


def shown(world: Showroom) -> str:
    return "\n".join(plain(tree(seen(world), Page(100))))


def test_while_it_goes_on_the_deadline_is_named() -> None:
    world = starting(job_ticks=None)
    world.until(Phase.STARTING).run(6)
    (said,) = section(seen(world), HEADING)
    assert "up to 200 labelled pieces" in said and said.endswith("goes on without it after 5m")
    assert "labelled pieces shown to challenger 222222222222  going on" in shown(world)


def test_a_refusal_shows_its_numbers() -> None:
    world = starting(results={V2: WORSE})
    world.until(Phase.ROLLED_BACK)
    assert "challenger wrong about 73 (37.4 %), champion about 5 (2.6 %)" in section(seen(world), HEADING)[0]
    assert "222222222222  Failed" in shown(world)


def test_a_skipped_one_says_why_and_without_any_nothing_is_said() -> None:
    world = starting(labelled=0)
    world.until(Phase.CANARY)
    assert "no labelled piece" in section(seen(world), HEADING)[0]
    assert section(seen(a_canary(V2)), HEADING) == ()
