"""A PostgreSQL server of the tests' own, where its programs are installed."""

from __future__ import annotations

import glob
import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import count
from pathlib import Path

PASSWORD = "hunter2-of-the-tests"


class NewDatabase:
    """Makes empty databases on a server. A call returns the URL of one, with password.

    Args:
        call: runs one of PostgreSQL's programs.
        start: the words that start the server with `pg_ctl`.
    """

    def __init__(self, call: Callable[..., None], start: Sequence[object], port: int) -> None:
        self._call, self._start, self._numbers = call, start, count()
        self._address = f"postgresql://me:{PASSWORD}@127.0.0.1:{port}"

    def __call__(self) -> str:
        import psycopg

        database = f"test{next(self._numbers)}"
        with psycopg.connect(f"{self._address}/postgres", autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {database}".encode())
        return f"{self._address}/{database}"

    def stop(self) -> None:
        """Stops the server at once, as a crash does. All connections break."""
        self._call("pg_ctl", *self._start[:2], "-m", "immediate", "stop")

    def start(self) -> None:
        """Starts the server again, at the same address."""
        self._call("pg_ctl", *self._start)


def programs() -> Path | None:
    """The folder of PostgreSQL's programs; Debian keeps them off the path."""
    found = shutil.which("initdb")
    if found:
        return Path(found).resolve().parent
    folders = sorted(glob.glob("/usr/lib/postgresql/*/bin/initdb"))
    return Path(folders[-1]).parent if folders else None


@contextmanager
def server(bin_: Path) -> Iterator[NewDatabase]:
    """Runs a server on the loopback, in a folder of its own, until the context ends."""
    account = {"user": "postgres", "group": "postgres"} if os.getuid() == 0 else {}  # it refuses to run as root
    with tempfile.TemporaryDirectory(prefix="pg-", ignore_cleanup_errors=True) as name:
        place = Path(name)
        (place / "password").write_text(PASSWORD)
        if account:
            for path in (place, place / "password"):
                shutil.chown(path, **account)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]

        def call(program: str, *words: object) -> None:
            command = [str(bin_ / program), *map(str, words)]
            subprocess.run(command, check=True, capture_output=True, cwd=place, timeout=60, **account)  # type: ignore[call-overload]

        data = place / "data"
        call(
            "initdb", "-D", data, "-U", "me", "-A", "scram-sha-256", "--pwfile", place / "password", "-E", "UTF8", "-N"
        )
        options = f"-c listen_addresses=127.0.0.1 -p {port} -k {place} -c fsync=off -c max_connections=200"
        new = NewDatabase(call, ("-D", data, "-l", place / "log", "-w", "-o", options, "start"), port)
        new.start()
        try:
            yield new
        finally:
            new.stop()
