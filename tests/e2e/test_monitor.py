"""What the monitor sees of a real line: every prediction, labels, and drift when other pieces come along."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import yaml

from puzzlenet.render.piece import CLASSES
from tests.e2e.conftest import MODEL
from tests.harness.inspector import Inspector, monitor_client
from tests.harness.lab import Lab, Version
from tests.harness.line import Line, pieces_of
from tests.harness.models import Namespace
from tests.harness.settings import REPOSITORY, Settings

RATE = 8.0
QUIET_IMAGES = 600
"""As many pieces of its own line, from a seed that it has not seen, must raise no alarm; other ones must, sooner."""

Versions = dict[str, Version]


@pytest.fixture(scope="module")
def manifest(versions: Versions) -> dict[str, Any]:
    """The line that runs itself, without retraining: that is `make story`."""
    loaded: dict[str, Any] = yaml.safe_load((REPOSITORY / "examples/04-self-running.yaml").read_text())
    loaded["spec"]["retraining"]["enabled"] = False
    return loaded


@pytest.fixture(scope="module")
def inspector() -> Iterator[Inspector]:
    """Somebody who labels nothing until a test asks for it."""
    with Inspector(CLASSES, share=0.0) as running:
        yield running


@pytest.fixture(scope="module")
def camera(settings: Settings, serving: Namespace, inspector: Inspector) -> Iterator[Line]:
    """Small pieces to begin with."""
    small = pieces_of(Lab(settings).line_pieces("line-1"), 300, seed=5)
    with Line(settings.ingress_url, serving.host(MODEL), small, RATE, on_answer=inspector.see) as running:
        yield running


def _state(space: Namespace) -> dict[str, Any]:
    with monitor_client("read") as monitor:
        found: dict[str, Any] = monitor.get(f"/v1/models/{space.name}/{MODEL}").raise_for_status().json()["state"]
        return found


def _drift(space: Namespace) -> dict[str, Any]:
    return dict(next(iter(_state(space)["drift"]), {}))


def _until(holds: Callable[[], bool], space: Namespace, what: str, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > deadline:
            raise TimeoutError(f"after {seconds:.0f} s it is still not so that {what}: {_state(space)}")
        time.sleep(2)


def test_every_prediction_is_on_record(serving: Namespace, camera: Line) -> None:
    time.sleep(10)
    answered = camera.tally().answered
    assert answered > 0
    _until(lambda: bool(_state(serving)["input"]["images"] >= answered), serving, "the records have arrived", 60)
    assert camera.tally().lost == 0


def test_its_own_line_raises_no_alarm(serving: Namespace, camera: Line) -> None:
    _until(lambda: _drift(serving).get("images", 0) >= QUIET_IMAGES, serving, f"{QUIET_IMAGES} images are judged", 300)
    found = _drift(serving)
    print(f"\n{found['images']} pieces of its own line: {found['message']}")
    assert found["phase"] == "None", found
    serving.until(lambda: (serving.status(MODEL).get("drift") or {}).get("phase") == "None", "the status says so", 60)


def test_bigger_pieces_are_drift_and_labels_say_that_it_is_harmful(
    settings: Settings, serving: Namespace, camera: Line, inspector: Inspector
) -> None:
    before = int(_drift(serving)["images"])
    camera.show(pieces_of(Lab(settings).line_pieces("line-2"), 300, seed=6))
    _until(lambda: _drift(serving)["phase"] == "Confirmed", serving, "drift is confirmed", 300)
    needed = int(_drift(serving)["images"]) - before
    print(f"\nbigger pieces: drift confirmed within {needed} images")
    assert needed <= QUIET_IMAGES
    inspector.share = 1.0
    _until(lambda: _drift(serving)["harmful"] == "Yes", serving, "labels say that it is harmful", 180)
    print(_drift(serving)["message"])

    def said() -> bool:
        conditions = {one["type"]: one for one in serving.status(MODEL)["conditions"]}
        return bool(conditions.get("DriftDetected", {}).get("status") == "True")

    serving.until(said, "a condition says that there is drift", 60)
    assert {"DriftConfirmed"} <= set(serving.reasons(MODEL))
    accuracy = _state(serving)["accuracy"][0]
    print(f"accuracy by {accuracy['labelled']} labels: {accuracy['accuracy']:.1%}")
    assert accuracy["labelled"] > 0 and accuracy["accuracy"] < 0.95
    assert camera.tally().lost == 0
