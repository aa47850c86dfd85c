"""The command line: help for every command, one line and exit code 2 for what users get wrong."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from tests.unit.model.conftest import Command


def test_help_names_every_command_and_does_not_load_torch() -> None:
    code = "import sys; sys.argv = ['puzzlenet', '--help']\n"
    code += "from puzzlenet.cli import main\ntry:\n    main()\nfinally:\n    assert 'torch' not in sys.modules"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    for command in ("generate", "dataset", "train", "evaluate", "package", "registry", "serve", "score"):
        assert command in done.stdout


def test_generate_then_info_agree_on_the_digest(puzzlenet: Command, tmp_path: Path) -> None:
    made = puzzlenet("generate", tmp_path / "data", "--count", "12", "--seed", "3")
    told = puzzlenet("dataset", "info", tmp_path / "data")
    assert made.returncode == told.returncode == 0
    assert made.stdout.split()[-1] == told.stdout.split()[-1]


def test_a_data_set_that_was_changed_is_noticed(puzzlenet: Command, tmp_path: Path) -> None:
    puzzlenet("generate", tmp_path / "data", "--count", "12")
    next((tmp_path / "data" / "scratch").iterdir()).unlink()
    told = puzzlenet("dataset", "info", tmp_path / "data")
    assert told.returncode == 2 and "it was changed since" in told.stderr


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("train", "nowhere", "run"), "nowhere is not a folder"),
        (("evaluate", "nowhere", "nothing"), "config.json is missing"),
        (("package", "nowhere", "version"), "config.json is missing"),
        (("generate", "data", "--profile", "line-9"), "choose one of line-1, line-2"),
        (("dataset", "import", "nowhere", "data"), "nowhere is not a folder"),
        (("serve", "--model-dir", "nowhere"), "--version (or PUZZLENET_VERSION) is missing"),
        (("registry", "list", "--endpoint", "127.0.0.1:1", "--insecure"), "AWS_ACCESS_KEY_ID"),
        (("registry", "list", "--endpoint", "http://x"), "without a scheme"),
        (("train",), "Missing argument"),
    ],
)
def test_what_users_get_wrong_is_one_sentence_and_exit_code_2(
    puzzlenet: Command, words: tuple[str, ...], sentence: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "PUZZLENET_VERSION"):
        monkeypatch.delenv(name, raising=False)
    done = puzzlenet(*words)
    assert done.returncode == 2
    assert sentence in done.stderr and "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_version_that_is_refused_has_an_exit_code_of_its_own(puzzlenet: Command, version: Path) -> None:
    done = puzzlenet("serve", "--model-dir", version, "--version", f"sha256:{'0' * 64}", "--check")
    assert done.returncode == 65
    assert done.stderr.startswith("error: ") and "altered or mixed up" in done.stderr


def test_an_unreachable_registry_is_named_without_the_credentials(
    puzzlenet: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "the-key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "the-secret")
    done = puzzlenet("registry", "list", "--endpoint", "127.0.0.1:1", "--insecure")
    assert done.returncode == 1 and "127.0.0.1:1 cannot be reached" in done.stderr  # worth another try
    assert "the-secret" not in done.stderr + done.stdout and "the-key" not in done.stderr + done.stdout


def test_a_model_below_the_wanted_accuracy_exits_with_1(
    puzzlenet: Command, run: Path, pieces: Path, tmp_path: Path
) -> None:
    done = puzzlenet("evaluate", run, pieces, "--json", "--out", tmp_path / "report.json", "--min-accuracy", "1.0")
    assert done.returncode == 1 and "below --min-accuracy" in done.stderr
    assert json.loads(done.stdout) == json.loads((tmp_path / "report.json").read_text())


def test_a_bad_image_in_training_data_is_named(puzzlenet: Command, tmp_path: Path) -> None:
    for label in ("a", "b"):
        (tmp_path / "data" / label).mkdir(parents=True)
        for index in range(5):
            Image.new("L", (8, 8), index).save(tmp_path / "data" / label / f"{index}.png")
    (tmp_path / "data" / "b" / "4.png").write_bytes(b"x")
    done = puzzlenet("train", tmp_path / "data", tmp_path / "run")
    assert done.returncode == 2 and "b/4.png is neither PNG nor JPEG" in done.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data"]


RETRAIN = ("retrain", "--run", "r", "--namespace", "n", "--model", "m", "--line", "l", "--endpoint", "127.0.0.1:1")
CHAMPION = ("--champion", "sha256:" + "0" * 64, "--trigger", "t", "--monitor", "http://127.0.0.1:1")


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ((*RETRAIN, *CHAMPION, "--max-lateness", "soon"), "--max-lateness 'soon'"),
        ((*RETRAIN, *CHAMPION, "--size", "big"), "--size 'big'"),
        ((*RETRAIN, *CHAMPION, "--gate-alpha", "2"), "--gate-alpha 2.0"),
        ((*RETRAIN, *CHAMPION, "--run", "a/b"), "--run 'a/b'"),
        ((*RETRAIN, *CHAMPION, "--monitor", "monitor:80"), "--monitor 'monitor:80'"),
    ],
)
def test_a_wrong_option_of_a_run_is_named_where_the_operator_looks(
    puzzlenet: Command, tmp_path: Path, words: tuple[str, ...], sentence: str
) -> None:
    done = puzzlenet(*words, "--termination-log", tmp_path / "log")
    assert done.returncode == 2 and sentence in done.stderr
    told = json.loads((tmp_path / "log").read_text())
    assert told["outcome"] == "Failed" and sentence in told["message"]


def test_a_gate_that_refuses_exits_with_1_and_says_why(
    puzzlenet: Command, version: Path, pieces: Path, tmp_path: Path
) -> None:
    done = puzzlenet("gate", version, version, "--golden", pieces, "--target", pieces, "--out", tmp_path / "gate.json")
    assert done.returncode == 1 and "not shown to be better" in done.stdout
    assert json.loads((tmp_path / "gate.json").read_text())["accepted"] is False


def test_a_data_set_is_checked_with_a_report(puzzlenet: Command, version: Path, pieces: Path, tmp_path: Path) -> None:
    done = puzzlenet("dataset", "check", pieces, "--champion", version, "--reference", pieces, "--out", tmp_path / "r")
    assert done.returncode == 0, done.stdout
    assert (tmp_path / "r" / "quality.html").is_file() and "label noise" in done.stdout
    few = puzzlenet("dataset", "check", pieces, "--min-images", "1000")
    assert few.returncode == 1 and "at least 1000 are needed" in few.stdout
