import hashlib
from contextlib import suppress
from dataclasses import replace
from math import inf, isnan, nan
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError, OperationalError

from fer_tune.errors import StorageError, StudyError
from fer_tune.job import EpochRow, Job, JobEnd, Kind
from fer_tune.store import ArtifactRecord, Cursor, Store

from .conftest import record

JOB = "0" * 12


def row(epoch: int = 1, job: str = JOB, attempt: int = 0, **changes: object) -> EpochRow:
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
    return EpochRow(job=job, attempt=attempt, epoch=epoch, **{**values, **changes})  # type: ignore[arg-type]


def job(uid: str = JOB, number: int | None = 0, attempt: int = 0) -> Job:
    data = record().data_ref(Path("storage"))
    kind: Kind = "final" if number is None else "search"
    return Job(uid, "resnet", kind, "resnet", {"lr": 0.1}, 3, 2**40, data, number=number, attempt=attempt)


def begin(store: Store, uid: str = JOB, attempt: int = 0, number: int | None = 0) -> None:
    if not attempt:
        store.jobs.put(job(uid, number))
    store.jobs.start_attempt(job(uid, number, attempt), worker=1, device="cpu")


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
    assert caught.value.hint == "Did you mean resnet? It has: resnet."
    with pytest.raises(StudyError) as caught:
        store.studies.get("other")
    assert caught.value.hint == "It has: resnet."
    with pytest.raises(StudyError):
        store.epochs.all("other")


def test_epochs_come_back_exactly_and_in_order(store: Store) -> None:
    begin(store)
    for epoch in (2, 1):
        store.epochs.add(row(epoch))
    first, second = store.epochs.all("resnet", JOB)
    assert (first.epoch, second.epoch) == (1, 2)
    assert first.val_accuracy == 0.1 + 0.2
    assert isnan(first.recall[1])
    assert first.recall[2:] == (0.3, 0.4, 0.5, 0.6, 0.7)


def test_measurements_that_are_not_finite_are_kept(store: Store) -> None:
    begin(store)
    store.epochs.add(row(train_loss=inf, val_loss=nan))
    (kept,) = store.epochs.all("resnet")
    assert kept.train_loss == inf
    assert isnan(kept.val_loss)


def test_a_replayed_epoch_changes_nothing(store: Store) -> None:
    begin(store)
    store.epochs.add(row())
    store.epochs.add(row(train_loss=99.0))
    (kept,) = store.epochs.all("resnet")
    assert kept.train_loss == 1.5
    begin(store, attempt=1)
    store.epochs.add(row(attempt=1))
    assert len(store.epochs.all("resnet")) == 2


def test_the_database_itself_keeps_epochs_unique(store: Store) -> None:
    begin(store)
    store.epochs.add(row())
    with store.engine.begin() as tx, pytest.raises(IntegrityError):
        tx.execute(text("INSERT INTO fer_epochs SELECT * FROM fer_epochs"))


def test_an_epoch_needs_its_attempt(store: Store) -> None:
    store.jobs.put(job())
    with pytest.raises(StorageError, match="not started"):
        store.epochs.add(row())


def test_an_attempt_ends_once_with_its_files(store: Store, root: Path) -> None:
    begin(store)
    begin(store)  # a second call changes nothing
    left = root / "artifacts/resnet/0/val_logits.npy"
    left.parent.mkdir(parents=True)
    left.write_bytes(b"logits")
    end = JobEnd(JOB, 0, "completed", parameters=12, notes=("eager",), files={"val_logits": left, "x": root / "gone"})
    store.jobs.end_attempt(end)
    store.jobs.end_attempt(JobEnd(JOB, 0, "failed", reason="late"))  # it has ended, so this changes nothing
    (attempt,) = store.jobs.attempts("resnet")
    assert (attempt.status, attempt.reason, attempt.parameters) == ("completed", "", 12)
    assert attempt.notes[0] == "eager"
    assert "x was not found" in attempt.notes[1]
    assert attempt.ended is not None
    assert attempt.ended >= attempt.started
    (artifact,) = store.artifacts.of("resnet", JOB)
    assert artifact.path == "artifacts/resnet/0/val_logits.npy"
    assert artifact.sha256 == hashlib.sha256(b"logits").hexdigest()
    assert artifact.bytes == 6
    assert store.artifacts.path(artifact) == left


def test_an_end_whose_file_is_outside_leaves_the_attempt_open(store: Store, tmp_path: Path) -> None:
    begin(store)
    outside = tmp_path / "model"
    outside.touch()
    with pytest.raises(StorageError, match="outside"):
        store.jobs.end_attempt(JobEnd(JOB, 0, "completed", files={"model": outside}))
    assert store.jobs.attempts("resnet")[0].status is None


def test_an_end_needs_its_attempt(store: Store) -> None:
    store.jobs.put(job())
    with pytest.raises(StorageError, match="not started"):
        store.jobs.end_attempt(JobEnd(JOB, 0, "completed"))


