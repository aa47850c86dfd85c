"""Too little evidence, on the real KServe: held, told how much is missing, decided by policy or by a person."""

from __future__ import annotations

import os
import subprocess
import sys
import time

from tests.harness.models import Namespace
from tests.integration.rollouts.conftest import MODEL, Versions
from tests.integration.rollouts.test_outcomes import rolled_back
from tests.integration.rollouts.traffic import Traffic


def puzzle(*arguments: str) -> str:
    """Run `kubectl puzzle`; what it prints."""
    command = [sys.executable, "-m", "puzzle_operator.plugin", *arguments]
    done = subprocess.run(command, env=os.environ, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_an_idle_canary_is_held_with_the_requests_it_needs_until_the_policy_decides(
    stable: Namespace, traffic: Traffic, versions: Versions
) -> None:
    new = versions("answers", 20)
    time.sleep(4)  # the champion's requests are counted
    traffic.stop()
    stable.set_version(MODEL, new)
    stable.until(lambda: stable.observed(MODEL) == 20, "the challenger has its weight", 60)
    time.sleep(20)
    status = stable.status(MODEL)
    assert (status["phase"], status["verdict"], status["reason"]) == ("Canary", "Hold", "HeldLowEvidence")
    assert "more canary requests" in status["message"]
    assert all(metric["needed"] > 0 for metric in status["metrics"])
    assert "more" in puzzle("explain", MODEL, "-n", stable.name)
    stable.patch(MODEL, {"spec": {"canary": {"inconclusive": {"deadline": "10s"}}}})
    stable.until(lambda: stable.status(MODEL)["reason"] == "Inconclusive", "people are told", 30)
    assert stable.observed(MODEL) == 20
    stable.patch(MODEL, {"spec": {"canary": {"inconclusive": {"action": "Rollback"}}}})
    rollout = rolled_back(stable, new)
    assert rollout["cause"]["reason"] == "Inconclusive"


def test_an_assisted_promotion_waits_for_a_person(stable: Namespace, traffic: Traffic, versions: Versions) -> None:
    new = versions("answers", 21)
    stable.patch(MODEL, {"spec": {"automation": "Assisted"}})
    stable.set_version(MODEL, new)
    stable.until(lambda: "awaiting" in stable.status(MODEL), "promotion waits", 150)
    status = stable.status(MODEL)
    assert (status["awaiting"], status["verdict"]) == (f"{new}@promotion", "Pass")
    time.sleep(8)
    assert stable.status(MODEL)["phase"] == "Canary"
    assert "dry run" in puzzle("promote", MODEL, "-n", stable.name, "--dry-run")
    assert "awaiting" in stable.status(MODEL)
    puzzle("promote", MODEL, "-n", stable.name)
    stable.until(lambda: stable.status(MODEL)["phase"] == "Baking", "it goes on", 30)
    assert {"AwaitingApproval", "Approved", "Promoted"} <= set(stable.reasons(MODEL))
    # The status is written first, so that a wish is never forgotten before it is carried out.
    stable.until(
        lambda: "puzzlenet.dev/promote" not in stable.get(MODEL)["metadata"].get("annotations", {}),
        "the wish is cleared",
        30,
    )
    stable.set_version(MODEL, versions("answers", 1))
    stable.until_outcome(MODEL, new, "Aborted", 60)
    assert not traffic.lost
