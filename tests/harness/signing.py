"""The keys that versions of the tests and the demo are signed with, and their Secret in the cluster.

They are made once and kept in the state folder; the cluster gets a copy, and each namespace of models a copy of that.
There are two, as while keys are rotated: servers and trainers trust both, new versions are signed with the second.
"""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

from kubernetes import client
from kubernetes.client.exceptions import ApiException

from puzzlenet.signing import new_keys

SECRET = "puzzle-signing"
RETIRED, CURRENT = "retired.key", "sign.key"


def signing_key(state: Path, name: str = CURRENT) -> Path:
    """A private key of the state folder, made when it is not there; its public half has the suffix .pub."""
    key = state / "signing" / name
    if not key.exists():
        new_keys(key)
    return key


def signing_secret(state: Path) -> dict[str, str]:
    """Contents of the Secret, encoded: the key that signs, and both public ones."""
    current, retired = signing_key(state), signing_key(state, RETIRED)
    public = b"".join(key.with_name(f"{key.name}.pub").read_bytes() for key in (retired, current))
    data = {"sign.key": current.read_bytes(), "verify.pub": public}
    return {name: base64.b64encode(value).decode() for name, value in data.items()}


def put_secret(core: client.CoreV1Api, namespace: str, name: str, data: Any, annotations: Any = None) -> None:
    """Create a Secret, or give the one of a run before these contents."""
    body = client.V1Secret(metadata=client.V1ObjectMeta(name=name, annotations=annotations), data=data)
    try:
        core.create_namespaced_secret(namespace, body)
    except ApiException as exc:
        if exc.status != 409:
            raise
        core.patch_namespaced_secret(name, namespace, {"data": data})
