"""What garbage collection may take: only what was decided against, and nothing that stays needs."""

from puzzlenet.store.decisions import Decision
from puzzlenet.store.garbage import DataFacts, Garbage, data_garbage, garbage


def _decision(kind: str, version: str, parent: str | None = None) -> Decision:
    return Decision(at="2025-11-24T00:00:00+00:00", line="l", kind=kind, version=version, parent=parent, reason="r")  # type: ignore[arg-type]


def test_garbage_is_only_what_was_refused_and_nothing_is_built_on() -> None:
    dated = {name: float(number) for number, name in enumerate("abcdefg")}
    parents = {"a": None, "b": "a", "c": "b", "d": "b", "e": "d", "f": "c", "g": None}
    log = [
        _decision("Accepted", "c", parent="b"),
        _decision("Refused", "d", parent="c"),
        _decision("Refused", "e", parent="c"),
        _decision("Refused", "f", parent="c"),
        _decision("Accepted", "f", parent="c"),
    ]
    assert garbage(dated, parents, log, keep=0).remove == ("d", "e")
    assert garbage(dated, parents, log, keep=1).remove == ()  # e is kept, and d is its parent
    kept = garbage(dated, parents, log, keep=0).keep
    assert kept["a"].startswith("nothing was decided") and kept["b"].startswith("was champion")


def test_a_rolled_back_version_that_was_promoted_once_stays() -> None:
    log = [_decision("Promoted", "a"), _decision("RolledBack", "a"), _decision("RolledBack", "b")]
    assert garbage({"a": 1.0, "b": 2.0}, {"a": None, "b": "a"}, log, keep=0).remove == ("b",)


OLD, NEW, FRESH = 10.0, 1_000.0, 500.0
KEPT = Garbage(remove=("v-bad",), keep={"v-good": "accepted on line l"})


def test_data_of_refused_versions_goes_and_what_the_rest_needs_stays() -> None:
    facts = DataFacts(
        dated=dict.fromkeys(("good", "bad", "root", "frozen", "busy", "refused", "pushed"), OLD),
        parents={"good": ("root",), "bad": ("root",)},
        users={"good": ("v-good",), "bad": ("v-bad",), "root": ("v-bad",)},
        golden={"frozen": "l/1"},
        decided={"refused", "frozen"},
        running={"busy": "r-2"},
    )
    found = data_garbage(facts, KEPT, FRESH)
    assert found.remove == ("bad", "refused")
    assert found.keep == {
        "busy": "run r-2 works with it",
        "frozen": "golden set l/1 comes of it",
        "good": "made v-good",
        "pushed": "nothing was decided about what it made",
        "root": "lineage of good",
    }


def test_data_that_several_versions_were_made_of_stays_with_any_of_them() -> None:
    facts = DataFacts(dated={"d": OLD}, users={"d": ("v-bad", "v-good")})
    assert data_garbage(facts, KEPT, FRESH).keep == {"d": "made v-good"}


def test_what_was_written_lately_stays_and_so_does_what_it_was_made_of() -> None:
    facts = DataFacts(dated={"d": NEW, "e": OLD}, parents={"d": ("e",)}, decided={"d", "e"})
    assert data_garbage(facts, KEPT, FRESH).keep == {"d": "written lately", "e": "lineage of d"}
    assert data_garbage(facts, KEPT, NEW + 1).remove == ("d", "e")
