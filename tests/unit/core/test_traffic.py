"""Which canary percentage is safe to ask KServe for."""

from __future__ import annotations

import pytest

from puzzle_operator.core.facts import Pod, Revision, Service, Share
from puzzle_operator.core.traffic import Plan, abandoned, given_up, is_settled_on, observed_share, safe_plan, trouble
from tests.builders import V1, V2, V3


def service(*revisions: Revision, ready: str, rolled: str, traffic: tuple[Share, ...] = ()) -> Service:
    return Service(
        uid="u",
        generation=1,
        observed=True,
        ready=True,
        latest_created=revisions[-1].name,
        latest_ready=ready,
        latest_rolled_out=rolled,
        traffic=traffic,
        revisions=revisions,
    )


OLD, NEW, NEWER = Revision("r1", V1, 1, True), Revision("r2", V2, 2, True), Revision("r3", V3, 3, False)

CASES = {
    "nothing rolled out yet: KServe gives everything to the latest": (
        service(OLD, ready="r1", rolled=""),
        V1,
        None,
        None,
    ),
    "the latest ready revision is the challenger's": (service(OLD, NEW, ready="r2", rolled="r1"), V2, 25, 25),
    "the challenger is not ready, so the share would go to the one before": (
        service(OLD, NEW, ready="r1", rolled="r1"),
        V2,
        25,
        0,
    ),
    "a failed version is the latest ready one while the next challenger starts": (
        service(OLD, NEW, NEWER, ready="r2", rolled="r1"),
        V3,
        10,
        0,
    ),
    "a revision of another version may yet become ready and take the share": (
        service(OLD, NEW, NEWER, ready="r2", rolled="r1"),
        V2,
        25,
        0,
    ),
    "the champion gets everything back only when its newest revision is ready": (
        service(OLD, NEW, ready="r2", rolled="r1"),
        V1,
        None,
        0,
    ),
    "0 is always safe": (service(OLD, NEW, ready="r1", rolled="r1"), V2, 0, 0),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_the_share_is_only_asked_for_when_it_goes_where_it_is_meant(
    case: tuple[Service, str, int | None, int | None],
) -> None:
    seen, version, wanted, expected = case
    assert safe_plan(seen, version, wanted) == Plan(version, expected)


def test_a_version_may_have_several_revisions() -> None:
    again = Revision("r2", V1, 2, True)
    seen = service(OLD, again, ready="r2", rolled="r1", traffic=(Share("r2", 0), Share("r1", 100)))
    assert observed_share(seen, V1) == 100
    assert is_settled_on(seen, V1)


def test_trouble_names_the_pod_and_what_it_said() -> None:
    pod = Pod("p", "r3", ready=False, waiting="CrashLoopBackOff", message="container x: boom")
    seen = service(OLD, NEWER, ready="r1", rolled="r1")
    assert trouble(seen, V3) == ""
    from dataclasses import replace

    assert trouble(replace(seen, pods=(pod,)), V3) == "pod p: CrashLoopBackOff: container x: boom"
    failed = replace(NEWER, message="ProgressDeadlineExceeded no pod")
    assert "revision r3: ProgressDeadlineExceeded" in trouble(replace(seen, revisions=(OLD, failed)), V3)


def test_only_the_newest_revision_of_what_is_to_serve_is_started_anew() -> None:
    why = "ProgressDeadlineExceeded Initial scale was never achieved"
    dead = Revision("r3", V3, 3, False, message=why)
    seen = service(OLD, dead, ready="r1", rolled="r1")
    assert given_up(seen, V3) == ("r3",)
    assert given_up(seen, V1) == (), "another version"
    starting = Revision("r3", V3, 3, False, message="Deploying")
    assert given_up(service(OLD, starting, ready="r1", rolled="r1"), V3) == (), "it still starts"
    newer = Revision("r4", V3, 4, False)
    assert given_up(service(OLD, dead, newer, ready="r1", rolled="r1"), V3) == (), "a newer one starts"


def test_only_revisions_that_hold_pods_for_nothing_are_abandoned() -> None:
    dead, starting = Revision("r2", V2, 2, False), Revision("r4", V2, 4, False)
    routed = service(OLD, dead, NEWER, ready="r1", rolled="r1", traffic=(Share("r2", 10), Share("r1", 90)))
    assert abandoned(routed, frozenset({V1, V3})) == (), "it has traffic"
    idle = service(OLD, dead, NEWER, ready="r1", rolled="r1", traffic=(Share("r2", 0), Share("r1", 100)))
    assert abandoned(idle, frozenset({V1, V3})) == ("r2",)
    assert abandoned(idle, frozenset({V1, V2, V3})) == (), "its version is needed"
    newest = service(OLD, starting, ready="r1", rolled="r1")
    assert abandoned(newest, frozenset({V1})) == (), "Knative would make the newest again"
