import hashlib
from math import inf, isnan, nan
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError

from fer_tune.errors import StorageError, StudyError
from fer_tune.job import EpochRow, JobEnd
from fer_tune.store import ArtifactRecord, Cursor, Store

from .conftest import record


def row(epoch: int = 1, number: int = 0, attempt: int = 0, **changes: object) -> EpochRow:
    values: dict[str, object] = {
        "train_loss": 1.5,
        "train_accuracy": 0.4,
        "val_loss": 1.25,
        "val_accuracy": 0.1 + 0.2,
        "val_macro_f1": 0.25,
        "val_balanced_accuracy": 0.3,
        "recall": (0.1, nan, 0.3, 0.4, 0.5, 0.6, 0.7),
        "lr": 1e-3,
        "seconds": 2.5,
        "images_per_second": 8000.0,
    }
    return EpochRow(number=number, attempt=attempt, epoch=epoch, **{**values, **changes})  # type: ignore[arg-type]


def begin(store: Store, number: int = 0, attempt: int = 0) -> None:
    store.jobs.start_attempt("resnet", number, attempt, worker=1, device="cpu", seed=2**40)


def test_a_study_comes_back_as_it_was_registered(store: Store, root: Path) -> None:
    assert store.studies.get("resnet") == record()
    ref = store.studies.get("resnet").data_ref(root)
    assert ref.cache == root / "cache/faces"
    assert ref.split == root / "cache/splits/x.npz"


def test_two_studies_share_a_split(store: Store) -> None:
    store.studies.add(record("vgg", "11111111"))
    assert [study.name for study in store.studies.all()] == ["resnet", "vgg"]


def test_a_taken_name_is_refused_whole(store: Store) -> None:
    with pytest.raises(StudyError, match="resnet already"):
        store.studies.add(record(uid="22222222"))
    assert len(store.studies.all()) == 1


def test_an_unknown_study_names_the_nearest(store: Store) -> None:
    with pytest.raises(StudyError) as caught:
        store.studies.get("resnt")
    assert "nearest name is resnet" in caught.value.hint
    with pytest.raises(StudyError):
        store.epochs.all("other")


def test_epochs_come_back_exactly_and_in_order(store: Store) -> None:
    begin(store)
    for epoch in (2, 1):
        assert store.epochs.add("resnet", row(epoch))
    first, second = store.epochs.all("resnet", 0)
    assert (first.epoch, second.epoch) == (1, 2)
    assert first.val_accuracy == 0.1 + 0.2
    assert isnan(first.recall[1])
    assert first.recall[2:] == (0.3, 0.4, 0.5, 0.6, 0.7)


def test_measurements_that_are_not_finite_are_kept(store: Store) -> None:
    begin(store)
    store.epochs.add("resnet", row(train_loss=inf, val_loss=nan))
    (kept,) = store.epochs.all("resnet")
    assert kept.train_loss == inf
    assert isnan(kept.val_loss)


def test_a_replayed_epoch_changes_nothing(store: Store) -> None:
    begin(store)
    assert store.epochs.add("resnet", row())
    assert not store.epochs.add("resnet", row(train_loss=99.0))
    (kept,) = store.epochs.all("resnet")
    assert kept.train_loss == 1.5
    begin(store, attempt=1)
    assert store.epochs.add("resnet", row(attempt=1))
    assert len(store.epochs.all("resnet")) == 2


def test_the_database_itself_keeps_epochs_unique(store: Store) -> None:
    begin(store)
    store.epochs.add("resnet", row())
    with store.engine.begin() as tx, pytest.raises(IntegrityError):
        tx.execute(text("INSERT INTO fer_epochs SELECT * FROM fer_epochs"))


def test_an_epoch_needs_its_attempt(store: Store) -> None:
    with pytest.raises(StorageError, match="never started"):
        store.epochs.add("resnet", row())


