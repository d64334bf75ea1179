"""Tests that the database file has the rows, and not only its write-ahead log."""

from __future__ import annotations

import shutil
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

from fer_tune.store import Store

from .conftest import record

KILLED = """
import os, signal, sys, time
from fer_tune.store import Store
from fer_tune.store.connection import CHECKPOINT_SECONDS
from tests.store.conftest import record
store = Store.open(sys.argv[1])
store.studies.add(record("first", "00000001"))
time.sleep(1.1 * CHECKPOINT_SECONDS)
store.studies.add(record("second", "00000002"))
os.kill(os.getpid(), signal.SIGKILL)
"""


def names(file: Path) -> list[str]:
    """Returns the studies in a copy of the file alone."""
    copy = file.with_name("copy.db")
    shutil.copy(file, copy)
    with Store.open(f"sqlite:///{copy}", create=False) as store:
        return [study.name for study in store.studies.all()]


def test_a_killed_process_leaves_a_file_that_can_be_copied(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/fer_tune.db"
    killed = subprocess.run([sys.executable, "-c", KILLED, url], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert names(tmp_path / "fer_tune.db") == ["first", "second"]


def test_a_run_that_ends_leaves_all_in_the_file_whoever_else_has_it_open(tmp_path: Path) -> None:
    file = tmp_path / "fer_tune.db"
    with Store.open(f"sqlite:///{file}") as store, closing(sqlite3.connect(file)) as reader:
        reader.execute("SELECT count(*) FROM fer_studies").fetchall()
        for number in range(3):
            store.studies.add(record(f"study-{number}", f"{number:08x}"))
        store.close()
        assert (tmp_path / "fer_tune.db-wal").exists(), "nobody else has it open"
        assert names(file) == ["study-0", "study-1", "study-2"]
