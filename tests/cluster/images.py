"""The project's own images: built from the Dockerfile when their contents changed, and brought into the cluster.

A tag is a hash of what goes in. Transfer is incremental: layers that containerd already holds (torch: 4.5 GB) are not
read again, so a changed source line costs seconds. Layers go from the builder's overlay folders into containerd as a
stream. `buildah push` would write the same layer to disk twice on the way, 10 GB, and took minutes.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.cluster.buildah import BASE_PACKAGES, BASE_SUITE, Buildah, base_image, build
from tests.cluster.cache import digest, write_atomically
from tests.cluster.containerd import held_blobs, image_names, import_images, prune_images
from tests.cluster.kube import local
from tests.cluster.oci import Assembled, Described, OverlayLayer, describe
from tests.cluster.progress import stage
from tests.cluster.settings import IMAGE_PREFIX, REPOSITORY, STORAGE_INITIALIZER_VERSION, Paths

_COMMON = ("Dockerfile", ".dockerignore", "docker/install", "uv.lock", "pyproject.toml")
# kinds of objects from which pods with our images are made
_REFERRING = ("deployments", "jobs", "clusterservingruntimes", "clusterstoragecontainers", "revisions")
_PROJECT = ("README.md", "LICENSE", "operator", "model")


@dataclass(frozen=True)
class Target:
    """A stage of the Dockerfile that becomes an image, and the paths that go into it."""

    stage: str
    image: str
    sources: tuple[str, ...]
    expected_s: float
    version: str = ""


TARGETS: Mapping[str, Target] = {
    "operator": Target("operator", "puzzle-operator", _PROJECT, 45),
    "monitor": Target("monitor", "puzzle-monitor", _PROJECT, 45),
    "model": Target("model", "puzzle-model", _PROJECT, 180),
    # after the model: it takes that one's layers and adds some
    "drift": Target("drift", "puzzle-drift", _PROJECT, 90),
    "storage-initializer": Target(
        "storage-initializer",
        "kserve-storage-initializer",
        ("tests/cluster/storage_initializer.py",),
        45,
        version=STORAGE_INITIALIZER_VERSION,
    ),
}


def source_files(root: Path, sources: Iterable[str]) -> dict[str, bytes]:
    """Contents of the files below some paths, without what the build leaves out (byte code)."""
    found: dict[str, bytes] = {}
    for source in sources:
        path = root / source
        for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
            if file.is_file() and "__pycache__" not in file.parts and file.suffix != ".pyc":
                found[str(file.relative_to(root))] = file.read_bytes()
    return found


def reference(target: Target, root: Path = REPOSITORY) -> str:
    """The image's full reference; its tag changes exactly when its contents would."""
    inputs = source_files(root, (*_COMMON, *target.sources))
    inputs["base"] = repr((BASE_SUITE, BASE_PACKAGES)).encode()
    version = f"{target.version}-" if target.version else ""
    return f"{IMAGE_PREFIX}/{target.image}:{version}{digest(inputs)}"


def _described(layers: Mapping[str, Path], known: Mapping[str, list[Any]], held: set[str]) -> list[Described]:
    """Layers with digest and size; those hashed before are not read again."""
    result = []
    for identity, folder in layers.items():
        layer = OverlayLayer(folder)
        if identity in known:
            digest_, size = str(known[identity][0]), int(known[identity][1])
            result.append(Described(layer, digest_, size, held=digest_ in held))
        else:
            fresh = describe(layer)
            result.append(Described(layer, fresh.digest, fresh.size, held=fresh.digest in held))
    return result


def transfer(paths: Paths, name: str) -> None:
    """Bring an image from buildah's storage into the cluster's containerd."""
    buildah = Buildah(paths, paths.logs / "image-transfer.log")
    record = paths.build / "buildah" / "layers.json"
    try:
        known: dict[str, list[Any]] = json.loads(record.read_text())
    except (OSError, ValueError):
        known = {}
    layers = buildah.layers(name)
    described = _described(layers, known, held_blobs(paths))
    known |= {identity: [d.digest, d.size] for identity, d in zip(layers, described, strict=True)}
    write_atomically(record, json.dumps(known))
    import_images(paths, [Assembled(name, buildah.configuration(name), tuple(described))], buildah.log)


def ensure_built(paths: Paths, target: Target) -> str:
    """Build one image unless the builder's storage has it. Returns its reference."""
    name = reference(target)
    buildah = Buildah(paths, paths.logs / f"image-{target.stage}.log")
    if name not in buildah.tags():
        buildah.clear_leftovers()
        base_image(paths)
        with stage(f"build image {target.image}", target.expected_s):
            build(paths, target.stage, name, {})
        buildah.remove_stale(name.rpartition(":")[0], name)
    return name


def ensure(paths: Paths, target: Target) -> str:
    """Build and import one image unless the cluster has it. Returns its reference."""
    name = reference(target)
    if name not in image_names(paths):
        ensure_built(paths, target)
        with stage(f"import image {target.image}"):
            transfer(paths, name)
        prune_images(paths, [name], local(paths).mentions(_REFERRING))
    return name


PROJECT_IMAGES = ("operator", "monitor", "model", "drift")


def ensure_all(paths: Paths, names: Iterable[str] = PROJECT_IMAGES) -> dict[str, str]:
    """References of the project's images by stage name, all of them in the cluster."""
    return {name: ensure(paths, TARGETS[name]) for name in names}
