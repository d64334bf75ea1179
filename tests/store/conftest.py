from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from fer_tune.data.spec import DataSpec
from fer_tune.store import SplitRecord, Store, StudyRecord, bootstrap


def record(name: str = "resnet", uid: str = "0123abcd", **changes: object) -> StudyRecord:
    split = SplitRecord("split-hash", "faces", "cache/splits/x.npz", {"policy": "stratified"}, {"train": 7, "val": 2})
    values: dict[str, object] = {
        "name": name,
        "uid": uid,
        "family": "resnet",
        "objective": "val_accuracy",
        "sweep_signature": "s" * 64,
        "sweep_text": "family: resnet\n",
        "sweep_json": {"family": "resnet", "space": {"lr": {"low": 0.1, "high": 1.0}}},
        "data_source": "fer2013",
        "data_signature": "faces",
        "data_cache": "cache/faces",
        "data_spec": DataSpec(("open", "closed"), 32, 3),
        "split": split,
        "versions": {"optuna": "5.0.0"},
        "created": datetime(2026, 5, 4, 3, 2, 1, tzinfo=UTC),
    }
    return StudyRecord(**{**values, **changes})  # type: ignore[arg-type]


_prepare_folder = bootstrap.prepare_folder


@pytest.fixture(autouse=True)
def new_databases_are_made(monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes databases as users get them, and copies none as other tests do."""
    monkeypatch.setattr(bootstrap, "prepare_folder", _prepare_folder)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "storage"
    folder.mkdir()
    return folder


@pytest.fixture
def store(root: Path, database_url: str) -> Iterator[Store]:
    with Store.open(database_url, root=root) as opened:
        opened.studies.add(record())
        yield opened
