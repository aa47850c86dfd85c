"""The Job of a shadow replay: what it is told, how little it may do, and that it is always the same."""

from __future__ import annotations

from typing import Any

from puzzle_operator.api.status import Rollout
from puzzle_operator.core.replay.facts import Showing
from puzzle_operator.core.replay.names import replay_name
from puzzle_operator.manifests.replay_job import replay_job
from puzzle_operator.manifests.trainer_pod import Trainer
from tests.builders import T0, V1, V2, V3, ModelBuilder, a_model, after

TRAINER = Trainer("puzzle-model:1", monitor_url="http://monitor:8090")
ROLLOUT = Rollout(challenger=V2, started_at=T0)
SHOWING = Showing("line-1-replay-12ab34cd", "line-1-predictor-00001", V1, "line-1-predictor-00002", V2, T0)


def made(builder: ModelBuilder | None = None, trainer: Trainer = TRAINER) -> Any:
    return replay_job((builder or a_model()).build(), SHOWING, trainer)


def pod(job: Any) -> Any:
    return job["spec"]["template"]["spec"]


def test_it_is_the_models_and_no_run_of_retraining() -> None:
    job = made()
    assert (job["metadata"]["name"], job["metadata"]["namespace"]) == (SHOWING.job, "lyon")
    (owner,) = job["metadata"]["ownerReferences"]
    assert (owner["kind"], owner["uid"], owner["controller"]) == ("PuzzleModel", "uid-line-1", True)
    labels = job["metadata"]["labels"] | job["spec"]["template"]["metadata"]["labels"]
    assert not any(name.startswith("puzzlenet.dev/run") for name in labels)
    assert "puzzlenet.dev/model" not in job["spec"]["template"]["metadata"]["labels"]
    assert made() == made()


def test_it_is_told_whom_to_ask_and_for_how_long() -> None:
    words = pod(made(a_model().canary(replay={"pieces": 50, "deadline": "100s"})))["containers"][0]["args"]
    assert words[0] == "replay"
    told = dict(zip(words[1::2], words[2::2], strict=True))
    assert told == {
        "--namespace": "lyon",
        "--model": "line-1",
        "--monitor": "http://monitor:8090",
        "--monitor-token-file": "/var/run/puzzle/monitor/token",
        "--champion": "line-1-predictor-00001",
        "--champion-version": V1,
        "--challenger": "line-1-predictor-00002",
        "--challenger-version": V2,
        "--pieces": "50",
        "--seconds": "60",
        "--since": "2026-11-23T14:00:00.000Z",
        "--termination-log": "/dev/termination-log",
    }


def test_it_fits_the_restricted_pod_security_standard_and_has_no_rights() -> None:
    spec = pod(made())
    assert spec["automountServiceAccountToken"] is False
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    (container,) = spec["containers"]
    assert container["securityContext"]["allowPrivilegeEscalation"] is False
    assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    assert [volume["secret"]["items"] for volume in spec["volumes"] if "secret" in volume] == [
        [{"key": "trainer", "path": "token"}]
    ]
    assert "AWS" not in str(spec)


def test_it_ends_by_itself_and_is_cleaned_up_even_if_nobody_remembers_it() -> None:
    spec = made(a_model().canary(replay={"deadline": "90s"}))["spec"]
    assert spec["activeDeadlineSeconds"] == 90
    assert spec["backoffLimit"] == 0
    assert spec["ttlSecondsAfterFinished"] == 24 * 3600


def test_its_name_follows_from_the_rollout_and_is_short_enough() -> None:
    model = a_model("a" * 63).build()
    names = {
        replay_name(model, ROLLOUT),
        replay_name(model, ROLLOUT.but(challenger=V3)),
        replay_name(model, ROLLOUT.but(started_at=after(1))),
        replay_name(a_model("a" * 62).build(), ROLLOUT),
    }
    assert len(names) == 4 and max(map(len, names)) <= 55
    assert replay_name(model, ROLLOUT) == replay_name(model, ROLLOUT.but(step=2))
