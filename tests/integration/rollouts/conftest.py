"""A namespace on the real cluster with the operator of this checkout as a process of its own.

The predictors are a few lines of Python in place of TorchServe: they start in seconds and do as their version says
(answer, fail, crash, never start), so that outcomes which a trained model cannot be asked for are seen for real on
KServe and Knative. Rollouts of real models are `tests/e2e`.

The operator here has a class of its own, so that the one installed by the chart leaves these models alone.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from kubernetes import client
from kubernetes.client.exceptions import ApiException
from minio import Minio

from puzzle_operator.api.crd import definition
from puzzle_operator.api.names import CLASS_ANNOTATION
from tests.harness.models import Namespace
from tests.harness.settings import REPOSITORY, SYSTEM_NAMESPACE, Settings, from_environment
from tests.integration.rollouts.traffic import Traffic

CLASS = "integration-tests"
NAMESPACE = "puzzle-integration"
BUCKET = "puzzle-integration"
MODEL = "line-1"
TRAINER = (Path(__file__).parent / "trainer.py").read_text(encoding="utf-8")
EXAMPLES = sorted((REPOSITORY / "examples").glob("*.yaml"))


@pytest.fixture(scope="session")
def settings() -> Settings:
    return from_environment()


@pytest.fixture(scope="session")
def crd(settings: Settings) -> None:
    """The resource definition of this checkout, as helm would leave it."""
    Namespace(NAMESPACE)  # loads the kubeconfig
    api = client.ApiextensionsV1Api()
    wanted: Any = definition()
    wanted["metadata"]["labels"] = {"app.kubernetes.io/managed-by": "Helm"}
    wanted["metadata"]["annotations"] = {
        "meta.helm.sh/release-name": "puzzle-operator",
        "meta.helm.sh/release-namespace": SYSTEM_NAMESPACE,
        "helm.sh/resource-policy": "keep",
    }
    name = wanted["metadata"]["name"]
    try:
        api.create_custom_resource_definition(wanted, field_manager="helm")
    except ApiException as exc:
        if exc.status != 409:
            raise
        api.patch_custom_resource_definition(name, {"spec": wanted["spec"]}, field_manager="helm")
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        found: Any = api.read_custom_resource_definition(name)
        if any(c.type == "Established" and c.status == "True" for c in found.status.conditions or []):
            return
        time.sleep(0.5)
    raise TimeoutError(f"the API server has not established {name} after 30 s")


@pytest.fixture(scope="session")
def space(settings: Settings, crd: None) -> Iterator[Namespace]:
    """The namespace, with the runtime and the registry's Secret; gone afterwards."""
    namespace = Namespace(NAMESPACE)
    namespace.create(secret_from=SYSTEM_NAMESPACE)
    runtime = serving_runtime()
    try:
        namespace.custom.create_namespaced_custom_object(
            "serving.kserve.io", "v1alpha1", NAMESPACE, "servingruntimes", runtime
        )
    except ApiException as exc:
        if exc.status != 409:
            raise
    yield namespace
    namespace.delete()


def python_image() -> str:
    """KServe's own image: it has a Python, and is in every cluster that has KServe."""
    config: Any = client.CoreV1Api().read_namespaced_config_map("inferenceservice-config", "kserve")
    return str(json.loads(config.data["storageInitializer"])["image"])


def serving_runtime() -> dict[str, Any]:
    """A runtime of the name that the operator asks for, in this namespace only: KServe prefers it to the chart's."""
    image = python_image()
    script = (Path(__file__).parent / "predictor.py").read_text(encoding="utf-8")
    container = {
        "name": "kserve-container",
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        "command": ["python3", "-u", "-c", script],
        "ports": [{"containerPort": 8080, "protocol": "TCP"}],
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "runAsNonRoot": True,
            "runAsUser": 65532,
            "capabilities": {"drop": ["ALL"]},
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "readinessProbe": {"httpGet": {"path": "/", "port": 8080}, "periodSeconds": 1, "failureThreshold": 3},
    }
    return {
        "apiVersion": "serving.kserve.io/v1alpha1",
        "kind": "ServingRuntime",
        "metadata": {"name": "puzzlenet-torchserve", "namespace": NAMESPACE},
        "spec": {
            "supportedModelFormats": [{"name": "puzzlenet", "version": "1", "autoSelect": False}],
            "protocolVersions": ["v1", "v2"],
            "multiModel": False,
            "containers": [container],
        },
    }


class Versions:
    """Versions in the registry that do as they are told: `versions("fails")` is a digest."""

    def __init__(self, settings: Settings) -> None:
        self.store = Minio(
            settings.s3_endpoint,
            access_key=settings.s3_access_key,
            secret_key=settings.s3_secret_key,
            secure=False,
            region="us-east-1",
        )
        if not self.store.bucket_exists(BUCKET):
            self.store.make_bucket(BUCKET)

    def __call__(self, behaviour: str, number: int = 1) -> str:
        manifest = json.dumps({"behaviour": behaviour, "number": number}, sort_keys=True).encode()
        digest = hashlib.sha256(manifest).hexdigest()
        path = f"versions/sha256-{digest}/manifest.json"
        self.store.put_object(BUCKET, path, io.BytesIO(manifest), len(manifest))
        return f"sha256:{digest}"


@pytest.fixture(scope="session")
def versions(settings: Settings) -> Versions:
    return Versions(settings)