def test_abandoned_attempts_are_lost_and_only_open_ones(store: Store) -> None:
    for number in range(3):
        begin(store, str(number), number=number)
    begin(store, "final", number=None)
    store.jobs.end_attempt(JobEnd("0", 0, "completed"))
    assert store.jobs.abandon_attempts_of("1", "worker 1 died") == 1
    assert store.jobs.abandon_attempts("resnet", "search", "orchestrator died") == 1
    assert [a.status for a in store.jobs.attempts("resnet")] == ["completed", "lost", "lost", None]
    assert store.jobs.attempts("resnet", "1")[0].reason == "worker 1 died"


def test_an_artifact_recorded_again_replaces_its_record(store: Store, root: Path) -> None:
    file = root / "report.json"
    for content in ("a", "bb"):
        file.write_text(content)
        store.artifacts.add("resnet", None, "report", file)
    (artifact,) = store.artifacts.of("resnet")
    assert (artifact.bytes, artifact.job) == (2, None)


@pytest.mark.parametrize("path", ["../outside", "a/../../outside", "link", "."])
def test_artifact_paths_cannot_leave_the_storage_folder(store: Store, root: Path, tmp_path: Path, path: str) -> None:
    (tmp_path / "outside").touch()
    (root / "a").mkdir()
    (root / "link").symlink_to(tmp_path / "outside")
    begin(store)
    with pytest.raises(StorageError, match="outside"):
        store.artifacts.add("resnet", JOB, "model", Path(path))
    forged = ArtifactRecord(JOB, "model", path, "", 0, record().created)
    with pytest.raises(StorageError, match="outside"):
        store.artifacts.path(forged)


def test_a_missing_artifact_is_refused(store: Store) -> None:
    begin(store)
    with pytest.raises(StorageError, match="cannot be read"):
        store.artifacts.add("resnet", JOB, "model", Path("nothing"))


def test_every_opening_of_the_test_images_is_in_the_ledger(store: Store) -> None:
    for uid in ("one", "two"):
        begin(store, uid, number=None)
    first = store.ledger.open_test("resnet", "one", "split-hash", "final fit")
    second = store.ledger.open_test("resnet", "two", "split-hash", "final fit")
    assert [(entry.id, entry.job) for entry in store.ledger.of_study("resnet")] == [(first, "one"), (second, "two")]


def test_a_job_that_is_evaluated_again_opens_test_once(store: Store) -> None:
    begin(store, number=None)
    assert store.ledger.open_test("resnet", JOB, "split-hash", "final fit") == store.ledger.open_test(
        "resnet", JOB, "split-hash", "final fit"
    )
    assert len(store.ledger.of_study("resnet")) == 1


def test_the_ledger_counts_the_openings_of_a_split_by_all_studies(store: Store) -> None:
    store.studies.add(record("vgg", "11111111"))
    begin(store, number=None)
    store.jobs.put(replace(job("other", None), study="vgg"))
    store.ledger.open_test("resnet", JOB, "split-hash", "final fit")
    store.ledger.open_test("vgg", "other", "split-hash", "final fit")
    assert [entry.study for entry in store.ledger.of_split("split-hash")] == ["resnet", "vgg"]


def test_each_tracker_finds_its_place_again(store: Store) -> None:
    begin(store, "four", number=4)
    assert store.cursors.of("resnet", "wandb") == {}
    store.cursors.set(Cursor("four", "wandb", "run-a", 0, 3))
    store.cursors.set(Cursor("four", "wandb", "run-a", 1, 9, True))
    store.cursors.set(Cursor("four", "other", "run-b"))
    assert store.cursors.of("resnet", "wandb") == {"four": Cursor("four", "wandb", "run-a", 1, 9, True)}
    assert store.cursors.of("resnet", "other") == {"four": Cursor("four", "other", "run-b")}


def test_a_job_that_is_queued_again_keeps_its_uid_and_changes_its_number(store: Store) -> None:
    begin(store)
    store.jobs.renumber("resnet", 0, 7, "interrupted")
    found = store.jobs.find_trial("resnet", 7)
    assert found is not None
    assert (found.uid, found.state, found.reason) == (JOB, "queued", "interrupted")
    assert store.jobs.find_trial("resnet", 0) is None
    store.jobs.put(replace(job(), number=7))
    again = store.jobs.get(JOB)
    assert (again.uid, again.seed, again.mirrored) == (JOB, 2**40, True)


def test_a_job_says_when_it_was_over(store: Store) -> None:
    begin(store)
    assert store.jobs.get(JOB).state == "running"
    store.jobs.set_state(JOB, "pruned", "pruned in epoch 1", 0.25)
    over = store.jobs.get(JOB)
    assert (over.state, over.reason, over.value) == ("pruned", "pruned in epoch 1", 0.25)
    assert over.ended is not None
    with pytest.raises(StorageError, match="no job nothing"):
        store.jobs.get("nothing")


