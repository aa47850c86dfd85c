"""What `kubectl puzzle get`, `history` and a log line show, to the letter and in 80 columns."""

from __future__ import annotations

import io
from dataclasses import replace
from datetime import timedelta

import pytest
from rich.console import Console

from puzzle_operator.api.conditions import Phase, Verdict
from puzzle_operator.api.status import Bounds
from puzzle_operator.core.facts import Absence, Pod, Service
from puzzle_operator.plugin.explain import lines as explain_lines
from puzzle_operator.plugin.history import history
from puzzle_operator.plugin.listing import headline, rows
from puzzle_operator.plugin.screen import page, show
from puzzle_operator.plugin.snapshot import Snapshot, Unread
from puzzle_operator.plugin.text import (
    ASCII,
    Page,
    age,
    bar,
    brief,
    fit,
    more_requests,
    number,
    of_bound,
    paragraph,
    towards,
)
from puzzle_operator.plugin.tree import tree
from tests.builders import V1, V2, a_model, digest
from tests.unit.core.world import World, a_canary, a_stable_world
from tests.unit.plugin.moments import a_waiting_world, an_idle_canary, an_open_canary, edited, plain, seen


def a_slow_canary() -> World:
    """Step 2 of 2, with 15 s and 32 requests in it."""
    return a_canary(V2, step=2, requests_per_tick=20).run(3)


def a_failure() -> World:
    world = a_stable_world(error_rates={V2: 0.5})
    world.model.version(V2)
    return world.until(Phase.ROLLED_BACK)


def test_a_canary_is_a_tree_of_versions_revisions_and_pods_with_its_evidence() -> None:
    assert plain(tree(seen(a_slow_canary()), Page())) == [
        "lyon/line-1  Canary 2/2  verdict Hold",
        "  step 2 at 50 %: 32 of 50 requests in this step; 18 more are needed",
        "  next: promotion in 15s at the earliest",
        "",
        "├─ champion    111111111111  50 %  since 3m5s",
        "│  └─ revision line-1-predictor-00001  ready",
        "│     └─ pod line-1-predictor-00001-pod  ready",
        "└─ challenger  222222222222  50 %  as wanted, traffic for 2m30s",
        "   └─ revision line-1-predictor-00002  ready",
        "      └─ pod line-1-predictor-00002-pod  ready",
        "",
        "evidence on challenger 222222222222; a full bar decides",
        "  errors  Pass     bad: 0 of 82 (0.0 %), champion 0 of 536 (0.0 %)",
        "    Pass      ████████████████ 100 %  454 of 20",
        "    rollback  ░░░░░░░░░░░░░░░░   0 %  1 of 200",
        "  slow    Pass     bad: 0 of 82 (0.0 %), champion 0 of 536 (0.0 %)",
        "    Pass      ████████████████ 100 %  454 of 20",
        "    rollback  ░░░░░░░░░░░░░░░░   0 %  1 of 200",
    ]


def test_two_bars_run_to_their_bounds_with_the_requests_that_a_pass_takes() -> None:
    lines = plain(tree(seen(an_open_canary()), Page()))
    assert lines[-3:] == [
        "  errors  Hold     bad: 1 of 116 (0.9 %), champion 11 of 1,120 (1.0 %)",
        "    Pass      ███░░░░░░░░░░░░░  19 %  1.4 of 5, about 590 more requests",
        "    rollback  ░░░░░░░░░░░░░░░░   0 %  0.24 of 100",
    ]


def with_metric(snapshot: Snapshot, **changes: object) -> Snapshot:
    """The same with the first metric changed, and no other."""
    status = snapshot.status.but(metrics=(snapshot.status.metrics[0].but(**changes),))
    return replace(snapshot, model=replace(snapshot.model, status=status))


