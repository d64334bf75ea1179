"""Makes a study with many trials out of one with few, by copying rows of an SQLite database."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

OPTUNAS = ("user_attributes", "system_attributes", "params", "values", "intermediate_values")
"""Optuna's tables of trials, without their prefix. Their first column is a key of their own."""

NOTES = "dashboard:[0-9]*:note_*"
"""The attributes of a study that hold the notes of its trials."""


def clone_trials(database: Path, wanted: int) -> None:
    """Copies the trials of the only study until it has `wanted` of them.

    All trials must have ended, and `wanted` must be a multiple of their number. Copied are Optuna's
    rows, the jobs with their attempts and epochs, and the notes. Files are not.
    """
    with closing(sqlite3.connect(database)) as connection, connection:
        [(there, trials)] = connection.execute("SELECT count(*), max(trial_id) FROM trials")
        [(jobs,)] = connection.execute("SELECT max(id) FROM fer_jobs")
        if wanted % there:
            raise ValueError(f"{wanted} is not a multiple of the {there} trials")
        for copy in range(1, wanted // there):
            number, trial, job = there * copy, trials * copy, jobs * copy
            of_trial, of_job = f"trial_id <= {trials}", f"job_id <= {jobs}"
            moved = f"trial_id + {trial}"
            _copy(connection, "trials", of_trial, trial_id=moved, number=f"number + {number}")
            for table in OPTUNAS:
                _copy(connection, f"trial_{table}", of_trial, own_key=True, trial_id=moved)
            uid = f"printf('%06x%06x', {copy}, id)"
            _copy(connection, "fer_jobs", f"id <= {jobs}", id=f"id + {job}", uid=uid, number=f"number + {number}")
            for table in ("fer_attempts", "fer_epochs"):
                _copy(connection, table, of_job, job_id=f"job_id + {job}")
            _copy_notes(connection, trials, trial)


def _copy(connection: sqlite3.Connection, table: str, where: str, own_key: bool = False, **changed: str) -> None:
    """Copies rows of a table.

    Args:
        own_key: whether the database gives each copy another value in the first column.
        changed: expressions for the columns that differ in a copy.
    """
    columns = [row[1] for row in connection.execute(f"PRAGMA table_info({table})")][own_key:]
    names = ",".join(f'"{column}"' for column in columns)
    values = ",".join(changed.get(column, f'"{column}"') for column in columns)
    connection.execute(f"INSERT INTO {table} ({names}) SELECT {values} FROM {table} WHERE {where}")


def _copy_notes(connection: sqlite3.Connection, trials: int, moved: int) -> None:
    """Copies the notes, so that a later run does not write those of the copied trials."""
    found = connection.execute(
        "SELECT study_id, key, value_json FROM study_system_attributes WHERE key GLOB ?", (NOTES,)
    ).fetchall()
    copies = []
    for study, key, value in found:
        _, trial, what = key.split(":", 2)
        if int(trial) <= trials:
            copies.append((study, f"dashboard:{int(trial) + moved}:{what}", value))
    connection.executemany("INSERT INTO study_system_attributes (study_id, key, value_json) VALUES (?,?,?)", copies)
