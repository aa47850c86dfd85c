"""Versions that are not signed, signed by a stranger, or altered after that, on the real cluster: none of them serves.

What is good here is signed with two keys, as while keys are rotated: the champion with the retired one.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from typing import Any

import pytest

from puzzlenet.registry import Location, Registry, key_of
from puzzlenet.signing import new_keys
from tests.e2e.conftest import MODEL
from tests.harness.lab import Lab, Version
from tests.harness.line import Line
from tests.harness.models import Namespace
from tests.harness.settings import Settings
from tests.harness.signing import signing_key

SAYS = {"unsigned": "is not signed", "strange": "fits no key", "altered": "model.safetensors is not the file"}


@pytest.fixture(scope="module")
def odd(settings: Settings, versions: dict[str, Version], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Three versions by what is wrong with them; gone from the registry afterwards."""
    lab = Lab(settings)
    ours, theirs = signing_key(settings.state), tmp_path_factory.mktemp("keys") / "theirs"
    new_keys(theirs)
    made = {
        "unsigned": lab.odd("unsigned", 2),
        "strange": lab.odd("strange", 3, "--sign-key", str(theirs)),
        "altered": lab.odd("altered", 4, "--sign-key", str(ours)),
    }
    registry = Registry.connect(Location(endpoint=settings.s3_endpoint, bucket="puzzlenet", secure=False), os.environ)
    _alter(registry, made["altered"])
    yield made
    for digest in made.values():
        registry.remove(digest)


def _alter(registry: Registry, digest: str) -> None:
    """One bit of the weights."""
    key = key_of(digest, "model.safetensors")
    data = bytearray(registry.bucket.get(key, 1 << 30))
    data[-1] ^= 1
    registry.bucket.put(key, bytes(data))


@pytest.fixture(scope="module")
def firsts(space: Namespace, manifest: dict[str, Any], odd: dict[str, str]) -> dict[str, str]:
    """The odd versions by what is wrong; two of them are the first ones of models that start meanwhile."""
    for wrong in ("strange", "altered"):
        body = {**manifest, "metadata": {**manifest["metadata"], "name": wrong}}
        body["spec"] = {**manifest["spec"], "model": {"version": odd[wrong]}}
        space.apply(body)
    return odd


def test_an_unsigned_challenger_gets_no_traffic_and_is_not_waited_for(
    serving: Namespace, line: Line, firsts: dict[str, str]
) -> None:
    began = time.monotonic()
    serving.set_version(MODEL, firsts["unsigned"])
    serving.until_outcome(MODEL, firsts["unsigned"], "RolledBack", 240)
    seconds = time.monotonic() - began
    status = serving.status(MODEL)
    assert status["rollout"]["cause"]["reason"] == "VersionRefused"
    assert SAYS["unsigned"] in status["rollout"]["cause"]["message"]
    assert [entry["version"] for entry in status["quarantined"]] == [firsts["unsigned"]]
    told = dict(serving.events(MODEL))
    assert SAYS["unsigned"] in told["VersionRefused"] and SAYS["unsigned"] in told["RolledBack"]
    tally = line.tally()
    assert firsts["unsigned"] not in tally.by_version
    print(f"\nunsigned: taken back {seconds:.0f} s after it was named; {tally.sent} sent, {tally.lost} lost")
    print(f"  {told['VersionRefused']}")


@pytest.mark.parametrize("wrong", ["strange", "altered"])
def test_a_first_version_that_is_refused_says_why(space: Namespace, firsts: dict[str, str], wrong: str) -> None:
    space.until(lambda: space.status(wrong).get("reason") == "VersionRefused", f"what is {wrong} is refused", 120)
    status = space.status(wrong)
    assert SAYS[wrong] in status["message"] and not status.get("champion")
    ready = next(one for one in status["conditions"] if one["type"] == "Ready")
    assert (ready["status"], ready["reason"]) == ("False", "VersionRefused")
    assert SAYS[wrong] in dict(space.events(wrong))["VersionRefused"]
    print(f"\n{wrong}: {status['message']}")


def test_a_version_that_is_signed_at_last_may_be_tried_again(
    serving: Namespace, line: Line, firsts: dict[str, str], settings: Settings
) -> None:
    """With the key of today, next to a champion that was signed with the one before."""
    late = firsts["unsigned"]
    Lab(settings).puzzlenet("registry", "sign", late, "--sign-key", str(signing_key(settings.state)))
    serving.patch(MODEL, {"metadata": {"annotations": {"puzzlenet.dev/retry": late}}})
    serving.until(lambda: serving.observed(MODEL) > 0, "it has traffic", 240)
    serving.until(lambda: line.tally().by_version.get(late, 0) > 0, "it has answered", 60)