def test_the_latest_attempt_of_an_epoch_counts(store: Store) -> None:
    begin(store)
    for epoch in (1, 2, 3):
        store.epochs.add(row(epoch))
    begin(store, attempt=1)
    for epoch in (2, 3):
        store.epochs.add(row(epoch, attempt=1))
    counted = [(one.attempt, one.epoch) for one in store.epochs.curve("resnet", JOB)]
    assert counted == [(0, 1), (1, 2), (1, 3)]
    (curve,) = store.epochs.curves("resnet").values()
    assert [(one.attempt, one.epoch) for one in curve] == counted


def test_a_batch_is_one_transaction_and_a_query_sees_it(store: Store) -> None:
    with store.batch():
        begin(store)
        for epoch in (1, 2):
            store.epochs.add(row(epoch))
        with store.engine.connect() as other:
            assert other.scalar(text("SELECT count(*) FROM fer_epochs")) == 0
        assert len(store.epochs.all("resnet")) == 2
        with store.engine.connect() as other:
            assert other.scalar(text("SELECT count(*) FROM fer_epochs")) == 2


def test_a_batch_that_is_left_by_an_error_changes_nothing(store: Store) -> None:
    begin(store)
    with suppress(KeyboardInterrupt), store.batch():
        store.epochs.add(row(1))
        store.jobs.set_state(JOB, "complete", value=0.5)
        raise KeyboardInterrupt
    store.epochs.add(row(2))
    assert [kept.epoch for kept in store.epochs.all("resnet")] == [2]
    assert store.jobs.get(JOB).state == "running"


def test_a_write_that_is_refused_takes_its_batch_with_it(store: Store) -> None:
    store.jobs.put(job())
    with store.batch():
        store.jobs.set_state(JOB, "failed", "x")
        store.epochs.add(row())
        with pytest.raises(StorageError, match="not started"):
            store.commit()
        store.pending.discard()
    assert store.jobs.get(JOB).state == "queued"


def test_rows_of_a_batch_keep_their_order_where_it_matters(store: Store) -> None:
    """Rows of one table are written together, but never before what they refer to."""
    begin(store)
    with store.batch():
        store.epochs.add(row(1))
        begin(store, attempt=1)
        store.epochs.add(row(1, attempt=1))
        store.epochs.add(row(2, attempt=1))
        assert len(store.pending.steps) == 3  # epochs, the attempt, epochs
    assert [(one.attempt, one.epoch) for one in store.epochs.all("resnet")] == [(0, 1), (1, 1), (1, 2)]


@pytest.mark.slow
@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
@pytest.mark.parametrize("committed", [True, False])
def test_a_commit_that_the_server_did_not_confirm_is_made_once(
    store: Store, monkeypatch: pytest.MonkeyPatch, committed: bool
) -> None:
    """The connection is lost during a commit, before or after the server made it."""
    begin(store)
    dialect, lost = store.engine.dialect, []
    commit = dialect.do_commit

    def lose(connection: Any) -> None:
        if lost:
            return commit(connection)
        lost.append(connection)
        if committed:
            commit(connection)
        raise OperationalError("COMMIT", None, Exception("the server closed the connection"))

    monkeypatch.setattr(dialect, "do_commit", lose)
    with store.batch():
        for epoch in (1, 2):
            store.epochs.add(row(epoch))
        store.later(lambda tx: tx.execute(text("UPDATE fer_jobs SET seed = seed + 1")))
    assert [kept.epoch for kept in store.epochs.all("resnet")] == [1, 2]
    assert store.jobs.get(JOB).seed == job().seed + 1
    assert len(lost) == 1


def test_the_epochs_that_count_are_added_up(store: Store) -> None:
    begin(store)
    begin(store, "other", number=1)
    for epoch in (1, 2, 3):
        store.epochs.add(row(epoch))
        store.epochs.add(row(epoch, job="other"))
    begin(store, attempt=1)
    store.epochs.add(row(3, attempt=1, seconds=7.0))
    assert store.epochs.trained("resnet", "search") == {JOB: (3, 12.0), "other": (3, 7.5)}
    assert store.jobs.states("resnet", "search") == {JOB: "running", "other": "running"}


def test_the_time_of_a_device_that_lanes_share_is_added_up_once(store: Store) -> None:
    begin(store)
    begin(store, "other", number=1)
    for epoch in (1, 2):
        store.epochs.add(replace(row(epoch, seconds=4.0), device_seconds=3.0))
        store.epochs.add(replace(row(epoch, job="other", seconds=4.0), device_seconds=1.0))
    begin(store, attempt=1)
    store.epochs.add(replace(row(2, attempt=1, seconds=7.0), device_seconds=2.0))
    assert store.epochs.trained("resnet", "search") == {JOB: (2, 5.0), "other": (2, 2.0)}
