"""What is recorded, under which names, and where it goes: environment variables, checked before anything starts."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from puzzlenet.errors import PuzzleNetError

URL = "PUZZLE_MONITOR_URL"
TOKEN_FILE = "PUZZLE_MONITOR_TOKEN_FILE"  # noqa: S105 - the name of a variable
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,252}")
_TOKEN = re.compile(r"[\x21-\x7e]{1,4096}")
# Namespace, model and line come from the operator, the revision from Knative, the version from `puzzlenet serve`.
_NAMES = {
    "namespace": ("PUZZLENET_NAMESPACE", "default"),
    "model": ("PUZZLENET_MODEL", "puzzlenet"),
    "line": ("PUZZLENET_LINE", "unknown"),
    "revision": ("K_REVISION", "none"),
    "version": ("PUZZLENET_VERSION", "unversioned"),
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Origin:
    """The names that every record of this server carries."""

    namespace: str
    model: str
    line: str
    revision: str
    version: str


@dataclass(frozen=True, kw_only=True, slots=True)
class RecordSettings:
    """Where records go, which pictures go with them, and how much may wait in memory."""

    url: str
    origin: Origin
    token_file: Path | None = None
    image_share: float = 0.01
    image_below: float = 0.6
    image_rate: float = 5.0
    queue: int = 2_000
    queue_bytes: int = 32 * 1024 * 1024


def from_environment(environment: Mapping[str, str]) -> RecordSettings | None:
    """The settings, or None where no monitor is named: then nothing is recorded. Raises PuzzleNetError."""
    given = {key: value.strip() for key, value in environment.items() if value.strip()}
    if URL not in given:
        return None
    file = given.get(TOKEN_FILE)
    return RecordSettings(
        url=_url(given[URL]),
        origin=Origin(**{field: _name(given, *where) for field, where in _NAMES.items()}),
        token_file=Path(file) if file else None,
        image_share=_number(given, "PUZZLE_MONITOR_IMAGE_SHARE", 0.01, 0.0, 1.0),
        image_below=_number(given, "PUZZLE_MONITOR_IMAGE_BELOW", 0.6, 0.0, 1.0),
        image_rate=_number(given, "PUZZLE_MONITOR_IMAGE_RATE", 5.0, 0.0, 1_000.0),
        queue=int(_number(given, "PUZZLE_MONITOR_QUEUE", 2_000, 1, 1_000_000, whole=True)),
        queue_bytes=int(_number(given, "PUZZLE_MONITOR_QUEUE_BYTES", 32 << 20, 1 << 20, 1 << 32, whole=True)),
    )


def read_token(path: Path) -> str:
    """The bearer token. Raises PuzzleNetError, which never shows what is in the file."""
    try:
        token = path.read_text().strip()
    except (OSError, UnicodeDecodeError) as exc:
        reason = exc.strerror if isinstance(exc, OSError) else "it is not text"
        raise PuzzleNetError(
            f"{TOKEN_FILE}: {path} cannot be read: {reason}; mount the monitor's Secret there"
        ) from exc
    if not _TOKEN.fullmatch(token):
        raise PuzzleNetError(f"{TOKEN_FILE}: {path} must hold one token of printable ASCII without spaces")
    return token


def _url(text: str) -> str:
    try:
        parts = urlsplit(text)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable:
        raise PuzzleNetError(f"{URL} must be the monitor's address, such as http://puzzle-monitor.puzzle-system:8090")
    if parts.username is not None or parts.query or parts.fragment:
        # Not shown: it may hold a password.
        raise PuzzleNetError(f"{URL} must be an address only: no user, query or fragment; the token is a file")
    return text.rstrip("/")


def _name(given: Mapping[str, str], variable: str, default: str) -> str:
    value = given.get(variable, default)
    if not _NAME.fullmatch(value):
        raise PuzzleNetError(
            f"{variable} is {value[:80]!r}: use letters, digits and . _ : - only, beginning with a letter or digit"
        )
    return value


def _number(
    given: Mapping[str, str], variable: str, default: float, least: float, most: float, *, whole: bool = False
) -> float:
    text = given.get(variable)
    if text is None:
        return default
    kind = "whole number" if whole else "number"
    try:
        value = int(text) if whole else float(text)
    except ValueError:
        value = float("nan")
    if not least <= value <= most:
        raise PuzzleNetError(f"{variable} is {text[:80]!r}: choose a {kind} from {least:g} to {most:,.12g}")
    return value
