"""Formats that other programs read: OCI archives, node configuration, signatures; and texts that we read."""

import hashlib
import io
import json
import os
import stat
import tarfile
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
import yaml

from tests.cluster import node
from tests.cluster.buildah import debian_sources
from tests.cluster.containerd import orphans
from tests.cluster.oci import Entry, Image, OverlayLayer, archive_bytes, describe, with_parents
from tests.cluster.progress import spell
from tests.cluster.s3 import sign
from tests.cluster.system_images import libraries


def _image(tmp_path: Path, name: str) -> Image:
    program = tmp_path / "program"
    program.write_bytes(b"\x7fELF" + b"x" * 1000)
    return Image(name, (Entry("/bin/deep/program", program), Entry("/bin/link", link="deep/program")), ("/bin/link",))


def test_oci_archive_is_consistent_and_deterministic(tmp_path: Path) -> None:
    image = _image(tmp_path, "dev.local/thing:1")
    both = [image.assemble(), _image(tmp_path, "dev.local/other:1").assemble()]
    data = archive_bytes(both)
    assert data == archive_bytes(both)
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        files = {m.name: archive.extractfile(m).read() for m in archive.getmembers()}  # type: ignore[union-attr]
    for name, content in files.items():
        if name.startswith("blobs/"):
            assert name.rpartition("/")[2] == hashlib.sha256(content).hexdigest()
    index = json.loads(files["index.json"])["manifests"]
    assert [m["annotations"]["io.containerd.image.name"] for m in index] == [
        "dev.local/thing:1",
        "dev.local/other:1",
    ]

    def blob(digest: str) -> bytes:
        return files[f"blobs/sha256/{digest.removeprefix('sha256:')}"]

    manifest = json.loads(blob(index[0]["digest"]))
    config = json.loads(blob(manifest["config"]["digest"]))
    assert config["rootfs"]["diff_ids"] == [manifest["layers"][0]["digest"]]
    assert config["config"]["User"] == "65532:65532"
    with tarfile.open(fileobj=io.BytesIO(blob(manifest["layers"][0]["digest"]))) as layer:
        assert layer.getnames() == ["bin", "bin/deep", "bin/deep/program", "bin/link"]
        assert layer.getmember("bin/deep/program").mode == 0o755


def test_overlay_layer_keeps_links_and_turns_deletions_into_whiteouts(tmp_path: Path) -> None:
    (tmp_path / "app").mkdir()
    (tmp_path / "app" / "code.py").write_text("pass")
    (tmp_path / "app" / "same.py").hardlink_to(tmp_path / "app" / "code.py")
    (tmp_path / "app" / "link").symlink_to("code.py")
    try:
        os.mknod(tmp_path / "app" / "deleted", 0o600 | stat.S_IFCHR, os.makedev(0, 0))
    except PermissionError:
        pytest.skip("making an overlay's whiteout needs root")
    first = describe(OverlayLayer(tmp_path))
    buffer = io.BytesIO()
    OverlayLayer(tmp_path).write(buffer)
    assert first.digest == f"sha256:{hashlib.sha256(buffer.getvalue()).hexdigest()}"
    assert first.size == len(buffer.getvalue())
    with tarfile.open(fileobj=io.BytesIO(buffer.getvalue())) as layer:
        assert layer.getnames() == ["app", "app/code.py", "app/.wh.deleted", "app/link", "app/same.py"]
        assert layer.getmember("app/same.py").linkname == "app/code.py"
        assert layer.getmember("app/link").linkname == "code.py"


def test_held_layers_are_named_but_not_sent(tmp_path: Path) -> None:
    image = _image(tmp_path, "dev.local/thing:1").assemble()
    held = replace(image, layers=tuple(replace(layer, held=True) for layer in image.layers))
    digest = image.layers[0].digest.removeprefix("sha256:")
    for assembled, present in ((image, True), (held, False)):
        with tarfile.open(fileobj=io.BytesIO(archive_bytes([assembled]))) as archive:
            assert (f"blobs/sha256/{digest}" in archive.getnames()) is present
    assert archive_bytes([held])[-2000:] == archive_bytes([image])[-2000:]


