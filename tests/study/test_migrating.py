"""Tests that studies are copied whole between databases, or not at all."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import func, select, text
from typer.testing import CliRunner

import fer_tune
from fer_tune.cli.app import app
from fer_tune.errors import StorageError, StudyError
from fer_tune.mirror.process import MirrorLock
from fer_tune.settings import Settings, sqlite_url
from fer_tune.store import Cursor, Store, StudyLock, tables
from fer_tune.store.copy_rows import TableFamily
from fer_tune.study import Study, migrating, ranking, trials
from fer_tune.sweep.load import loads_sweep
from tests.postgres import NewDatabase
from tests.studies import SWEEP, add_trial, make_study

NAMES = ("tiny", "other")
SPLIT = "5" * 64


def fill(settings: Settings) -> None:
    """Makes two studies, with artifacts, a cursor, and openings of test."""
    with make_study(settings) as store:
        uid = store.jobs.of("tiny")[0].uid
        for name in ("model", "report"):
            file = store.root / "artifacts" / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(b"weights")
            store.artifacts.add("tiny", uid if name == "model" else None, name, file)
        store.cursors.set(Cursor(uid, "wandb", "run", 0, 2, False))
        store.ledger.open_test("tiny", uid, SPLIT, "to see")
        add_trial(store, study(store, "other"), "complete", [0.5, 0.7])
        add_trial(store, study(store, "gone"), "complete", [0.5])
        store.ledger.open_test("gone", store.jobs.of("gone")[0].uid, SPLIT, "before")
        store.studies.delete("gone")


def study(store: Store, name: str) -> Study:
    sweep = loads_sweep(SWEEP.replace("study: tiny", f"study: {name}"), Path(f"{name}.yaml"))
    return Study.open(sweep, store, store.studies.get("tiny").data_ref(store.root))


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Returns a storage folder with such a database, which tests copy."""
    root = tmp_path_factory.mktemp("migrating") / "storage"
    fill(Settings(root, sqlite_url(root / "fer_tune.db")))
    return root


@pytest.fixture
def source(settings: Settings, template: Path) -> Settings:
    """Returns the settings of such a database."""
    shutil.copytree(template, settings.root)
    return settings


@pytest.fixture
def target(tmp_path: Path) -> str:
    return sqlite_url(tmp_path / "new" / "copy.db")


def contents(url: str) -> dict[str, list[str]]:
    """Returns what a reader finds of all studies, as text, because nan does not equal itself."""
    with Store.open(url, create=False) as store:
        found: dict[str, list[object]] = {
            name: [
                store.studies.get(name), *trials(store, name), *store.jobs.of(name), *store.jobs.attempts(name),
                *store.epochs.all(name), *store.artifacts.of(name), *store.cursors.of(name, "wandb").items(),
            ]
            for name in NAMES
        }  # fmt: skip
        found["openings"] = [replace(entry, id=0) for entry in store.ledger.of_split(SPLIT)]
        return {name: [repr(one) for one in records] for name, records in found.items()}


def is_empty(url: str) -> bool:
    with Store.open(url) as store:
        counts = [
            store.rows(select(func.count().label("n")).select_from(table))[0]["n"]
            for table in tables.metadata.sorted_tables
            if table.name not in ("fer_schema", "fer_alembic_version")
        ]
    return not any(counts)


def is_copied_and_continues(source: Settings, target: str) -> None:
    before = contents(source.url)
    with Store.open(target, root=source.root) as store:  # so that the copy's keys are other ones
        make_other(store)
    copied = fer_tune.migrate(target, storage=source.url)
    assert (copied.studies, copied.jobs, copied.already) == (NAMES, 6, False)
    assert contents(target) == before
    with Store.open(target, root=source.root) as store:
        assert add_trial(store, study(store, "tiny"), "complete", [0.9]) == 5
        assert next(iter(ranking(store, "tiny", top=1))).number == 5


def make_other(store: Store) -> None:
    with make_study(Settings(store.root, store.url), sweep=SWEEP.replace("study: tiny", "study: here")):
        pass


def test_everything_is_copied_and_the_study_continues_there(source: Settings, target: str) -> None:
    is_copied_and_continues(source, target)


@pytest.mark.slow
@pytest.mark.parametrize("way", ["to PostgreSQL", "from PostgreSQL", "between two"])
def test_everything_is_copied_with_postgresql(source: Settings, target: str, way: str, postgres: NewDatabase) -> None:
    if way != "to PostgreSQL":
        source = replace(source, url=postgres())
        fill(source)
    is_copied_and_continues(source, target if way == "from PostgreSQL" else postgres())


def test_the_old_database_can_only_be_read(source: Settings, target: str) -> None:
    fer_tune.migrate(target)
    assert [trial.number for trial in fer_tune.best("tiny")] == [1]
    with pytest.raises(StorageError, match=r"were copied to sqlite:.*copy\.db by `fer-tune migrate`"):
        fer_tune.delete_study("tiny")
    fer_tune.delete_study("tiny", storage=target)
    assert [one.name for one in fer_tune.studies(storage=target)] == ["other"]


def test_a_study_of_that_name_is_refused(source: Settings, target: str) -> None:
    with make_study(Settings(source.root, target), sweep=SWEEP.replace("study: tiny", "study: other")) as store:
        before = store.studies.all()
        with pytest.raises(StorageError, match="has a study other already, and it is not the same"):
            fer_tune.migrate(target)
        assert store.studies.all() == before
    with pytest.raises(StorageError, match="name the same database"):
        fer_tune.migrate(source.url)


