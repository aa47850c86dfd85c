"""Every name, address, version and folder of the test cluster in one place, so that no other module invents one."""

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
HERE = Path(__file__).resolve().parent
TOOLS = HERE / "tools"
MANIFESTS = HERE / "manifests"

KUBERNETES_VERSION = "v1.34.4"
KSERVE_VERSION = "v0.20.0"
STORAGE_INITIALIZER_VERSION = "0.20.0"
GO_MINIMUM = (1, 26)

NODE_NAME = "puzzle"
IMAGE_PREFIX = "dev.local"
DOMAIN = "puzzle.example"

# The node's own address, the link to the host, and the ranges behind it. Only routes to these three ranges
# are added on the host; they go away with the link.
NODE_IP = "10.99.0.1"
HOST_LINK = "puzzle0"
HOST_LINK_IP = "10.98.0.1"
NODE_LINK_IP = "10.98.0.2"
SERVICE_RANGE = "10.96.0.0/16"
POD_RANGE = "10.244.0.0/16"

# Fixed addresses of services, from the part of the range that Kubernetes keeps free for static allocation.
DNS_IP = "10.96.0.10"
INGRESS_IP = "10.96.0.80"
MINIO_IP = "10.96.0.90"
PROMETHEUS_IP = "10.96.0.91"

BUCKET = "puzzlenet"
# The test cluster is reachable from this machine only and is thrown away with its data.
S3_ACCESS_KEY = "puzzle-test"
S3_SECRET_KEY = "puzzle-test-secret"


@dataclass(frozen=True)
class Paths:
    """Where things lie. `state` is $PUZZLE_STATE; nothing is written outside it (Debian packages aside)."""

    state: Path

    @property
    def build(self) -> Path:
        """Content-addressed cache: binaries, base image, downloaded wheels. Safe to delete."""
        return self.state / "build"

    @property
    def cluster(self) -> Path:
        """Live state of the cluster: data folders, logs, kubeconfig."""
        return self.state / "cluster"

    @property
    def logs(self) -> Path:
        """What each stage printed: packages, builds, images, kubectl."""
        return self.state / "logs"

    @property
    def node_logs(self) -> Path:
        """What etcd, containerd and the kubelet print."""
        return self.cluster / "logs"

    @property
    def kubeconfig(self) -> Path:
        return self.cluster / "kubeconfig"

    @property
    def ready_file(self) -> Path:
        """Written when `up` has finished; holds the key of everything the cluster was made from."""
        return self.cluster / "ready"

    @property
    def cgroup(self) -> str:
        """Name of this state folder's own control group; no two clusters share one."""
        return f"puzzlenet-{hashlib.sha256(str(self.state).encode()).hexdigest()[:8]}"

    @property
    def lock(self) -> Path:
        return self.state / "cluster.lock"


def default_paths() -> Paths:
    """Paths from the environment: $PUZZLE_STATE, else puzzlemodel in the user's cache folder."""
    explicit = os.environ.get("PUZZLE_STATE")
    if explicit:
        return Paths(Path(explicit).resolve())
    cache = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Paths(Path(cache).resolve() / "puzzlemodel")