def test_a_bar_that_cannot_fill_or_decides_nothing_says_so() -> None:
    snapshot = seen(an_open_canary())
    hopeless = plain(tree(with_metric(snapshot, needed=None), Page()))
    assert "    Pass      ███░░░░░░░░░░░░░  19 %  1.4 of 5, not in sight" in hopeless
    slight = plain(tree(with_metric(snapshot, evidence=120.0), Page()))
    assert "    rollback  ████████████████ 100 %  120 of 100, but perhaps negligible" in slight
    old = plain(tree(with_metric(snapshot, evidence_for=None, bound_for=None), Page()))
    assert "    Pass      no evidence stored" in old


@pytest.mark.parametrize(
    ("ours", "theirs", "said"),
    [
        ((0.1, 0.25), (0.0, 0.1), "100 ms to 250 ms, champion up to 100 ms"),
        ((1.0, None), (0.25, 1.0), "over 1 s, champion 250 ms to 1 s"),
        ((0.0, None), None, "unknown, champion unknown"),
    ],
)
def test_latency_shows_the_bounds_of_both_sides(
    ours: tuple[float, float | None], theirs: tuple[float, float | None] | None, said: str
) -> None:
    snapshot = seen(an_open_canary())
    metric = snapshot.status.metrics[0]
    lines = plain(
        tree(
            with_metric(
                snapshot,
                challenger=metric.challenger.but(p95=Bounds(low=ours[0], high=ours[1])),
                champion=metric.champion.but(p95=Bounds(low=theirs[0], high=theirs[1]) if theirs else None),
            ),
            Page(),
        )
    )
    assert lines[-1] == f"    p95       {said}"


def test_after_the_promotion_nobody_waits_for_a_pass() -> None:
    world = a_stable_world()
    world.model.version(V2)
    snapshot = with_metric(seen(world.until(Phase.BAKING).run(3)), verdict=Verdict.HOLD)
    held = replace(snapshot.model, status=snapshot.status.but(verdict=Verdict.HOLD))
    baking = replace(snapshot, model=held)
    lines = plain(tree(baking, Page()))
    assert lines[0] == "lyon/line-1  Baking"
    assert "evidence on challenger 222222222222; a full bar takes it back" in lines
    assert [line.split()[0] for line in lines[-2:]] == ["errors", "rollback"]
    assert plain(rows([baking], Page(), namespaces=False))[1].split()[4] == "-"
    assert " Hold " not in headline(baking)


def test_the_command_that_a_person_is_waited_for_with_stands_below_the_title() -> None:
    world = a_waiting_world()
    lines = plain(tree(seen(world), Page()))
    assert "  waits for: promotion – `kubectl puzzle promote line-1 -n lyon`" in lines
    assert not any(line.startswith("  next:") for line in lines)
    assert "\n".join(plain(tree(seen(world), Page(80, ASCII)))).isascii()
    world.model.consenting(world.status.awaiting)
    answered = plain(tree(seen(world), Page()))
    assert "  next: promotion after `kubectl puzzle promote`" in answered, "the operator has not answered yet"


def test_consent_that_waits_for_the_evidence_is_in_sight() -> None:
    world = an_idle_canary("Manual").run(20)
    world.model.consenting(f"{V2}@weight-50")
    lines = plain(tree(seen(world.run(13)), Page()))
    assert "  consent to step 2 (50 %) was given 1m ago" in lines


def test_after_a_rollback_the_evidence_and_the_quarantine_stay_in_sight() -> None:
    lines = plain(tree(seen(a_failure()), Page()))
    assert lines[0] == "lyon/line-1  RolledBack"
    assert "evidence on 222222222222, RolledBack 10s ago; a full bar decides" in lines
    assert "  errors  Fail     bad: 10 of 20 (50.0 %), champion 0 of 560 (0.0 %)" in lines
    assert "    Pass      ░░░░░░░░░░░░░░░░   0 %  0.17 of 5" in lines
    assert "    rollback  ████████████████ 100 %  over 1,000,000 of 200" in lines
    assert lines[-1] == "  222222222222  15s ago, GuardErrorRate"
    assert not any(line.startswith("└─ challenger") for line in lines)


