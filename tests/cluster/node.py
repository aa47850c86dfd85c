"""The node's configuration as text: containerd, CNI, kubelet, kubeadm. Pure; written to files by `lifecycle`."""

import json
from collections.abc import Mapping
from pathlib import Path

import yaml

from tests.cluster.settings import (
    DNS_IP,
    IMAGE_PREFIX,
    KUBERNETES_VERSION,
    NODE_IP,
    NODE_NAME,
    POD_RANGE,
    SERVICE_RANGE,
)

# The cluster's folder as seen inside its namespaces.
INSIDE = Path("/run/puzzlenet")
CONTAINERD_SOCKET = "/run/containerd/containerd.sock"
KUBELET_CONFIG = Path("/var/lib/kubelet/config.yaml")
KUBELET_FLAGS = Path("/var/lib/kubelet/kubeadm-flags.env")

# kubeadm's static pods as shipped request 0.55 of a core; limits keep a runaway from taking the machine
CONTROL_PLANE: Mapping[str, tuple[str, str, str]] = {
    # name: (cpu request, memory request, memory limit)
    "kube-apiserver": ("100m", "400Mi", "2Gi"),
    "kube-controller-manager": ("25m", "80Mi", "512Mi"),
    "kube-scheduler": ("10m", "40Mi", "256Mi"),
}


def containerd_config(pause_image: str) -> str:
    """containerd 1.6 configuration: state of its own, no registry, own pause image."""
    cri = '[plugins."io.containerd.grpc.v1.cri"'
    return f"""version = 2
root = "{INSIDE}/containerd"
state = "/run/containerd/state"
oom_score = 0
disabled_plugins = [
  "io.containerd.snapshotter.v1.aufs", "io.containerd.snapshotter.v1.btrfs",
  "io.containerd.snapshotter.v1.devmapper", "io.containerd.snapshotter.v1.zfs",
  "io.containerd.tracing.processor.v1.otlp", "io.containerd.internal.v1.opt",
]
[grpc]
address = "{CONTAINERD_SOCKET}"
{cri}]
sandbox_image = "{pause_image}"
# lowering a process's OOM score needs CAP_SYS_RESOURCE, which a container of ours may not have
restrict_oom_score_adj = true
{cri}.cni]
bin_dir = "/usr/lib/cni"
conf_dir = "/etc/cni/net.d"
{cri}.containerd]
default_runtime_name = "runc"
{cri}.containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"
{cri}.containerd.runtimes.runc.options]
SystemdCgroup = false
"""


def cni_config() -> str:
    """One bridge for the pods, addresses from the pod range, masquerading only towards the host link."""
    bridge = {
        "type": "bridge",
        "bridge": "cni0",
        "isGateway": True,
        "ipMasq": True,
        "hairpinMode": True,
        "ipam": {"type": "host-local", "ranges": [[{"subnet": POD_RANGE}]], "routes": [{"dst": "0.0.0.0/0"}]},
    }
    plugins = [bridge, {"type": "portmap", "capabilities": {"portMappings": True}}]
    return json.dumps({"cniVersion": "0.4.0", "name": "puzzle", "plugins": plugins}, indent=2)


def _kubelet(memory_bytes: int, cgroup: str) -> dict[str, object]:
    # a quarter of the memory stays with the host: builds, traffic generators, other programs
    reserved = f"{memory_bytes // 4 // 2**20}Mi"
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": f"/{cgroup}",
        "failCgroupV1": False,
        "failSwapOn": False,
        "resolvConf": str(INSIDE / "config" / "resolv.conf"),
        "clusterDNS": [DNS_IP],
        # Absolute: percentages of a big disk of which little is usable would evict everything. Nothing can be
        # pulled again, so images are never collected.
        "evictionHard": {
            "memory.available": "100Mi",
            "nodefs.available": "2Gi",
            "imagefs.available": "2Gi",
            "nodefs.inodesFree": "1%",
        },
        "imageGCHighThresholdPercent": 100,
        "imageGCLowThresholdPercent": 99,
        "systemReserved": {"memory": reserved},
        "enforceNodeAllocatable": ["pods"],
        "containerLogMaxSize": "10Mi",
        "containerLogMaxFiles": 2,
        "serializeImagePulls": False,
    }


def _flags(values: Mapping[str, str]) -> list[dict[str, str]]:
    return [{"name": name, "value": value} for name, value in values.items()]


def kubeadm_config(memory_bytes: int, cgroup: str) -> str:
    """The documents for `kubeadm init`: one node, external etcd on loopback, kube-proxy without host tuning."""
    kubeadm = "kubeadm.k8s.io/v1beta4"
    quiet = {"leader-elect": "false", "profiling": "false"}
    init = {
        "apiVersion": kubeadm,
        "kind": "InitConfiguration",
        "localAPIEndpoint": {"advertiseAddress": NODE_IP, "bindPort": 6443},
        "nodeRegistration": {
            "name": NODE_NAME,
            "criSocket": f"unix://{CONTAINERD_SOCKET}",
            "taints": [],
            "kubeletExtraArgs": _flags({"node-ip": NODE_IP, "node-labels": "puzzlenet.dev/pool=default"}),
        },
        "patches": {"directory": str(INSIDE / "config" / "patches")},
    }
    cluster = {
        "apiVersion": kubeadm,
        "kind": "ClusterConfiguration",
        "kubernetesVersion": KUBERNETES_VERSION,
        "clusterName": "puzzle",
        "imageRepository": IMAGE_PREFIX,
        "controlPlaneEndpoint": f"{NODE_IP}:6443",
        "etcd": {"external": {"endpoints": ["http://127.0.0.1:2379"]}},
        "networking": {"serviceSubnet": SERVICE_RANGE, "podSubnet": POD_RANGE},
        "apiServer": {"certSANs": ["127.0.0.1", NODE_IP], "extraArgs": _flags({"profiling": "false"})},
        "controllerManager": {"extraArgs": _flags({**quiet, "node-monitor-grace-period": "2m"})},
        "scheduler": {"extraArgs": _flags(quiet)},
    }
    proxy = {
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "mode": "iptables",
        "clusterCIDR": POD_RANGE,
        # connection tracking limits belong to the host and cannot be set from a network namespace
        "conntrack": {
            "maxPerCore": 0,
            "min": 0,
            "tcpEstablishedTimeout": "0s",
            "tcpCloseWaitTimeout": "0s",
        },
    }
    return yaml.safe_dump_all([init, cluster, _kubelet(memory_bytes, cgroup), proxy], sort_keys=False)


def control_plane_patches() -> dict[str, str]:
    """kubeadm patch files by name: small requests and memory limits for the static pods."""
    return {
        f"{name}+strategic.yaml": yaml.safe_dump(
            {
                "spec": {
                    "containers": [
                        {
                            "name": name,
                            "resources": {
                                "requests": {"cpu": cpu, "memory": request},
                                "limits": {"memory": limit},
                            },
                        }
                    ]
                }
            }
        )
        for name, (cpu, request, limit) in CONTROL_PLANE.items()
    }


def config_files(memory_bytes: int, pause_image: str, cgroup: str) -> dict[str, str]:
    """Every configuration file of the node by its path under the cluster's `config` folder."""
    files = {
        "containerd.toml": containerd_config(pause_image),
        "cni/10-puzzle.conflist": cni_config(),
        "kubeadm.yaml": kubeadm_config(memory_bytes, cgroup),
        "resolv.conf": "search cluster.local\n",
    }
    return {**files, **{f"patches/{name}": text for name, text in control_plane_patches().items()}}
