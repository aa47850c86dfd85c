"""PuzzleModels on a live cluster: apply, read, wait, and the story that their status and events tell."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from kubernetes import client, config
from kubernetes.client.exceptions import ApiException

from tests.harness.settings import RELEASE
from tests.harness.signing import SECRET as SIGNING
from tests.harness.signing import put_secret

GROUP, VERSION, PLURAL = "puzzlenet.dev", "v1alpha1", "puzzlemodels"
KSERVE = ("serving.kserve.io", "v1beta1")
TOKENS, INGEST = "puzzle-monitor-tokens", "puzzle-monitor-ingest"
"""The chart's Secret of the monitor's tokens, and the one that the models of a namespace take theirs from."""


class Namespace:
    """One namespace of models. Everything is read afresh; nothing is cached."""

    def __init__(self, name: str) -> None:
        config.load_kube_config()  # type: ignore[no-untyped-call]
        self.name = name
        self.custom = client.CustomObjectsApi()
        self.core = client.CoreV1Api()

    # ------------------------------------------------------------ the namespace itself

    def create(self, secret_from: str) -> None:
        """Make the namespace and give it the registry's Secret (a copy of the one in `secret_from`), and where they are
        there the keys of versions, and the monitor's tokens of predictors and trainers.

        One of that name that a run before is still deleting is waited for.
        """
        self.until(lambda: self._phase() != "Terminating", f"namespace {self.name} is not being deleted", 180)
        self._ignoring(
            409,
            lambda: self.core.create_namespace(client.V1Namespace(metadata=client.V1ObjectMeta(name=self.name))),
        )
        secret: Any = self.core.read_namespaced_secret("puzzle-s3", secret_from)
        put_secret(self.core, self.name, "puzzle-s3", secret.data, secret.metadata.annotations)
        for found in self._secrets(secret_from, SIGNING):
            put_secret(self.core, self.name, SIGNING, found.data)
        for found in self._secrets(secret_from, TOKENS):
            put_secret(self.core, self.name, INGEST, {"token": found.data["ingest"], "trainer": found.data["trainer"]})

    def _secrets(self, namespace: str, name: str) -> list[Any]:
        """The Secret of this name, or nothing."""
        listed: Any = self.core.list_namespaced_secret(namespace, field_selector=f"metadata.name={name}")
        return list(listed.items)

    def delete(self) -> None:
        """Delete the models, then the namespace, and wait until it is gone, so that a next run can make it again."""
        listed: Any = self.custom.list_namespaced_custom_object(GROUP, VERSION, self.name, PLURAL)
        for item in listed["items"]:
            self.remove(item["metadata"]["name"])
        self._ignoring(404, lambda: self.core.delete_namespace(self.name))
        self.until(lambda: not self._phase(), f"namespace {self.name} is gone", 180)

    def _phase(self) -> str:
        """`Active`, `Terminating`, or nothing when there is no such namespace."""
        listed: Any = self.core.list_namespace(field_selector=f"metadata.name={self.name}")
        return str(listed.items[0].status.phase) if listed.items else ""

    # ------------------------------------------------------------ models

    def apply(self, manifest: dict[str, Any]) -> None:
        """Create the model, or replace its spec when it exists."""
        name = manifest["metadata"]["name"]
        body = {**manifest, "metadata": {**manifest["metadata"], "namespace": self.name}}
        try:
            self.custom.create_namespaced_custom_object(GROUP, VERSION, self.name, PLURAL, body)
        except ApiException as exc:
            if exc.status != 409:
                raise
            self.patch(name, {"spec": manifest["spec"]})

    def patch(self, name: str, change: dict[str, Any]) -> None:
        self.custom.patch_namespaced_custom_object(GROUP, VERSION, self.name, PLURAL, name, change)

    def set_version(self, name: str, version: str) -> None:
        self.patch(name, {"spec": {"model": {"version": version}}})

    def get(self, name: str) -> dict[str, Any]:
        return _as_dict(self.custom.get_namespaced_custom_object(GROUP, VERSION, self.name, PLURAL, name))

    def status(self, name: str) -> dict[str, Any]:
        return _as_dict(self.get(name).get("status") or {})

    def remove(self, name: str, seconds: float = 120) -> None:
        """Delete the model and wait until it is gone."""
        self._ignoring(
            404, lambda: self.custom.delete_namespaced_custom_object(GROUP, VERSION, self.name, PLURAL, name)
        )
        self.until(lambda: not self.exists(name), f"PuzzleModel {name} is gone", seconds)

    def exists(self, name: str) -> bool:
        return self._read_or_none(GROUP, VERSION, PLURAL, name) is not None

    def champion(self, name: str) -> str:
        """Digest of the version that status names as champion, or ''."""
        return str((self.status(name).get("champion") or {}).get("version") or "")

    def observed(self, name: str) -> int:
        """The challenger's observed share of traffic in per cent, as status has it."""
        return int((self.status(name).get("weight") or {}).get("observed") or 0)

    def reasons(self, name: str) -> list[str]:
        return [reason for reason, _ in self.events(name)]

    def until_outcome(self, name: str, version: str, outcome: str, seconds: float = 300, finished_by: str = "") -> None:
        """Wait until the rollout of `version` ended as `outcome`.

        A rollout that another one follows at once is no longer in `status.rollout`; `finished_by` names the version
        of that other one, and the end is then read from the history.
        """

        def ended() -> bool:
            status = self.status(name)
            rollout = status.get("rollout") or {}
            if finished_by and rollout.get("challenger") == finished_by:
                return any(e["version"] == version and e["outcome"] == outcome for e in status.get("history", []))
            found = rollout.get("outcome") if rollout.get("challenger") == version else None
            assert found in (None, outcome), f"the rollout ended as {found}, not {outcome}.\n{self.describe()}"
            return found == outcome

        self.until(ended, f"the rollout of {version[:19]} ended as {outcome}", seconds)

    # ------------------------------------------------------------ what the operator made

    def inference_service(self, name: str) -> dict[str, Any] | None:
        return self._read_or_none(*KSERVE, "inferenceservices", name)

    def observed_weights(self, name: str) -> dict[str, int]:
        """Percent of traffic by revision, from KServe's own status."""
        service = self.inference_service(name) or {}
        predictor = service.get("status", {}).get("components", {}).get("predictor", {})
        weights: dict[str, int] = {}
        for target in predictor.get("traffic", []):
            revision = target.get("revisionName", "")
            weights[revision] = weights.get(revision, 0) + int(target.get("percent") or 0)
        return {revision: weight for revision, weight in weights.items() if weight}

    def revisions(self, name: str) -> list[dict[str, Any]]:
        """Knative's revisions of the model, the newest last."""
        found: Any = self.custom.list_namespaced_custom_object(
            "serving.knative.dev", "v1", self.name, "revisions", label_selector=f"puzzlenet.dev/model={name}"
        )
        generation = "serving.knative.dev/configurationGeneration"
        return sorted(found["items"], key=lambda item: int(item["metadata"]["labels"][generation]))

    def host(self, name: str) -> str:
        """The host name under which the ingress routes to the model."""
        service = self.inference_service(name) or {}
        url = service.get("status", {}).get("url", "")
        return str(url).split("://")[-1].rstrip("/")

    def pods(self) -> list[str]:
        """Names of the namespace's pods."""
        listed: Any = self.core.list_namespaced_pod(self.name)
        return [pod.metadata.name for pod in listed.items]

    def pods_of_version(self, name: str, version: str) -> list[str]:
        """Names of the pods that run this version of the model."""
        listed: Any = self.core.list_namespaced_pod(self.name, label_selector=f"puzzlenet.dev/model={name}")
        return [
            pod.metadata.name
            for pod in listed.items
            if (pod.metadata.annotations or {}).get("puzzlenet.dev/version") == version
        ]

    def patch_inference_service(self, name: str, change: dict[str, Any]) -> None:
        self.custom.patch_namespaced_custom_object(*KSERVE, self.name, "inferenceservices", name, change)

    def delete_inference_service(self, name: str) -> None:
        self.custom.delete_namespaced_custom_object(*KSERVE, self.name, "inferenceservices", name)

    def restart_deployment(self, namespace: str, name: str) -> None:
        """Delete the deployment's pods without grace, as a lost node would, and wait for new ones."""
        selector = f"app.kubernetes.io/instance={RELEASE},app.kubernetes.io/name={name}"
        listed: Any = self.core.list_namespaced_pod(namespace, label_selector=selector)
        old = {pod.metadata.uid for pod in listed.items}
        for pod in listed.items:
            self.core.delete_namespaced_pod(pod.metadata.name, namespace, grace_period_seconds=0)

        def replaced() -> bool:
            now: Any = self.core.list_namespaced_pod(namespace, label_selector=selector)
            ready = [p for p in now.items if p.metadata.uid not in old and p.status.phase == "Running"]
            return bool(ready) and all(c.ready for pod in ready for c in pod.status.container_statuses or [])

        self.until(replaced, f"deployment {namespace}/{name} runs again", 120)

    def scale(self, namespace: str, name: str, replicas: int) -> None:
        """Scale a deployment, and wait until that many pods are ready and no other is left."""
        apps = client.AppsV1Api()
        apps.patch_namespaced_deployment_scale(name, namespace, {"spec": {"replicas": replicas}})

        def done() -> bool:
            status: Any = apps.read_namespaced_deployment(name, namespace).status
            return (status.ready_replicas or 0) == (status.replicas or 0) == replicas

        self.until(done, f"deployment {namespace}/{name} has {replicas} replicas", 180)

    def events(self, name: str) -> list[tuple[str, str]]:
        """(reason, message) of the model's events, oldest first."""
        listed: Any = self.core.list_namespaced_event(
            self.name, field_selector=f"involvedObject.kind=PuzzleModel,involvedObject.name={name}"
        )
        ordered = sorted(listed.items, key=lambda event: event.metadata.creation_timestamp)
        return [(event.reason, event.message) for event in ordered]

    def forget_events(self) -> None:
        """Delete the namespace's events, so that a test finds those of its own time only."""
        self.core.delete_collection_namespaced_event(self.name)

    # ------------------------------------------------------------ waiting

    def until(self, holds: Callable[[], bool], what: str, seconds: float = 300) -> None:
        """Poll until `holds()`; raises TimeoutError naming `what` and the models' last status."""
        deadline = time.monotonic() + seconds
        while not holds():
            if time.monotonic() > deadline:
                raise TimeoutError(f"after {seconds:.0f} s it is still not so that {what}.\n{self.describe()}")
            time.sleep(1)

    def describe(self) -> str:
        """Status and events of every model here, for the message of a failed wait."""
        listed: Any = self.custom.list_namespaced_custom_object(GROUP, VERSION, self.name, PLURAL)
        lines = []
        for item in listed["items"]:
            name = item["metadata"]["name"]
            lines.append(f"{name}: {item.get('status')}")
            lines += [f"  {reason}: {message}" for reason, message in self.events(name)]
        return "\n".join(lines)

    def _read_or_none(self, group: str, version: str, plural: str, name: str) -> dict[str, Any] | None:
        try:
            return _as_dict(self.custom.get_namespaced_custom_object(group, version, self.name, plural, name))
        except ApiException as exc:
            if exc.status == 404:
                return None
            raise

    @staticmethod
    def _ignoring(code: int, call: Callable[[], object]) -> None:
        try:
            call()
        except ApiException as exc:
            if exc.status != code:
                raise


def _as_dict(found: object) -> dict[str, Any]:
    assert isinstance(found, dict)
    return found