def test_a_weight_that_kserve_does_not_show_yet_stands_next_to_the_wanted_one() -> None:
    world = a_stable_world(error_rates={V2: 0.5})
    world.model.version(V2)
    world.until(Phase.ROLLING_BACK)
    snapshot = seen(world)
    assert "└─ challenger  222222222222  10 %  wanted 0 %, traffic for 10s" in plain(tree(snapshot, Page()))
    assert " 10>0 " in plain(rows([snapshot], Page(), namespaces=False))[1]


def test_a_model_that_no_operator_has_seen_says_so() -> None:
    lines = plain(tree(seen(World()), Page()))
    assert lines[:2] == ["lyon/line-1  -", "the operator has not looked at this model yet: does it run?"]


def test_an_edit_that_no_operator_has_seen_is_told() -> None:
    lines = plain(tree(edited(seen(a_stable_world())), Page()))
    assert lines[1] == "the spec was edited, and the operator has not looked at it yet"


def test_what_cannot_be_read_is_said_and_the_rest_is_shown() -> None:
    forbidden = plain(tree(seen(a_slow_canary(), Unread("pods is forbidden")), Page()))
    assert "pods and traffic are not shown: pods is forbidden" in forbidden
    assert "└─ challenger  222222222222  50 %  as wanted, traffic for 2m30s" in forbidden
    assert "├─ champion    111111111111   - %  since 3m5s" in forbidden
    assert "KServe is not installed" in plain(tree(seen(a_stable_world(), Absence.NO_API), Page()))


def a_crashing_canary() -> Snapshot:
    """With a name as long as names may be, and pods as Knative names them."""
    snapshot = seen(a_slow_canary())
    service = snapshot.service
    assert isinstance(service, Service)
    long = "inspection-of-the-northern-line-number-1"
    pods = tuple(
        Pod(
            name=f"{long}-predictor-0000{index}-deployment-8f9486cf7-nmp2{index}",
            revision=pod.revision,
            ready=False,
            restarts=2,
            waiting="CrashLoopBackOff",
            message="container kserve-container: version.json does not hash to the version that the spec names " * 2,
            started=snapshot.now - timedelta(minutes=3),
        )
        for index, pod in enumerate(service.pods)
    )
    return replace(snapshot, service=replace(service, pods=pods))


def test_nothing_is_wider_than_the_page_and_a_pods_end_is_kept() -> None:
    lines = plain(tree(a_crashing_canary(), Page()))
    assert max(len(line) for line in lines) <= 80
    (first,) = [line for line in lines if "nmp20" in line]
    assert first.endswith("-8f9486cf7-nmp20  CrashLoopBackOff  2 restarts  3m")
    assert "…" in first


def test_the_longest_metric_name_and_the_largest_numbers_fit() -> None:
    snapshot = seen(an_open_canary())
    many = {"requests": 123_456_789, "bad": 12_345_678}
    metric = snapshot.status.metrics[0]
    large = with_metric(
        snapshot,
        name="a-metric-of-thirty-one-letters-",
        challenger=metric.challenger.but(**many),
        champion=metric.champion.but(**many),
        evidence=2e6,
        evidence_for=2e6,
        bound_for=1e7,
        needed=9_999_999,
    )
    lines = plain(tree(large, Page()))
    assert max(len(line) for line in lines) <= 80
    assert "  a-metric-of-thirty-one-letters-  Hold" in lines
    assert lines[-4:-2] == [
        "    Pass      ██████████████░░  90 %  over 1,000,000 of over 1,000,000",
        "              about 10,000,000 more requests",
    ]


def test_without_unicode_every_sign_is_ascii() -> None:
    text = "\n".join(plain(tree(a_crashing_canary(), Page(80, ASCII))))
    assert text.isascii()
    assert "`- challenger  222222222222  50 %" in text
    assert "    Pass      ################ 100 %" in text


