"""Shared fixtures. Each test is separate from the user's environment, settings and keys."""

from __future__ import annotations

import gc
import os
import shutil
import signal
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import tests.anything  # noqa: F401 - its Hypothesis profile must be known before any test is collected
from fer_tune.settings import Settings
from tests.postgres import NewDatabase, programs, server

if TYPE_CHECKING:
    from alembic.config import Config
    from sqlalchemy.engine import URL

    from fer_tune.data.dataset import Dataset

for _name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ[_name] = "1"  # before anything imports numpy or torch: tests run beside one another
os.environ["TORCH_DEVICE_BACKEND_AUTOLOAD"] = "0"  # as `pool.devices.environment` has it, also for other processes

MEMORY = Path("/dev/shm")
"""A disk in memory, which Linux has. Tests wait for a real disk for a third of their time."""

if MEMORY.is_dir() and os.access(MEMORY, os.W_OK) and shutil.disk_usage(MEMORY).free > 4e9:
    os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(MEMORY))

# A shell starts what runs in its background deaf to Ctrl-C, and so would be all processes that
# tests interrupt.
signal.signal(signal.SIGINT, signal.default_int_handler)

LONGEST = (
    "test_chaos", "test_kills", "mirror", "jobs", "test_package", "sources", "test_safety", "train", "cli", "report",
    "dashboard", "benchmarks", "test_foreign_text",
)  # fmt: skip
"""Folders and files whose tests take longest. They come first, so that none of them ends alone."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Sorts the tests by `LONGEST`. Those of one file share a process, by `--dist loadfile`."""

    def rank(item: pytest.Item) -> int:
        place = item.path.relative_to(Path(__file__).parent).as_posix()
        return next((number for number, name in enumerate(LONGEST) if place.startswith(name)), len(LONGEST))

    items.sort(key=rank)


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Iterator[object]:
    """Keeps the garbage collector away from all that the tests import, which stays anyway.

    Its visits took a sixth of the time of the tests.
    """
    gc.disable()
    done = yield
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)
    gc.enable()
    return done


OURS = ("FER_TUNE_", "WANDB_", "OPTUNA_")
REAL_DATA = "FER_TUNE_DATA"
"""The one variable of the user that tests may use, through the fixture `real_data`."""


@pytest.fixture(autouse=True)
def own_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Keeps the user's variables and netrc out of tests, and tests out of the user's storage."""
    for name in list(os.environ):
        if name.startswith(OURS):
            monkeypatch.delenv(name)
    monkeypatch.setenv("FER_TUNE_DIR", str(tmp_path / "storage"))
    monkeypatch.setenv("NETRC", str(tmp_path / "no-netrc"))
    monkeypatch.setenv("WANDB_CONFIG_DIR", str(tmp_path / "wandb-config"))
    monkeypatch.setenv("WANDB_CACHE_DIR", str(tmp_path / "wandb-cache"))
    monkeypatch.setenv("WANDB_DATA_DIR", str(tmp_path / "wandb-data"))


@pytest.fixture(scope="session", autouse=True)
def migrations_read_once() -> Iterator[None]:
    """Reads the scripts of Optuna's and our migrations once in each process.

    Alembic imports all of them again for each database that is opened, three times for a new one.
    That took a third of the time of a test that makes a database.
    """
    from alembic.script import ScriptDirectory

    read, known = ScriptDirectory.from_config, dict[str | None, ScriptDirectory]()

    def from_config(config: Config) -> ScriptDirectory:
        place = config.get_main_option("script_location")
        if place not in known:
            known[place] = read(config)
        return known[place]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ScriptDirectory, "from_config", staticmethod(from_config))
        yield


@pytest.fixture(scope="session", autouse=True)
def new_databases_are_copies(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Copies a database without studies wherever this process would make one.

    To make its forty tables takes as long as a run of two trials. The tests of the store, and
    processes that tests start, make theirs.
    """
    from fer_tune.store import Store, bootstrap

    prepare_folder, empty = bootstrap.prepare_folder, tmp_path_factory.mktemp("empty") / "fer_tune.db"

    def make() -> None:
        from fer_tune.study.storage import optuna_storage

        with Store.open(f"sqlite:///{empty}") as store:
            optuna_storage(store)

    def prepare(url: URL, create: bool) -> None:
        prepare_folder(url, create)
        if create and url.get_backend_name() == "sqlite" and url.database and Path(url.database) != empty:
            if not empty.exists():
                make()
            with suppress(OSError):  # of a disk that is full or cannot be written: the store says so itself
                if not Path(url.database).exists():
                    shutil.copyfile(empty, url.database)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bootstrap, "prepare_folder", prepare)
        yield


