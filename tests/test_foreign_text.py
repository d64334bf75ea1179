"""Whatever text is in the database or in a file, each command answers, or says what is wrong.

A test puts arbitrary text into a text column or a file that is read back, and calls some of the
commands that read. The answer is a result or a FerTuneError, within seconds. With
`--hypothesis-profile=slow` it tries twenty times as often.
"""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from fer_tune import api
from fer_tune.cli.app import app
from fer_tune.data import cache
from fer_tune.data.dataset import Dataset
from fer_tune.data.policy import SplitPolicy
from fer_tune.data.splits import reference, store_split
from fer_tune.doctor import survive
from fer_tune.doctor.findings import Finding
from fer_tune.doctor.storage import storage
from fer_tune.doctor.studies import studies
from fer_tune.errors import StorageError
from fer_tune.files import replace_text
from fer_tune.settings import Settings, sqlite_url
from fer_tune.sources.final import Request
from fer_tune.sources.retrain import run_final_fits
from fer_tune.sources.run import run_sweeps
from fer_tune.store import Cursor, claim
from tests.anything import tries
from tests.jobs.helpers import INLINE
from tests.pool.trainers import obedient
from tests.searches import make_sweep
from tests.studies import make_study

SECONDS = 60.0
"""Seconds that all commands together may take. Alone they take one; the machine may be busy."""

HOSTILE = (
    "", "\0", "[/red]", "../../../../PWN", "/etc/passwd", "x" * 5000, "\x1b[2J", "{torn", "{}", "[]", "[1]", "null",
    "0", "-1", "1e999", "NaN", '"x"', "{\"a\": {\"b\": []}}", "[" * 20_000, "9" * 5000, "<script>",
    "=cmd|' /C calc'!A0",
    "*", "%s", "{{ 7 * 7 }}", "\u202e", "\r\n", "2026-13-45", "RUNNING", "complete", "{\"epochs\": 0, \"seed\": 0}",
    "{\"epochs\": 3, \"seed\": 1, \"space\": {}}", "!!python/object/apply:os.system [id]", "- &a [*a]", "budget: 7",
)  # fmt: skip
TEXTS = st.sampled_from(HOSTILE) | st.text(max_size=40) | st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda children: st.lists(children, max_size=3) | st.dictionaries(st.text(max_size=8), children, max_size=3),
    max_leaves=8,
).map(json.dumps)  # fmt: skip


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory, demo: Dataset) -> Path:
    """Returns a storage folder in which every text column and every kind of file has something."""
    root = tmp_path_factory.mktemp("foreign") / "storage"
    settings = Settings(root, sqlite_url(root / "fer_tune.db"))
    cache.keep(demo, settings)
    data = reference(demo, store_split(demo, SplitPolicy(), settings), settings)
    with make_study(settings, data=data) as store:
        claim(store)
        for job in store.jobs.of("tiny")[:2]:
            folder = settings.job_folder("tiny", store.studies.get("tiny").uid, job.uid)
            folder.mkdir(parents=True)
            np.save(folder / "val_logits.npy", np.zeros((21, 7), np.float16))
            store.artifacts.add("tiny", job.uid, "val_logits", folder / "val_logits.npy")
            for kind in ("metrics", "confusion", "report", "epochs"):
                replace_text(folder / f"{kind}.json", "{}")
                store.artifacts.add("tiny", job.uid, kind, folder / f"{kind}.json")
            store.cursors.set(Cursor(job.uid, "wandb", job.uid))
    return root


