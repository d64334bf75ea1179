"""Notes and pictures for optuna-dashboard, kept where its own code looks for them: among Optuna's study attributes.

A note is a version and its text in pieces; a picture is the description of an artifact, whose file lies in a folder
that the dashboard is told of (optuna-dashboard's `_note.py` and `artifact/_backend.py`). Written in one transaction
rather than through Optuna, which would take one for each piece and read all notes of the study before.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection, column, insert, select, table

from fer_tune.store import Store
from fer_tune.study.storage import optuna_storage

ATTRIBUTES = table("study_system_attributes", column("study_id"), column("key"), column("value_json"))

PIECE = 2045
"""Characters of a note in one attribute."""


def remark(store: Store, study: str, number: int | None, note: str, pictures: Mapping[str, str] | None = None) -> bool:
    """Keeps a note, and the pictures that belong to it, on a trial or (with number None) on the study.

    Args:
        note: in Markdown.
        pictures: names to show, by artifact's id; for a trial only.

    Returns:
        False, and nothing is changed, if there is a note already: it may be the user's.

    Raises:
        KeyError: Optuna has no such study or trial.
    """
    study_id, prefix = _place(store, study, number)
    values: dict[str, Any] = {f"{prefix}note_ver": 1}
    pieces = range(0, max(1, len(note)), PIECE)
    values |= {f"{prefix}note_str:{place}": note[start : start + PIECE] for place, start in enumerate(pieces)}
    for artifact, name in (pictures or {}).items():
        values |= _picture(prefix, artifact, name)

    def work() -> bool:
        with store.engine.begin() as tx:
            if _known(tx, study_id, f"{prefix}note_ver"):
                return False
            _put(tx, study_id, values)
            return True

    return store.patiently(work)


def add_picture(store: Store, study: str, number: int, artifact: str, name: str) -> None:
    """Adds a picture to a trial, unless it has or had it.

    Raises:
        KeyError: Optuna has no such study or trial.
    """
    study_id, prefix = _place(store, study, number)
    values = _picture(prefix, artifact, name)

    def work() -> None:
        with store.engine.begin() as tx:
            if not _known(tx, study_id, *values):
                _put(tx, study_id, values)

    store.patiently(work)


def without_remark(store: Store, study: str) -> list[int]:
    """Numbers of the trials that have ended and have no note.

    Raises:
        KeyError: Optuna has no such study.
    """
    storage = optuna_storage(store)
    study_id = storage.get_study_id_from_name(study)
    versions = ATTRIBUTES.c.key.like("dashboard:%:note\\_ver", escape="\\")
    query = select(ATTRIBUTES.c.key).where(ATTRIBUTES.c.study_id == study_id, versions)

    def work() -> set[str]:
        with store.engine.connect() as connection:
            return set(connection.execute(query).scalars())

    noted = store.patiently(work)
    trials = store.patiently(lambda: storage.get_all_trials(study_id, deepcopy=False))
    return [
        trial.number
        for trial in trials
        if trial.state.is_finished() and f"dashboard:{trial._trial_id}:note_ver" not in noted
    ]


def _place(store: Store, study: str, number: int | None) -> tuple[int, str]:
    """The study's key in Optuna's tables, and how the names of attributes begin."""
    storage = optuna_storage(store)
    study_id = store.patiently(lambda: storage.get_study_id_from_name(study))
    if number is None:
        return study_id, "dashboard:"
    trial_id = store.patiently(lambda: storage.get_trial_id_from_study_id_trial_number(study_id, number))
    return study_id, f"dashboard:{trial_id}:"


def _picture(prefix: str, artifact: str, name: str) -> dict[str, str]:
    """As Optuna describes an artifact, in JSON within JSON."""
    kind = "image/svg+xml" if name.endswith(".svg") else "image/png"
    described = {"artifact_id": artifact, "filename": name, "mimetype": kind, "encoding": None}
    return {f"{prefix.replace(':', ':artifacts:', 1)}{artifact}": json.dumps(described)}


def _known(tx: Connection, study_id: int, *keys: str) -> bool:
    of_study = ATTRIBUTES.c.study_id == study_id
    return tx.execute(select(ATTRIBUTES.c.key).where(of_study, ATTRIBUTES.c.key.in_(keys))).first() is not None


def _put(tx: Connection, study_id: int, values: Mapping[str, Any]) -> None:
    rows = [{"study_id": study_id, "key": key, "value_json": json.dumps(value)} for key, value in values.items()]
    tx.execute(insert(ATTRIBUTES), rows)
