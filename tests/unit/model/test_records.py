"""Records: their settings, their ids, and what is in them."""

import io
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageFilter

from puzzlenet.errors import PuzzleNetError
from puzzlenet.predictor import Predictor
from puzzlenet.protocol import Request
from puzzlenet.records.encode import Encoder, Seen, as_jpeg, dimensions, image_stats
from puzzlenet.records.identity import record_ids
from puzzlenet.records.observed import ObservedPredictor
from puzzlenet.records.settings import Origin, RecordSettings, from_environment, read_token

Picture = Callable[..., bytes]
ORIGIN = Origin(namespace="lyon", model="line-1", line="line-1", revision="line-1-00001", version="sha256:abc")
CLASSES = ("ok", "scratch")


# ---- settings


def test_without_an_address_nothing_is_recorded() -> None:
    assert from_environment({"PUZZLE_MONITOR_IMAGE_SHARE": "nonsense"}) is None
    assert from_environment({"PUZZLE_MONITOR_URL": " "}) is None


def test_names_come_from_the_pod_and_the_rest_has_defaults() -> None:
    names = {"PUZZLENET_NAMESPACE": "lyon", "PUZZLENET_MODEL": "line-1", "PUZZLENET_LINE": "line-1"}
    names |= {"K_REVISION": "line-1-00001", "PUZZLENET_VERSION": "sha256:abc"}
    found = from_environment({"PUZZLE_MONITOR_URL": "http://monitor:8080/", **names})
    assert found == RecordSettings(url="http://monitor:8080", origin=ORIGIN)


@pytest.mark.parametrize(
    ("variable", "value", "sentence"),
    [
        ("PUZZLE_MONITOR_URL", "monitor:8080", "must be the monitor's address"),
        ("PUZZLE_MONITOR_URL", "http://[", "must be the monitor's address"),
        ("PUZZLE_MONITOR_URL", "http://me:secret@monitor", "address only"),
        ("PUZZLENET_LINE", "line one", "PUZZLENET_LINE is 'line one': use letters"),
        ("PUZZLE_MONITOR_IMAGE_SHARE", "2", "a number from 0 to 1"),
        ("PUZZLE_MONITOR_IMAGE_BELOW", "nan", "a number from 0 to 1"),
        ("PUZZLE_MONITOR_QUEUE", "many", "a whole number from 1 to 1,000,000"),
        ("PUZZLE_MONITOR_QUEUE_BYTES", "1", "a whole number from"),
    ],
)
def test_a_bad_setting_is_a_sentence_without_secrets(variable: str, value: str, sentence: str) -> None:
    with pytest.raises(PuzzleNetError, match=sentence) as caught:
        from_environment({"PUZZLE_MONITOR_URL": "http://monitor", variable: value})
    assert "secret" not in str(caught.value)


def test_a_token_file_that_is_missing_or_no_token_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(PuzzleNetError, match="cannot be read"):
        read_token(tmp_path / "token")
    (tmp_path / "token").write_text("two words\n")
    with pytest.raises(PuzzleNetError, match="one token") as caught:
        read_token(tmp_path / "token")
    assert "words" not in str(caught.value)


# ---- ids


def test_a_clients_own_id_is_the_records_where_it_can_be_one() -> None:
    one, two = (b"a",), (b"a", b"b")
    assert record_ids(Request("v2", one, "piece-7"), "r") == ("piece-7",)
    assert record_ids(Request("v2", two, "piece-7"), "r") == ("piece-7:0", "piece-7:1")
    assert record_ids(Request("v2", one, "piece 7"), "r") == ("r",)
    assert record_ids(Request("v2", two, "x" * 127), "r") == ("r:0", "r:1")
    assert record_ids(Request("v1", two, None, ("mine", None)), "r") == ("mine", "r:1")
    assert record_ids(Request("v1", one, "whole", ("not usable",)), "r") == ("whole",)
    assert uuid.UUID(record_ids(Request("raw", one), "")[0])


# ---- what is in a record


@pytest.mark.parametrize("format", ["PNG", "JPEG"])
@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_the_size_of_a_picture_is_read_from_its_header(picture: Picture, format: str, mode: str) -> None:
    assert dimensions(picture(mode, (41, 23), format)) == (41, 23)


