"""`puzzlenet replay` against a real monitor: which pieces it takes, and what it says of two versions."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from puzzlenet.images import sniff
from tests.integration.monitor.live import Server, a_label, a_record, bearer, send
from tests.revision import ADDRESS, Standing

NOW = datetime.now(UTC).replace(microsecond=0)
Label = Callable[[bytes], str]


@pytest.fixture
def monitor(tmp_path: Path) -> Iterator[Server]:
    """With forty pieces, one a minute; the oldest twenty are bent, and every second one was sent as PNG."""
    folder = tmp_path / "monitor"
    folder.mkdir()
    server = Server(folder, f"sqlite:///{folder}/monitor.db", rate="100000").start()
    with server.client("handler") as client:
        records = [
            a_record("ok", id=f"p{number}", at=(NOW - timedelta(minutes=40 - number)).isoformat(), image=_image(number))
            for number in range(40)
        ]
        send(client, records)
        for number in range(40):
            headers = bearer("handler") | {"Content-Type": "image/jpeg"}
            client.put(f"/v1/predictions/p{number}/image", content=_picture(number), headers=headers).raise_for_status()
        labels = [a_label(f"p{number}", "bent" if number < 20 else "ok") for number in range(40)]
        client.post("/v1/feedback", json=labels, headers=bearer("inspector")).raise_for_status()
        # Neither of these can be shown: one has no label, one no picture.
        send(client, [a_record("ok", id="unlabelled"), a_record("ok", id="unseen")])
        client.put("/v1/predictions/unlabelled/image", content=_picture(77), headers=headers).raise_for_status()
        client.post("/v1/feedback", json=[a_label("unseen", "ok")], headers=bearer("inspector")).raise_for_status()
    yield server
    server.stop()


def _image(number: int) -> dict[str, Any]:
    image: dict[str, Any] = a_record()["image"]
    return image | {"format": "png" if number % 2 else "jpeg"}


def _picture(number: int) -> bytes:
    """Bent pieces are dark. The last two are one picture."""
    shade = (20 if number < 20 else 140) + 2 * min(number % 20, 18)
    out = io.BytesIO()
    Image.fromarray(np.full((16, 16, 3), shade, dtype=np.uint8)).save(out, "JPEG", quality=95)
    return out.getvalue()


def looks(picture: bytes) -> str:
    """A version that is always right."""
    with Image.open(io.BytesIO(picture)) as image:
        return "bent" if np.asarray(image).mean() < 100 else "ok"


def replay(monitor: Server, champion: Label, challenger: Label, *more: str, folder: Path) -> dict[str, Any]:
    """The command as the Job runs it."""
    (folder / "token").write_text(bearer("trainer")["Authorization"].removeprefix("Bearer "))
    with Standing(champion, "sha256:a") as one, Standing(challenger, "sha256:b") as two:
        command = [str(Path(sys.executable).parent / "puzzlenet"), "replay", "--namespace", "lyon", "--model", "line-1"]
        command += ["--monitor", monitor.url, "--monitor-token-file", str(folder / "token"), "--rate", "500"]
        command += ["--champion", one.name, "--champion-version", "sha256:a", "--challenger", two.name]
        command += ["--challenger-version", "sha256:b", "--address", ADDRESS]
        command += ["--termination-log", str(folder / "log"), *more]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        said: dict[str, Any] = json.loads((folder / "log").read_bytes())
        assert json.loads(done.stdout) == said
        return said | {"formats": [sniff(body) for body in two.bodies]}


def test_both_are_shown_every_labelled_picture_once_in_the_cameras_format(monitor: Server, tmp_path: Path) -> None:
    said = replay(monitor, looks, lambda _: "ok", folder=tmp_path)
    assert said["outcome"] == "Compared"
    # 19 of each: the last two pictures of either kind are the same one.
    assert (said["pieces"], said["bothRight"], said["onlyChallengerWrong"], said["bothWrong"]) == (38, 19, 19, 0)
    assert sorted(set(said["formats"])) == ["jpeg", "png"]


def test_only_the_newest_are_shown_and_none_from_before_the_champion(monitor: Server, tmp_path: Path) -> None:
    said = replay(monitor, looks, looks, "--pieces", "10", folder=tmp_path)
    assert (said["pieces"], said["bothRight"]) == (9, 9)
    since = (NOW - timedelta(minutes=25, seconds=1)).isoformat().replace("+00:00", "Z")
    said = replay(monitor, looks, lambda _: "ok", "--since", since, folder=tmp_path)
    assert (said["pieces"], said["onlyChallengerWrong"]) == (23, 4)


def test_what_is_wrong_around_the_versions_is_a_reason_to_skip(monitor: Server, tmp_path: Path) -> None:
    nothing = replay(monitor, looks, looks, "--since", "2036-01-01T00:00:00Z", folder=tmp_path)
    assert nothing["outcome"] == "Skipped" and "no labelled piece" in nothing["message"]
    other = replay(monitor, looks, looks, "--challenger-version", "sha256:c", folder=tmp_path)
    assert other["outcome"] == "Skipped" and "answered by version sha256:b" in other["message"]
    denied = replay(monitor, looks, looks, "--monitor-token-file", str(tmp_path / "log"), folder=tmp_path)
    assert denied["outcome"] == "Skipped" and "answered 401" in denied["message"]
