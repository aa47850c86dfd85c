"""The chart as helm renders it: fenced pods, tokens that open what they should, values that are refused by name."""

from __future__ import annotations

import base64
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
import yaml

from puzzle_monitor.core.tokens import parse_tokens
from puzzle_operator.manifests.trainer_pod import TRAINER_LABELS
from puzzle_operator.settings import Settings
from tests.harness.settings import REPOSITORY

CHART = REPOSITORY / "charts" / "puzzle-operator"
Objects = dict[tuple[str, str], dict[str, Any]]
Render = Callable[..., Objects]


@pytest.fixture(scope="session")
def helm() -> str:
    """The one on PATH, as `python -m tests.cluster exec` sets it; else the test cluster's own, built if need be."""
    if found := shutil.which("helm"):
        return found
    command = [sys.executable, "-m", "tests.cluster", "tool", "helm"]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, cwd=REPOSITORY).stdout.split()[-1]


@pytest.fixture(scope="session")
def render(helm: str) -> Render:
    """Objects by kind and name, with some values set; CalledProcessError when helm refuses them."""

    def made(*values: str) -> Objects:
        options = [word for value in values for word in ("--set", value)]
        command = [helm, "template", "puzzle-operator", str(CHART), "--namespace", "puzzle-system", *options]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        objects = [obj for obj in yaml.safe_load_all(done.stdout) if obj]
        return {(obj["kind"], obj["metadata"]["name"]): obj for obj in objects}

    return made


def container(objects: Objects, name: str) -> dict[str, Any]:
    (found,) = objects["Deployment", name]["spec"]["template"]["spec"]["containers"]
    return dict(found)


def environment(objects: Objects, name: str) -> dict[str, str]:
    return {entry["name"]: entry.get("value", "") for entry in container(objects, name)["env"]}


def decoded(secret: dict[str, Any]) -> dict[str, str]:
    return {key: base64.b64decode(value).decode() for key, value in secret["data"].items()}


PARTS = ("puzzle-operator", "puzzle-monitor", "puzzle-drift")


