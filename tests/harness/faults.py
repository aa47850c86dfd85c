"""What goes wrong in a factory's cluster, done on purpose: pods and processes that die, a store that is away."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from tests.harness.models import Namespace
from tests.harness.settings import SYSTEM_NAMESPACE

NOWHERE = "store.invalid/away:1"


def delete_at_once(space: Namespace, pod: str) -> None:
    """`kubectl delete pod --grace-period=0 --force`: nobody says goodbye."""
    space.core.delete_namespaced_pod(pod, space.name, grace_period_seconds=0)


def kill_process(*words: str) -> bool:
    """SIGKILL to the processes of this machine whose command line has all these words; whether there was one."""
    found = False
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        with suppress(OSError):
            said = (entry / "cmdline").read_bytes().decode(errors="replace").split("\0")
            if all(word in said for word in words):
                os.kill(int(entry.name), signal.SIGKILL)
                found = True
    return found


@contextmanager
def store_away(space: Namespace) -> Iterator[None]:
    """The store is down for as long as the context lasts, and has all its objects afterwards.

    Its container is given an image that does not exist, in the same pod: the local cluster's store keeps its objects in
    a volume that lives as long as the pod.
    """
    (pod,) = _store_pods(space)
    name, image = pod.metadata.name, pod.spec.containers[0].image
    _set_image(space, pod, NOWHERE)
    try:
        space.until(lambda: not _is_ready(space, name), "the store is down", 60)
        yield
    finally:
        _set_image(space, pod, image)
        space.until(lambda: _is_ready(space, name), "the store is back", 180)


def _store_pods(space: Namespace) -> list[Any]:
    listed: Any = space.core.list_namespaced_pod(SYSTEM_NAMESPACE, label_selector="app=minio")
    return list(listed.items)


def _set_image(space: Namespace, pod: Any, image: str) -> None:
    change = {"spec": {"containers": [{"name": pod.spec.containers[0].name, "image": image}]}}
    space.core.patch_namespaced_pod(pod.metadata.name, SYSTEM_NAMESPACE, change)


def _is_ready(space: Namespace, name: str) -> bool:
    return any(
        pod.metadata.name == name and all(status.ready for status in pod.status.container_statuses or [])
        for pod in _store_pods(space)
    )
