"""Where a version comes from: what its provenance says, and how many different pictures its data set has."""

from puzzlenet.store.datasets import DatasetManifest, Entry
from puzzlenet.store.lineage import origin_of, pictures


def _entry(image: str, label: str = "ok", **changes: str) -> Entry:
    return Entry(image=image * 64, label=label, line="line-1", **changes)  # type: ignore[arg-type]


def test_a_picture_counts_once_however_often_it_is_there() -> None:
    entries = (_entry("a"), _entry("a", source="ok/copy.png"), _entry("b", "stain"), _entry("c", split="test"))
    manifest = DatasetManifest(line="line-1", classes=("ok", "stain"), entries=entries)
    assert sum(manifest.counts().values()) == 4
    assert pictures(manifest) == 2


def test_without_the_data_set_the_provenance_is_believed() -> None:
    provenance = {"dataset": {"manifest": "sha256:d", "counts": {"ok": 30, "stain": 12}}, "parent": "sha256:p"}
    origin = origin_of("sha256:v", provenance)
    assert (origin.images, origin.dataset, origin.parent) == (42, "sha256:d", "sha256:p")
    assert "data set sha256:d (42 pictures)" in origin.sentence()
    assert origin_of("sha256:v", {}).images is None
