"""The Jobs in examples/jobs are ones that the commands understand, and as restricted as the project's own pods."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.main import get_command

from puzzlenet.cli.main import app
from puzzlenet.scoring.plan import Shard, shard_of

JOBS = sorted((Path(__file__).parents[3] / "examples" / "jobs").glob("*.yaml"))


@pytest.fixture(params=JOBS, ids=lambda path: path.name)
def job(request: pytest.FixtureRequest) -> Any:
    """One manifest."""
    return yaml.safe_load(request.param.read_text(encoding="utf-8"))


def test_there_are_jobs() -> None:
    assert JOBS


def test_every_option_exists_and_takes_its_value(job: Any) -> None:
    name, *words = job["spec"]["template"]["spec"]["containers"][0]["args"]
    command = get_command(app).commands[name]  # type: ignore[attr-defined]
    context = command.make_context(name, words)
    assert context.params["source"].startswith("s3://") and context.params["out"].startswith("s3://")


def test_every_pod_knows_its_share(job: Any) -> None:
    spec = job["spec"]
    assert spec["completionMode"] == "Indexed"
    told = {one["name"]: one.get("value") for one in spec["template"]["spec"]["containers"][0]["env"]}
    for index in range(spec["completions"]):
        environment = {"JOB_COMPLETION_INDEX": str(index), "JOB_COMPLETIONS": told["JOB_COMPLETIONS"]}
        assert shard_of(None, environment) == Shard(index, spec["completions"])


def test_pods_are_restricted(job: Any) -> None:
    pod = job["spec"]["template"]["spec"]
    container = pod["containers"][0]
    assert pod["automountServiceAccountToken"] is False and pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert container["resources"]["limits"]["memory"] and container["resources"]["requests"]