class Operator:
    """The operator as a process: started, killed, started again."""

    def __init__(self, log: Path) -> None:
        self.log = log
        self.process: subprocess.Popen[bytes] | None = None
        self._clock = log.with_name("clock")
        self.jump(0)

    def jump(self, hours: float) -> None:
        """From now on the wall clock of its machine is off by so much."""
        moment = self._clock.with_suffix(".new")
        moment.write_text(str(hours * 3600))
        moment.rename(self._clock)
        self.more: dict[str, str] = {}
        """Settings of a test's own, from the next start on."""

    def start(self) -> None:
        environment = {
            **os.environ,
            "PUZZLE_WATCH_NAMESPACES": NAMESPACE,
            "PUZZLE_OPERATOR_CLASS": CLASS,
            "PUZZLE_METRICS_PORT": "0",
            "PUZZLE_PROBE_PORT": "0",
            "PUZZLE_RESTING_INTERVAL": "5s",
            "PUZZLE_BLOCKED_INTERVAL": "2s",
            # A trainer that ends as it is told: test_retraining.py.
            "PUZZLE_TRAINER_IMAGE": python_image(),
            "PUZZLE_TRAINER_COMMAND": json.dumps(["python3", "-u", "-c", TRAINER]),
            "PUZZLE_TEST_CLOCK": str(self._clock),
            "PYTHONPATH": os.pathsep.join(filter(None, (str(REPOSITORY), os.environ.get("PYTHONPATH")))),
            **self.more,
        }
        with self.log.open("ab") as sink:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "tests.integration.rollouts.skewed", "run"],
                env=environment,
                stdout=sink,
                stderr=sink,
            )

    def restart(self) -> None:
        """As a node that fails: no goodbye, and another one at once."""
        self.kill()
        self.start()

    def kill(self, number: int = signal.SIGKILL) -> None:
        if self.process is not None:
            self.process.send_signal(number)
            self.process.wait(timeout=30)
            self.process = None


@pytest.fixture(scope="session")
def operator(space: Namespace, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Operator]:
    running = Operator(tmp_path_factory.mktemp("operator") / "operator.log")
    running.start()
    yield running
    running.kill(signal.SIGTERM)
    print(running.log.read_text(encoding="utf-8")[-20000:])


@pytest.fixture(scope="session")
def manifest(settings: Settings, versions: Versions) -> dict[str, Any]:
    """A model whose steps take seconds."""
    return {
        "apiVersion": "puzzlenet.dev/v1alpha1",
        "kind": "PuzzleModel",
        "metadata": {"name": MODEL, "annotations": {CLASS_ANNOTATION: CLASS}},
        "spec": {
            "line": "line-1",
            "automation": "Full",
            "paused": False,
            "model": {"version": versions("answers", 1)},
            "serving": {
                "minReplicas": 1,
                "maxReplicas": 1,
                "timeout": "30s",
                "resources": {"requests": {"cpu": "20m", "memory": "32Mi"}, "limits": {"memory": "128Mi"}},
            },
            "canary": {
                "steps": [{"weight": 20, "minDuration": "5s"}, {"weight": 50, "minDuration": "5s"}],
                "analysis": {
                    "interval": "2s",
                    "minRequests": 20,
                    "warmUpRequests": 3,
                    # A few dozen requests are to be enough for a verdict.
                    "metrics": [
                        {"name": "errors", "type": "ErrorRate", "negligible": 0.2},
                        {"name": "slow", "type": "Latency", "slo": "1s", "maxRiskRatio": 2, "negligible": 0.3},
                    ],
                },
                "inconclusive": {"deadline": "24h", "action": "Hold"},
                "progressDeadline": "40s",
                "bake": "8s",
            },
            "storage": {"endpoint": settings.s3_endpoint, "bucket": BUCKET, "secretRef": {"name": "puzzle-s3"}},
        },
    }


@pytest.fixture
def stable(space: Namespace, operator: Operator, manifest: dict[str, Any], versions: Versions) -> Iterator[Namespace]:
    """Version 1 is the champion, nothing goes on and no event is told yet, whatever the test before has left."""
    if operator.process is None:
        operator.start()
    if not space.exists(MODEL):
        space.apply(manifest)
    space.patch(MODEL, {"spec": manifest["spec"]})
    settle(space, versions)
    space.forget_events()
    yield space


def settle(space: Namespace, versions: Versions) -> None:
    first = versions("answers", 1)
    space.until(lambda: space.status(MODEL).get("phase") in {"Stable", "RolledBack"}, "the model rests", 120)
    if space.champion(MODEL) != first:
        space.remove(MODEL)
        raise RuntimeError(f"a test left another champion; model removed: {space.describe()}")
    space.until(lambda: space.status(MODEL).get("phase") == "Stable", "the first version is stable", 60)


@pytest.fixture
def traffic(settings: Settings, stable: Namespace) -> Iterator[Traffic]:
    """A steady line of requests through the real ingress."""
    # KServe names the host once its ingress is ready, some seconds after a new service's predictor.
    stable.until(lambda: stable.host(MODEL) != "", "the service has a host name", 60)
    with Traffic(settings.ingress_url, stable.host(MODEL)) as running:
        running.wait_for_answers()
        yield running


@pytest.fixture(scope="session")
def examples() -> list[tuple[str, dict[str, Any]]]:
    return [(path.name, yaml.safe_load(path.read_text(encoding="utf-8"))) for path in EXAMPLES]
