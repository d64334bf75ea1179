"""A study that is well, and then each thing that can be wrong with it: it is found, and left as it
was.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterable
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from packaging.requirements import Requirement
from typer.testing import CliRunner

from fer_tune.cli.app import app
from fer_tune.data import cache
from fer_tune.data.dataset import Dataset
from fer_tune.data.policy import SplitPolicy
from fer_tune.data.splits import reference, store_split
from fer_tune.doctor import Finding, devices, environment, examine, probe, storage, studies, survive
from fer_tune.doctor.probe import Probed
from fer_tune.settings import Settings
from fer_tune.store import StudyLock
from tests.studies import make_study


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory, demo: Dataset) -> Path:
    """A study with images, five ended trials and two artifacts; everything closed."""
    root = tmp_path_factory.mktemp("doctor") / "storage"
    settings = Settings(root, f"sqlite:///{root.as_posix()}/fer_tune.db")
    cache.keep(demo, settings)
    data = reference(demo, store_split(demo, SplitPolicy(), settings), settings)
    with make_study(settings, data=data) as store:
        for job in store.jobs.of("tiny")[:2]:
            file = settings.artifacts / job.uid / "val_logits.npy"
            file.parent.mkdir(parents=True)
            np.save(file, np.zeros((21, 7), np.float16))
            store.artifacts.add("tiny", job.uid, "val_logits", file)
    sql(settings, "PRAGMA wal_checkpoint(TRUNCATE)")
    return root


@pytest.fixture
def well(settings: Settings, template: Path) -> Settings:
    """A copy of the template."""
    shutil.copytree(template, settings.root, ignore=shutil.ignore_patterns("*-wal", "*-shm"))
    return settings


def look(settings: Settings) -> list[Finding]:
    """Everything that concerns the storage and the studies."""
    return [
        *survive("storage", lambda: storage.storage(settings)),
        *survive("studies", lambda: studies.studies(settings)),
    ]


def problems(settings: Settings) -> list[Finding]:
    return [finding for finding in look(settings) if finding.state == "problem"]


def the_problem(settings: Settings, what: str, *words: str) -> Finding:
    found = problems(settings)
    assert [finding.what for finding in found] == [what], found
    assert all(word in found[0].found for word in words), found[0].found
    assert found[0].advice
    return found[0]


def sql(settings: Settings, *statements: str) -> None:
    """Changes the database as another program would: without foreign keys."""
    with closing(sqlite3.connect(settings.root / "fer_tune.db")) as connection, connection:
        for statement in statements:
            connection.execute(statement)


def everything(root: Path) -> dict[str, str]:
    """A hash of each file, except the companions that SQLite makes for any reader."""
    return {
        str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(root.rglob("*"))
        if path.is_file() and not path.name.endswith(("-shm", "-wal"))
    }


def test_a_study_that_is_well(well: Settings) -> None:
    assert [finding for finding in look(well) if finding.state != "ok"] == []
    assert "5 jobs" in next(finding.found for finding in look(well) if finding.what == "study tiny")


def test_nothing_there_yet_is_not_a_problem_and_makes_nothing(settings: Settings) -> None:
    assert [finding.state for finding in look(settings)] == ["note", "note"]
    assert not settings.root.exists()


def scramble(settings: Settings) -> None:
    """Two things at once."""
    sql(settings, "DELETE FROM fer_attempts WHERE job_id = 1")
    next(settings.artifacts.rglob("*.npy")).unlink()


def test_nothing_is_changed(well: Settings) -> None:
    scramble(well)
    before = everything(well.root)
    assert len(problems(well)) == 2
    assert everything(well.root) == before


# the folder -----------------------------------------------------------------------------------------------------------


def test_little_space(well: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(storage, "ROOM", 1 << 60)
    the_problem(well, "free space")


def test_a_folder_that_is_not_writable(well: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    # root may write anywhere
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path) != well.artifacts)
    assert "FER_TUNE_DIR" in the_problem(well, "folder", "artifacts").advice


def test_a_file_in_the_place_of_the_folder(settings: Settings) -> None:
    settings.root.write_text("")
    assert "not a folder" in problems(settings)[0].found


# the database ---------------------------------------------------------------------------------------------------------


def test_a_file_that_is_not_a_database(well: Settings) -> None:
    (well.root / "fer_tune.db").write_bytes(b"not a database" * 500)
    assert [finding.what for finding in problems(well)] == ["database"]


def test_damaged_pages(well: Settings) -> None:
    file = well.root / "fer_tune.db"
    with closing(sqlite3.connect(file)) as connection:
        query = "SELECT rootpage FROM sqlite_master WHERE name = 'ix_trials_study_id'"
        page = connection.execute(query).fetchone()[0]
    content = bytearray(file.read_bytes())
    size = int.from_bytes(content[16:18], "big")
    content[(page - 1) * size + 8 : page * size] = bytes(size - 8)
    file.write_bytes(bytes(content))
    found = next(finding for finding in problems(well) if finding.what in ("integrity", "database"))
    assert "backup" in found.advice or "copy" in found.advice


@pytest.mark.parametrize(("version", "state"), [(99, "problem"), (1, "note")])
def test_another_format(well: Settings, version: int, state: str) -> None:
    sql(well, f"UPDATE fer_schema SET version = {version}")
    [found] = [finding for finding in look(well) if finding.what == "format"]
    assert found.state == state
    assert str(version) in found.found


def test_another_programs_database(settings: Settings) -> None:
    settings.root.mkdir()
    sql(settings, "CREATE TABLE recipes (name TEXT)")
    the_problem(settings, "format", "no studies of fer-tune")


@pytest.mark.parametrize(
    ("statement", "words"),
    [
        ("DELETE FROM fer_attempts WHERE job_id = 1", "fer_epochs without fer_attempts: 3"),
        ("INSERT INTO trial_values (trial_id, objective, value, value_type) VALUES (999, 0, 1, 'FINITE')", "trials: 1"),
        ("UPDATE fer_studies SET sweep_json = '{torn'", "fer_studies.sweep_json is not valid in 1 row"),
    ],
)
def test_rows_that_no_run_leaves(well: Settings, statement: str, words: str) -> None:
    sql(well, statement)
    [found] = [finding for finding in problems(well) if finding.what == "integrity"]
    assert words in found.found


def test_the_doctor_survives_what_it_examines(well: Settings) -> None:
    sql(well, "UPDATE fer_studies SET data_spec = '[]', versions = '{'")
    [found] = problems(well)
    assert found.what == "database"
    assert "fer_studies" in found.found
    assert found.advice


def test_a_password_is_not_shown(settings: Settings) -> None:
    pytest.importorskip("psycopg")
    found = problems(replace(settings, url="postgresql://me:hunter2@127.0.0.1:9/x"))
    assert [finding.what for finding in found] == ["database"]
    assert "hunter2" not in str(found)


def test_a_database_in_a_read_only_folder_is_read_and_not_written(well: Settings) -> None:
    with storage.read_only(well) as store, store.engine.connect() as connection:
        assert store.studies.get("tiny").family == "simple_cnn"
        with pytest.raises(Exception, match="readonly"):
            connection.exec_driver_sql("CREATE TABLE x (y)")


# artifacts and studies ------------------------------------------------------------------------------------------------


def test_artifacts(well: Settings) -> None:
    file = min(well.artifacts.rglob("*.npy"))
    file.unlink()
    the_problem(well, "artifacts", "1 recorded file is missing", file.parent.name)
    file.write_bytes(b"other")
    the_problem(well, "artifacts", "1 recorded file is changed", file.parent.name)
    file.unlink()
    sql(well, f"UPDATE fer_artifacts SET path = '../../etc/passwd' WHERE path LIKE '%{file.parent.name}%'")
    the_problem(well, "artifacts", "outside the storage folder", "etc/passwd")


def test_a_trial_that_was_ended_at_once_is_a_note(well: Settings) -> None:
    sql(well, "UPDATE fer_jobs SET state = 'running' WHERE number = 4")
    assert problems(well) == []
    [note] = [finding for finding in look(well) if finding.state == "note"]
    assert "1 trial was interrupted: 4" in note.found
    assert "next run continues" in note.advice
    with StudyLock(well, well.url, "tiny"):
        found = next(finding for finding in look(well) if finding.what == "study tiny")
        assert f"process {os.getpid()} runs it" in found.found


def test_images_that_are_missing_and_images_that_are_damaged(well: Settings) -> None:
    images = next(well.cache.rglob("images.npy"))
    content = bytearray(images.read_bytes())
    content[-1] ^= 1
    images.write_bytes(bytes(content))
    the_problem(well, "study tiny", "images.npy is damaged")
    images.parent.rename(well.root / "elsewhere")
    assert [finding.what for finding in look(well) if finding.state == "note"] == ["study tiny"]


# environment and devices ----------------------------------------------------------------------------------------------


def states(findings: Iterable[Finding]) -> dict[str, str]:
    return {finding.what: finding.state for finding in findings}


def test_packages(settings: Settings) -> None:
    texts = ("numpy>=1", "torch>=99", "nonesuch>=1", 'nonesuch2>=1; extra == "parquet"', 'nonesuch3; extra == "ray"')
    stated = [Requirement(text) for text in texts]
    found = {finding.what: finding for finding in environment.environment(settings, stated)}
    assert {what: finding.state for what, finding in found.items()} == {
        "python": "ok", "numpy": "ok", "torch": "problem", "nonesuch": "problem", "nonesuch2": "note",
        "nonesuch3": "note", "wandb key": "note",
    }  # fmt: skip
    assert "pip install 'torch>=99'" in found["torch"].advice
    assert "fer-tune[parquet]" in found["nonesuch2"].advice
    assert found["nonesuch3"].found == "not installed; the engine ray needs it"
    assert "fer-tune[ray]" in found["nonesuch3"].advice


def test_the_requirements_are_read_off_the_package() -> None:
    names = {requirement.name for requirement in environment.requirements()}
    assert {"torch", "optuna", "wandb", "sqlalchemy", "psycopg"} <= names
    assert "pytest" not in names


def test_data_that_is_not_there(settings: Settings) -> None:
    assert states(environment.environment(replace(settings, data_source="/no/such"), []))["FER_TUNE_DATA"] == "problem"


def test_the_key_is_never_shown(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_MODE", "online")
    assert states(environment.environment(settings, []))["wandb key"] == "problem"
    monkeypatch.setenv("WANDB_API_KEY", "k" * 40)
    found = list(environment.environment(settings, []))
    assert "found in WANDB_API_KEY" in found[-1].found
    assert "k" * 40 not in str(found)


@pytest.mark.parametrize(
    ("body", "error"),
    [
        ("raise ImportError('libcudart is gone')", "ImportError: libcudart is gone"),
        ("import os; os.abort()", "its process ended with -6"),
        ("import time; time.sleep(60)", "not ready after 1 s"),
    ],
)
def test_a_broken_torch(body: str, error: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "torch.py").write_text(body)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), *sys.path]))
    monkeypatch.setattr(probe, "TIMEOUT", 1.0 if "sleep" in body else 60.0)
    assert probe.probe() == Probed(error=error)
    assert states(devices.devices(Probed(error=error)))["torch"] == "problem"


def test_devices(monkeypatch: pytest.MonkeyPatch) -> None:
    gpu = {"name": "NVIDIA H100", "total": 80 << 30, "free": 79 << 30, "error": ""}
    monkeypatch.setattr(devices, "count_gpus", lambda: 1)
    monkeypatch.setattr(devices, "driver_version", lambda: "580.65, CUDA 13.0")
    assert states(devices.devices(Probed([gpu], "13.0"))) == {"cpu": "ok", "driver": "ok", "cuda:0": "ok"}
    assert states(devices.devices(Probed([gpu | {"error": "no kernel image"}], "13.0")))["cuda:0"] == "problem"
    assert states(devices.devices(Probed([gpu | {"free": 1 << 20}], "13.0")))["cuda:0"] == "note"
    assert states(devices.devices(Probed()))["gpu"] == "problem"


# the command ----------------------------------------------------------------------------------------------------------

Invoke = Callable[..., tuple[int, str]]


@pytest.fixture
def invoke(monkeypatch: pytest.MonkeyPatch) -> Invoke:
    monkeypatch.setattr(probe, "probe", Probed)
    monkeypatch.setenv("COLUMNS", "80")

    def run(*arguments: str) -> tuple[int, str]:
        done = CliRunner().invoke(app, ["doctor", *arguments])
        return done.exit_code, done.output

    return run


def test_the_command(well: Settings, invoke: Invoke) -> None:
    code, printed = invoke()
    assert (code, printed.strip().splitlines()[-1]) == (0, "all is well")
    scramble(well)
    code, printed = invoke()
    assert (code, printed.strip().splitlines()[-1]) == (1, "2 problems")
    assert max(map(len, printed.splitlines())) <= 80
    assert "…" not in printed  # nothing is cut
    code, printed = invoke("--json")
    found = json.loads(printed)
    assert (code, found["ok"], found["problems"]) == (1, False, 2)
    assert set(found["findings"]) == {"environment", "devices", "storage", "studies"}


def test_a_missing_package_is_a_problem_and_the_rest_is_examined(
    settings: Settings, invoke: Invoke, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "sqlalchemy", None)
    monkeypatch.delitem(sys.modules, "fer_tune.doctor.storage")
    found = examine(settings)
    assert [finding.state for finding in found["storage"]] == ["problem"]
    assert "Install the missing packages first" in found["storage"][0].advice
    assert len(found["devices"]) >= 2


@pytest.mark.slow
def test_the_whole_examination(tmp_path: Path) -> None:
    """With torch imported, and whatever devices there are."""
    command = [sys.executable, "-m", "fer_tune", "doctor", "--json"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=100, check=False)
    found = json.loads(done.stdout)["findings"]
    assert done.returncode == 0, [one for part in found.values() for one in part if one["state"] == "problem"]
    assert {"torch", "optuna", "wandb", "python"} <= {one["what"] for one in found["environment"]}