def test_a_list_has_wanted_and_shown_weight_and_what_fits() -> None:
    models = [seen(a_stable_world()), seen(a_slow_canary())]
    assert plain(rows(models, Page(), namespaces=True)) == [
        "NAMESPACE  NAME    PHASE   STEP  WEIGHT  VERDICT  EVIDENCE   SAMPLES  AGE",
        "lyon       line-1  Stable  -     -       -        -          -        -",
        "lyon       line-1  Canary  2/2   50      Hold     +100% -0%  82       -",
    ]
    wide = plain(rows(models, Page(120), namespaces=False))
    assert wide[2] == "line-1  Canary  2/2   50      Hold     +100% -0%  82       111111111111  222222222222  -"


def test_a_list_says_what_a_person_is_waited_for_with_and_only_then() -> None:
    paused = a_canary(V2)
    paused.model.paused()
    models = [seen(w) for w in (a_waiting_world(), a_waiting_world("Manual"), an_idle_canary().run(150), paused.run(1))]
    lines = plain(rows([*models, seen(a_stable_world())], Page(), namespaces=True))
    assert [line.split()[5] for line in lines] == ["AWAITS", "promotion", "weight-10", "decision", "resume", "-"]
    assert max(len(line) for line in lines) <= 80
    assert "AWAITS" not in plain(rows([seen(a_stable_world())], Page(), namespaces=True))[0]
    assert "AWAITS" in plain(rows(models, Page(60), namespaces=True))[0], "other columns go first"


def test_in_a_narrow_list_names_stay_whole_and_columns_go() -> None:
    snapshot = seen(a_slow_canary())
    name = "a-model-whose-name-is-as-long-as-allowed"
    long = replace(snapshot, model=replace(snapshot.model, name=name, namespace="quality-of-lyon"))
    heading, line = plain(rows([long], Page(), namespaces=True))
    assert heading.split() == ["NAMESPACE", "NAME", "PHASE", "STEP", "WEIGHT"]
    assert line == f"quality-of-lyon  {name}  Canary  2/2   50"
    assert len(line) <= 80


def test_a_log_line_holds_what_a_person_asks_first() -> None:
    assert headline(seen(a_slow_canary())) == (
        "lyon/line-1 Canary 2/2 50 % Hold evidence +100% -0% samples 82: "
        "step 2 at 50 %: 32 of 50 requests in this step; 18 more are needed"
    )
    assert headline(seen(a_stable_world())) == "lyon/line-1 Stable: champion 111111111111 has all traffic"


def test_history_says_when_what_and_why() -> None:
    assert plain(history(seen(a_failure()), Page())) == [
        "2026-11-23 14:00:15Z  111111111111  Deployed",
        "                      version 111111111111 is ready and serves all traffic as",
        "                      the first champion",
        "2026-11-23 14:01:00Z  222222222222  RolledBack, against 111111111111",
        "                      10 of 20 responses failed (50.0%), more than the 20.0%",
        "                      allowed",
    ]
    assert plain(history(seen(World()), Page())) == ["nothing was decided yet"]


def test_a_pipe_gets_the_same_words_without_colour_and_without_further_breaks() -> None:
    lines = tree(seen(a_failure()), Page())
    piped, coloured = io.StringIO(), io.StringIO()
    show(Console(file=piped, width=20, markup=False, highlight=False), lines)
    show(Console(file=coloured, width=20, force_terminal=True, color_system="standard", _environ={}), lines)
    assert piped.getvalue().splitlines() == plain(lines)
    assert "\x1b[" not in piped.getvalue()
    assert "\x1b[" in coloured.getvalue()


def test_colour_stays_on_the_words_that_it_repeats() -> None:
    coloured = [line for line in tree(seen(a_slow_canary()), Page()) if "champion    " in line.plain]
    assert [(line.style, [line.plain[s.start : s.end].strip() for s in line.spans]) for line in coloured] == [
        ("", ["champion", "50 %"])
    ]


def test_a_pipe_is_80_columns_wide_unless_told(monkeypatch: pytest.MonkeyPatch) -> None:
    pipe = Console(file=io.StringIO(), width=200)
    monkeypatch.delenv("COLUMNS", raising=False)
    assert page(pipe).width == 80
    monkeypatch.setenv("COLUMNS", "200")
    assert page(pipe).width == 200


