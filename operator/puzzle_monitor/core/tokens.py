"""Who may do what: a text of bearer tokens, one a line, as it lies in a mounted Secret.

    # name      roles             token
    handler     ingest            kJ8…
    inspector   feedback,read     w0Q…
    operator    operator          p3z…
    drift       drift             Rv1…

Tokens are kept as digests, and a presented one is compared with every digest in constant time, so that the time of an
answer tells nothing about how much of a guess was right, nor whose it was.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum

MIN_LENGTH = 20
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
_TOKEN = re.compile(r"[A-Za-z0-9._~+/=-]+")  # RFC 6750, section 2.1


class Role(StrEnum):
    """What a token opens."""

    INGEST = "ingest"
    FEEDBACK = "feedback"
    READ = "read"
    OPERATOR = "operator"
    DRIFT = "drift"


@dataclass(frozen=True, slots=True)
class Token:
    """A bearer token's digest, and what it opens."""

    name: str
    roles: frozenset[Role]
    digest: bytes = field(repr=False)


def digest(token: str) -> bytes:
    """What is kept of a token. Tokens are long and random, so a plain hash is enough."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()


def parse_tokens(text: str) -> tuple[Token, ...]:
    """Read the file.

    Raises:
        ValueError: naming the line and the fix, never the token.
    """
    tokens: list[Token] = []
    for number, line in enumerate(text.splitlines(), start=1):
        parts = line.split()
        if not parts or parts[0].startswith("#"):
            continue
        tokens.append(_token(number, parts))
    if not tokens:
        raise ValueError("there is no token in it: write lines of NAME ROLES TOKEN")
    if len({token.name for token in tokens}) < len(tokens) or len({token.digest for token in tokens}) < len(tokens):
        raise ValueError("a name or a token is there twice")
    return tuple(tokens)


def find(tokens: Sequence[Token], presented: str) -> Token | None:
    """The token that was presented. All are compared, always."""
    wanted, found = digest(presented), None
    for token in tokens:
        if hmac.compare_digest(token.digest, wanted):
            found = token
    return found


def _token(number: int, parts: Sequence[str]) -> Token:
    if len(parts) != 3:
        raise ValueError(f"line {number} has {len(parts)} words; write NAME ROLES TOKEN")
    name, roles, token = parts
    if not _NAME.fullmatch(name):
        raise ValueError(f"line {number}: a name is made of letters, digits, dots, dashes and underscores")
    unknown = [role for role in roles.split(",") if role not in {*Role}]
    if unknown:
        raise ValueError(f"line {number}: there is no role {unknown[0]!r}; roles are {', '.join(Role)}")
    if len(token) < MIN_LENGTH or not _TOKEN.fullmatch(token):
        raise ValueError(f"line {number}: a token has at least {MIN_LENGTH} letters, digits or any of ._~+/=-")
    return Token(name, frozenset(Role(role) for role in roles.split(",")), digest(token))
