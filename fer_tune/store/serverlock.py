"""The lock of a study in a database server, which keeps out orchestrators on other hosts."""

from __future__ import annotations

import hashlib
import os
import socket
import time
from contextlib import suppress

import sqlalchemy
from sqlalchemy import text
from sqlalchemy.engine import URL, Connection
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import NullPool

from fer_tune.errors import TakenOverError
from fer_tune.store.connection import explain

HOLDER = text(
    "SELECT application_name FROM pg_locks JOIN pg_stat_activity USING (pid) WHERE locktype = 'advisory' AND granted "
    "AND classid::bigint = (:key >> 32) & 4294967295 AND objid::bigint = :key & 4294967295 "
    "AND pg_locks.database = (SELECT oid FROM pg_database WHERE datname = current_database())"
)
"""Query for the name of the connection that holds the lock. See
https://www.postgresql.org/docs/current/view-pg-locks.html."""


OWN = text("SELECT pg_backend_pid()")
END_OWN = text("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid = :pid AND application_name = :name")
"""Ends our own earlier connection. If it broke without the server's notice, it still holds the
lock, perhaps for hours."""

RELEASE = text("SELECT pg_advisory_unlock(:key)")

TRIES, PAUSE = 20, 0.1
"""How often to ask for a lock that our own broken connection may still hold, and the seconds
between."""


class ServerLock:
    """An advisory lock of PostgreSQL. A connection of its own holds it.

    The lock is released when the connection ends, for whatever reason. If the server restarts or
    the network fails, the holder loses the lock. The next call of `keep` notices that. With SQLite
    this lock does nothing, because the database file is on one host.

    Args:
        study: name of the study.
        kind: prefix of the lock's name, for other locks of a study than that of its run.
    """

    def __init__(self, url: URL, study: str, kind: str = "") -> None:
        self.study = study
        self._kind = kind
        self._url = url
        self._connection: Connection | None = None
        self._session: int | None = None
        """Id of the server's process that holds the lock for us, or held it."""

    def acquire(self) -> str | None:
        """Takes the lock. Returns None, or another process that holds it, such as `fer-tune 123 on
        HOST`.

        Raises:
            StorageError: the server does not answer.
        """
        return self._take()

    def keep(self) -> bool:
        """Checks that the lock is still held, with one query. Takes it again if it was lost.

        Returns:
            Whether the lock was taken again. Another process may have had it meanwhile.

        Raises:
            TakenOverError: another process has it now. The message names its host and process id.
            StorageError: the server does not answer. The caller may try again.
        """
        if self._url.get_backend_name() != "postgresql":
            return False
        if self._connection is not None:
            try:
                self._connection.execute(OWN)
                return False
            except SQLAlchemyError:
                self._disconnect()
        if (holder := self._take()) is not None:
            raise TakenOverError(self.study, holder)
        return True

    def holder(self) -> str | None:
        """Returns the process that holds the lock, such as `fer-tune 123 on HOST`, or None.

        Raises:
            StorageError: the server does not answer.
        """
        if self._url.get_backend_name() != "postgresql":
            return None
        engine = sqlalchemy.create_engine(self._url, poolclass=NullPool)
        try:
            with engine.connect() as connection:
                found = connection.execute(HOLDER, {"key": self._key}).scalar()
        except SQLAlchemyError as error:
            raise explain(error, self._url) from error
        return None if found is None else str(found)

    def _take(self) -> str | None:
        """Takes the lock. Returns None, or the name of another process that holds it."""
        if self._url.get_backend_name() != "postgresql":
            return None
        name = f"fer-tune {os.getpid()} on {socket.gethostname()}"[:63]  # the server cuts longer ones
        try:
            engine = sqlalchemy.create_engine(
                self._url, poolclass=NullPool, isolation_level="AUTOCOMMIT", connect_args={"application_name": name}
            )
            connection = engine.connect()
            if self._session is not None:
                connection.execute(END_OWN, {"pid": self._session, "name": name})
            for _ in range(1 if self._session is None else TRIES):
                if connection.execute(text("SELECT pg_try_advisory_lock(:key)"), {"key": self._key}).scalar():
                    self._connection, self._session = connection, connection.execute(OWN).scalar_one()
                    return None
                holder = connection.execute(HOLDER, {"key": self._key}).scalar()
                if holder not in (None, name):
                    break
                time.sleep(PAUSE)
            connection.close()
        except SQLAlchemyError as error:
            raise explain(error, self._url) from error
        return str(holder or "another process")

    def release(self) -> None:
        """Releases the lock. Does nothing if it is not held.

        The server would also release it at the end of the connection, but notices that end later.
        """
        if self._connection is not None:
            with suppress(SQLAlchemyError):
                self._connection.execute(RELEASE, {"key": self._key})
        self._disconnect()

    def _disconnect(self) -> None:
        if self._connection is not None:
            with suppress(SQLAlchemyError):  # the connection is broken, and so closed already
                self._connection.close()
            self._connection = None

    @property
    def _key(self) -> int:
        """The number of the study's advisory lock in PostgreSQL, a signed 64-bit integer."""
        return int.from_bytes(
            hashlib.sha256(f"fer-tune/{self._kind}{self.study}".encode()).digest()[:8], "big", signed=True
        )