def test_the_size_of_odd_jpegs_is_found_too(picture: Picture) -> None:
    exif = Image.Exif()  # type: ignore[no-untyped-call]
    exif[0x010E] = "x" * 30_000
    assert dimensions(picture(size=(50, 20), format="JPEG", progressive=True, exif=exif)) == (50, 20)
    padded = picture(size=(50, 20), format="JPEG")
    assert dimensions(padded[:2] + b"\xff\xff" + padded[2:]) == (50, 20)


def test_statistics_tell_dark_coloured_and_blurred_pictures_apart() -> None:
    sharp = Image.fromarray(np.random.default_rng(1).integers(0, 256, (64, 64, 3), dtype=np.uint8))
    blurred = sharp.filter(ImageFilter.GaussianBlur(1))
    flat = np.zeros((64, 64, 3), dtype=np.uint8)
    flat[..., 0] = 255
    stats = image_stats(np.stack([np.asarray(sharp), np.asarray(blurred), flat]))
    assert stats[0, 0] == pytest.approx(0.5, abs=0.02) and stats[1, 1] < stats[0, 1] / 10
    assert stats[2].tolist() == pytest.approx([0.299, 0.0, 1.0, 0.0, 0.0], abs=1e-4)


def _seen(**changes: Any) -> Seen:
    values: dict[str, Any] = {
        "id": "piece-7",
        "at": 1_700_000_000.25,
        "label": "ok",
        "probabilities": (0.75, 0.25),
        "picture_bytes": 1234,
        "format": "png",
        "size": (128, 96),
        "pixels": np.full((8, 8, 3), 255, dtype=np.uint8),
        "embedding": np.array([0.1, 1e-9, 12345.678], dtype=np.float32),
    }
    return Seen(**{**values, **changes})


def test_a_record_is_what_the_monitor_takes() -> None:
    records = pytest.importorskip("puzzle_monitor.core.records")
    (encoded,) = Encoder(ORIGIN, CLASSES).encode([_seen()], 0.0)
    assert encoded is not None
    (found,) = records.Batch.model_validate_json(b'{"records":[' + encoded.json + b"]}").records
    assert found.id == "piece-7" and found.at.timestamp() == 1_700_000_000.25 and found.version == "sha256:abc"
    assert found.probabilities == {"ok": 0.75, "scratch": 0.25} and found.confidence == 0.75
    assert (found.image.width, found.image.height, found.image.bytes, found.image.format) == (128, 96, 1234, "png")
    assert found.image.brightness == 1.0 and found.image.blur == 0.0 and found.image.colour == (1.0, 1.0, 1.0)
    assert found.embedding == pytest.approx(_seen().embedding.tolist(), rel=1e-6)


@pytest.mark.parametrize(
    "change",
    [
        {"probabilities": (float("nan"), float("nan"))},
        {"embedding": np.array([np.inf], dtype=np.float32)},
        {"size": (200_000, 1)},
    ],
)
def test_what_no_monitor_would_take_does_not_spoil_its_batch(change: dict[str, Any]) -> None:
    good, bad = Encoder(ORIGIN, CLASSES).encode([_seen(), _seen(**change)], 0.0)
    assert good is not None and bad is None


def test_pictures_are_sent_as_the_cameras_jpeg_or_made_one(picture: Picture) -> None:
    jpeg = picture(format="JPEG")
    assert as_jpeg(jpeg) is jpeg
    made = Image.open(io.BytesIO(as_jpeg(picture("RGBA", (3000, 20), "PNG"))))
    assert made.format == "JPEG" and made.size == (1024, 7)


def test_features_are_those_of_the_same_pass_and_answers_do_not_change(version: Path, picture: Picture) -> None:
    plain, observed = Predictor.load(version), ObservedPredictor.load(version)
    assert isinstance(observed, ObservedPredictor)
    pictures = [picture(), picture(format="JPEG"), picture("L")]
    assert observed.predict(pictures) == plain.predict(pictures)
    assert observed.pixels.shape == (3, 32, 32, 3) and observed.embeddings.shape == (3, 64)
    embedded = observed._network.embed(_normalised(observed)).detach().numpy()
    assert np.allclose(observed.embeddings, embedded, atol=1e-5)
    observed.predict(pictures[:1])
    assert len(observed.pixels) == len(observed.embeddings) == 1


def _normalised(observed: ObservedPredictor) -> Any:
    import torch

    from puzzlenet.network import normalise

    return normalise(torch.from_numpy(observed.pixels), observed.config.mean, observed.config.std)
