"""One orchestrator for each study, whichever host it runs on: a lock in the database server."""

from __future__ import annotations

import hashlib
import os
import socket

import sqlalchemy
from sqlalchemy import text
from sqlalchemy.engine import URL, Connection
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import NullPool

from fer_tune.errors import StudyError
from fer_tune.store.engine import explain

HOLDER = text(
    "SELECT application_name FROM pg_locks JOIN pg_stat_activity USING (pid) WHERE locktype = 'advisory' AND granted "
    "AND classid::bigint = (:key >> 32) & 4294967295 AND objid::bigint = :key & 4294967295 "
    "AND pg_locks.database = (SELECT oid FROM pg_database WHERE datname = current_database())"
)
"""The name under which the lock's holder is connected; https://www.postgresql.org/docs/current/view-pg-locks.html."""


class ServerLock:
    """An advisory lock of PostgreSQL, held by a connection of its own and released with it, however it ends.

    SQLite needs none: its file lies on one host. A holder whose connection the server drops (a restart, a network
    that is gone) loses the lock and does not notice; its rows are refused nowhere.
    """

    def __init__(self, url: URL, study: str, kind: str = "") -> None:
        self.study = study
        self._kind = kind
        self._url = url
        self._connection: Connection | None = None

    def acquire(self) -> None:
        """Takes the lock or refuses at once.

        Raises:
            StudyError: another process runs the study; names its host and process id.
            StorageError: the server.
        """
        if self._url.get_backend_name() != "postgresql":
            return
        name = f"fer-tune {os.getpid()} on {socket.gethostname()}"[:63]  # the server cuts longer ones
        try:
            engine = sqlalchemy.create_engine(
                self._url, poolclass=NullPool, isolation_level="AUTOCOMMIT", connect_args={"application_name": name}
            )
            connection = engine.connect()
            if connection.execute(text("SELECT pg_try_advisory_lock(:key)"), {"key": self._key}).scalar():
                self._connection = connection
                return
            with connection:
                holder = connection.execute(HOLDER, {"key": self._key}).scalar()
        except SQLAlchemyError as error:
            raise explain(error, self._url) from error
        raise StudyError(
            f"The study {self.study} is being run by {holder or 'another process'}.",
            "Wait for it, end it, or give this run another study name.",
        )

    def release(self) -> None:
        """Gives the lock back; nothing happens if it is not held."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    @property
    def _key(self) -> int:
        """The study's number among PostgreSQL's advisory locks, a signed 64-bit integer."""
        return int.from_bytes(
            hashlib.sha256(f"fer-tune/{self._kind}{self.study}".encode()).digest()[:8], "big", signed=True
        )