_real_data = os.environ.get(REAL_DATA)


@pytest.fixture
def real_data() -> str:
    """Returns the path of the real FER2013. Skips the test unless FER_TUNE_DATA names it."""
    if not _real_data or not Path(_real_data).exists():
        pytest.skip(f"{REAL_DATA} names no data set")
    return _real_data


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Returns an empty storage folder of the test's own."""
    root = tmp_path / "storage"
    return Settings(root, f"sqlite:///{root.as_posix()}/fer_tune.db")


@pytest.fixture(scope="session")
def postgres() -> Iterator[NewDatabase]:
    """Yields a maker of empty PostgreSQL databases. Skips the test without PostgreSQL."""
    pytest.importorskip("psycopg")
    found = programs()
    if found is None:
        pytest.skip("PostgreSQL is not installed")
    with server(found) as new:
        yield new


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.slow)])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Returns the URL of an empty database, on each kind of server."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/storage/fer_tune.db"
    new: NewDatabase = request.getfixturevalue("postgres")
    return new()


@pytest.fixture(scope="session")
def demo() -> Dataset:
    """Returns 20 synthetic faces of each class, which a bright bar tells apart."""
    import numpy as np

    from fer_tune.data.dataset import Dataset

    random = np.random.default_rng(0)
    labels = np.repeat(np.arange(7), 20)
    images = random.integers(0, 120, (140, 48, 48), dtype=np.uint8)
    for image, label in zip(images, labels, strict=True):
        image[6 * label : 6 * label + 6] += 100
    return Dataset.of(images, labels.astype(np.int64), source="tiny demo")


@pytest.fixture(scope="session")
def csv(demo: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Returns a `train.csv` of the tiny faces, as Kaggle has it."""
    path = tmp_path_factory.mktemp("data") / "train.csv"
    rows = (
        f"{label},{' '.join(map(str, image.ravel()))}" for image, label in zip(demo.images, demo.labels, strict=True)
    )
    path.write_text("\n".join(["emotion,pixels", *rows]))
    return path


@pytest.fixture(scope="session")
def loaded(csv: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Returns a cache in which the tiny faces are loaded and split, as a run leaves it."""
    from fer_tune.data.load import load_faces
    from fer_tune.data.policy import SplitPolicy
    from fer_tune.data.splits import store_split

    root = tmp_path_factory.mktemp("loaded") / "storage"
    made = Settings(root, f"sqlite:///{root.as_posix()}/fer_tune.db", data_source=str(csv))
    store_split(load_faces("fer2013", made), SplitPolicy(), made)
    return made.cache


@pytest.fixture
def searching(settings: Settings, csv: Path, loaded: Path) -> Settings:
    """Returns a storage folder without a database, and `fer2013` means the tiny faces.

    They are in its cache already. tests/data and benchmarks/chaos load them for the first time.
    """
    shutil.copytree(loaded, settings.cache)
    return replace(settings, data_source=str(csv))


@pytest.fixture
def trained_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets the commands that follow a search train in this process.

    A worker would import torch again.

    tests/cli/test_whole.py calls one with a worker.
    """
    from fer_tune.api import confirm, ensemble, retrain

    for function in (confirm, ensemble, retrain):
        assert function.__kwdefaults__["engine"] == "local"
        monkeypatch.setitem(function.__kwdefaults__, "engine", "inline")