@pytest.mark.parametrize("name", PARTS)
def test_every_pod_is_restricted_and_small_enough_for_a_test_cluster(render: Render, name: str) -> None:
    objects = render()
    pod, found = objects["Deployment", name]["spec"]["template"]["spec"], container(objects, name)
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert found["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert found["resources"]["limits"]["memory"]
    assert int(found["resources"]["requests"]["cpu"].removesuffix("m")) <= 50
    assert found["livenessProbe"]
    # A Service named puzzle-monitor would put PUZZLE_MONITOR_PORT=tcp://… among the settings of what runs beside it.
    assert pod["enableServiceLinks"] is False


@pytest.mark.parametrize("name", PARTS)
def test_services_and_policies_select_the_pods_of_their_own_part(render: Render, name: str) -> None:
    objects = render()
    labels = objects["Deployment", name]["spec"]["template"]["metadata"]["labels"]
    selectors = {
        (kind, other): obj["spec"]["selector"] if kind == "Service" else obj["spec"]["podSelector"]["matchLabels"]
        for (kind, other), obj in objects.items()
        if kind in {"Service", "NetworkPolicy"}
    }
    chosen = {other for other, selector in selectors.items() if selector.items() <= labels.items()}
    assert len(chosen) == 2, chosen
    assert all(other.startswith(name) for _, other in chosen), chosen


def test_each_token_opens_its_role_and_no_other(render: Render) -> None:
    secret = decoded(render()["Secret", "puzzle-monitor-tokens"])
    tokens = {token.name: token for token in parse_tokens(secret["tokens"])}
    roles = {name: sorted(map(str, token.roles)) for name, token in tokens.items()}
    assert roles == {
        "predictors": ["ingest"],
        "trainers": ["read"],
        "operator": ["operator"],
        "drift": ["drift"],
        "inspector": ["feedback", "read"],
    }
    words = {line.split()[0]: line.split()[2] for line in secret["tokens"].splitlines() if not line.startswith("#")}
    keys = {"predictors": "ingest", "trainers": "trainer"}
    assert all(secret[keys.get(name, name)] == token for name, token in words.items())
    assert len(set(words.values())) == 5


def test_the_operator_is_told_of_the_monitor_in_words_that_it_knows(render: Render) -> None:
    told = environment(render(), "puzzle-operator")
    settings = Settings.from_environment(told)
    assert settings.monitor_url == "http://puzzle-monitor.puzzle-system:8090"
    assert (settings.monitor_secret, bool(settings.monitor_token_file)) == ("puzzle-monitor-ingest", True)
    assert settings.trainer_image.startswith("puzzle-model:")
    known = {f"PUZZLE_{name.upper()}" for name in Settings.__dataclass_fields__}
    assert {name for name in told if name.startswith("PUZZLE_")} <= known


def test_servers_ask_for_signatures_where_there_is_a_key_and_never_see_the_private_one(render: Render) -> None:
    spec = render("runtime.verifySecret=line-keys")["ClusterServingRuntime", "puzzlenet-torchserve"]["spec"]
    (server,) = spec["containers"]
    assert {"name": "PUZZLENET_VERIFY_KEY", "value": "/etc/puzzle-signing/verify.pub"} in server["env"]
    assert {"name": "signing", "mountPath": "/etc/puzzle-signing", "readOnly": True} in server["volumeMounts"]
    (volume,) = [volume for volume in spec["volumes"] if volume["name"] == "signing"]
    assert volume["secret"] == {"secretName": "line-keys", "items": [{"key": "verify.pub", "path": "verify.pub"}]}
    plain = render()["ClusterServingRuntime", "puzzlenet-torchserve"]["spec"]
    assert "env" not in plain["containers"][0] and [volume["name"] for volume in plain["volumes"]] == ["tmp"]


def test_named_namespaces_get_the_predictors_token(render: Render) -> None:
    objects = render("operator.watchNamespaces={lyon}")
    tokens, copy = (decoded(objects["Secret", name]) for name in ("puzzle-monitor-tokens", "puzzle-monitor-ingest"))
    assert copy == {"token": tokens["ingest"], "trainer": tokens["trainer"]}


def test_without_a_monitor_nothing_of_it_is_there(render: Render) -> None:
    objects = render("monitor.enabled=false")
    assert not [name for _, name in objects if re.match("puzzle-(monitor|drift)", name)]
    assert "PUZZLE_MONITOR_URL" not in environment(objects, "puzzle-operator")


def test_what_is_recorded_lies_on_a_claim_or_goes_with_the_pod(render: Render) -> None:
    for enabled, kind in (("true", "persistentVolumeClaim"), ("false", "emptyDir")):
        objects = render(f"monitor.persistence.enabled={enabled}")
        volumes = objects["Deployment", "puzzle-monitor"]["spec"]["template"]["spec"]["volumes"]
        assert kind in next(volume for volume in volumes if volume["name"] == "data")
        assert (("PersistentVolumeClaim", "puzzle-monitor") in objects) is (enabled == "true")


def test_ones_own_secret_is_used_and_none_is_made(render: Render) -> None:
    objects = render("monitor.tokensSecret=ours", "operator.watchNamespaces={lyon}")
    assert not [key for key in objects if key[0] == "Secret"]
    for name in PARTS:
        volumes = objects["Deployment", name]["spec"]["template"]["spec"]["volumes"]
        assert [volume["secret"]["secretName"] for volume in volumes if "secret" in volume] == ["ours"]


@pytest.mark.parametrize(
    ("value", "named"),
    [
        ("monitor.persistance.enabled=false", "persistance"),
        ("monitor.retention=ninety days", "/monitor/retention"),
        ("monitor.images.url=http://pictures", "/monitor/images/url"),
        ("drift.logLevel=loud", "/drift/logLevel"),
    ],
)
def test_a_value_that_makes_no_sense_is_refused_by_its_name(render: Render, value: str, named: str) -> None:
    with pytest.raises(subprocess.CalledProcessError) as refusal:
        render(value)
    assert named in refusal.value.stderr


def test_trainers_talk_to_each_other_alone_where_the_chart_knows_their_namespace(render: Render) -> None:
    policy = render("operator.watchNamespaces={lyon}")["NetworkPolicy", "puzzle-trainers"]
    assert policy["metadata"]["namespace"] == "lyon"
    trainers = {"matchLabels": {"app.kubernetes.io/name": TRAINER_LABELS["app.kubernetes.io/name"]}}
    assert policy["spec"]["podSelector"] == trainers
    assert policy["spec"]["ingress"] == [{"from": [{"podSelector": trainers}]}]
    assert ("NetworkPolicy", "puzzle-trainers") not in render()


def test_the_operator_may_make_services_where_it_makes_jobs_and_change_none(render: Render) -> None:
    def rights(objects: Objects) -> list[list[str]]:
        rules = objects["ClusterRole", "puzzle-system-puzzle-operator"]["rules"]
        return [rule["verbs"] for rule in rules if "services" in rule["resources"]]

    assert rights(render()) == [["get", "create"]]
    assert rights(render("retraining.enabled=false")) == []