def test_a_study_that_a_process_writes_is_refused(source: Settings, target: str) -> None:
    with StudyLock(source, source.url, "other"), pytest.raises(StudyError, match="other is being run"):
        fer_tune.migrate(target)
    with MirrorLock(source, "tiny"), pytest.raises(StudyError, match="tiny is being mirrored"):
        fer_tune.migrate(target)
    assert is_empty(target)


def test_a_database_without_studies_is_refused(settings: Settings, target: str) -> None:
    Store.of(settings).close()
    with pytest.raises(StudyError, match="There is no study"):
        fer_tune.migrate(target)


@pytest.mark.parametrize("calls", [3, 17])
def test_an_error_in_the_middle_changes_nothing_and_the_same_call_completes(
    source: Settings, target: str, calls: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = contents(source.url)
    with monkeypatch.context() as patch:
        patch.setattr(TableFamily, "_copy", _after(calls, TableFamily._copy))
        with pytest.raises(RuntimeError, match="in the middle"):
            fer_tune.migrate(target)
    assert is_empty(target)
    assert not fer_tune.migrate(target).already
    assert contents(target) == before


def _after(calls: int, work: Callable[..., int]) -> Callable[..., int]:
    left = [calls]

    def failing(*given: object) -> int:
        left[0] -= 1
        if left[0] < 0:
            raise RuntimeError("in the middle")
        return work(*given)

    return failing


def test_a_copy_that_was_made_is_compared_and_not_made_again(
    source: Settings, target: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As after a kill between the copy and the note in the old database."""
    with monkeypatch.context() as patch:
        patch.setattr(migrating, "move_to", lambda source, target: None)
        first = fer_tune.migrate(target)
    again = fer_tune.migrate(target)
    assert (again.already, again.rows, again.jobs) == (True, first.rows, 6)
    with pytest.raises(StorageError, match="were copied"):
        fer_tune.delete_study("tiny")
    with Store.open(target) as store:
        store.write(lambda tx: tx.execute(text("UPDATE fer_epochs SET val_loss = 7 WHERE epoch = 2")))
    with pytest.raises(StorageError, match="has a study other, tiny already, and it is not the same"):
        fer_tune.migrate(target)


@pytest.fixture(scope="module")
def pair(template: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Store, Store]]:
    """Yields a database and its copy."""
    root = tmp_path_factory.mktemp("pair") / "storage"
    shutil.copytree(template, root)
    first, second = (sqlite_url(root / name) for name in ("fer_tune.db", "copy.db"))
    with Store.open(first, root=root) as source, Store.open(second, root=root) as target:
        migrating.migrate(source, target, Settings(root, first))
        yield source, target


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ("UPDATE fer_epochs SET val_loss = 7 WHERE epoch = 2", r"Row 2 of fer_epochs differs in val_loss"),
        ("DELETE FROM trial_params WHERE param_id = 1", r"Row 1 of trial_params differs in .*param_name"),
        ("DELETE FROM fer_cursors", r"Row 1 of fer_cursors is in only one"),
        (
            "INSERT INTO trial_user_attributes (trial_id, key, value_json) VALUES (1, 'x', '1')",
            r"Row \d+ of trial_user_attributes is in only one",
        ),
        ("UPDATE fer_artifacts SET job_id = NULL", r"Row 1 of fer_artifacts differs in job_id"),
        ("UPDATE trials SET study_id = 2 WHERE trial_id = 1", r"Row 1 of trials differs"),
    ],
)
def test_a_difference_is_found(pair: tuple[Store, Store], change: str, what: str) -> None:
    source, target = pair
    with source.engine.connect() as theirs, target.engine.connect() as ours:

        def compare() -> int:
            families = migrating._families()
            for family in families:
                family.match(theirs, ours, NAMES)
            return sum(family.compare(theirs, ours, NAMES) for family in families)

        assert compare() > 100
        ours.execute(text(change))
        with pytest.raises(StorageError, match=what):
            compare()
        ours.rollback()


def test_what_was_written_wrongly_is_taken_back(source: Settings, target: str, monkeypatch: pytest.MonkeyPatch) -> None:
    copy = TableFamily._copy

    def wrongly(self: TableFamily, table: object, *given: object) -> int:
        """Copies, and then damages a row."""
        count = copy(self, table, *given)  # type: ignore[arg-type]
        if table is tables.epochs:
            given[1].execute(text("UPDATE fer_epochs SET lr = 7 WHERE epoch = 3"))  # type: ignore[attr-defined]
        return count

    monkeypatch.setattr(TableFamily, "_copy", wrongly)
    with pytest.raises(StorageError, match="Row 3 of fer_epochs differs in lr"):
        fer_tune.migrate(target)
    assert is_empty(target)


def test_the_command(source: Settings, target: str) -> None:
    words = ["migrate", "--from", source.url, "--to", target]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, done.output
    assert "tiny, other: 6 jobs were copied." in " ".join(done.output.split())


KILLED = """
import os, sys, fer_tune
from fer_tune.store.copy_rows import TableFamily
left, work = [int(sys.argv[3])], TableFamily._copy
def copy(*given):
    left[0] -= 1
    if left[0] < 0:
        os.kill(os.getpid(), 9)
    return work(*given)
TableFamily._copy = copy
fer_tune.migrate(sys.argv[2], storage=sys.argv[1])
"""


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
@pytest.mark.parametrize("calls", [2, 16])
def test_a_kill_in_the_middle_changes_nothing_and_the_same_call_completes(
    source: Settings, target: str, kind: str, calls: int, request: pytest.FixtureRequest
) -> None:
    if kind == "postgresql":
        target = request.getfixturevalue("postgres")()
    before = contents(source.url)
    command = [sys.executable, "-c", KILLED, source.url, target, str(calls)]
    done = subprocess.run(command, env=dict(os.environ), capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert is_empty(target)
    assert not fer_tune.migrate(target).already
    assert contents(target) == before
