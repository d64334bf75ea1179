"""The store: fer-tune's tables in one database, with one object for each kind of thing in them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import TracebackType

from sqlalchemy import select

from fer_tune.settings import Settings
from fer_tune.store import bootstrap, tables
from fer_tune.store.artifacts import Artifacts
from fer_tune.store.connection import checkpoint, make_engine, parse_url
from fer_tune.store.cursors import Cursors
from fer_tune.store.damage import blame
from fer_tune.store.database import Database
from fer_tune.store.epochs import Epochs
from fer_tune.store.jobs import Jobs
from fer_tune.store.ledger import Ledger
from fer_tune.store.retry import Patience
from fer_tune.store.studies import Studies


class Store(Database):
    """fer-tune's tables in one database. Use it as a context manager, or call `close`.

    Each method of its attributes is one transaction.

    Attributes:
        studies, jobs, epochs, artifacts, ledger, cursors: read and write the tables.
        after: is called when the store was closed, to remove a temporary copy; see `reading`.
    """

    after: Callable[[], object] = staticmethod(lambda: None)

    def __init__(self, database: Database) -> None:
        self.__dict__.update(vars(database))
        self.studies = Studies(self)
        self.jobs = Jobs(self, self.studies)
        self.epochs = Epochs(self, self.studies, self.jobs)
        self.artifacts = Artifacts(self, self.studies, self.jobs)
        self.ledger = Ledger(self, self.studies, self.jobs)
        self.cursors = Cursors(self, self.studies, self.jobs)

    @classmethod
    def open(
        cls,
        url: str,
        create: bool = True,
        root: Path = Path("storage"),
        patience: float | Patience = 30.0,
        note: Callable[[str], object] | None = None,
    ) -> Store:
        """Opens the database at `url`. Upgrades one of an older format; an SQLite file is copied
        first.

        Args:
            create: whether to create the database, its folder and its tables if they are missing.
            root: the storage folder. Paths of artifacts are relative to it.
            patience: seconds to wait for a locked database, or a `Patience`.
            note: is called with one line if the database was upgraded.

        Raises:
            StorageError: the database does not exist, cannot be opened, is damaged, belongs to
                another program, or was made by a newer fer-tune.
            MissingExtraError: the database's driver is not installed.
        """
        parsed = parse_url(url)
        bootstrap.prepare_folder(parsed, create)
        patient = patience if isinstance(patience, Patience) else Patience(parsed, patience)
        store = cls(Database(parsed, make_engine(parsed), root.absolute(), patient))
        # A locked file is free again soon. But if a server cannot be reached at the start, the URL
        # is probably wrong, so there is no waiting.
        at_first = patient if parsed.get_backend_name() == "sqlite" else Patience(parsed, 0.0)
        try:
            at_first(lambda: bootstrap.prepare(store, create, note or (lambda text: None)))
        except BaseException:
            store.close()
            raise
        return store

    @classmethod
    def of(
        cls,
        settings: Settings,
        create: bool = True,
        patience: float | Patience = 30.0,
        note: Callable[[str], object] | None = None,
    ) -> Store:
        """Opens the database that the settings name. See `open` for the other arguments."""
        return cls.open(settings.url, create, settings.root, patience, note)

    def holds_attempts(self) -> bool:
        """Returns whether any job was ever started."""
        return bool(self.rows(select(tables.attempts.c.attempt).limit(1)))

    def close(self) -> None:
        """Moves what the write-ahead log holds into an SQLite file, and closes all connections,
        including Optuna's.

        A later use of the store connects again.
        """
        checkpoint(self.engine)
        for engine in self.patiently.engines:
            engine.dispose()
        self.after()

    def __enter__(self) -> Store:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Closes the store. An error that a damaged value explains becomes a StorageError."""
        try:
            if isinstance(error, Exception) and (found := blame(self, error)) is not None:
                raise found from error
        finally:
            self.close()
