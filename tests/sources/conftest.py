"""Studies and models that are trained once, and copies of their storage folder for the tests."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from fer_tune.data.dataset import Dataset
from fer_tune.settings import Settings, sqlite_url
from fer_tune.sources.run import run_sweeps
from tests.jobs.helpers import INLINE, real_sweep

Work = Callable[[Settings], object]
Once = Callable[[str, Work], Settings]


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Returns the storage folders in which something was trained, by name."""
    return {}


@pytest.fixture
def once(searching: Settings, trained: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Once:
    """Returns a function that fills the test's storage folder. The work is done for the first test
    that asks for this name, and copied for the others."""

    def fill(name: str, work: Work) -> Settings:
        if name not in trained:
            root = tmp_path_factory.mktemp("trained") / "storage"
            work(replace(searching, root=root, url=sqlite_url(root / "fer_tune.db")))
            trained[name] = root
        shutil.copytree(trained[name], searching.root, dirs_exist_ok=True)
        return searching

    return fill


PARTS = ("Training", "Training", "Training", "PublicTest", "PrivateTest")


@pytest.fixture(scope="session")
def with_usage(demo: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Returns a fer2013.csv of the tiny faces."""
    path = tmp_path_factory.mktemp("usage") / "fer2013.csv"
    rows = [
        f"{label},{' '.join(map(str, image.ravel()))},{PARTS[place % 5]}"
        for place, (image, label) in enumerate(zip(demo.images, demo.labels, strict=True))
    ]
    path.write_text("\n".join(["emotion,pixels,Usage", *rows]))
    return path


@pytest.fixture
def by_usage(once: Once, with_usage: Path) -> Settings:
    """Returns the settings of a study that has the competition's own parts."""
    sweep = real_sweep(1)
    split = sweep.split.model_copy(update={"policy": "usage"})
    return replace(
        once("protocols", lambda settings: run_sweeps(
            [replace(sweep, split=split)], replace(settings, data_source=str(with_usage)), INLINE
        )),
        data_source=str(with_usage),
    )  # fmt: skip


@pytest.fixture(autouse=True)
def no_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Writes an empty file in place of a drawn confusion matrix, which takes a third of a second.

    tests/report/test_confusion.py draws one.
    """

    def confusion_png(matrix: object, names: object, path: Path, title: str = "") -> Path:
        path.write_bytes(b"")
        return path

    monkeypatch.setattr("fer_tune.report.confusion.confusion_png", confusion_png)
