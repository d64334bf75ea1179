"""Notes and pictures where optuna-dashboard looks for them: in the attributes of Optuna's study.

A note is a version and its text in pieces. A picture is the description of an artifact, whose file
is in a folder that the dashboard knows (see `_note.py` and `artifact/_backend.py` of
optuna-dashboard). This module writes a note with its pictures in one transaction. Optuna would need
one for each piece, and would first read all notes of the study.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection, bindparam, column, insert, select, table

from fer_tune.store import Store
from fer_tune.study.optuna_queries import HEAD, STATE, STUDY, TRIALS

ATTRIBUTES = table("study_system_attributes", column("study_id"), column("key"), column("value_json"))

FINISHED = ("COMPLETE", "PRUNED", "FAIL")
"""Optuna's states of trials that have ended."""

PIECE = 2045
"""How many characters of a note are in one attribute."""


def add_note(
    store: Store, study: str, number: int | None, note: str, pictures: Mapping[str, str] | None = None
) -> bool:
    """Writes a note with its pictures on a trial or, if `number` is None, on the study.

    The note ends with links to the pictures, at the addresses that the dashboard gives to them.

    Args:
        note: in Markdown.
        pictures: their names by the ids of their artifacts; only for a trial.

    Returns:
        False, with nothing changed, if there is a note already. It may be the user's.

    Raises:
        KeyError: Optuna has no such study or trial.
    """
    study_id, prefix = _place(store, study, number)
    trial_id = prefix.split(":")[1]
    links = [f"[{name}](/artifacts/{study_id}/{trial_id}/{artifact})" for artifact, name in (pictures or {}).items()]
    note = "\n\n".join([note, *([" · ".join(links)] if links else [])])
    values: dict[str, Any] = {f"{prefix}note_ver": 1}
    pieces = range(0, max(1, len(note)), PIECE)
    values |= {f"{prefix}note_str:{place}": note[start : start + PIECE] for place, start in enumerate(pieces)}
    for artifact, name in (pictures or {}).items():
        values |= _picture(prefix, artifact, name)

    def work() -> bool:
        with store.engine.begin() as tx:
            if _exists(tx, study_id, f"{prefix}note_ver"):
                return False
            _insert(tx, study_id, values)
            return True

    return store.patiently(work)


def add_picture(store: Store, study: str, number: int, artifact: str, name: str) -> None:
    """Adds a picture to a trial, unless the trial has it or the user deleted it.

    Raises:
        KeyError: Optuna has no such study or trial.
    """
    study_id, prefix = _place(store, study, number)
    values = _picture(prefix, artifact, name)

    def work() -> None:
        with store.engine.begin() as tx:
            if not _exists(tx, study_id, *values):
                _insert(tx, study_id, values)

    store.patiently(work)


def trials_without_note(store: Store, study: str) -> list[int]:
    """Returns the numbers of the trials that have ended and have no note.

    Raises:
        KeyError: Optuna has no such study.
    """
    study_id, _ = _place(store, study, None)
    versions = ATTRIBUTES.c.key.like("dashboard:%:note\\_ver", escape="\\")
    noted = select(ATTRIBUTES.c.key).where(ATTRIBUTES.c.study_id == study_id, versions)
    ended = select(TRIALS.c.trial_id, TRIALS.c.number).where(TRIALS.c.study_id == study_id, STATE.in_(FINISHED))
    ended = ended.order_by(TRIALS.c.number)

    def work() -> list[int]:
        with store.engine.connect() as connection:
            known = set(connection.execute(noted).scalars())
            rows = connection.execute(ended).all()
        return [number for trial_id, number in rows if f"dashboard:{trial_id}:note_ver" not in known]

    return store.patiently(work)


def _place(store: Store, study: str, number: int | None) -> tuple[int, str]:
    """Returns the study's key in Optuna's tables, and the prefix of the attributes."""

    def work() -> tuple[int | None, int | None]:
        with store.engine.connect() as connection:
            study_id = connection.scalar(STUDY, {"name": study})
            if study_id is None or number is None:
                return study_id, None
            return study_id, connection.scalar(HEAD, {"study": study_id, "of_number": number})

    study_id, trial_id = store.patiently(work)
    if study_id is None:
        raise KeyError(f"study {study}")
    if number is None:
        return study_id, "dashboard:"
    if trial_id is None:
        raise KeyError(f"trial {number} of {study}")
    return study_id, f"dashboard:{trial_id}:"


def _picture(prefix: str, artifact: str, name: str) -> dict[str, str]:
    """Returns the attribute that describes an artifact: JSON within JSON, as Optuna writes it."""
    kind = "image/svg+xml" if name.endswith(".svg") else "image/png"
    described = {"artifact_id": artifact, "filename": name, "mimetype": kind, "encoding": None}
    return {f"{prefix.replace(':', ':artifacts:', 1)}{artifact}": json.dumps(described)}


def _exists(tx: Connection, study_id: int, *keys: str) -> bool:
    return tx.execute(_THERE, {"study": study_id, "keys": keys}).first() is not None


def _insert(tx: Connection, study_id: int, values: Mapping[str, Any]) -> None:
    rows = [{"study_id": study_id, "key": key, "value_json": json.dumps(value)} for key, value in values.items()]
    tx.execute(_ADD, rows)


_THERE = select(ATTRIBUTES.c.key).where(
    ATTRIBUTES.c.study_id == bindparam("study"), ATTRIBUTES.c.key.in_(bindparam("keys", expanding=True))
)
_ADD = insert(ATTRIBUTES)
