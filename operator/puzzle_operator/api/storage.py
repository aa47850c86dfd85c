"""What a person writes about where versions are kept."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from .base import Wire, cel, rules


class SecretRef(Wire):
    """A Secret in the same namespace."""

    name: Annotated[
        str,
        Field(
            json_schema_extra=rules(
                cel(
                    "self.matches('^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$')",
                    "spec.storage.secretRef.name must be the name of a Secret in the model's namespace",
                ),
                maxLength=253,
            )
        ),
    ] = "puzzle-s3"
    """Holds AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY; its annotation serving.kserve.io/s3-usehttps says
    whether the store speaks https."""


class Storage(Wire):
    """Where versions are kept: any S3 store."""

    endpoint: Annotated[
        str,
        Field(
            json_schema_extra=rules(
                cel(
                    "self.matches('^[A-Za-z0-9][A-Za-z0-9.-]*(:[0-9]{1,5})?$')",
                    "spec.storage.endpoint must be host or host:port without a scheme, "
                    "such as minio.puzzle-system:9000",
                ),
                maxLength=253,
            )
        ),
    ] = "minio.puzzle-system:9000"
    """Host and port of the store."""
    bucket: Annotated[
        str,
        Field(
            json_schema_extra=rules(
                cel(
                    "self.matches('^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$')",
                    "spec.storage.bucket must be a bucket's name: 3 to 63 lower case letters, digits, dots and dashes",
                ),
                maxLength=63,
            )
        ),
    ] = "puzzlenet"
    """Bucket that holds versions/sha256-…/."""
    secret_ref: SecretRef = Field(default_factory=SecretRef)
