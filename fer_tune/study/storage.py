"""Optuna's storage, in the same database as the store's tables."""

from __future__ import annotations

import time
from weakref import WeakKeyDictionary

import optuna
from optuna.storages import BaseStorage, RDBStorage
from optuna.storages._rdb.models import BaseModel
from sqlalchemy import inspect
from sqlalchemy.exc import DBAPIError, IntegrityError

from fer_tune.store import Store
from fer_tune.store.bootstrap import tables_missing
from fer_tune.store.connection import database_error, engine_options, full, tune
from fer_tune.study.optuna_tables import made_by_another_version

_storages: WeakKeyDictionary[Store, BaseStorage] = WeakKeyDictionary()


def optuna_storage(store: Store) -> BaseStorage:
    """Returns Optuna's storage for a store, made only once because it caches finished trials.

    Reading 10,000 trials takes ten seconds the first time, and milliseconds the second time.

    Raises:
        StorageError: another version of Optuna made its tables, and this version cannot read them.
    """
    if store not in _storages:
        # fer-tune shows the progress itself. Optuna would print a line for each study and trial.
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        backend = store.patiently(lambda: _backend(store))
        tune(backend.engine)
        backend.engine.dispose()  # closes connections that were made without the pragmas
        store.patiently.engines.append(backend.engine)
        _storages[store] = optuna.storages.get_storage(backend)
    return _storages[store]


def _refuse_dropped_tables(store: Store) -> None:
    """Refuses a database that lacks some of Optuna's tables, because Optuna would make empty ones.

    Numbers of trials would then begin again, and old epochs would be taken for those of new trials.
    Before the first trial, a run that was killed may have left some tables out. Optuna makes them.
    """
    present = TABLES & set(inspect(store.engine).get_table_names())
    if present == TABLES or not store.holds_attempts():
        return
    raise tables_missing(store.shown, TABLES - present)


def optuna_backend(store: Store) -> RDBStorage:
    """Returns the part of a store's Optuna storage that reads the database each time."""
    backend = optuna_storage(store)._backend  # type: ignore[attr-defined]
    assert isinstance(backend, RDBStorage)
    return backend


WAITS = (0.0, 0.1, 0.2, 0.4, 0.8, 1.6)
"""Seconds to wait before Optuna's tables are made again, while another process makes them."""

TABLES = frozenset({*BaseModel.metadata.tables, "alembic_version"})
"""Optuna's tables. It makes them all at once."""


def _backend(store: Store) -> RDBStorage:
    _refuse_dropped_tables(store)
    url = full(store.engine.url)  # a reader's engine cannot write
    options = engine_options(store.engine.url)
    waits = iter(WAITS)
    while True:
        try:
            return RDBStorage(url, engine_kwargs=options)
        except RuntimeError as error:  # Optuna raises it for the tables of another version
            raise made_by_another_version(store.shown) from error
        except Exception as error:
            wait = next(waits, None)
            if wait is None or not _made_meanwhile(error):
                raise
            time.sleep(wait)


def _made_meanwhile(error: BaseException) -> bool:
    """Returns whether another process makes Optuna's tables at the same moment.

    It makes some thirty of them one after another, and each may be the one that is there already.
    """
    cause = database_error(error)
    return isinstance(cause, IntegrityError) or (isinstance(cause, DBAPIError) and "already exists" in str(cause.orig))
