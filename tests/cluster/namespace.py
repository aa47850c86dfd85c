"""The cluster's namespaces seen from the host: start, enter, link to the host, end, and clear what is left.

There is no pid file to go stale: the first process is found by its command line, which names the state folder.
"""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

from tests.cluster.host import command_lines, program
from tests.cluster.settings import (
    HOST_LINK,
    HOST_LINK_IP,
    NODE_IP,
    NODE_LINK_IP,
    POD_RANGE,
    REPOSITORY,
    SERVICE_RANGE,
    Paths,
)
from tests.cluster.shell import ClusterError, capture, run, succeeds, tail

INIT_MODULE = "tests.cluster.init"
BOOT_TIMEOUT_S = 30.0
CGROUPS = Path("/sys/fs/cgroup")


def _processes(paths: Paths) -> dict[str, list[int]]:
    """Process ids of this state folder's `init` and of the `unshare` above it."""
    found: dict[str, list[int]] = {"init": [], "unshare": []}
    for pid, words in command_lines():
        if INIT_MODULE in words and str(paths.cluster) in words:
            found["unshare" if Path(words[0]).name == "unshare" else "init"].append(pid)
    return found


def init_pid(paths: Paths) -> int | None:
    """The host's process id of the cluster's first process, None when the cluster is not running."""
    pids = [pid for pid in _processes(paths)["init"] if _own_pid_namespace(pid)]
    return pids[0] if pids else None


def _own_pid_namespace(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/ns/pid").readlink() != Path("/proc/self/ns/pid").readlink()
    except OSError:
        return False


def enter(paths: Paths, *command: str | Path) -> list[str]:
    """A command line that runs `command` inside the cluster's namespaces."""
    pid = init_pid(paths)
    if pid is None:
        raise ClusterError("the cluster is not running; `python -m tests.cluster up` starts it")
    flags = ["-m", "-n", "-p", "-u", "-i"]
    return [program("nsenter"), "-t", str(pid), *flags, "--", *(str(word) for word in command)]


def _make_cgroups(paths: Paths) -> None:
    """A group of our own in every hierarchy (version 1 and 2), so that what Kubernetes makes is easy to remove."""
    if (CGROUPS / "cgroup.controllers").exists():
        wanted = [f"+{name}" for name in ("cpu", "cpuset", "memory", "pids", "io")]
        own = CGROUPS / paths.cgroup
        own.mkdir(exist_ok=True)
        for folder in (CGROUPS, own):
            for controller in wanted:
                with contextlib.suppress(OSError):
                    (folder / "cgroup.subtree_control").write_text(controller)
        return
    for hierarchy in CGROUPS.iterdir():
        if hierarchy.is_symlink() or not (hierarchy / "tasks").exists():
            continue
        own = hierarchy / paths.cgroup
        own.mkdir(exist_ok=True)
        for name in ("cpuset.cpus", "cpuset.mems"):
            if (own / name).exists():
                (own / name).write_text((hierarchy / name).read_text())


def _remove_cgroups(paths: Paths) -> None:
    hierarchies = [CGROUPS, *(path for path in CGROUPS.iterdir() if path.is_dir() and not path.is_symlink())]
    deadline = time.monotonic() + 10
    for own in (hierarchy / paths.cgroup for hierarchy in hierarchies):
        while own.is_dir():
            for folder, _children, _files in os.walk(own, topdown=False):
                with contextlib.suppress(OSError):
                    Path(folder).rmdir()
            if time.monotonic() > deadline:
                break
            time.sleep(0.05)


def start(paths: Paths, kubelet: Path) -> int:
    """Start the namespaces with their first process and link them to the host. Returns its process id."""
    with contextlib.suppress(ClusterError):
        # where these are modules, nothing inside could load them
        for module in ("overlay", "br_netfilter", "nf_conntrack"):
            succeeds([program("modprobe"), module])
    _make_cgroups(paths)
    (paths.cluster / "booted").unlink(missing_ok=True)
    log = paths.logs / "init.log"
    kinds = ["--mount", "--net", "--pid", "--uts", "--ipc", "--fork", "--kill-child", "--mount-proc"]
    command = [
        program("unshare"),
        *kinds,
        sys.executable,
        "-m",
        INIT_MODULE,
        str(paths.cluster),
        str(kubelet),
    ]
    with log.open("ab") as out:
        subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True, cwd=REPOSITORY
        )
    deadline = time.monotonic() + BOOT_TIMEOUT_S
    while not (paths.cluster / "booted").exists() or init_pid(paths) is None:
        if time.monotonic() > deadline:
            raise ClusterError(f"the cluster's namespaces did not come up; log {log}:\n{tail(log)}")
        time.sleep(0.05)
    pid = init_pid(paths)
    if pid is None:
        raise ClusterError(f"the cluster's first process has died; log {log}:\n{tail(log)}")
    _link(paths, pid)
    return pid


