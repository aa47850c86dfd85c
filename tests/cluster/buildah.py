"""buildah with storage of its own under the state folder, for a machine without a registry and without Docker.

It runs in a private mount namespace, so that a killed build leaves no mount behind, and its configuration is given
by options: nothing in /etc/containers is read or written.
"""

import contextlib
import json
import os
import shutil
import signal
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.cluster.cache import digest, write_atomically
from tests.cluster.host import ca_bundle, command_lines, program
from tests.cluster.progress import stage
from tests.cluster.settings import REPOSITORY, Paths
from tests.cluster.shell import ClusterError, capture, run

BASE_NAME = "localhost/puzzle-base"
BASE_SUITE = "bookworm"
BASE_PACKAGES = ("ca-certificates", "python3", "python3-venv", "python3-pip")
# where Debian's programs, pip and uv look for certificates
_CA_INSIDE = "/etc/ssl/certs/ca-certificates.crt"
_PIP_CONFIGURATION = Path("/etc/pip.conf")


@dataclass(frozen=True)
class Buildah:
    """One buildah storage. `log` gets what the commands print."""

    paths: Paths
    log: Path

    @property
    def _home(self) -> Path:
        return self.paths.build / "buildah"

    def command(self, *words: str) -> list[str]:
        """A command line with our storage and a private mount namespace; builds also need `trust`."""
        store = ["--root", str(self._home / "root"), "--runroot", str(self._home / "run")]
        private = [program("unshare"), "--mount", "--propagation", "private"]
        return [
            *private,
            *self._shared_cache(),
            program("buildah"),
            *store,
            "--storage-driver",
            "overlay",
            *words,
        ]

    def _shared_cache(self) -> list[str]:
        """Mounts the machine's uv cache over buildah's, if there is one: torch is then fetched and kept once."""
        shared = uv_cache(os.environ)
        if not shared.is_dir():
            return []
        # where buildah keeps `RUN --mount=type=cache,target=/root/.cache/uv`
        inside = self._home / "tmp" / "buildah-cache" / "root" / ".cache" / "uv"
        inside.mkdir(parents=True, exist_ok=True)
        script = 'mount --bind "$1" "$2" && shift 2 && exec "$@"'
        return ["sh", "-c", script, "sh", str(shared), str(inside)]

    def trust(self) -> list[str]:
        """Options that make buildah accept local images without the machine's own policy files."""
        policy, registries = self._home / "policy.json", self._home / "registries.conf"
        write_atomically(policy, json.dumps({"default": [{"type": "insecureAcceptAnything"}]}))
        write_atomically(registries, "")
        return ["--signature-policy", str(policy)]

    def environment(self) -> dict[str, str]:
        """Temporary files (and with them the caches of `RUN --mount=type=cache`) stay in the state folder."""
        temporary = self._home / "tmp"
        temporary.mkdir(parents=True, exist_ok=True)
        return {
            "TMPDIR": str(temporary),
            "BUILDAH_ISOLATION": "chroot",
            "CONTAINERS_REGISTRIES_CONF": str(self._home / "registries.conf"),
        }

    def run(self, *words: str, hint: str = "") -> None:
        """Run a buildah command; raises ClusterError with the end of its log."""
        run(self.command(*words), self.log, env=self.environment(), hint=hint)

    def tags(self) -> dict[str, str]:
        """Image ids by `name:tag`."""
        listed = json.loads(capture(self.command("images", "--json"), env=self.environment()) or "[]")
        return {name: image["id"] for image in listed or [] for name in image.get("names") or []}

    def layers(self, name: str) -> dict[str, Path]:
        """The overlay folders of an image by layer id, from the bottom up."""
        root = self._home / "root"
        images = json.loads((root / "overlay-images" / "images.json").read_text())
        parents = {
            layer["id"]: layer.get("parent", "")
            for layer in json.loads((root / "overlay-layers" / "layers.json").read_text())
        }
        current: str = next(image["layer"] for image in images if name in image.get("names", []))
        chain: list[str] = []
        while current:
            chain.append(current)
            current = parents[current]
        return {layer: root / "overlay" / layer / "diff" for layer in reversed(chain)}

    def configuration(self, name: str) -> dict[str, object]:
        """An image's run-time configuration (user, environment, entry point) in the OCI spelling."""
        found = json.loads(capture(self.command("inspect", "--type", "image", name), env=self.environment()))
        config: dict[str, object] = found["OCIv1"]["config"]
        return config

    def remove_stale(self, name: str, keep: str) -> None:
        """Remove images of the same name with another tag; layers that others use stay."""
        stale = [tag for tag in self.tags() if tag.rpartition(":")[0] == name and tag != keep]
        if stale:
            self.run("rmi", "--force", *stale)

    def clear_leftovers(self) -> None:
        """End builds whose caller was killed, remove their working containers and temporary files.

        The caller holds the state folder's lock, so whatever else works on this storage is such a leftover.
        """
        if not (self._home / "root").exists():
            return
        for pid, words in command_lines():
            if str(self._home / "root") in words and pid != os.getpid():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        try:
            self.run("rm", "--all")
        except ClusterError:
            # a storage that a kill has left unreadable: a build from scratch is the cure
            shutil.rmtree(self._home, ignore_errors=True)
        for path in (self._home / "tmp").glob("*"):
            if path.name.startswith("buildah-cache"):
                continue
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)


