"""Talking to the API server through kubectl: apply, wait, read. Works for our cluster and for a user's own."""

import json
import subprocess
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tests.cluster.golang import binary
from tests.cluster.settings import Paths
from tests.cluster.shell import ClusterError, capture, run, succeeds


@dataclass(frozen=True)
class Kube:
    """kubectl with one kubeconfig; output of changes goes to `log`."""

    kubectl: Path
    kubeconfig: Path
    log: Path

    def _command(self, *words: str) -> list[str]:
        return [str(self.kubectl), "--kubeconfig", str(self.kubeconfig), *words]

    def read(self, *words: str, timeout: float = 60) -> str:
        """Output of a kubectl command."""
        return capture(self._command(*words), timeout=timeout)

    def read_json(self, *words: str) -> Any:
        """Parsed output of a kubectl command with `-o json`."""
        return json.loads(self.read(*words, "-o", "json"))

    def apply(self, documents: Iterable[dict[str, Any]], attempts: int = 1) -> None:
        """Server-side apply; tried again when a webhook or a CRD is not ready yet."""
        text = yaml.safe_dump_all(list(documents), sort_keys=False).encode()
        command = self._command("apply", "--server-side", "--force-conflicts", "-f", "-")
        for left in reversed(range(attempts)):
            try:
                run(command, self.log, stdin=text, timeout=300)
                return
            except ClusterError:
                if left == 0:
                    raise
                time.sleep(2)

    def established(self) -> None:
        """Wait until every CRD is served."""
        words = ("wait", "--for=condition=Established", "crd", "--all", "--timeout=60s")
        for left in reversed(range(10)):
            try:
                run(self._command(*words), self.log)
                return
            except ClusterError:
                # kubectl gives up on one that is so new that it has no conditions at all
                if left == 0:
                    raise
                time.sleep(0.5)

    def rolled_out(self, namespace: str, timeout_s: int = 300) -> None:
        """Wait until every Deployment of a namespace is available; the error names what is not and why."""
        words = ("-n", namespace, "wait", "--for=condition=Available", "deployment", "--all")
        try:
            run(self._command(*words, f"--timeout={timeout_s}s"), self.log)
        except ClusterError as failure:
            raise ClusterError(f"{failure}\n{self.trouble(namespace)}") from failure

    def trouble(self, namespace: str) -> str:
        """Pods that are not ready and the latest warnings of a namespace, for an error message."""
        shown = []
        for words in (("get", "pods", "-o", "wide"), ("get", "events", "--field-selector=type=Warning")):
            try:
                shown.append(self.read("-n", namespace, *words))
            except ClusterError as failure:
                shown.append(str(failure))
        return "\n".join(line for text in shown for line in text.splitlines()[-15:])

    def reachable(self) -> bool:
        """Whether the API server says it is ready."""
        return succeeds(self._command("--request-timeout=5s", "get", "--raw", "/readyz"), timeout=10)

    def unavailable(self, namespaces: Sequence[str]) -> list[str]:
        """Deployments of the given namespaces that are not available, as namespace/name."""
        found = self.read_json("get", "deployments", "-A")["items"]
        return [
            f"{item['metadata']['namespace']}/{item['metadata']['name']}"
            for item in found
            if item["metadata"]["namespace"] in namespaces and not _available(item)
        ]

    def mentions(self, kinds: Sequence[str]) -> str:
        """All objects of some kinds as one text, to search for names in; empty when the API does not answer."""
        if not self.reachable():
            return ""
        return self.read("get", ",".join(kinds), "-A", "-o", "json")

    def pipe(self, *words: str) -> int:
        """Run kubectl on this process's own terminal."""
        return subprocess.run(self._command(*words), check=False).returncode


def local(paths: Paths) -> Kube:
    """kubectl for our own cluster."""
    return Kube(binary(paths, "kubernetes", "kubectl"), paths.kubeconfig, paths.logs / "kubectl.log")


def _available(deployment: dict[str, Any]) -> bool:
    conditions = deployment.get("status", {}).get("conditions", [])
    return any(c["type"] == "Available" and c["status"] == "True" for c in conditions)