def test_parents_come_before_children_and_keep_their_mode() -> None:
    entries = with_parents([Entry("/tmp/a/b"), Entry("/tmp", mode=0o1777)])
    assert [(entry.path, entry.mode) for entry in entries] == [
        ("/tmp", 0o1777),
        ("/tmp/a", 0o755),
        ("/tmp/a/b", 0o755),
    ]


def test_signature_matches_the_published_example() -> None:
    """AWS's own example of Signature Version 4 for S3, "GET Bucket Lifecycle": same algorithm, query included."""
    headers = sign(
        "GET",
        "https://examplebucket.s3.amazonaws.com/?lifecycle=",
        "AKIAIOSFODNN7EXAMPLE",
        "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
        datetime(2013, 5, 24, tzinfo=UTC),
    )
    expected = "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543"
    assert headers["authorization"].endswith(f"Signature={expected}")


def test_kubeadm_documents() -> None:
    kinds = {d["kind"]: d for d in yaml.safe_load_all(node.kubeadm_config(16 * 2**30, "puzzlenet-1234"))}
    assert set(kinds) == {
        "InitConfiguration",
        "ClusterConfiguration",
        "KubeletConfiguration",
        "KubeProxyConfiguration",
    }
    kubelet = kinds["KubeletConfiguration"]
    assert kubelet["systemReserved"]["memory"] == "4096Mi"
    # percentages of a big disk with little usable space would evict every pod
    assert not [v for k, v in kubelet["evictionHard"].items() if k.endswith(".available") and v.endswith("%")]


def test_every_static_pod_gets_a_memory_limit() -> None:
    for text in node.control_plane_patches().values():
        (container,) = yaml.safe_load(text)["spec"]["containers"]
        assert container["resources"]["limits"]["memory"]


def test_libraries_from_ldd() -> None:
    output = """\
        linux-vdso.so.1 (0x00007f554927c000)
        libc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x00007f5549089000)
        /lib64/ld-linux-x86-64.so.2 (0x00007f554927e000)
        libgone.so.1 => not found
    """
    assert libraries(output) == ["/lib/x86_64-linux-gnu/libc.so.6", "/lib64/ld-linux-x86-64.so.2"]


def test_orphans_are_references_by_content_without_a_name() -> None:
    listing = """\
REF TYPE DIGEST SIZE PLATFORMS LABELS
dev.local/a:1 application/vnd.oci.image.manifest.v1+json sha256:aa 1MiB linux/amd64 -
sha256:01 application/vnd.oci.image.manifest.v1+json sha256:aa 1MiB linux/amd64 -
sha256:02 application/vnd.oci.image.manifest.v1+json sha256:bb 5GiB linux/amd64 -"""
    assert orphans(listing) == ["sha256:02"]


def test_debian_sources_take_debian_alone() -> None:
    listing = """\
http://mirror.example/debian|bookworm|main|Debian|/usr/share/keyrings/d.gpg
http://mirror.example/debian|bookworm|main|Debian|/usr/share/keyrings/d.gpg
http://mirror.example/debian|bookworm|contrib|Debian|$(SIGNED_BY)
http://mirror.example/security|bookworm-security|main|Debian|$(SIGNED_BY)
https://vendor.example/apt|stable|main|Vendor|$(SIGNED_BY)"""
    assert debian_sources(listing) == [
        "deb [signed-by=/usr/share/keyrings/d.gpg] http://mirror.example/debian bookworm main",
        "deb http://mirror.example/security bookworm-security main",
    ]


def test_spelled_times() -> None:
    assert [spell(s) for s in (4.21, 48.3, 185.0)] == ["4.2 s", "48 s", "3 min 05 s"]