def uv_cache(environment: Mapping[str, str]) -> Path:
    """Where uv keeps its cache on this machine, by its documented rules."""
    if environment.get("UV_CACHE_DIR"):
        return Path(environment["UV_CACHE_DIR"])
    home = environment.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(home) / "uv"


def debian_sources(listing: str) -> list[str]:
    """`deb` lines for the base image from `apt-get indextargets` output (fields split by a bar): Debian's own only."""
    lines: list[str] = []
    for row in listing.splitlines():
        uri, suite, component, origin, signed = (*row.split("|"), "", "", "", "", "")[:5]
        if origin != "Debian" or not suite.startswith(BASE_SUITE) or component != "main":
            continue
        options = f" [signed-by={signed}]" if signed.startswith("/") else ""
        lines.append(f"deb{options} {uri} {suite} {component}")
    return list(dict.fromkeys(lines))


def _sources() -> list[str]:
    fields = "$(SITE)|$(RELEASE)|$(COMPONENT)|$(ORIGIN)|$(SIGNED_BY)"
    found = debian_sources(capture(["apt-get", "indextargets", "--format", fields, "Created-By: Packages"]))
    if not found:
        raise ClusterError("apt has no Debian 12 (bookworm) source to build the base image from")
    return found


def base_image(paths: Paths) -> str:
    """The Debian base of our images, made with mmdebstrap from the machine's own apt sources if it is missing."""
    buildah = Buildah(paths, paths.logs / "base-image.log")
    inputs = {"packages": " ".join(BASE_PACKAGES).encode(), "suite": BASE_SUITE.encode(), "recipe": b"1"}
    name = f"{BASE_NAME}:{digest(inputs)}"
    if name in buildah.tags():
        return name
    archive = paths.build / ".base.tar"
    with stage("make the Debian base image", 40):
        try:
            recipe = ["--variant=apt", f"--include={','.join(BASE_PACKAGES)}", "--format=tar"]
            # documentation and translations are of no use in a container
            recipe += [f"--dpkgopt=path-exclude=/usr/share/{part}/*" for part in ("doc", "man", "locale", "info")]
            command: Sequence[str | Path] = [program("mmdebstrap"), *recipe, BASE_SUITE, archive, *_sources()]
            run(command, buildah.log, env=buildah.environment())
            trust = buildah.trust()
            for stale in ("puzzle-base-work",):
                subprocess.run(buildah.command("rm", stale), capture_output=True, check=False)
            buildah.run("from", *trust, "--name", "puzzle-base-work", "scratch")
            buildah.run("add", "--quiet", "puzzle-base-work", str(archive), "/")
            buildah.run("config", "--env", "PATH=/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin", "puzzle-base-work")
            buildah.run("commit", "--quiet", "--rm", *trust, "puzzle-base-work", name)
        finally:
            archive.unlink(missing_ok=True)
    buildah.remove_stale(BASE_NAME, name)
    return name


def _pip_configuration(paths: Paths) -> Path:
    """The machine's pip configuration, or one that makes pip trust the machine's certificates."""
    if _PIP_CONFIGURATION.is_file():
        return _PIP_CONFIGURATION
    own = paths.build / "buildah" / "pip.conf"
    write_atomically(own, f"[global]\ncert = {_CA_INSIDE}\n")
    return own


def _commit() -> str:
    """The commit of this checkout; empty where it is none."""
    command = ["git", "-C", str(REPOSITORY), "rev-parse", "HEAD"]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()


def build(paths: Paths, target: str, tag: str, arguments: Mapping[str, str]) -> None:
    """Build one stage of the Dockerfile as `tag`. Layers that have not changed come from the storage."""
    buildah = Buildah(paths, paths.logs / f"image-{target}.log")
    bundle = ca_bundle()
    options = ["--layers", "--isolation", "chroot", "--network", "host", "--target", target, "--tag", tag]
    options += ["--volume", f"{bundle}:{_CA_INSIDE}:ro"]
    options += ["--volume", f"{_pip_configuration(paths)}:{_PIP_CONFIGURATION}:ro"]
    if Path("/etc/uv/uv.toml").is_file():
        options += ["--volume", "/etc/uv/uv.toml:/etc/uv/uv.toml:ro"]
    values = {"BASE_IMAGE": base_image(paths), **arguments}
    for name in ("PIP_INDEX_URL", "UV_DEFAULT_INDEX"):
        if os.environ.get(name):
            values.setdefault("PYTHON_INDEX", os.environ[name])
    if target == "model" and (commit := _commit()):
        values.setdefault("COMMIT", commit)
    for name, value in values.items():
        options += ["--build-arg", f"{name}={value}"]
    ignore = ["--ignorefile", str(REPOSITORY / ".dockerignore"), "--file", str(REPOSITORY / "Dockerfile")]
    hint = "are the machine's Python index and Debian mirror reachable, and is there disk space?"
    buildah.run("bud", *buildah.trust(), *options, *ignore, str(REPOSITORY), hint=hint)
