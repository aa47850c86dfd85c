"""Who is asking, may they, and are they asking too often. The file of tokens is read again when it changes."""

from __future__ import annotations

import logging
import math
import threading
from collections.abc import Callable, Collection
from pathlib import Path

from puzzle_common.settings import ConfigurationError
from puzzle_monitor.core.faults import Refused
from puzzle_monitor.core.limits import Bucket
from puzzle_monitor.core.tokens import Role, Token, find, parse_tokens

log = logging.getLogger("puzzle_monitor")
_LOOK_EVERY_S = 1.0


class Access:
    """Tokens and their budgets."""

    def __init__(self, path: Path, rate: float, burst: float, monotonic: Callable[[], float]) -> None:
        self._path, self._rate, self._burst, self._monotonic = path, rate, burst, monotonic
        self._lock = threading.Lock()
        self._buckets: dict[str, Bucket] = {}
        self._looked = monotonic()
        try:
            self._stamp = self._file_stamp()
            self._tokens = parse_tokens(path.read_text())
        except OSError as error:
            raise ConfigurationError(f"the tokens {path} cannot be read: {error.strerror}") from error
        except ValueError as error:
            raise ConfigurationError(f"the tokens {path}: {error}") from error

    def admit(self, presented: str | None, roles: Collection[Role]) -> Token:
        """Whose token it is; one of the roles will do, and without any of them any token. Raises Refused with 401 or
        403."""
        self._reload()
        if not presented:
            raise Refused(401, "send the header Authorization: Bearer TOKEN")
        token = find(self._tokens, presented)
        if token is None:
            raise Refused(401, "this token is not known: it was mistyped, or taken out of the monitor's Secret")
        if roles and not token.roles.intersection(roles):
            names = " or ".join(repr(role.value) for role in roles)
            raise Refused(403, f"token {token.name!r} has no role {names}; give it that role in the Secret")
        return token

    def charge(self, token: Token, cost: float) -> None:
        """Take from the budget of a token. Raises Refused with 429."""
        now = self._monotonic()
        with self._lock:
            bucket = self._buckets.setdefault(token.name, Bucket(self._rate, self._burst, now))
            wait = bucket.take(cost, now)
        if math.isinf(wait):
            raise Refused(413, f"{cost:,.0f} items in one request are more than this monitor ever takes at once")
        if wait > 0:
            detail = f"token {token.name!r} may send {self._rate:,.0f} items a second; wait {wait:.1f} s"
            raise Refused(429, detail, retry_after=wait)

    def _reload(self) -> None:
        now = self._monotonic()
        with self._lock:
            if now - self._looked < _LOOK_EVERY_S:
                return
            self._looked = now
            try:
                stamp = self._file_stamp()
                if stamp == self._stamp:
                    return
                self._tokens = parse_tokens(self._path.read_text())
                self._stamp = stamp
            except (OSError, ValueError) as error:
                # Those of before stay valid: a half-written Secret must not lock everybody out.
                log.error("the tokens %s changed and cannot be used: %s", self._path, error)
                return
        log.info("the tokens %s changed: %s", self._path, ", ".join(token.name for token in self._tokens))

    def _file_stamp(self) -> tuple[int, int, int]:
        status = self._path.stat()
        return status.st_mtime_ns, status.st_ino, status.st_size
