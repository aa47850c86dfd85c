"""A run that is cut off goes on to the weights that it would have had; a state that does not fit is refused."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from puzzlenet.checkpoint import FILE, FolderCheckpoint, Meta, Tensors, decode, encode
from puzzlenet.dataset import open_dataset
from puzzlenet.errors import BadCheckpointError, PuzzleNetError
from puzzlenet.fit import Epoch, TrainConfig
from puzzlenet.train import Trained, train

CONFIG = TrainConfig(epochs=4, width=4, image_size=16, batch=16)


class _CutOffError(Exception):
    """The node goes away."""


def _cut_after(epoch: int) -> Callable[[Epoch], None]:
    def cut(line: Epoch) -> None:
        if line.number == epoch:
            raise _CutOffError

    return cut


def _weights(run: Path) -> bytes:
    return (run / "model.safetensors").read_bytes()


@pytest.fixture(scope="module")
def whole(pieces: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Trained]:
    """The run that nothing disturbed, without a checkpoint."""
    run = tmp_path_factory.mktemp("whole") / "run"
    return run, train(open_dataset(pieces), run, CONFIG)


@pytest.mark.parametrize("epoch", [1, 2, 3, 4])
def test_a_run_cut_off_after_any_epoch_ends_with_the_same_weights(
    pieces: Path, whole: tuple[Path, Trained], tmp_path: Path, epoch: int
) -> None:
    place, lines = FolderCheckpoint(tmp_path / "state"), list[int]()
    with pytest.raises(_CutOffError):
        train(open_dataset(pieces), tmp_path / "run", CONFIG, on_epoch=_cut_after(epoch), checkpoint=place)
    assert not (tmp_path / "run").exists()
    again = train(
        open_dataset(pieces),
        tmp_path / "run",
        CONFIG,
        on_epoch=lambda line: lines.append(line.number),
        checkpoint=FolderCheckpoint(tmp_path / "state"),
    )
    assert lines == list(range(epoch + 1, 5)), "finished epochs are not repeated"
    assert _weights(tmp_path / "run") == _weights(whole[0])
    assert again.config == whole[1].config and again.validation == whole[1].validation
    assert (again.epochs, again.best_epoch) == (whole[1].epochs, whole[1].best_epoch)


def test_a_place_that_leaves_out_saves_costs_repeated_epochs_only(
    pieces: Path, whole: tuple[Path, Trained], tmp_path: Path
) -> None:
    class EverySecond(FolderCheckpoint):
        def save(self, tensors: Tensors, meta: Meta) -> None:
            if meta["epoch"] % 2 == 0:
                super().save(tensors, meta)

    place = EverySecond(tmp_path / "state")
    with pytest.raises(_CutOffError):
        train(open_dataset(pieces), tmp_path / "run", CONFIG, on_epoch=_cut_after(3), checkpoint=place)
    train(open_dataset(pieces), tmp_path / "run", CONFIG, checkpoint=place)
    assert _weights(tmp_path / "run") == _weights(whole[0])


def test_a_run_that_stopped_early_is_not_taken_up_again(pieces: Path, tmp_path: Path) -> None:
    config = replace(CONFIG, epochs=60, patience=1, learning_rate=1e-9)
    place = FolderCheckpoint(tmp_path / "state")
    first = train(open_dataset(pieces), tmp_path / "one", config, checkpoint=place)
    lines = list[Epoch]()
    second = train(open_dataset(pieces), tmp_path / "two", config, checkpoint=place, on_epoch=lines.append)
    assert first.epochs == second.epochs < 60 and lines == []
    assert _weights(tmp_path / "one") == _weights(tmp_path / "two")


def test_the_state_of_another_run_is_refused(pieces: Path, tmp_path: Path) -> None:
    place = FolderCheckpoint(tmp_path / "state")
    train(open_dataset(pieces), tmp_path / "one", replace(CONFIG, epochs=1), checkpoint=place)
    for other in (replace(CONFIG, epochs=2), replace(CONFIG, epochs=1, seed=1)):
        with pytest.raises(BadCheckpointError, match="of another run"):
            train(open_dataset(pieces), tmp_path / "two", other, checkpoint=place)
    elsewhere = replace(CONFIG, epochs=1, threads=2)
    assert train(open_dataset(pieces), tmp_path / "three", elsewhere, checkpoint=place).epochs == 1


@pytest.mark.parametrize("keep", [0, 7, 300, -1])
def test_a_damaged_state_is_named_with_the_fix(pieces: Path, tmp_path: Path, keep: int) -> None:
    place = FolderCheckpoint(tmp_path / "state")
    place.save({"x": torch.arange(6.0)}, {"epoch": 1})
    path = tmp_path / "state" / FILE
    path.write_bytes(path.read_bytes()[:keep] if keep < 300 else b"\xff" * keep)
    with pytest.raises(BadCheckpointError, match=f"{FILE}.*remove it"):
        train(open_dataset(pieces), tmp_path / "run", CONFIG, checkpoint=place)


def test_tensors_and_words_come_back_as_they_were() -> None:
    tensors = {"b": torch.rand(2, 3), "a": torch.arange(4, dtype=torch.uint8)}
    meta = {"epoch": 3, "loss": 0.1 + 0.2, "name": "Stück"}
    back, words = decode(encode(tensors, meta))
    assert words == meta and set(back) == {"a", "b"}
    assert all(torch.equal(back[name], value) for name, value in tensors.items())
    with pytest.raises(BadCheckpointError, match="remove it"):
        decode(encode(tensors, meta)[:-1])


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(PuzzleNetError, match=r"--checkpoint .*cannot be"):
        FolderCheckpoint(tmp_path / "file" / "state").save({}, {})