@pytest.fixture
def place(template: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Returns the storage folder of the commands. Each example makes it again."""
    monkeypatch.setenv("FER_TUNE_DIR", str(template.parent / "copy"))
    monkeypatch.setattr(api, "diagnose", diagnose)
    return template.parent / "copy"


def diagnose(**_: object) -> dict[str, list[Finding]]:
    """Examines the storage only: the devices take ten seconds."""
    settings = Settings.from_environment()
    return {
        "storage": survive("storage", lambda: storage(settings)),
        "studies": survive("studies", lambda: studies(settings)),
    }


COMMANDS = (
    ["best"], ["best", "--top", "9", "--json"], ["trials"], ["trials", "--failed"], ["trials", "--csv"], ["studies"],
    ["studies", "--json"], ["watch", "--once"], ["report", "--out", "REPORT"],
    ["backup", "--to", "BACKUP"], ["stop"], ["doctor"], ["retrain", "--trial", "99"],
)  # fmt: skip


def fresh(template: Path, place: Path) -> None:
    shutil.rmtree(place, ignore_errors=True)
    shutil.copytree(template, place)
    for name in ("BACKUP", "REPORT"):
        place.with_name(name).unlink(missing_ok=True)


def all_answer(place: Path, what: str, commands: Sequence[list[str]] = COMMANDS) -> None:
    """Runs commands. None may fail with another error, or write outside the storage folder."""
    before = set(place.parent.iterdir())
    began = time.monotonic()
    for given_words in commands:
        words = [str(place.with_name(word)) if word.isupper() else word for word in given_words]
        done = CliRunner().invoke(app, words)
        assert done.exception is None or isinstance(done.exception, SystemExit), (what, words, done.exception)
        assert done.exit_code in (0, 1, 2, 3), (what, words, done.output)
        assert not any(letter in done.output for letter in "\x1b\x07\u202e"), (what, words, done.output)
    assert time.monotonic() - began < SECONDS, what
    made = {path.name for path in set(place.parent.iterdir()) - before}
    assert made <= {"BACKUP", "REPORT"}, (what, made)


def columns(file: Path) -> list[tuple[str, str]]:
    """Returns the columns of all tables that have text somewhere."""
    with closing(sqlite3.connect(file)) as connection:
        names = [row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        return [
            (name, row[1])
            for name in names
            for row in connection.execute(f"PRAGMA table_info({name})")
            if not name.startswith("alembic") and (name, row[1]) not in KEYS and row[5] == 0
            and row[2].upper().startswith(("VARCHAR", "TEXT", "JSON", "DATETIME", "ENUM"))
        ]  # fmt: skip


KEYS = {("fer_studies", "split_hash"), ("fer_ledger", "split_hash")}
"""References to other rows, which SQLite checks."""


@pytest.mark.parametrize(
    ("statement", "command", "words"),
    [
        ("fer_studies SET sweep_json = '{torn'", "best", "not JSON"),
        ("fer_studies SET sweep_json = '{torn'", "doctor", "fer_studies.sweep_json is not valid in 1 row"),
        ("fer_studies SET sweep_json = '{}'", "report --out REPORT", "fer_studies.sweep_json is not valid"),
        ("fer_studies SET uid = '../../../../PWN'", "best", "which fer-tune never writes"),
        ("fer_jobs SET uid = uid || '/../*'", "watch --once", "which fer-tune never writes"),
        ("fer_epochs SET recall = '[1]'", "report --out REPORT", "another number of classes"),
        ("trial_user_attributes SET value_json = '{'", "trials", "trial_user_attributes.value_json is not valid"),
        ("trials SET datetime_start = 'x'", "studies", "trials.datetime_start is not valid in 5 rows"),
    ],
)
def test_what_is_damaged_is_named(statement: str, command: str, words: str, template: Path, place: Path) -> None:
    fresh(template, place)
    with closing(sqlite3.connect(place / "fer_tune.db")) as connection, connection:
        connection.execute(f"UPDATE {statement}")
    done = CliRunner().invoke(app, command.replace("REPORT", str(place.with_name("REPORT"))).split())
    assert done.exit_code == (1 if command == "doctor" else 2), done.output
    assert words in " ".join(done.output.split())


def test_a_run_and_a_final_fit_write_nothing_outside(searching: Settings) -> None:
    run_sweeps([make_sweep(budget=1)], searching, INLINE, None, obedient)
    with closing(sqlite3.connect(searching.root / "fer_tune.db")) as connection, connection:
        connection.execute("UPDATE fer_studies SET uid = '../../../../PWN'")
    before = set(searching.root.parent.rglob("*"))
    with pytest.raises(StorageError, match="never writes"):
        run_sweeps([make_sweep(budget=3)], searching, INLINE, None, obedient)
    with pytest.raises(StorageError, match="never writes"):
        run_final_fits("s", Request(epochs=1), searching, INLINE)
    new = set(searching.root.parent.rglob("*")) - before
    assert all(path.is_relative_to(searching.root) and path.suffix in (".lock", ".db-wal", ".db-shm") for path in new)


@tries(15, deadline=120.0, shrink=False)
@given(st.data())
def test_any_text_in_any_column(template: Path, place: Path, data: st.DataObject) -> None:
    fresh(template, place)
    name, column = data.draw(st.sampled_from(columns(place / "fer_tune.db")))
    text = data.draw(TEXTS)
    with closing(sqlite3.connect(place / "fer_tune.db")) as connection, connection:
        try:
            connection.execute(f"UPDATE OR IGNORE {name} SET {column} = ?", (text,))
        except (sqlite3.Error, UnicodeEncodeError):  # a rule of the table, or an incomplete character
            return
    commands = data.draw(st.lists(st.sampled_from(COMMANDS), min_size=4, max_size=4, unique_by=str))
    all_answer(place, f"{name}.{column} = {text[:200]!r}", commands)


@tries(6, deadline=120.0, shrink=False)
@given(st.data())
def test_any_text_in_any_file(template: Path, place: Path, data: st.DataObject) -> None:
    fresh(template, place)
    files = sorted(path for path in place.rglob("*") if path.is_file())
    file = data.draw(st.sampled_from(files))
    content = data.draw(TEXTS.map(lambda text: text.encode(errors="replace")) | st.binary(max_size=200))
    file.write_bytes(content)
    commands = data.draw(st.lists(st.sampled_from(COMMANDS), min_size=4, max_size=4, unique_by=str))
    all_answer(place, f"{file.relative_to(place)} = {content[:200]!r}", commands)


@pytest.mark.parametrize("name", ["storage-id", "metrics.json", "val_logits.npy", "fer_tune.db"])
def test_a_pipe_in_the_place_of_a_file_is_not_waited_for(name: str, template: Path, place: Path) -> None:
    fresh(template, place)
    for file in list(place.rglob(name)):
        file.unlink()
        os.mkfifo(file)
    all_answer(place, f"{name} is a pipe")
