"""Up, down and status of our own cluster.

The cluster is made anew whenever its processes are not running: a fresh control plane from cached images takes about
a minute and is more dependable than waking up old state. Imported images are kept, for they take longest.
"""

import os
import shutil
import time
from concurrent.futures import ThreadPoolExecutor

from tests.cluster import addons, containerd, golang, host, images, namespace
from tests.cluster.cache import digest, write_atomically
from tests.cluster.kube import local
from tests.cluster.node import INSIDE, config_files
from tests.cluster.progress import say, spell, stage
from tests.cluster.s3 import make_bucket
from tests.cluster.settings import (
    BUCKET,
    HERE,
    INGRESS_IP,
    MANIFESTS,
    MINIO_IP,
    NODE_IP,
    PROMETHEUS_IP,
    S3_ACCESS_KEY,
    S3_SECRET_KEY,
    Paths,
)
from tests.cluster.shell import ClusterError, run
from tests.cluster.system_images import PAUSE_IMAGE, SystemImages, system_images

_DEFINING = ("node", "overlay", "addons", "init", "namespace", "settings")
# The compiler's caches take 14 GiB for a while, the model's image 20 for good (builder, containerd, uv).
# What a proxy of the machine must not be asked for, by range and, for clients that know no ranges, by address.
_OWN_NETWORKS = ("10.96.0.0/16", "10.98.0.0/30", "10.99.0.0/24", INGRESS_IP, MINIO_IP, PROMETHEUS_IP, NODE_IP)
COLD_FREE_GIB = 35
WARM_FREE_GIB = 6


def _memory_bytes() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def cluster_key(system: SystemImages) -> str:
    """A key over everything that a running cluster was made from."""
    inputs = {f"{name}.py": (HERE / f"{name}.py").read_bytes() for name in _DEFINING}
    inputs |= {path.name: path.read_bytes() for path in MANIFESTS.glob("*.yaml")}
    inputs["images"] = repr(sorted(system.keys.items())).encode()
    return digest(inputs)


def healthy(paths: Paths, patience_s: float) -> bool:
    """Whether our cluster runs, answers, and all its system deployments are available within the time given."""
    if namespace.init_pid(paths) is None or not paths.ready_file.exists():
        return False
    kube, deadline = local(paths), time.monotonic() + patience_s
    while True:
        if kube.reachable() and not kube.unavailable(addons.NAMESPACES):
            return True
        if time.monotonic() > deadline:
            return False
        time.sleep(2)


def _check_disk(paths: Paths) -> None:
    paths.state.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(paths.state).free // 2**30
    need = COLD_FREE_GIB if golang.missing(paths) else WARM_FREE_GIB
    if free < need:
        raise ClusterError(f"{paths.state} has {free} GiB left, the cluster needs {need}; set PUZZLE_STATE elsewhere")


def prepare(paths: Paths) -> SystemImages:
    """Everything that can be done without a cluster: packages, programs, descriptions of the images."""
    host.require_root()
    missing = host.missing_packages()
    if missing:
        with stage(f"install {len(missing)} Debian packages", 45):
            host.install_packages(paths)
    if golang.missing(paths):
        with ThreadPoolExecutor(max_workers=1) as pool:
            # fetches more than it computes: it fits beside the compiler
            storage = pool.submit(images.ensure_built, paths, images.TARGETS["storage-initializer"])
            golang.build_missing(paths)
            storage.result()
    return system_images(paths)


def _write_config(paths: Paths) -> None:
    for name, text in config_files(_memory_bytes(), PAUSE_IMAGE, paths.cgroup).items():
        write_atomically(paths.cluster / "config" / name, text)
    for folder in (paths.node_logs, paths.logs, paths.cluster / "pids"):
        folder.mkdir(parents=True, exist_ok=True)


def _boot(paths: Paths, system: SystemImages) -> None:
    """Namespaces, containerd and the system's images. Raises ClusterError when containerd's old state is broken."""
    with stage("start namespaces, etcd and containerd"):
        _write_config(paths)
        namespace.start(paths, golang.binary(paths, "kubernetes", "kubelet"))
        containerd.wait_ready(paths)
        containerd.forget_containers(paths)
    with stage("import the system's images", 15):
        containerd.import_system_images(paths, system)


