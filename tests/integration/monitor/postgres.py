"""A PostgreSQL of one's own, from Debian's package, in a temporary folder: never the machine's, never over the network.

    python -m tests.integration.monitor.postgres    # only sees to it that the package is there

PostgreSQL refuses to run as root, so root runs it as the package's user.
"""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from pathlib import Path
from types import TracebackType
from typing import Any

import psycopg

_HOME = Path("/usr/lib/postgresql")
_NO_CLUSTER = Path("/etc/postgresql-common/createcluster.conf")


class PostgresMissingError(RuntimeError):
    """There is no PostgreSQL, and it cannot be installed from here."""


def programs() -> Path | None:
    """The folder of initdb and postgres, the newest version first."""
    found = sorted(_HOME.glob("*/bin/initdb"), key=lambda path: int(path.parts[4]), reverse=True)
    on_path = shutil.which("initdb")
    return found[0].parent if found else Path(on_path).parent if on_path else None


def ensure() -> Path:
    """The folder of the programs; installs Debian's package where that is possible.

    Raises:
        PostgresMissingError: saying what to install.
    """
    there = programs()
    if there is None and os.geteuid() == 0 and shutil.which("apt-get"):
        _install()
        there = programs()
    if there is None:
        raise PostgresMissingError(
            "PostgreSQL's programs initdb and postgres are needed for these tests: install them "
            "(Debian, as root: apt-get install postgresql) and run this again"
        )
    return there


def _install() -> None:
    print("[postgres] installing postgresql", file=sys.stderr, flush=True)
    if not _NO_CLUSTER.exists():
        # Otherwise the package makes a database of its own and starts it.
        _NO_CLUSTER.parent.mkdir(parents=True, exist_ok=True)
        _NO_CLUSTER.write_text("create_main_cluster = false\n")
    apt = ["apt-get", "-o", "DPkg::Lock::Timeout=300"]
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive", "UCF_FORCE_CONFFOLD": "1"}
    for arguments in (["update", "-qq"], ["install", "-y", "-qq", "--no-install-recommends", "postgresql"]):
        subprocess.run([*apt, *arguments], check=True, env=environment, stdout=subprocess.DEVNULL)


class Postgres:
    """A running server; a context manager. Flushes its disk only if `durable`: tests of logic need not wait for it."""

    def __init__(self, *, durable: bool = False) -> None:
        self._programs = ensure()
        self._durable = durable
        self._user: dict[str, Any] = {}
        # Short, because the path of a socket may have 107 characters only.
        self.folder = Path(tempfile.mkdtemp(prefix="pg-", dir="/tmp"))
        self._log = self.folder / "log"
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Postgres:
        if os.geteuid() == 0:
            account = pwd.getpwnam("postgres")
            self._user = {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}
            os.chown(self.folder, account.pw_uid, account.pw_gid)
        try:
            self._start()
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop()

    def _start(self) -> None:
        arguments = ["--auth=trust", "--username=puzzle", "--encoding=UTF8", "--locale=C", "--no-sync"]
        self._program("initdb", f"--pgdata={self.folder}/data", *arguments).wait()
        self.resume()

    def _program(self, name: str, *arguments: str) -> subprocess.Popen[bytes]:
        with self._log.open("ab") as out:
            return subprocess.Popen(
                [str(self._programs / name), *arguments],
                cwd="/",
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                **self._user,
            )

    def resume(self) -> None:
        """Start the server on its data and wait for it."""
        options = {"listen_addresses": "", "unix_socket_directories": str(self.folder), "max_connections": "60"}
        if not self._durable:
            options |= {"fsync": "off", "full_page_writes": "off"}
        arguments = [part for name, value in options.items() for part in ("-c", f"{name}={value}")]
        process = self._process = self._program("postgres", "-D", f"{self.folder}/data", *arguments)
        deadline = time.monotonic() + 30
        while True:
            try:
                self.run("SELECT 1")
                return
            except psycopg.OperationalError:
                if process.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError(f"PostgreSQL did not start:\n{self._log.read_text()[-2000:]}") from None
                time.sleep(0.05)

    def pause(self) -> None:
        """Stop the server; its data stays."""
        process, self._process = self._process, None
        if process is None:
            return
        process.send_signal(signal.SIGINT)  # "fast" shutdown: does not wait for clients
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def _stop(self) -> None:
        self.pause()
        shutil.rmtree(self.folder, ignore_errors=True)

    @property
    def pid(self) -> int:
        """Of the server."""
        assert self._process is not None
        return self._process.pid

    def new_database(self, template: str = "template1") -> str:
        """An empty database, or a copy of another; its URL."""
        name = f"test_{uuid.uuid4().hex[:12]}"
        self.run(f"CREATE DATABASE {name} TEMPLATE {template}")
        return self.url(name)

    def url(self, name: str) -> str:
        """The URL of a database."""
        return f"postgresql://puzzle@/{name}?host={self.folder}"

    def run(self, statement: str) -> None:
        """Carry out a statement as the owner of everything."""
        address = f"host={self.folder} user=puzzle dbname=postgres connect_timeout=5"
        with psycopg.connect(address, autocommit=True) as connection:
            connection.execute(statement.encode())


if __name__ == "__main__":
    print(f"PostgreSQL: {ensure()}")