def _link(paths: Paths, pid: int) -> None:
    """A pair of links between host and cluster, and routes to the node, its pods and its services."""
    log, ip = paths.logs / "init.log", program("ip")
    inside = [program("nsenter"), "-t", str(pid), "-n", ip]
    run([ip, "link", "add", HOST_LINK, "type", "veth", "peer", "name", "uplink", "netns", str(pid)], log)
    run([ip, "link", "set", HOST_LINK, "alias", str(paths.cluster)], log)
    run([ip, "address", "add", f"{HOST_LINK_IP}/30", "dev", HOST_LINK], log)
    run([ip, "link", "set", HOST_LINK, "up"], log)
    run([*inside, "address", "add", f"{NODE_LINK_IP}/30", "dev", "uplink"], log)
    run([*inside, "link", "set", "uplink", "up"], log)
    for target in (f"{NODE_IP}/32", SERVICE_RANGE, POD_RANGE):
        hint = f"another network of this machine uses {target}; remove that route or use another machine"
        run([ip, "route", "add", target, "via", NODE_LINK_IP, "dev", HOST_LINK], log, hint=hint)


def other_owner(paths: Paths) -> str | None:
    """The state folder of another running cluster that holds the host link, if there is one."""
    alias = Path(f"/sys/class/net/{HOST_LINK}/ifalias")
    owner = alias.read_text().strip() if alias.exists() else ""
    if not owner or owner == str(paths.cluster):
        return None
    return owner if init_pid(Paths(Path(owner).parent)) is not None else None


def stop(paths: Paths) -> bool:
    """End every process of the cluster and clear links, cgroups and leftovers. Returns whether one was running."""
    found = _processes(paths)
    pids = [*found["init"], *found["unshare"]]
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    deadline = time.monotonic() + 20
    while any(Path(f"/proc/{pid}/ns").exists() and _alive(pid) for pid in pids):
        if time.monotonic() > deadline:
            raise ClusterError(f"processes {pids} do not end; is one of them stuck in the kernel (dmesg)?")
        time.sleep(0.05)
    if other_owner(paths) is None and Path(f"/sys/class/net/{HOST_LINK}").exists():
        succeeds([program("ip"), "link", "delete", HOST_LINK])
    _remove_cgroups(paths)
    return bool(found["init"])


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except (OSError, IndexError):
        return False


def remove_state(paths: Paths, keep_images: bool) -> None:
    """Delete the cluster's folder; the imported images may stay, because importing them again takes a minute."""
    if not paths.cluster.exists():
        return
    mounted = [line for line in capture(["cat", "/proc/self/mounts"]).splitlines() if str(paths.cluster) in line]
    for line in reversed(mounted):
        succeeds([program("umount"), "-l", line.split()[1]])
    for path in paths.cluster.iterdir():
        if keep_images and path.name in ("containerd", "images.json"):
            continue
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
