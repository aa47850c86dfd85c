"""Images in the cluster's containerd: what is there, what is missing, streaming it in."""

import contextlib
import json
import subprocess
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

from tests.cluster.cache import write_atomically
from tests.cluster.namespace import enter
from tests.cluster.node import CONTAINERD_SOCKET
from tests.cluster.oci import Assembled, write_archive
from tests.cluster.settings import Paths
from tests.cluster.shell import ClusterError, capture, run, succeeds, tail
from tests.cluster.system_images import SystemImages

READY_TIMEOUT_S = 30.0


def ctr(paths: Paths, *words: str) -> list[str]:
    """A command line for containerd's own client, in Kubernetes' image namespace."""
    return enter(paths, "ctr", "--address", CONTAINERD_SOCKET, "--namespace", "k8s.io", *words)


def wait_ready(paths: Paths) -> None:
    """Wait until containerd answers. Raises ClusterError with its log."""
    deadline = time.monotonic() + READY_TIMEOUT_S
    while not succeeds(ctr(paths, "version"), timeout=5):
        if time.monotonic() > deadline:
            log = paths.node_logs / "containerd.log"
            raise ClusterError(f"containerd does not answer; log {log}:\n{tail(log)}")
        time.sleep(0.2)


def image_names(paths: Paths) -> set[str]:
    """References of every image that containerd holds."""
    return set(capture(ctr(paths, "images", "list", "-q")).splitlines())


def forget_containers(paths: Paths) -> None:
    """Remove containers of an earlier life from containerd's records; their images stay."""
    stale = capture(ctr(paths, "containers", "list", "-q")).split()
    if not stale:
        return
    log = paths.logs / "import.log"
    run(ctr(paths, "containers", "delete", *stale), log)
    # its Kubernetes plugin has read the records already: let it start afresh
    run(enter(paths, "sh", "-c", "kill -9 $(cat /run/puzzlenet/pids/containerd)"), log)
    time.sleep(0.5)
    wait_ready(paths)


def _record(paths: Paths) -> dict[str, str]:
    try:
        found = json.loads((paths.cluster / "images.json").read_text())
    except (OSError, ValueError):
        return {}
    return {str(name): str(key) for name, key in found.items()}


def import_images(paths: Paths, images: Sequence[Assembled], log: Path) -> None:
    """Stream images into containerd, which unpacks them. Raises ClusterError with the end of the log."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as out:
        child = subprocess.Popen(ctr(paths, "images", "import", "-"), stdin=subprocess.PIPE, stdout=out, stderr=out)
        assert child.stdin is not None
        # a broken pipe means that the other side has failed; its exit status and log say why
        with contextlib.suppress(BrokenPipeError):
            write_archive(images, child.stdin)
        with contextlib.suppress(BrokenPipeError):
            child.stdin.close()
        if child.wait() != 0:
            raise ClusterError(f"importing images failed; log {log}:\n{tail(log)}")


def import_system_images(paths: Paths, wanted: SystemImages) -> int:
    """Import the images that are missing or were made from other contents. Returns how many."""
    present, record, keys = image_names(paths), _record(paths), wanted.keys
    missing = [i for i in wanted.images if i.name not in present or record.get(i.name) != keys[i.name]]
    if missing:
        import_images(paths, [image.assemble() for image in missing], paths.logs / "import.log")
        write_atomically(paths.cluster / "images.json", json.dumps(keys, indent=1))
        prune_images(paths, keys)
    return len(missing)


def held_blobs(paths: Paths) -> set[str]:
    """Digests of everything in containerd's content store."""
    return set(capture(ctr(paths, "content", "list", "-q")).split())


def used_images(paths: Paths) -> set[str]:
    """References of the images that containers were made from."""
    rows = capture(ctr(paths, "containers", "list")).splitlines()[1:]
    return {row.split()[1] for row in rows if len(row.split()) > 1}


def orphans(listing: str) -> list[str]:
    """References by content (sha256:...) that Kubernetes has added to images that no name points to any more.

    `listing` is the output of `ctr images list`: a header, then reference, media type, digest and more.
    """
    rows = [row.split()[:3] for row in listing.splitlines()[1:] if len(row.split()) >= 3]
    named = {digest for name, _, digest in rows if not name.startswith("sha256:")}
    return [name for name, _, digest in rows if name.startswith("sha256:") and digest not in named]


def prune_images(paths: Paths, keep: Iterable[str], objects: str = "") -> None:
    """Delete other tags of the images in `keep`, but those that a container or the text `objects` names."""
    wanted, used, log = set(keep), used_images(paths), paths.logs / "import.log"
    stems = {name.rpartition(":")[0] for name in wanted}
    present = image_names(paths)
    stale = [
        n for n in present if n.rpartition(":")[0] in stems and n not in wanted and n not in used and n not in objects
    ]
    if stale:
        run(ctr(paths, "images", "delete", *stale), log)
    left = orphans(capture(ctr(paths, "images", "list")))
    if left:
        # only a synchronous deletion makes containerd free the space
        run(ctr(paths, "images", "delete", "--sync", *left), log, timeout=120)
