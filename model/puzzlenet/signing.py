"""Signatures over whole version folders: who made this version, and is it still what was made.

The digest alone says that a folder is the one that was asked for; the signature says that whoever holds the
private key made it. It is a sigstore bundle of the package model-signing in key mode: no certificate authority
and no log is asked, so it works in a factory without internet. Keys are rotated by verifying with several: a file of
public keys may hold more than one, as a bundle of authorities does.
"""

import re
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from puzzlenet.errors import BadVersionError, PuzzleNetError
from puzzlenet.manifest import SIGNATURE, Version, verify

_PEM = re.compile(rb"-----BEGIN PUBLIC KEY-----.+?-----END PUBLIC KEY-----", re.DOTALL)


def new_keys(private: Path) -> Path:
    """Write a new private key and, beside it with the suffix .pub, its public half, which is returned.

    Raises PuzzleNetError when one of them exists: a key that is overwritten is lost.
    """
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

    public = private.with_name(private.name + ".pub")
    for path in (private, public):
        if path.exists():
            raise PuzzleNetError(f"{path} exists: choose another name, a key is never overwritten")
    key = ec.generate_private_key(ec.SECP256R1())
    try:
        private.parent.mkdir(parents=True, exist_ok=True)
        private.touch(mode=0o600)
        private.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        public.write_bytes(key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    except OSError as exc:
        raise PuzzleNetError(f"{private} cannot be written: {exc.strerror}") from exc
    return public


def sign(folder: Path, key: Path) -> None:
    """Write ``model.sig`` into a verified version folder. Raises PuzzleNetError for a key that is none."""
    from model_signing import signing

    verify(folder)
    _readable(key, "--sign-key")
    try:
        signer = signing.Config().use_elliptic_key_signer(private_key=key)  # type: ignore[no-untyped-call]
        signer.set_hashing_config(_hashing(folder)).sign(folder, folder / SIGNATURE)
    except (ValueError, TypeError) as exc:
        raise PuzzleNetError(f"--sign-key {key} is not an elliptic-curve private key in PEM: {exc}") from exc


def check(version: Version, keys: Sequence[Path]) -> Path:
    """The file with the key that made the signature. Raises BadVersionError for an unsigned or altered version."""
    signature = version.folder / SIGNATURE
    if not signature.is_file():
        raise BadVersionError(
            f"{version.digest} is not signed ({signature} is missing): sign it with `puzzlenet package --sign-key` or, "
            "where it is published, `puzzlenet registry sign`"
        )
    reasons = []
    for path in keys:
        for name, key in _public_keys(path):
            reason = _refusal(version.folder, key)
            if reason is None:
                return path
            reasons.append(f"{name}: {reason}")
    raise BadVersionError(f"{version.digest} is refused: its signature fits no key ({'; '.join(reasons)})")


def verify_signed(folder: Path, expected: str, keys: Sequence[Path]) -> Version:
    """Check digest and, where keys are given, the signature. Raises BadVersionError."""
    version = verify(folder, expected)
    if keys:
        check(version, keys)
    return version


def _public_keys(path: Path) -> list[tuple[str, bytes]]:
    """The keys of a file, each with a name for messages. One that is no key in PEM is handed on, to be refused."""
    data = _readable(path, "--verify-key")
    found: list[bytes] = _PEM.findall(data)
    if len(found) < 2:
        return [(path.name, data)]
    return [(f"{path.name}, key {number}", key + b"\n") for number, key in enumerate(found, start=1)]


def _refusal(folder: Path, key: bytes) -> str | None:
    """Why a signature does not hold with a key; None when it does.

    Only the files of the version are looked at: storage initializers leave files of their own beside them, which
    nobody loads, as the manifest does not name them.
    """
    from model_signing import verifying

    with tempfile.TemporaryDirectory() as scratch:
        clean = Path(scratch) / "version"
        clean.mkdir()
        for name in _signed_files(folder):
            shutil.copyfile(folder / name, clean / name)
        public = Path(scratch) / "verify.pub"
        public.write_bytes(key)
        try:
            verifier = verifying.Config().use_elliptic_key_verifier(public_key=public)  # type: ignore[no-untyped-call]
            verifier.set_hashing_config(_hashing(clean)).verify(clean, folder / SIGNATURE)
        except Exception as exc:  # the package raises what its parsers raise; every one of them means: not verified
            if "Key mismatch" in str(exc):
                return "another key"
            return str(exc).splitlines()[0][:200] if str(exc) else type(exc).__name__
    return None


def _signed_files(folder: Path) -> list[str]:
    from puzzlenet.manifest import MANIFEST

    return [MANIFEST, *(entry.path for entry in verify(folder).manifest.files)]


def _hashing(folder: Path) -> Any:
    from model_signing import hashing

    config = hashing.Config()  # type: ignore[no-untyped-call]
    return config.set_ignored_paths(paths=[folder / SIGNATURE], ignore_git_paths=False)


def _readable(path: Path, option: str) -> bytes:
    try:
        return path.read_bytes()
    except OSError as exc:
        raise PuzzleNetError(f"{option} {path} cannot be read: {exc.strerror}") from exc
