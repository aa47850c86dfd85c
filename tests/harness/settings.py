"""Where the cluster is, read once from the environment.

`python -m tests.cluster exec -- COMMAND` sets all of it for the local cluster. For a cluster of your own,
set the variables that the errors below name.
"""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
SYSTEM_NAMESPACE = "puzzle-system"
RELEASE = "puzzle-operator"


@dataclass(frozen=True, slots=True)
class Settings:
    """Addresses as seen from this process, and the folder that keeps what was trained."""

    kubeconfig: str
    ingress_url: str
    s3_endpoint: str
    s3_access_key: str
    s3_secret_key: str
    state: Path

    @property
    def lab(self) -> Path:
        return self.state / "lab"


def state_folder() -> Path:
    """The folder for caches and state: PUZZLE_STATE, else puzzlemodel in the user's cache folder."""
    if chosen := os.environ.get("PUZZLE_STATE"):
        return Path(chosen)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "puzzlemodel"


def from_environment() -> Settings:
    """Read the settings; exits with code 2 and the missing variable's name when one is absent."""
    return Settings(
        kubeconfig=_required("KUBECONFIG", "the cluster's kubeconfig file"),
        ingress_url=_required("PUZZLE_INGRESS_URL", "http://host:port of Knative's external ingress"),
        s3_endpoint=_required("PUZZLE_S3_ENDPOINT", "host:port of the registry's S3 store, from here"),
        s3_access_key=_required("AWS_ACCESS_KEY_ID", "the store's access key"),
        s3_secret_key=_required("AWS_SECRET_ACCESS_KEY", "the store's secret key"),
        state=state_folder(),
    )


def _required(name: str, meaning: str) -> str:
    value = os.environ.get(name, "")
    if not value:
        print(
            f"{name} is not set ({meaning}). For the local cluster run this through "
            "`python -m tests.cluster exec -- …`, as the make targets do.",
            file=sys.stderr,
        )
        raise SystemExit(2)
    return value
