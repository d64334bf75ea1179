"""A study made once, and a database of its own for each test."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from fer_tune.data.spec import DataRef
from fer_tune.settings import Settings
from fer_tune.store import Store
from fer_tune.study import Study
from fer_tune.sweep.load import loads_sweep
from tests.mirror.server import Wandb, serving
from tests.studies import SWEEP, make_study


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The database of a study `tiny` with five trials that are over."""
    root = tmp_path_factory.mktemp("made")
    with make_study(Settings(root, f"sqlite:///{root.as_posix()}/fer_tune.db")):
        _copy(root / "fer_tune.db", root / "made.db")
    return root / "made.db"


@pytest.fixture
def store(settings: Settings, made: Path) -> Iterator[Store]:
    settings.root.mkdir(parents=True)
    _copy(made, settings.root / "fer_tune.db")
    with Store.of(settings, create=False) as store:
        yield store


def _copy(source: Path, target: Path) -> None:
    """By SQLite itself: what was written last may lie beside the file."""
    with closing(sqlite3.connect(source)) as one, closing(sqlite3.connect(target)) as other:
        one.backup(other)


@pytest.fixture
def study(store: Store, settings: Settings) -> Study:
    """The study, opened to go on."""
    data = DataRef(settings.cache / "faces", "d" * 64, settings.cache / "split.npz", "5" * 64)
    return Study.open(loads_sweep(SWEEP, Path("tiny.yaml")), store, data)


@pytest.fixture
def server() -> Iterator[Wandb]:
    with serving() as server:
        yield server


@pytest.fixture
def retrained(store: Store, settings: Settings) -> Callable[[], None]:
    """Leaves the files of a retrain of trial 1, and their records."""

    def leave() -> None:
        store.ledger.open_test("tiny", 1, "5" * 64, "retrain")
        opening = len(store.ledger.of_study("tiny"))
        folder = settings.artifacts / "tiny" / f"retrain-0001-{opening}"
        folder.mkdir(parents=True)
        (folder / "model.safetensors").write_bytes(b"weights" * 100)
        (folder / "config.json").write_text("{}")
        (folder / "confusion.json").write_text("[]")
        (folder / "confusion.png").write_bytes(b"a picture")
        row = {"number": 1, "attempt": 0, "train_loss": 1.0, "train_accuracy": 0.5, "lr": 1e-3, "seconds": 0.5}
        row |= dict.fromkeys(("val_loss", "val_accuracy", "val_macro_f1", "val_balanced_accuracy"))
        row |= {"recall": [None] * 7, "images_per_second": 10.0}
        (folder / "epochs.json").write_text(json.dumps([{**row, "epoch": epoch} for epoch in (1, 2)]))
        metrics = {"trial": 1, "params": {"lr": 1e-3}, "seed": 0, "epochs": 2, "images": 98, "test_images": 21}
        metrics |= {"parameters": 1234, "seconds": 1.0, "test_openings": opening, "test": {"plain": {"accuracy": 0.5}}}
        (folder / "metrics.json").write_text(json.dumps(metrics))
        for kind in ("model.safetensors", "confusion.json", "confusion.png", "epochs.json", "metrics.json"):
            store.artifacts.add("tiny", 1, f"retrain {kind.split('.')[0]}", folder / kind)

    return leave
