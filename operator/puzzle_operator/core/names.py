"""Names of what the operator makes. They follow from the model alone, so a repeated pass finds what the last
one made."""

from __future__ import annotations

_SHORT = 12


def service_account(model: str) -> str:
    """The identity under which a model's predictors read the registry."""
    return f"{model}-serving"


def short(version: str | None) -> str:
    """A digest as people say it: the first 12 hexadecimal digits; `-` for none."""
    if not version:
        return "-"
    return version.removeprefix("sha256:")[:_SHORT]


def version_prefix(version: str) -> str:
    """Where a version lies in its bucket: `versions/sha256-<hex>/`."""
    return f"versions/{version.replace(':', '-', 1)}/"


def storage_uri(bucket: str, version: str) -> str:
    """What KServe's storage initializer is told to download."""
    return f"s3://{bucket}/{version_prefix(version).rstrip('/')}"