def test_an_attempt_ends_once_with_its_files(store: Store, root: Path) -> None:
    begin(store)
    begin(store)  # a replay
    left = root / "artifacts/resnet/0/val_logits.npy"
    left.parent.mkdir(parents=True)
    left.write_bytes(b"logits")
    end = JobEnd(0, 0, "completed", parameters=12, notes=("eager",), files={"val_logits": left, "x": root / "gone"})
    assert store.jobs.end_attempt("resnet", end)
    assert not store.jobs.end_attempt("resnet", JobEnd(0, 0, "failed", reason="late"))
    (attempt,) = store.jobs.attempts("resnet")
    assert (attempt.status, attempt.reason, attempt.parameters, attempt.seed) == ("completed", "", 12, 2**40)
    assert attempt.notes[0] == "eager"
    assert "x was not found" in attempt.notes[1]
    assert attempt.ended is not None
    assert attempt.ended >= attempt.started
    (artifact,) = store.artifacts.of("resnet", 0)
    assert artifact.path == "artifacts/resnet/0/val_logits.npy"
    assert artifact.sha256 == hashlib.sha256(b"logits").hexdigest()
    assert artifact.bytes == 6
    assert store.artifacts.path(artifact) == left


def test_an_end_whose_file_is_outside_leaves_the_attempt_open(store: Store, tmp_path: Path) -> None:
    begin(store)
    outside = tmp_path / "model"
    outside.touch()
    with pytest.raises(StorageError, match="outside"):
        store.jobs.end_attempt("resnet", JobEnd(0, 0, "completed", files={"model": outside}))
    assert store.jobs.attempts("resnet")[0].status is None


def test_an_end_needs_its_attempt(store: Store) -> None:
    with pytest.raises(StorageError, match="never started"):
        store.jobs.end_attempt("resnet", JobEnd(5, 0, "completed"))


def test_abandoned_attempts_are_lost_and_only_open_ones(store: Store) -> None:
    for number in range(3):
        begin(store, number)
    store.jobs.end_attempt("resnet", JobEnd(0, 0, "completed"))
    assert store.abandon_attempts("resnet", "worker 1 died", number=1) == 1
    assert store.abandon_attempts("resnet", "orchestrator died") == 1
    assert [a.status for a in store.jobs.attempts("resnet")] == ["completed", "lost", "lost"]
    assert store.jobs.attempts("resnet", 1)[0].reason == "worker 1 died"


def test_an_artifact_recorded_again_replaces_its_record(store: Store, root: Path) -> None:
    file = root / "report.json"
    for content in ("a", "bb"):
        file.write_text(content)
        store.artifacts.add("resnet", None, "report", file)
    (artifact,) = store.artifacts.of("resnet")
    assert (artifact.bytes, artifact.number) == (2, None)


@pytest.mark.parametrize("path", ["../outside", "a/../../outside", "link", "."])
def test_artifact_paths_cannot_leave_the_storage_folder(store: Store, root: Path, tmp_path: Path, path: str) -> None:
    (tmp_path / "outside").touch()
    (root / "a").mkdir()
    (root / "link").symlink_to(tmp_path / "outside")
    with pytest.raises(StorageError, match="outside"):
        store.artifacts.add("resnet", 0, "model", Path(path))
    forged = ArtifactRecord(0, "model", path, "", 0, record().created)
    with pytest.raises(StorageError, match="outside"):
        store.artifacts.path(forged)


def test_a_missing_artifact_is_refused(store: Store) -> None:
    with pytest.raises(StorageError, match="cannot be read"):
        store.artifacts.add("resnet", 0, "model", Path("nothing"))


def test_every_opening_of_the_test_images_is_in_the_ledger(store: Store) -> None:
    first = store.ledger.open_test("resnet", 3, "split-hash", "retrain")
    second = store.ledger.open_test("resnet", None, "split-hash", "ensemble")
    entries = store.ledger.of_study("resnet")
    assert [(e.id, e.number, e.purpose) for e in entries] == [(first, 3, "retrain"), (second, None, "ensemble")]


def test_the_mirror_finds_its_place_again(store: Store) -> None:
    assert store.mirror_cursor("resnet", 4) is None
    store.set_mirror_cursor("resnet", Cursor(4, "run-a", 0, 3))
    store.set_mirror_cursor("resnet", Cursor(4, "run-a", 1, 9, True))
    store.set_mirror_cursor("resnet", Cursor(5, "run-b"))
    assert store.mirror_cursor("resnet", 4) == Cursor(4, "run-a", 1, 9, True)
    assert len(store.mirror_cursors("resnet")) == 2
