"""Optuna's storage on the store's database."""

from __future__ import annotations

from weakref import WeakKeyDictionary

import optuna
from optuna.storages import BaseStorage, RDBStorage
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError, IntegrityError

from fer_tune.errors import StorageError
from fer_tune.store import Store
from fer_tune.store.connection import database_error, engine_options, tune

_storages: WeakKeyDictionary[Store, BaseStorage] = WeakKeyDictionary()


def optuna_storage(store: Store) -> BaseStorage:
    """Optuna's storage beside the store's tables; made once for a store, since it remembers the
    finished trials.

    Reading 10,000 trials for the first time takes ten seconds, the second time milliseconds.

    Raises:
        StorageError: Optuna's tables were made by a version of Optuna that this one cannot read.
    """
    if store not in _storages:
        # The progress shown is ours; Optuna would print a line for each study and trial.
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        backend = store.patiently(lambda: _backend(store))
        tune(backend.engine)
        backend.engine.dispose()  # connections made before the pragmas were asked for
        store.patiently.engines.append(backend.engine)
        _storages[store] = optuna.storages.get_storage(backend)
    return _storages[store]


def _backend(store: Store) -> RDBStorage:
    options = engine_options(make_url(store.url))
    try:
        return RDBStorage(store.url, engine_kwargs=options)
    except RuntimeError as error:  # what Optuna raises for another version's tables
        raise StorageError(
            f"Optuna's tables in {store.shown} are of another version of Optuna.",
            "`optuna storage upgrade --storage URL` lifts older ones; newer ones need `pip install --upgrade optuna`.",
        ) from error
    except Exception as error:
        cause = database_error(error)
        made_meanwhile = isinstance(cause, IntegrityError) or (
            isinstance(cause, DBAPIError) and "already exists" in str(cause.orig)
        )
        if not made_meanwhile:
            raise
        return RDBStorage(store.url, engine_kwargs=options)
