"""A PostgreSQL server of the tests' own, where its programs are installed."""

from __future__ import annotations

import glob
import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

PASSWORD = "hunter2-of-the-tests"

NewDatabase = Callable[[], str]
"""The URL, with password, of an empty database."""


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
        call("pg_ctl", "-D", data, "-l", place / "log", "-w", "-o", options, "start")
        numbers = count()

        def new() -> str:
            import psycopg

            database = f"test{next(numbers)}"
            address = f"postgresql://me:{PASSWORD}@127.0.0.1:{port}"
            with psycopg.connect(f"{address}/postgres", autocommit=True) as connection:
                connection.execute(f"CREATE DATABASE {database}".encode())
            return f"{address}/{database}"

        try:
            yield new
        finally:
            call("pg_ctl", "-D", data, "-m", "immediate", "stop")
