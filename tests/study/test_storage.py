"""Optuna's storage is opened, also while another process makes its tables."""

from __future__ import annotations

import pytest
from optuna.storages import RDBStorage
from sqlalchemy.exc import IntegrityError, OperationalError

from fer_tune.store import Store
from fer_tune.study import storage


class Busy:
    """Stands for Optuna's storage while another process makes the tables, one after another."""

    def __init__(self, *errors: Exception) -> None:
        self.errors = list(errors)

    def __call__(self, url: object, engine_kwargs: object) -> RDBStorage:
        if self.errors:
            raise self.errors.pop(0)
        return RDBStorage(url, engine_kwargs=engine_kwargs)


def taken(table: str) -> Exception:
    return IntegrityError(f"CREATE TABLE {table}", {}, Exception("duplicate key value violates a unique constraint"))


def test_tables_that_another_process_makes_are_waited_for(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    exists = OperationalError("CREATE TABLE trials", {}, Exception("table trials already exists"))
    busy = Busy(taken("studies"), exists, taken("trial_params"), taken("alembic_version"))
    monkeypatch.setattr(storage, "RDBStorage", busy)
    monkeypatch.setattr(storage, "WAITS", (0.0,) * 6)
    found = storage._backend(store)
    assert not busy.errors
    assert found.get_all_studies() == []


def test_other_errors_are_raised_at_once(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    busy = Busy(OperationalError("SELECT 1", {}, Exception("disk I/O error")), taken("studies"))
    monkeypatch.setattr(storage, "RDBStorage", busy)
    with pytest.raises(OperationalError, match="disk I/O error"):
        storage._backend(store)
    assert len(busy.errors) == 1
