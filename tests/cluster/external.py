"""A user's own cluster, named by KUBECONFIG: checked, used, never changed.

Nothing is installed in it. What is missing is named, so that the user can install it in the way their cluster wants.
"""

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from tests.cluster.kube import Kube
from tests.cluster.settings import Paths
from tests.cluster.shell import ClusterError

NEEDED_RESOURCES = {
    "inferenceservices.serving.kserve.io": "KServe",
    "clusterservingruntimes.serving.kserve.io": "KServe's serving runtimes",
    "services.serving.knative.dev": "Knative Serving",
    "ingresses.networking.internal.knative.dev": "Knative Serving's networking layer",
}
# what the tests cannot find out by themselves in a foreign cluster
NEEDED_VARIABLES = {
    "PUZZLE_INGRESS_URL": "http://host:port of Knative's ingress, reachable from here",
    "PUZZLE_S3_ENDPOINT": "host:port of an S3 store, reachable from here",
    "PUZZLE_PROMETHEUS_URL": "http://host:port of a Prometheus that scrapes Knative's queue-proxies",
    "AWS_ACCESS_KEY_ID": "the store's access key",
    "AWS_SECRET_ACCESS_KEY": "the store's secret key",
}


@dataclass(frozen=True)
class External:
    """A cluster that is not ours."""

    kubeconfig: Path

    def check(self, paths: Paths) -> list[str]:
        """What is missing, in words; an empty list when all is there. Raises ClusterError when unreachable."""
        kubectl = shutil.which("kubectl")
        if kubectl is None:
            raise ClusterError("KUBECONFIG names a cluster, but there is no kubectl on PATH to look at it with")
        kube = Kube(Path(kubectl), self.kubeconfig, paths.logs / "kubectl.log")
        if not kube.reachable():
            raise ClusterError(
                f"the cluster that KUBECONFIG={self.kubeconfig} names does not answer; "
                "unset KUBECONFIG to get a local one"
            )
        present = set(kube.read("get", "crd", "-o", "name").split())
        missing = [
            f"{meaning} (no resource {name})"
            for name, meaning in NEEDED_RESOURCES.items()
            if f"customresourcedefinition.apiextensions.k8s.io/{name}" not in present
        ]
        unset = [
            f"variable {name}: {meaning}" for name, meaning in NEEDED_VARIABLES.items() if not os.environ.get(name)
        ]
        return missing + unset


def external(paths: Paths) -> External | None:
    """The user's cluster when KUBECONFIG names one that is not our own, else None."""
    named = os.environ.get("KUBECONFIG", "")
    if not named:
        return None
    path = Path(named.split(os.pathsep)[0]).expanduser().resolve()
    if path == paths.kubeconfig.resolve():
        return None
    if not path.exists():
        raise ClusterError(f"KUBECONFIG={named} does not exist; correct it, or unset it to get a local cluster")
    return External(Path(named) if os.pathsep in named else path)
