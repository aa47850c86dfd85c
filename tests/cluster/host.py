"""What the machine itself has to have: root, Debian packages, Python wheels with binaries in them, a CA bundle.

Debian packages are the one thing the cluster puts outside its state folder. None of the daemons in them is
started: a temporary policy-rc.d says no while they are installed.
"""

import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tests.cluster.settings import TOOLS, Paths
from tests.cluster.shell import ClusterError, capture, run

# package -> a program or folder that proves it is there
PACKAGES: dict[str, str] = {
    "containerd": "containerd",
    "runc": "runc",
    "buildah": "buildah",
    "etcd-server": "etcd",
    "containernetworking-plugins": "/usr/lib/cni/bridge",
    "iptables": "iptables",
    "conntrack": "conntrack",
    "iproute2": "ip",
    "mmdebstrap": "mmdebstrap",
    "openssl": "openssl",
    "util-linux": "nsenter",
    "ca-certificates": "/etc/ssl/certs/ca-certificates.crt",
    "procps": "sysctl",
    "kmod": "modprobe",
    "mount": "mount",
    "chromium": "chromium",  # the monitor's pages are tested in a browser
}
SEARCH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
POLICY = Path("/usr/sbin/policy-rc.d")
CA_VARIABLES = ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "PIP_CERT")


def require_root() -> None:
    """Raise ClusterError unless this process may create namespaces and mounts."""
    if os.geteuid() != 0:
        raise ClusterError(
            "the test cluster needs root (namespaces, mounts, a network link); run it with sudo -E, "
            "or point KUBECONFIG at a cluster that has Knative and KServe"
        )


def program(name: str) -> str:
    """Full path of a program. sbin is searched too: it is not on every user's PATH."""
    found = shutil.which(name, path=f"{os.environ.get('PATH', '')}:{SEARCH}")
    if found is None:
        raise ClusterError(f"{name} is not installed; `python -m tests.cluster up` installs its Debian package")
    return found


def missing_packages() -> list[str]:
    """Names of the Debian packages whose witness is absent."""
    path = f"{os.environ.get('PATH', '')}:{SEARCH}"
    return [
        name
        for name, witness in PACKAGES.items()
        if not (Path(witness).exists() if witness.startswith("/") else shutil.which(witness, path=path))
    ]


@contextmanager
def _no_daemons() -> Iterator[None]:
    """While this holds, invoke-rc.d starts nothing. A policy that somebody else has set stays untouched."""
    if POLICY.exists():
        yield
        return
    POLICY.write_text("#!/bin/sh\n# set for one apt-get run by tests.cluster\nexit 101\n")
    POLICY.chmod(0o755)
    try:
        yield
    finally:
        POLICY.unlink(missing_ok=True)


def install_packages(paths: Paths) -> None:
    """Install what is missing with apt-get, without recommended extras and without starting a daemon."""
    missing = missing_packages()
    if not missing:
        return
    if shutil.which("apt-get") is None:
        raise ClusterError(f"missing programs and no apt-get to install them with: {', '.join(missing)}")
    log = paths.logs / "apt.log"
    env = {"DEBIAN_FRONTEND": "noninteractive"}
    wait = ["-o", "DPkg::Lock::Timeout=300"]
    with _no_daemons():
        run(["apt-get", *wait, "update"], log, env=env, hint="is the machine's Debian mirror reachable?")
        run(["apt-get", *wait, "install", "-y", "--no-install-recommends", *missing], log, env=env)
    still = missing_packages()
    if still:
        raise ClusterError(f"installed, but still not found: {', '.join(still)}; see {log}")


def command_lines() -> Iterator[tuple[int, list[str]]]:
    """Process id and arguments of every process on the machine."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with suppress(OSError):
                words = (entry / "cmdline").read_bytes().decode(errors="replace").split("\0")
                yield int(entry.name), words


def ca_bundle() -> Path:
    """The CA bundle that this machine's programs are told to trust; builds get it mounted."""
    for variable in CA_VARIABLES:
        value = os.environ.get(variable)
        if value and Path(value).is_file():
            return Path(value).resolve()
    return Path("/etc/ssl/certs/ca-certificates.crt")


def pip_target(requirement_file: str, target: Path, log: Path) -> None:
    """Install one pinned, hashed requirement file into a folder, with uv if it is there, else with pip."""
    requirements = TOOLS / "python" / requirement_file
    options = ["--no-deps", "--require-hashes", "--target", str(target), "-r", str(requirements)]
    # `make venv` keeps its uv beside the environment, not in it
    places = [Path(sys.prefix) / ".tools" / "bin", Path(sys.prefix) / "bin", os.environ.get("PATH", "")]
    uv = shutil.which("uv", path=os.pathsep.join(map(str, places)))
    if uv:
        command = [uv, "pip", "install", "--python", sys.executable, "--no-config", *options]
        run(command, log, env={"UV_SYSTEM_CERTS": "true"})
        return
    for python in (sys.executable, "python3"):
        try:
            capture([python, "-m", "pip", "--version"])
        except ClusterError:
            continue
        run([python, "-m", "pip", "install", "--no-compile", *options], log)
        return
    raise ClusterError("neither uv nor pip was found; install python3-pip or put uv on PATH")
