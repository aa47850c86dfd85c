"""A namespace, trained versions and a running line for tests of whole rollouts on a real cluster."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from tests.harness.lab import Lab, Version
from tests.harness.line import Line, Piece, pieces_of
from tests.harness.models import Namespace
from tests.harness.settings import REPOSITORY, SYSTEM_NAMESPACE, Settings, from_environment
from tests.integration.retraining.conftest import champion, home, keys  # noqa: F401 - fixtures

MODEL = "line-1"
RATE = 8.0


@pytest.fixture(scope="session")
def settings() -> Settings:
    return from_environment()


@pytest.fixture(scope="session")
def versions(settings: Settings) -> dict[str, Version]:
    return Lab(settings).versions()


@pytest.fixture(scope="session")
def pieces(settings: Settings, versions: dict[str, Version]) -> list[Piece]:
    return pieces_of(Lab(settings).line_pieces("line-1"), 300, seed=7)


@pytest.fixture(scope="session")
def manifest() -> dict[str, Any]:
    """The example that the demo applies, with steps short enough for a test."""
    loaded: dict[str, Any] = yaml.safe_load((REPOSITORY / "examples/02-line-with-quality-metric.yaml").read_text())
    canary = loaded["spec"]["canary"]
    canary["steps"] = [{"weight": 20, "minDuration": "10s"}, {"weight": 50, "minDuration": "10s"}]
    canary["bake"] = "10s"
    return loaded


@pytest.fixture(scope="module")
def space(request: pytest.FixtureRequest) -> Iterator[Namespace]:
    """A namespace of the test module's own, removed afterwards with all that the operator made in it."""
    name = "e2e-" + request.module.__name__.rsplit(".", 1)[-1].removeprefix("test_").replace("_", "-")
    namespace = Namespace(name)
    namespace.create(secret_from=SYSTEM_NAMESPACE)
    yield namespace
    namespace.delete()


@pytest.fixture(scope="module")
def serving(space: Namespace, manifest: dict[str, Any], versions: dict[str, Version]) -> Namespace:
    """The namespace with the modest version deployed as champion."""
    manifest = {**manifest, "spec": {**manifest["spec"], "model": {"version": versions["modest"].digest}}}
    if space.exists(MODEL):  # of a run that was cut off
        space.remove(MODEL)
    space.apply(manifest)
    space.until(
        lambda: space.champion(MODEL) == versions["modest"].digest and space.host(MODEL) != "",
        "the first version serves",
    )
    return space


@pytest.fixture
def line(settings: Settings, serving: Namespace, pieces: list[Piece]) -> Iterator[Line]:
    """Cameras at a steady rate for one test; it fails when a request was lost."""
    with Line(settings.ingress_url, serving.host(MODEL), pieces, RATE) as running:
        time.sleep(3)
        yield running
        time.sleep(3)
    seen = running.tally()
    assert seen.answered > 0, "no request was answered at all"
    assert seen.lost == 0, f"{seen.lost} of {seen.sent} requests lost: {seen.losses}"
