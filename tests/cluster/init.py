"""The first process of the cluster's namespaces: mounts, node address, then etcd, containerd and kubelet, watched.

Started by `namespace.start` under `unshare`; it is process 1 in there, so that its end is the end of everything.
Mounts are private to the namespace. `/etc` and `/var` become overlays with a throw-away upper layer on tmpfs: the
programs find and write their usual paths, and the host never sees it. The cluster's folder appears as
`/run/puzzlenet`.
"""

import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.cluster.node import CONTAINERD_SOCKET, INSIDE, KUBELET_CONFIG, KUBELET_FLAGS
from tests.cluster.settings import NODE_IP, NODE_NAME, SERVICE_RANGE

RESTART_AFTER_S = 1.0

# The kubelet insists on these kernel settings and would change them for the whole machine. It gets files with the
# wanted values in their place instead.
KERNEL_SETTINGS = {
    "vm/overcommit_memory": "1",
    "vm/panic_on_oom": "0",
    "kernel/panic": "10",
    "kernel/panic_on_oops": "1",
    "kernel/keys/root_maxkeys": "1000000",
    "kernel/keys/root_maxbytes": "25000000",
}
# folder inside the namespace -> folder under the cluster's state
BINDS = {
    "/var/lib/kubelet": "kubelet",
    "/var/log/pods": "pod-logs",
    "/var/log/containers": "container-logs",
}


def _sh(*command: str) -> None:
    subprocess.run(command, check=True)


def _mounts(cluster: Path) -> None:
    _sh("mount", "--make-rprivate", "/")
    # the state folder may lie below a folder that is about to be covered: keep a handle on it
    handle = os.open(cluster, os.O_PATH | os.O_DIRECTORY)
    _sh("mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", "/run")
    INSIDE.mkdir()
    subprocess.run(["mount", "--bind", f"/proc/self/fd/{handle}", str(INSIDE)], check=True, pass_fds=[handle])
    os.close(handle)
    for name in ("etc", "var"):
        upper, work = Path(f"/run/overlay/{name}/upper"), Path(f"/run/overlay/{name}/work")
        upper.mkdir(parents=True)
        work.mkdir(parents=True)
        options = f"lowerdir=/{name},upperdir={upper},workdir={work}"
        _sh("mount", "-t", "overlay", "-o", options, "overlay", f"/{name}")
    for target, source in BINDS.items():
        Path(target).mkdir(parents=True, exist_ok=True)
        (INSIDE / source).mkdir(parents=True, exist_ok=True)
        _sh("mount", "--bind", str(INSIDE / source), target)
    _sh("mount", "--make-rshared", "/var/lib/kubelet")
    Path("/run/lock").mkdir()
    for name, value in KERNEL_SETTINGS.items():
        stand_in = Path("/run/kernel-settings") / name
        stand_in.parent.mkdir(parents=True, exist_ok=True)
        stand_in.write_text(f"{value}\n")
        if (Path("/proc/sys") / name).exists():
            _sh("mount", "--bind", str(stand_in), f"/proc/sys/{name}")


def _network() -> None:
    _sh("hostname", NODE_NAME)
    with Path("/etc/hosts").open("a") as hosts:
        hosts.write(f"\n{NODE_IP} {NODE_NAME}\n127.0.0.1 localhost\n")
    _sh("ip", "link", "set", "lo", "up")
    # a bridge without ports stands in for a dummy link, which not every kernel has
    _sh("ip", "link", "add", "k8snode", "type", "bridge")
    _sh("ip", "address", "add", f"{NODE_IP}/32", "dev", "k8snode")
    _sh("ip", "link", "set", "k8snode", "up")
    # a packet needs a route before its service address is translated; there is no way to the outside
    _sh("ip", "route", "add", SERVICE_RANGE, "dev", "k8snode")
    Path("/proc/sys/net/ipv4/ip_forward").write_text("1")
    Path("/proc/sys/net/bridge/bridge-nf-call-iptables").write_text("1")


def _node_files() -> None:
    shutil_copy(INSIDE / "config" / "cni", Path("/etc/cni/net.d"))


def shutil_copy(source: Path, target: Path) -> None:
    """Copy the files of one flat folder."""
    target.mkdir(parents=True, exist_ok=True)
    for stale in target.iterdir():
        if stale.is_file():
            stale.unlink()
    for path in source.iterdir():
        (target / path.name).write_bytes(path.read_bytes())


@dataclass
class Service:
    """A program that is started, and started again when it ends."""

    name: str
    command: Callable[[], Sequence[str] | None]
    process: int = 0
    not_before: float = 0.0
    starts: int = field(default=0)

    def start(self) -> None:
        """Start it, unless its command is not known yet (None)."""
        words = self.command()
        if words is None:
            self.not_before = time.monotonic() + 0.2
            return
        log = (INSIDE / "logs" / f"{self.name}.log").open("ab")
        log.write(f"--- start {self.starts + 1}\n".encode())
        log.flush()
        child = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
        log.close()
        self.process = child.pid
        (INSIDE / "pids" / self.name).write_text(str(child.pid))
        self.starts += 1
        # process 1 reaps everything itself; Popen must not try to
        child.returncode = 0


def _etcd() -> Sequence[str]:
    url = "http://127.0.0.1:2379"
    # the cluster is made anew at every start: its store may live in memory, where a flush costs nothing
    return [
        "etcd",
        "--data-dir=/run/etcd",
        f"--listen-client-urls={url}",
        f"--advertise-client-urls={url}",
        "--listen-peer-urls=http://127.0.0.1:2380",
        "--auto-compaction-retention=10m",
        "--auto-compaction-mode=periodic",
        "--logger=zap",
        "--log-level=warn",
    ]


def _kubelet(program: str) -> Sequence[str] | None:
    if not (KUBELET_CONFIG.exists() and KUBELET_FLAGS.exists()):
        return None
    line = KUBELET_FLAGS.read_text().strip().partition("=")[2]
    flags = shlex.split(shlex.split(line)[0]) if line else []
    return [
        program,
        "--bootstrap-kubeconfig=/etc/kubernetes/bootstrap-kubelet.conf",
        "--kubeconfig=/etc/kubernetes/kubelet.conf",
        f"--config={KUBELET_CONFIG}",
        *flags,
    ]


def _supervise(services: Sequence[Service]) -> None:
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    while True:
        now = time.monotonic()
        for service in services:
            if service.process == 0 and now >= service.not_before:
                service.start()
        while True:
            try:
                pid, _status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                break
            if pid == 0:
                break
            for service in services:
                if service.process == pid:
                    service.process, service.not_before = 0, time.monotonic() + RESTART_AFTER_S
        time.sleep(0.2)


def main() -> int:
    """Set the namespace up and watch over the node's programs until killed. Arguments: cluster folder, kubelet."""
    cluster, kubelet = Path(sys.argv[1]), sys.argv[2]
    if os.getpid() != 1:
        print("this is the cluster's first process; `python -m tests.cluster up` starts it", file=sys.stderr)
        return 2
    os.chdir("/")
    _mounts(cluster)
    _network()
    _node_files()
    os.environ["PATH"] = f"{Path(kubelet).parent}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    config = str(INSIDE / "config" / "containerd.toml")
    containerd = ["containerd", "--config", config, "--address", CONTAINERD_SOCKET]
    (INSIDE / "booted").write_text("")
    _supervise(
        [
            Service("etcd", _etcd),
            Service("containerd", lambda: containerd),
            Service("kubelet", lambda: _kubelet(kubelet)),
        ]
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
