"""Training, evaluation and packaging on a small folder: real files, repeatable, nothing half-written."""

import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from puzzlenet.augment import augment
from puzzlenet.config import read_config
from puzzlenet.dataset import open_dataset
from puzzlenet.errors import BadDataError, BadVersionError, PuzzleNetError
from puzzlenet.evaluate import evaluate
from puzzlenet.fit import Epoch, TrainConfig
from puzzlenet.manifest import FILES, MANIFEST, verify
from puzzlenet.network import PuzzleNet
from puzzlenet.package import package
from puzzlenet.predictor import Predictor, seen_as
from puzzlenet.train import pick_device, train

TINY = TrainConfig(epochs=2, width=8, image_size=32)


@pytest.fixture
def squares(tmp_path: Path) -> Path:
    """A problem that a network learns in seconds: bright or dark squares on grey, in a folder nobody described."""
    root = tmp_path / "squares"
    rng = np.random.default_rng(0)
    for label, value in (("bright", 230), ("dark", 30)):
        (root / label).mkdir(parents=True)
        for index in range(40):
            image = rng.integers(100, 150, size=(20, 20), dtype=np.uint8)
            at = rng.integers(2, 12, size=2)
            image[at[0] : at[0] + 6, at[1] : at[1] + 6] = value
            Image.fromarray(image).save(root / label / f"{index}.png")
    return root


def test_it_learns_a_folder_that_it_was_not_made_for(squares: Path, tmp_path: Path) -> None:
    lines: list[Epoch] = []
    config = TrainConfig(epochs=6, width=8, image_size=16, batch=8)
    trained = train(open_dataset(squares), tmp_path / "run", config, on_epoch=lines.append)
    assert trained.config.classes == ("bright", "dark") and trained.config.symmetries == "none"
    assert trained.validation.accuracy == 1.0
    assert [line.number for line in lines] == list(range(1, trained.epochs + 1))
    assert evaluate(tmp_path / "run", squares).scores.accuracy > 0.95


def test_the_same_seed_trains_the_same_weights(pieces: Path, run: Path, tmp_path: Path) -> None:
    train(open_dataset(pieces), tmp_path / "again", TINY)
    assert (tmp_path / "again" / "model.safetensors").read_bytes() == (run / "model.safetensors").read_bytes()
    assert (tmp_path / "again" / "config.json").read_bytes() == (run / "config.json").read_bytes()


def test_it_stops_early_when_nothing_gets_better(squares: Path, tmp_path: Path) -> None:
    config = TrainConfig(epochs=60, patience=1, width=4, image_size=16, learning_rate=1e-9)
    assert train(open_dataset(squares), tmp_path / "run", config).epochs < 60


def test_the_run_tells_how_it_was_made(run: Path, pieces: Path) -> None:
    told = json.loads((run / "training.json").read_text())
    assert told["dataset"]["digest"] == open_dataset(pieces).digest()
    assert told["dataset"]["profile"] == "line-1" and told["parameters"]["seed"] == 0
    assert 0.0 <= told["validation"]["accuracy"] <= 1.0


def test_a_damaged_image_stops_training_before_anything_is_written(squares: Path, tmp_path: Path) -> None:
    (squares / "dark" / "bad.png").write_bytes(b"\x89PNG\r\n\x1a\nno")
    with pytest.raises(BadDataError, match=r"bad\.png"):
        train(open_dataset(squares), tmp_path / "run", TINY)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["squares"]


@pytest.mark.parametrize(
    ("change", "names"),
    [
        ({"epochs": 0}, "--epochs"),
        ({"batch": 1}, "--batch"),
        ({"validation": 0.9}, "--validation"),
        ({"image_size": 50}, "--image-size"),
        ({"width": 0}, "--width"),
        ({"learning_rate": 0.0}, "--learning-rate"),
    ],
)
def test_a_bad_parameter_is_named(change: dict[str, float], names: str) -> None:
    with pytest.raises(PuzzleNetError, match=names):
        TrainConfig(**change)  # type: ignore[arg-type]


def test_a_device_that_is_not_there_is_an_error_not_a_fallback() -> None:
    if torch.cuda.is_available():
        assert pick_device("cuda").type == "cuda"
    else:
        with pytest.raises(PuzzleNetError, match="no CUDA device"):
            pick_device("cuda")
    with pytest.raises(PuzzleNetError, match="choose auto, cpu or cuda"):
        pick_device("tpu")


