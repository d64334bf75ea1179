"""The half of Optuna's storage that is about a study and not about its trials."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from optuna.storages import BaseStorage, RDBStorage
from optuna.storages._rdb import models
from optuna.study import StudyDirection
from optuna.study._frozen import FrozenStudy
from sqlalchemy import Table

from fer_tune.store import Store
from fer_tune.store.database import insert_new

USER: Table = models.StudyUserAttributeModel.__table__

T = TypeVar("T")


class StudyStorage(BaseStorage):
    """Leaves to Optuna's own storage what belongs to a study. A subclass keeps the trials.

    Args:
        backend: Optuna's own storage.
        study: name of the study. What never changes about it is read once.
    """

    def __init__(self, store: Store, backend: RDBStorage, study: str) -> None:
        self._store, self._backend, self._name = store, backend, study
        self._id = store.patiently(lambda: backend.get_study_id_from_name(study))
        self._directions = store.patiently(lambda: backend.get_study_directions(self._id))

    def create_new_study(self, directions: Sequence[StudyDirection], study_name: str | None = None) -> int:
        """As Optuna's."""
        return self._now(lambda: self._backend.create_new_study(directions, study_name))

    def delete_study(self, study_id: int) -> None:
        """As Optuna's."""
        self._now(lambda: self._backend.delete_study(study_id))

    def set_study_user_attr(self, study_id: int, key: str, value: Any) -> None:
        """As Optuna's."""
        self._now(lambda: self._backend.set_study_user_attr(study_id, key, value))

    def set_study_user_attrs(self, values: Mapping[str, Any]) -> None:
        """Writes several attributes in one transaction. Optuna makes a transaction for each."""
        if values:
            rows = [
                {"study_id": self._id, "key": key, "value_json": json.dumps(value)} for key, value in values.items()
            ]
            statement = insert_new(self._store.engine, USER, replace=["value_json"], key=["study_id", "key"])
            self._store.later(lambda tx: tx.execute(statement, rows))

    def set_study_system_attr(self, study_id: int, key: str, value: Any) -> None:
        """As Optuna's."""
        self._now(lambda: self._backend.set_study_system_attr(study_id, key, value))

    def get_study_id_from_name(self, study_name: str) -> int:
        """As Optuna's."""
        return self._id if study_name == self._name else self._backend.get_study_id_from_name(study_name)

    def get_study_name_from_id(self, study_id: int) -> str:
        """As Optuna's."""
        return self._name if study_id == self._id else self._backend.get_study_name_from_id(study_id)

    def get_study_directions(self, study_id: int) -> list[StudyDirection]:
        """As Optuna's."""
        return self._directions

    def get_study_user_attrs(self, study_id: int) -> dict[str, Any]:
        """As Optuna's."""
        return self._now(lambda: self._backend.get_study_user_attrs(study_id))

    def get_study_system_attrs(self, study_id: int) -> dict[str, Any]:
        """As Optuna's."""
        return self._now(lambda: self._backend.get_study_system_attrs(study_id))

    def get_all_studies(self) -> list[FrozenStudy]:
        """As Optuna's."""
        return self._now(self._backend.get_all_studies)

    def _now(self, work: Callable[[], T]) -> T:
        """Asks Optuna's own storage, after the writes that wait."""
        self._store.commit()
        return self._store.patiently(work)
