"""A study that is well, and then each thing that can be wrong with it: found, told, and left as it was."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from importlib.util import find_spec
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
from fer_tune.doctor import Finding, database, devices, environment, examine, files, studies
from fer_tune.doctor import probe as probing
from fer_tune.doctor.probe import Probed, probe
from fer_tune.settings import Settings
from fer_tune.store import Store, StudyLock
from fer_tune.store.connection import parse_url
from fer_tune.study import Study
from fer_tune.sweep.load import loads_sweep
from tests.studies import CURVES, SWEEP, add_trial

WELL = Probed({}, [], None)


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory, demo: Dataset) -> Path:
    """A study with faces, five ended trials, one that waits, and two artifacts; everything closed."""
    root = tmp_path_factory.mktemp("doctor") / "storage"
    settings = Settings(root, f"sqlite:///{root.as_posix()}/fer_tune.db")
    cache.keep(demo, settings)
    data = reference(demo, store_split(demo, SplitPolicy(), settings), settings)
    with Store.of(settings) as store:
        study = Study.open(loads_sweep(SWEEP, Path("tiny.yaml")), store, data, {})
        for state, values in CURVES:
            add_trial(store, study, state, values)
        for number in (0, 1):
            file = settings.artifacts / "tiny" / f"trial-{number:05d}" / "val_logits.npy"
            file.parent.mkdir(parents=True)
            np.save(file, np.zeros((21, 7), np.float16))
            store.artifacts.add("tiny", number, "val_logits", file)
        study.requeue(study.ask().number, "interrupted")
    sql(settings, "PRAGMA wal_checkpoint(TRUNCATE)")
    return root


@pytest.fixture
def storage(settings: Settings, template: Path) -> Settings:
    """A copy of the template."""
    shutil.copytree(template, settings.root, ignore=shutil.ignore_patterns("*-wal", "*-shm"))
    return settings


def look(settings: Settings) -> list[Finding]:
    """All that concerns the storage and the studies."""
    known = database.Known()
    return [
        *files.folder(settings),
        *database.database(settings, known),
        *files.files(settings, known),
        *studies.studies(settings, known),
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
    """Changes the database as other hands would: without foreign keys."""
    with closing(sqlite3.connect(settings.root / "fer_tune.db")) as connection, connection:
        for statement in statements:
            connection.execute(statement)


def everything(root: Path) -> dict[str, str]:
    """A hash of each file, but for the companions that SQLite makes for any reader."""
    return {
        str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(root.rglob("*"))
        if path.is_file() and not path.name.endswith(("-shm", "-wal"))
    }


def test_a_study_that_is_well(storage: Settings) -> None:
    assert [finding for finding in look(storage) if finding.state != "ok"] == []
    assert "7 trials" in next(finding.found for finding in look(storage) if finding.what == "study tiny")


def test_nothing_there_yet_is_no_problem_and_makes_nothing(settings: Settings) -> None:
    assert [finding.state for finding in look(settings)] == ["note", "note"]
    assert not settings.root.exists()


def scramble(settings: Settings) -> None:
    """All at once."""
    sql(settings, "DELETE FROM fer_attempts WHERE number = 1", "UPDATE trials SET state = 'RUNNING' WHERE number = 0")
    (settings.artifacts / "stray.bin").write_bytes(b"x")
    checkpoint = settings.checkpoints / "gone-12345678" / "7.safetensors"
    checkpoint.parent.mkdir(parents=True)
    checkpoint.write_bytes(b"x")
    checkpoint.with_name("8.safetensors.torn").write_bytes(b"x")
    settings.locks.mkdir(exist_ok=True)
    (settings.locks / "tiny-0.lock").write_text(json.dumps({"pid": 2**22 + 1, "started": "x", "study": "tiny"}))
    next(settings.artifacts.rglob("*.npy")).unlink()


def test_nothing_is_changed(storage: Settings) -> None:
    scramble(storage)
    before = everything(storage.root)
    assert len(problems(storage)) == 5
    assert everything(storage.root) == before


# the folder -----------------------------------------------------------------------------------------------------------


def test_little_space(storage: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "ROOM", 1 << 60)
    the_problem(storage, "free space")


def test_a_folder_that_may_not_be_written(storage: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path) != storage.artifacts)  # root may write anywhere
    assert "FER_TUNE_DIR" in the_problem(storage, "folder", "artifacts").advice


def test_a_file_in_the_place_of_the_folder(settings: Settings) -> None:
    settings.root.write_text("")
    assert "no folder" in problems(settings)[0].found


# the database ---------------------------------------------------------------------------------------------------------


def test_a_file_that_is_no_database(storage: Settings) -> None:
    (storage.root / "fer_tune.db").write_bytes(b"not a database" * 500)
    assert any("no SQLite database" in finding.found for finding in problems(storage))


def test_damaged_pages(storage: Settings) -> None:
    sql(storage, "PRAGMA wal_checkpoint(TRUNCATE)")
    file = storage.root / "fer_tune.db"
    with closing(sqlite3.connect(file)) as connection:
        query = "SELECT rootpage FROM sqlite_master WHERE name = 'ix_trials_study_id'"
        page = connection.execute(query).fetchone()[0]
    content = bytearray(file.read_bytes())
    size = int.from_bytes(content[16:18], "big")
    content[(page - 1) * size + 8 : page * size] = bytes(size - 8)
    file.write_bytes(bytes(content))
    found = next(finding for finding in problems(storage) if finding.what in ("integrity", "database"))
    assert "backup" in found.advice or "copy" in found.advice


def test_versions(storage: Settings) -> None:
    sql(storage, "UPDATE fer_schema SET version = 99")
    assert "upgrade fer-tune" in the_problem(storage, "schema", "newer", "99").advice
    sql(storage, "UPDATE fer_schema SET version = 1", "UPDATE alembic_version SET version_num = 'v9.9.9.z'")
    assert "upgrade optuna" in the_problem(storage, "Optuna's tables", "v9.9.9.z").advice
    sql(storage, "UPDATE alembic_version SET version_num = 'v3.0.0.a'")
    assert "storage upgrade" in the_problem(storage, "Optuna's tables", "v3.0.0.a").advice


def test_a_foreign_database(settings: Settings) -> None:
    settings.root.mkdir()
    sql(settings, "CREATE TABLE recipes (name TEXT)")
    the_problem(settings, "schema", "no studies of fer-tune")


def test_epochs_without_attempts(storage: Settings) -> None:
    sql(storage, "DELETE FROM fer_attempts WHERE number = 1")
    the_problem(storage, "foreign keys", "3 rows of fer_epochs", "fer_attempts")


def test_rows_of_optuna_without_their_trial(storage: Settings) -> None:
    sql(storage, "INSERT INTO trial_values (trial_id, objective, value, value_type) VALUES (999, 0, 1, 'FINITE')")
    the_problem(storage, "foreign keys", "1 row of trial_values", "trials")


def test_a_key_that_is_there_twice(storage: Settings) -> None:
    sql(storage, "UPDATE trials SET number = 3 WHERE number = 4")
    found = problems(storage)
    assert "trials: 1 value of study_id, number there more than once" in [finding.found for finding in found]


def test_an_epoch_that_is_there_twice(storage: Settings) -> None:
    """In a table that other hands made, without the constraint."""
    sql(
        storage,
        "CREATE TABLE copy AS SELECT * FROM fer_epochs",
        "INSERT INTO copy SELECT * FROM fer_epochs WHERE number = 0 AND epoch = 1",
        "DROP TABLE fer_epochs",
        "ALTER TABLE copy RENAME TO fer_epochs",
    )
    the_problem(storage, "unique keys", "fer_epochs: 1 value of study_id, number, attempt, epoch")


def test_attempts_and_artifacts_without_trials(storage: Settings) -> None:
    sql(storage, "DELETE FROM trials WHERE number = 1", *(f"DELETE FROM {name} WHERE trial_id NOT IN "
        "(SELECT trial_id FROM trials)" for name in ("trial_values", "trial_params", "trial_intermediate_values",
        "trial_user_attributes", "trial_system_attributes")))  # fmt: skip
    told = [finding.found for finding in problems(storage)]
    assert told == ["attempts of 1 trial that is not there: 1", "artifacts of 1 trial that is not there: 1"]


def test_a_study_whose_trials_were_deleted(storage: Settings) -> None:
    import optuna

    optuna.delete_study(study_name="tiny", storage=storage.url)
    assert "set study" in the_problem(storage, "study tiny", "deleted").advice


def test_a_trial_that_runs_without_a_process(storage: Settings) -> None:
    sql(storage, "UPDATE trials SET state = 'RUNNING' WHERE number = 4")
    assert "Run its sweep again" in the_problem(storage, "study tiny", "1 trial is", "(4)").advice
    with StudyLock(storage, storage.url, "tiny"):
        assert problems(storage) == []
        found = next(finding for finding in look(storage) if finding.what == "study tiny")
        assert f"process {os.getpid()} runs it" in found.found


def test_a_url_that_leads_nowhere_and_its_password(settings: Settings) -> None:
    pytest.importorskip("psycopg")
    [found] = list(database.database(replace(settings, url="postgresql://me:hunter2@127.0.0.1:9/x"), database.Known()))
    assert found.state == "problem"
    assert "hunter2" not in str(found)


# files ----------------------------------------------------------------------------------------------------------------


def test_artifacts(storage: Settings) -> None:
    first = min(storage.artifacts.rglob("*.npy"))
    first.unlink()
    the_problem(storage, "artifacts", "1 recorded file is missing", "trial-00000")
    first.write_bytes(b"other")
    the_problem(storage, "artifacts", "1 file differs", "sha256", "trial-00000")
    sql(storage, "UPDATE fer_artifacts SET path = '../../etc/passwd' WHERE number = 0")
    first.unlink()
    the_problem(storage, "artifacts", "out of the storage folder", "etc/passwd")


def test_a_file_that_no_record_names(storage: Settings) -> None:
    (storage.artifacts / "dashboard").mkdir()
    (storage.artifacts / "dashboard" / "upload").write_bytes(b"a user's")
    assert problems(storage) == []
    (storage.artifacts / "tiny" / "trial-00004").mkdir()
    (storage.artifacts / "tiny" / "trial-00004" / "val_logits.npy").write_bytes(b"x" * 2048)
    the_problem(storage, "artifacts", "1 file that no record names", "2 KiB", "trial-00004")
    sql(storage, "UPDATE trials SET state = 'RUNNING' WHERE number = 4")
    with StudyLock(storage, storage.url, "tiny"):
        assert problems(storage) == []  # it will be recorded at the trial's end


def test_checkpoints(storage: Settings) -> None:
    with Store.of(storage) as store:
        place = storage.checkpoints / f"tiny-{store.studies.get('tiny').uid}"
    place.mkdir(parents=True)
    (place / "5.safetensors").write_bytes(b"x")  # the interrupted trial's: number, place and so the seed are 5
    assert problems(storage) == []
    (place / "4.safetensors").write_bytes(b"x")
    the_problem(storage, "checkpoints", "1 file from which no trial will go on", "4.safetensors")


def test_what_harms_nothing_is_a_note(storage: Settings) -> None:
    storage.locks.mkdir(exist_ok=True)
    lock = StudyLock(storage, storage.url, "tiny").path
    lock.write_text(json.dumps({"pid": 2**22 + 1, "started": "2026-01-01", "study": "tiny"}))
    (storage.root / "cache" / "x.safetensors.torn").write_bytes(b"x")
    draft = storage.artifacts / "tiny" / ".val_logits.npy.abc"
    draft.write_bytes(b"x")
    os.utime(draft, (time.time() - 3600,) * 2)
    notes = {finding.what: finding for finding in look(storage) if finding.state != "ok"}
    assert {what: finding.state for what, finding in notes.items()} == dict.fromkeys(
        ("locks", "set aside", "drafts"), "note"
    )
    assert all(finding.advice for finding in notes.values())


def test_faces_that_are_gone_and_faces_that_are_damaged(storage: Settings) -> None:
    images = next(storage.cache.rglob("images.npy"))
    content = bytearray(images.read_bytes())
    content[-1] ^= 1
    images.write_bytes(bytes(content))
    the_problem(storage, "study tiny", "images.npy is damaged")
    images.parent.rename(storage.root / "elsewhere")
    assert [finding.what for finding in look(storage) if finding.state == "note"] == ["study tiny"]


# environment and devices ----------------------------------------------------------------------------------------------


def states(findings: Iterator[Finding]) -> dict[str, str]:
    return {finding.what: finding.state for finding in findings}


def test_packages(settings: Settings) -> None:
    stated = [Requirement(text) for text in ("numpy>=1", "torch>=99", "nonesuch>=1", 'nonesuch2>=1; extra == "ray"')]
    found = {finding.what: finding for finding in environment.environment(settings, stated, WELL)}
    assert {what: finding.state for what, finding in found.items()} == {
        "python": "ok", "numpy": "ok", "torch": "problem", "nonesuch": "problem", "nonesuch2": "note",
        "wandb key": "note",
    }  # fmt: skip
    assert "pip install 'torch>=99'" in found["torch"].advice
    assert "fer-tune[ray]" in found["nonesuch2"].advice


def test_the_requirements_are_read_off_the_package() -> None:
    names = {requirement.name for requirement in environment.requirements()}
    assert {"torch", "optuna", "wandb", "sqlalchemy", "psycopg"} <= names
    assert "pytest" not in names


def test_a_package_that_cannot_be_imported(settings: Settings) -> None:
    probed = Probed({"numpy": "undefined symbol: x"}, [], None)
    found = states(environment.environment(settings, [Requirement("numpy>=1")], probed))
    assert found["numpy"] == "problem"


def test_data_that_is_not_there(settings: Settings) -> None:
    found = states(environment.environment(replace(settings, data_source="/no/such"), [], WELL))
    assert found["FER_TUNE_DATA"] == "problem"


def test_the_key_is_never_shown(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_MODE", "online")
    assert states(environment.environment(settings, [], WELL))["wandb key"] == "problem"
    monkeypatch.setenv("WANDB_API_KEY", "k" * 40)
    found = list(environment.environment(settings, [], WELL))
    assert "there is one (WANDB_API_KEY)" in found[-1].found
    assert "k" * 40 not in str(found)


def test_the_probe_survives_any_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    modules = {
        "noisy": "print('noise')",
        "broken": "raise ImportError('libcudart is gone\\nmore')",
        "leaving": "import sys; sys.exit(3)",
        "crashing": "import os; os.abort()",
    }
    for name, body in modules.items():
        (tmp_path / f"{name}.py").write_text(body)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), *sys.path]))
    died = {
        "noisy": "",
        "broken": "libcudart is gone",
        "leaving": "3",
        "crashing": "the process ended with -6 meanwhile",
    }
    assert probe([*modules, "never"]).imports == died


def test_the_probe_has_an_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "hanging.py").write_text("import time; time.sleep(60)")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), *sys.path]))
    monkeypatch.setattr(probing, "TIMEOUT", 1.5)
    assert probe(["json", "hanging"]).imports == {"json": "", "hanging": "not done within 1.5 s"}


def test_devices(monkeypatch: pytest.MonkeyPatch) -> None:
    gpu = {"gpu": 0, "name": "NVIDIA H100", "total": 80 << 30, "free": 79 << 30, "error": ""}
    monkeypatch.setattr(devices, "count_gpus", lambda: 1)
    monkeypatch.setattr(devices, "driver_version", lambda: "580.65, CUDA 13.0")
    assert states(devices.devices(Probed({}, [gpu], "13.0"))) == {"cpu": "ok", "driver": "ok", "cuda:0": "ok"}
    wrong = states(devices.devices(Probed({}, [gpu | {"error": "no kernel image"}], "13.0")))
    assert wrong["cuda:0"] == "problem"
    assert states(devices.devices(Probed({}, [gpu | {"free": 1 << 20}], "13.0")))["cuda:0"] == "note"
    assert states(devices.devices(Probed({}, [], None)))["gpu"] == "problem"
    (gpu_finding,) = [one for one in devices.devices(Probed({"torch": "no libcudart"}, [], None)) if one.what == "gpu"]
    assert "cannot be imported: no libcudart" in gpu_finding.found


def test_torch_is_asked_for_gpus_also_where_fer_tune_is_not_installed(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    monkeypatch.setattr("fer_tune.doctor.examination.requirements", list)
    monkeypatch.setattr("fer_tune.doctor.examination.probe", lambda modules: asked.extend(modules) or WELL)
    assert states(examine(settings)["environment"])["fer-tune"] == "problem"
    assert asked == ["torch"]


# the command ----------------------------------------------------------------------------------------------------------

Invoke = Callable[..., tuple[int, str]]


@pytest.fixture
def invoke(monkeypatch: pytest.MonkeyPatch) -> Invoke:
    monkeypatch.setattr("fer_tune.doctor.examination.probe", lambda modules: WELL)
    monkeypatch.setenv("COLUMNS", "80")

    def run(*arguments: str) -> tuple[int, str]:
        done = CliRunner().invoke(app, ["doctor", *arguments])
        return done.exit_code, done.output

    return run


def test_the_command(storage: Settings, invoke: Invoke) -> None:
    code, printed = invoke()
    assert code == 0
    assert printed.strip().endswith("all is well")
    scramble(storage)
    code, printed = invoke()
    assert code == 1
    assert printed.strip().endswith("5 problems")
    assert "→" in printed
    assert max(map(len, printed.splitlines())) <= 80
    assert "…" not in printed  # nothing is cut
    code, printed = invoke("--json")
    told = json.loads(printed)
    assert (code, told["ok"], told["problems"]) == (1, False, 5)
    assert set(told["findings"]) == {"environment", "devices", "storage", "studies"}
    assert all(item["advice"] for part in told["findings"].values() for item in part if item["state"] == "problem")


def test_a_missing_package_is_a_finding_and_no_traceback(invoke: Invoke, monkeypatch: pytest.MonkeyPatch) -> None:
    def import_the_rest(*_: object) -> None:
        raise ImportError("No module named 'sqlalchemy'")

    monkeypatch.setattr("fer_tune.doctor.examination._examine", import_the_rest)
    code, printed = invoke()
    assert code == 1
    assert "First mend the packages above" in printed


def test_packages_that_are_really_imported(storage: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    stated = [Requirement("psutil>=1"), Requirement("pyyaml>=1"), Requirement("rich<1")]
    monkeypatch.setattr("fer_tune.doctor.examination.requirements", lambda: stated)
    found = examine(storage)
    wrong = [finding.what for part in found.values() for finding in part if finding.state == "problem"]
    assert wrong == ["rich"]


@pytest.mark.slow
def test_the_whole_examination(tmp_path: Path) -> None:
    """With every package imported, and whatever devices there are."""
    command = [sys.executable, "-m", "fer_tune", "doctor", "--json"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=100, check=False)
    told = json.loads(done.stdout)
    assert done.returncode == 0, [
        one for part in told["findings"].values() for one in part if one["state"] == "problem"
    ]
    assert {"torch", "optuna", "wandb", "python"} <= {one["what"] for one in told["findings"]["environment"]}


def test_a_database_in_a_folder_that_may_not_be_written(storage: Settings) -> None:
    """There SQLite cannot make its companions of the file."""
    sql(storage, "PRAGMA wal_checkpoint(TRUNCATE)")
    engine = database._reading(parse_url(storage.url))
    assert "mode=ro" in str(engine.url)
    with engine.connect() as connection, pytest.raises(Exception, match="readonly"):
        connection.exec_driver_sql("CREATE TABLE x (y)")
    engine.dispose()


def test_each_package_is_imported_by_its_modules_name() -> None:
    """The doctor would call a package broken that it looks for under another name."""
    there = [requirement.name for requirement in environment.requirements() if not environment.absent(requirement)]
    assert there
    assert [name for name in there if find_spec(environment.module_of(name)) is None] == []