def test_augmentation_moves_and_flips_but_invents_no_pixel() -> None:
    x = torch.rand(16, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    moved = augment(x, "square", torch.Generator().manual_seed(1), light=0.0)
    assert moved.shape == x.shape and not torch.equal(moved, x)
    for before, after in zip(x, moved, strict=True):
        assert set(after[0].flatten().tolist()) <= set(before[0].flatten().tolist())


def test_without_symmetries_no_picture_is_mirrored() -> None:
    x = torch.arange(32.0).expand(8, 3, 32, 32)  # brightness grows to the right
    moved = augment(x, "none", torch.Generator().manual_seed(1), light=0.0)
    assert bool((moved.diff(dim=3) >= 0).all())


def test_every_view_of_a_picture_is_a_different_one() -> None:
    x = torch.rand(1, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    views = {seen_as(x, view, "square").numpy().tobytes() for view in range(64)}
    assert len(views) == 64 and torch.equal(seen_as(x, 0, "square"), x)


def test_folding_the_norms_changes_no_answer(run: Path) -> None:
    config = read_config(run / "config.json")
    network = PuzzleNet(config.architecture, len(config.classes))
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            assert module.running_var is not None and module.running_mean is not None
            torch.nn.init.uniform_(module.running_var, 0.5, 2.0)
            torch.nn.init.uniform_(module.running_mean, -1.0, 1.0)
    x = torch.randn(4, 3, 32, 32)
    with torch.inference_mode():
        before = network.eval()(x)
        assert torch.allclose(network.fold()(x), before, atol=1e-4)


def test_packaging_twice_gives_one_version(run: Path, version: Path, tmp_path: Path) -> None:
    again = package(run, tmp_path / "again")
    assert again.digest == verify(version).digest
    assert sorted(path.name for path in version.iterdir()) == sorted((*FILES, MANIFEST))


def test_what_the_server_accepts_is_part_of_the_version(run: Path, version: Path, tmp_path: Path) -> None:
    png = package(run, tmp_path / "png", accept=("png",))
    slow = package(run, tmp_path / "slow", views=64)
    assert len({png.digest, slow.digest, verify(version).digest}) == 3
    assert read_config(tmp_path / "png" / "config.json").serving.accept == ("png",)


def test_the_archive_holds_no_time_and_nothing_to_unpickle(version: Path) -> None:
    with zipfile.ZipFile(version / "puzzlenet.mar") as archive:
        assert {info.date_time for info in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}
        assert sorted(archive.namelist()) == [
            "MAR-INF/MANIFEST.json",
            "config.json",
            "model.safetensors",
            "puzzlenet_entry.py",
        ]
        assert archive.read("model.safetensors") == (version / "model.safetensors").read_bytes()


def test_a_report_reaches_the_model_card(run: Path, pieces: Path, tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    report.write_text(json.dumps(evaluate(run, pieces).to_dict()))
    package(run, tmp_path / "version", evaluations=(report,))
    card = json.loads((tmp_path / "version" / "card.json").read_text())
    assert card["evaluations"][0]["dataset"]["digest"] == open_dataset(pieces).digest()


@pytest.mark.parametrize("options", [{"accept": ("gif",)}, {"accept": ()}, {"views": 0}, {"views": 1000}])
def test_serving_options_that_cannot_be_are_refused(run: Path, tmp_path: Path, options: dict[str, object]) -> None:
    with pytest.raises(PuzzleNetError, match="--accept or --views"):
        package(run, tmp_path / "v", **options)  # type: ignore[arg-type]
    assert not (tmp_path / "v").exists()


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "training.json"])
def test_an_incomplete_run_is_not_packaged(run: Path, tmp_path: Path, name: str) -> None:
    partial = tmp_path / "partial"
    partial.mkdir()
    for path in run.iterdir():
        if path.name != name:
            (partial / path.name).write_bytes(path.read_bytes())
    with pytest.raises(BadVersionError, match=name):
        package(partial, tmp_path / "v")


def test_weights_of_another_network_are_refused(run: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    for path in run.iterdir():
        (other / path.name).write_bytes(path.read_bytes())
    config = json.loads((other / "config.json").read_text())
    config["architecture"]["width"] = 12
    (other / "config.json").write_text(json.dumps(config))
    with pytest.raises(BadVersionError, match="does not hold the weights"):
        Predictor.load(other)


def test_evaluation_and_serving_give_the_same_answer(version: Path, pieces: Path) -> None:
    predictor = Predictor.load(version)
    dataset = open_dataset(pieces)
    together = predictor.probabilities(dataset.pixels(predictor.config.image_size))
    for index in (0, 50, 119):
        path = dataset.items[index][0]
        (alone,) = predictor.predict([path.read_bytes()])
        assert np.allclose(alone.probabilities, together[index], atol=1e-4)