@pytest.mark.parametrize(
    ("evidence", "bound", "cells"),
    [(1.0, 100.0, 0), (0.01, 100.0, 0), (10.0, 100.0, 8), (99.0, 100.0, 15), (1e9, 100.0, 16)],
)
def test_a_bar_is_full_only_at_the_bound(evidence: float, bound: float, cells: int) -> None:
    way = towards(evidence, bound)
    assert way is not None
    assert bar(way, 16, ASCII) == "#" * cells + "." * (16 - cells)


def test_evidence_that_was_not_stored_has_no_bar() -> None:
    assert towards(None, 100.0) is None
    assert towards(2.0, None) is None


def test_numbers_are_as_people_say_them() -> None:
    assert [number(x) for x in (0.63, 1.0, 21.3, 351420.0, 5e11)] == ["0.63", "1", "21", "351,420", "over 1,000,000"]
    spans = [0, 59.9, 60, 190, 3600, 93600, 86400 * 3]
    assert [age(timedelta(seconds=x)) for x in spans] == ["0s", "59s", "1m", "3m10s", "1h", "1d2h", "3d"]
    assert fit("abcdef", 4, ASCII) == "~def"


def test_what_falls_short_of_its_bound_never_looks_like_the_bound() -> None:
    assert [of_bound(x, 5.0) for x in (4.5, 4.99, 5.0, 6.3)] == ["4.5 of 5", "almost 5 of 5", "5 of 5", "6.3 of 5"]
    lines = plain(tree(with_metric(seen(an_open_canary()), evidence_for=4.99), Page()))
    assert "    Pass      ███████████████░  99 %  almost 5 of 5, about 590 more requests" in lines


def test_a_digest_is_short_but_never_where_all_of_it_is_needed() -> None:
    whole = digest("ab12")
    said = brief(
        f"version {whole} failed; name another version, or annotate puzzlenet.dev/retry={whole} to try it again"
    )
    assert said == "version ab12ab12ab12 failed; name another version, or run `kubectl puzzle retry` to try it again"


@pytest.mark.parametrize(
    ("namespace", "titles"),
    [
        ("quality-of-lyon-and-of-metz", ["quality-of-lyon-and-of-metz/"]),
        ("n" * 63, ["n" * 63 + "/", ""]),
    ],
    ids=["long", "longest"],
)
def test_with_the_longest_names_every_line_fits_and_names_stay_whole(namespace: str, titles: list[str]) -> None:
    snapshot = seen(a_waiting_world())
    name = "a-model-whose-name-is-as-long-as-allowed"
    long = replace(snapshot, model=replace(snapshot.model, name=name, namespace=namespace))
    titles[-1] += name
    picture = plain(tree(long, Page()))
    assert picture[: len(titles) + 1] == [*titles, "  Canary 2/2  verdict Pass"]
    assert max(len(line) for line in (*picture, *plain(explain_lines(long, Page())))) <= 80


def test_a_forecast_does_not_look_exact() -> None:
    assert [more_requests(count) for count in (0, 1, 99, 101, 594, 12_345)] == [
        "0 more requests",
        "1 more request",
        "99 more requests",
        "about 110 more requests",
        "about 600 more requests",
        "about 13,000 more requests",
    ]


def test_a_command_and_a_number_with_its_sign_are_not_broken_where_they_fit() -> None:
    said = "it has 10 % now, and `kubectl puzzle promote line-1 -n lyon` consents"
    assert plain(paragraph(said, Page(42), "- ")) == [
        "- it has 10 % now, and",
        "  `kubectl puzzle promote line-1 -n lyon`",
        "  consents",
    ]
    assert all(len(line) <= 30 for line in plain(paragraph(said, Page(30), "- ")))


def test_the_first_deployment_is_no_challenger() -> None:
    world = World(model=a_model())
    world.kserve.start_ticks = {V1: None}
    lines = plain(tree(seen(world.run(2)), Page()))
    assert "└─ first       111111111111   - %" in lines
    assert "   └─ revision line-1-predictor-00001  not ready" in lines
