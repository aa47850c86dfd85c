"""Makes the bucket: one signed request with the standard library, so that nothing else has to be installed.

Signature: AWS Signature Version 4 (docs.aws.amazon.com, "Create a signed AWS API request").
"""

import hashlib
import hmac
import time
import urllib.error
import urllib.request
from datetime import UTC, datetime
from urllib.parse import urlsplit

from tests.cluster.shell import ClusterError

_EMPTY = hashlib.sha256(b"").hexdigest()


def _hmac(key: bytes, text: str) -> bytes:
    return hmac.new(key, text.encode(), hashlib.sha256).digest()


def sign(method: str, url: str, access: str, secret: str, now: datetime, region: str = "us-east-1") -> dict[str, str]:
    """Headers that authorise a request without body or query to an S3 service at `now` (UTC)."""
    parts, stamp = urlsplit(url), now.strftime("%Y%m%dT%H%M%SZ")
    day, scope = stamp[:8], f"{stamp[:8]}/{region}/s3/aws4_request"
    headers = {"host": parts.netloc, "x-amz-content-sha256": _EMPTY, "x-amz-date": stamp}
    names = ";".join(sorted(headers))
    listed = "".join(f"{name}:{headers[name]}\n" for name in sorted(headers))
    canonical = f"{method}\n{parts.path or '/'}\n{parts.query}\n{listed}\n{names}\n{_EMPTY}"
    to_sign = f"AWS4-HMAC-SHA256\n{stamp}\n{scope}\n{hashlib.sha256(canonical.encode()).hexdigest()}"
    key = f"AWS4{secret}".encode()
    for part in (day, region, "s3", "aws4_request"):
        key = _hmac(key, part)
    signature = hmac.new(key, to_sign.encode(), hashlib.sha256).hexdigest()
    authority = f"AWS4-HMAC-SHA256 Credential={access}/{scope}, SignedHeaders={names}, Signature={signature}"
    return {**headers, "authorization": authority}


def make_bucket(url: str, access: str, secret: str, patience_s: float = 30) -> None:
    """Create the bucket at `url` (http://host:port/bucket); one that is there already is fine."""
    deadline = time.monotonic() + patience_s
    while True:
        headers = sign("PUT", url, access, secret, datetime.now(UTC))
        headers.pop("host")
        request = urllib.request.Request(url, method="PUT", headers=headers)  # noqa: S310 - http to our own service
        try:
            with urllib.request.urlopen(request, timeout=5):  # noqa: S310
                return
        except urllib.error.HTTPError as refused:
            text = refused.read().decode(errors="replace")
            if "BucketAlreadyOwnedByYou" in text:
                return
            problem = f"{refused.code} {text}"
        except OSError as failed:
            problem = str(failed)
        if time.monotonic() > deadline:
            raise ClusterError(f"MinIO did not make the bucket {url}: {problem}")
        time.sleep(0.5)
