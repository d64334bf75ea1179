"""The store: fer-tune's tables in one database, a small object for each kind of thing in them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from fer_tune.settings import Settings
from fer_tune.store import bootstrap
from fer_tune.store.artifacts import Artifacts
from fer_tune.store.connection import make_engine, parse_url
from fer_tune.store.cursors import Cursors
from fer_tune.store.database import Database
from fer_tune.store.epochs import Epochs
from fer_tune.store.jobs import Jobs
from fer_tune.store.ledger import Ledger
from fer_tune.store.retry import Patience
from fer_tune.store.studies import Studies


class Store(Database):
    """fer-tune's tables in one database. Each method of an aggregate is one transaction.

    Attributes:
        studies, jobs, epochs, artifacts, ledger, cursors: what the tables hold.
    """

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
        """Opens the database at `url`. An older one is upgraded in place, after a copy of it was
        made.

        Args:
            create: makes the database, its folder and its tables where they are missing.
            patience: seconds, or how a run waits.
            note: is given one line where the database was upgraded.

        Raises:
            StorageError: it does not exist, cannot be opened, is damaged, is not a database of
                fer-tune, or was made by a newer one.
            MissingExtraError: its driver is not installed.
        """
        parsed = parse_url(url)
        bootstrap.prepare_folder(parsed, create)
        patient = patience if isinstance(patience, Patience) else Patience(parsed, patience)
        store = cls(Database(parsed, make_engine(parsed), root.absolute(), patient))
        # A lock on a file passes; a server that is not there at the start is more likely a wrong
        # URL: said at once.
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
        """Opens the database that the settings name, with artifacts below their storage folder."""
        return cls.open(settings.url, create, settings.root, patience, note)

    def close(self) -> None:
        """Closes every connection, Optuna's too. The store can still be used, and connects
        again."""
        for engine in self.patiently.engines:
            engine.dispose()

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