def _kubeadm(paths: Paths) -> None:
    log, config = paths.logs / "kubeadm.log", INSIDE / "config" / "kubeadm.yaml"
    kubeadm = golang.binary(paths, "kubernetes", "kubeadm")
    path = f"PATH={kubeadm.parent}:/usr/sbin:/usr/bin:/sbin:/bin"
    command = [
        "env",
        path,
        str(kubeadm),
        "init",
        "--config",
        str(config),
        "--skip-phases=preflight,addon/coredns",
    ]
    hint = f"kubelet's log: {paths.node_logs / 'kubelet.log'}"
    run(namespace.enter(paths, *command), log, hint=hint, timeout=300)
    copy = ["cp", "/etc/kubernetes/admin.conf", str(INSIDE / "kubeconfig")]
    run(namespace.enter(paths, *copy), log)
    paths.kubeconfig.chmod(0o600)


def _rebuild(paths: Paths, system: SystemImages) -> None:
    namespace.stop(paths)
    namespace.remove_state(paths, keep_images=True)
    paths.cluster.mkdir(parents=True, exist_ok=True)
    try:
        _boot(paths, system)
    except ClusterError as broken:
        say(f"....  the image store of an earlier run is of no use, starting without it ({str(broken)[:120]})")
        namespace.stop(paths)
        namespace.remove_state(paths, keep_images=False)
        paths.cluster.mkdir(parents=True, exist_ok=True)
        _boot(paths, system)
    storage = images.ensure(paths, images.TARGETS["storage-initializer"])
    with stage("start Kubernetes (kubeadm)", 20):
        _kubeadm(paths)
    addons.install(paths, local(paths), system.refs, storage)
    with stage("make the bucket"):
        make_bucket(addons.bucket_url(), S3_ACCESS_KEY, S3_SECRET_KEY)


def up(paths: Paths) -> None:
    """Bring the cluster up, or find it up. Raises ClusterError when that is not possible."""
    began = time.monotonic()
    _check_disk(paths)
    owner = namespace.other_owner(paths)
    if owner:
        raise ClusterError(f"another cluster runs from {owner}: end it (PUZZLE_STATE=… down) before starting this one")
    system = prepare(paths)
    key = cluster_key(system)
    if healthy(paths, patience_s=60 if paths.ready_file.exists() else 0):
        if paths.ready_file.read_text().strip() != key:
            say("note  the running cluster was made from other definitions; `down`, then `up` renews it")
        say(f"ok    the cluster was up already, checked in {spell(time.monotonic() - began)}")
    else:
        if namespace.init_pid(paths) is not None:
            say("....  a cluster is running but is not complete or not healthy: making it anew")
        _rebuild(paths, system)
        write_atomically(paths.ready_file, f"{key}\n")
        say(f"ok    the cluster is up after {spell(time.monotonic() - began)}")


def down(paths: Paths, everything: bool = False) -> None:
    """End the cluster and clear what it left; with `everything`, imported images and the build cache too."""
    running = namespace.stop(paths)
    namespace.remove_state(paths, keep_images=not everything)
    if everything:
        for folder in (paths.cluster, paths.build):
            shutil.rmtree(folder, ignore_errors=True)
    say("ok    the cluster is down" if running else "ok    no cluster was running; leftovers are cleared")


def environment(paths: Paths) -> dict[str, str]:
    """Variables for those that use our cluster from the host; kubectl and helm of the cache come first on PATH."""
    near = ",".join(filter(None, [os.environ.get("NO_PROXY") or os.environ.get("no_proxy"), *_OWN_NETWORKS]))
    tools = [str(golang.folder(paths, golang.BY_NAME[name])) for name in ("kubernetes", "helm")]
    return {
        "KUBECONFIG": str(paths.kubeconfig),
        "PUZZLE_STATE": str(paths.state),
        "PUZZLE_INGRESS_URL": f"http://{INGRESS_IP}:80",
        "PUZZLE_S3_ENDPOINT": f"{MINIO_IP}:9000",
        "PUZZLE_S3_BUCKET": BUCKET,
        "PUZZLE_PROMETHEUS_URL": f"http://{PROMETHEUS_IP}:9090",
        "NO_PROXY": near,
        "no_proxy": near,
        "AWS_ACCESS_KEY_ID": S3_ACCESS_KEY,
        "AWS_SECRET_ACCESS_KEY": S3_SECRET_KEY,
        "PATH": os.pathsep.join([*tools, os.environ.get("PATH", "")]),
    }
