"""Checkpoints: a job that was cut off continues as if it had not been. Bad files are not used."""

import dataclasses
import threading
from collections.abc import Callable
from concurrent.futures import Executor, Future
from pathlib import Path

import pytest
import torch

from fer_tune.data.spec import DataRef
from fer_tune.job import EpochRow, Job, JobEnd, Wish
from fer_tune.train import checkpoint, training
from fer_tune.train.device_network import DeviceNetwork
from fer_tune.train.loop import Trainer
from tests.train.bench import Bench

PARAMS = {"width": 8, "batch_size": 64, "lr": 0.01, "ema": 0.9, "augment": 0.5, "mixup": 0.5}


@pytest.fixture(scope="module")
def trainer() -> Trainer:
    return Trainer("cpu", threads=1)


@pytest.fixture
def spec(tiny_data: DataRef, tmp_path: Path) -> Job:
    """Five epochs, a checkpoint after each."""
    path = tmp_path / "checkpoints" / "1.safetensors"
    return Job(
        "a1b2c3", "s", "search", "simple_cnn", dict(PARAMS), 5, 7, tiny_data, checkpoint=path, checkpoint_seconds=0.0
    )


@pytest.fixture
def rare(spec: Job) -> Job:
    """The same, with a checkpoint only when one is asked for."""
    return dataclasses.replace(spec, checkpoint_seconds=1000.0)


def _numbers(rows: list[EpochRow]) -> list[EpochRow]:
    return [dataclasses.replace(row, attempt=0, seconds=0.0, images_per_second=0.0, device_seconds=0.0) for row in rows]


def _run(trainer: Trainer, spec: Job, stop: Callable[[], int] = lambda: 0) -> tuple[list[EpochRow], JobEnd]:
    *rows, end = trainer.train_alone(spec, stop)
    assert isinstance(end, JobEnd)
    return [row for row in rows if isinstance(row, EpochRow)], end


class AtOnce(Executor):
    """Does everything before `submit` returns: a thread may be slower than the next epoch."""

    def __init__(self, *_: object) -> None:
        pass

    def submit(self, work: Callable[..., None], *arguments: object) -> Future[None]:  # type: ignore[override]
        done: Future[None] = Future()
        done.set_result(work(*arguments))
        return done


def _break_off(trainer: Trainer, spec: Job, after: int) -> None:
    """Trains so many epochs and leaves, as a killed worker does."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(checkpoint, "ThreadPoolExecutor", AtOnce)
        training = trainer.train_alone(spec)
        rows = (message for message in training if isinstance(message, EpochRow))
        for _ in range(after + 1):  # the checkpoint of an epoch is written after its row was taken
            next(rows)
        training.close()  # type: ignore[attr-defined]


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_a_resumed_trial_ends_with_the_same_weights_bit_for_bit(spec: Job, optimizer: str) -> None:
    spec = dataclasses.replace(spec, family="deep_cnn", params={**spec.params, "optimizer": optimizer})
    undisturbed, resumed = Bench(), Bench()
    expected, _ = _run(undisturbed.trainer, dataclasses.replace(spec, checkpoint=None))
    _break_off(Trainer("cpu", threads=1), spec, 2)
    rows, end = _run(resumed.trainer, dataclasses.replace(spec, attempt=1))
    assert end.notes == ("continued after epoch 2 from a checkpoint",)
    assert {(row.job, row.attempt) for row in rows} == {("a1b2c3", 1)}
    assert _numbers(rows) == _numbers(expected)
    before, after = undisturbed.network.state(), resumed.network.state()
    assert before.keys() == after.keys()
    for name, tensor in before.items():
        assert torch.equal(tensor, after[name]), name


def test_a_paused_trial_continues_bit_for_bit(rare: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training, "WORTH_KEEPING", 0.0)
    undisturbed, continued = Bench(), Bench()
    expected, _ = _run(undisturbed.trainer, dataclasses.replace(rare, checkpoint=None))
    _, end = _run(Trainer("cpu", threads=1), dataclasses.replace(rare, until=1))
    assert end.status == "paused"
    _, end = _run(Trainer("cpu", threads=1), dataclasses.replace(rare, until=3, attempt=1))
    assert end.status == "paused"
    rows, end = _run(continued.trainer, dataclasses.replace(rare, attempt=2))
    assert end.notes == ("continued after epoch 3 from a checkpoint",)
    assert _numbers(rows) == _numbers(expected)
    before, after = undisturbed.network.state(), continued.network.state()
    assert all(torch.equal(tensor, after[name]) for name, tensor in before.items())


def test_a_trial_that_is_paused_already_pauses_at_once(rare: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run may be killed after a trial paused, and before it recorded that."""
    monkeypatch.setattr(training, "WORTH_KEEPING", 0.0)
    job = dataclasses.replace(rare, until=2)
    _run(Trainer("cpu", threads=1), job)
    monkeypatch.setattr(DeviceNetwork, "train_epoch", lambda self, epoch: pytest.fail("it trained"))
    rows, end = _run(Trainer("cpu", threads=1), dataclasses.replace(job, attempt=1))
    assert (len(rows), end.status) == (2, "paused")


def test_a_trial_that_paused_after_a_moment_leaves_no_checkpoint(rare: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training, "WORTH_KEEPING", 1000.0)
    assert rare.checkpoint is not None
    first, end = _run(Trainer("cpu", threads=1), dataclasses.replace(rare, until=1))
    assert (end.status, rare.checkpoint.exists()) == ("paused", False)
    rows, end = _run(Trainer("cpu", threads=1), dataclasses.replace(rare, attempt=1))
    assert (end.status, len(rows)) == ("completed", 5)
    assert _numbers(rows)[:1] == _numbers(first)


def test_it_does_not_train_again_what_it_has(trainer: Trainer, spec: Job, monkeypatch) -> None:
    _break_off(trainer, spec, 3)
    trained, whole = [], DeviceNetwork.train_epoch
    monkeypatch.setattr(DeviceNetwork, "train_epoch", lambda self, epoch: trained.append(epoch) or whole(self, epoch))
    _run(trainer, spec)
    assert trained == [4, 5]


def test_patience_is_remembered(trainer: Trainer, spec: Job) -> None:
    still = dataclasses.replace(spec, params={**spec.params, "lr": 1e-9, "ema": 0.0}, schedule=9, patience=3)
    expected, _ = _run(trainer, dataclasses.replace(still, checkpoint=None))
    _break_off(trainer, still, 2)
    rows, end = _run(trainer, still)
    assert "no better" in end.reason
    assert _numbers(rows) == _numbers(expected)


def _stopped_in_the_third_epoch(trainer: Trainer, job: Job, *wishes: Wish) -> tuple[list[EpochRow], JobEnd]:
    """Wishes one thing after another from the third epoch's first step on; the last one stays."""
    rows: list[EpochRow] = []
    asks = iter([Wish.CONTINUE, *wishes])  # the first one comes at the second epoch's end
    *_, end = (
        rows.append(message) if isinstance(message, EpochRow) else message
        for message in trainer.train_alone(job, lambda: next(asks, wishes[-1]) if len(rows) >= 2 else Wish.CONTINUE)
    )
    assert isinstance(end, JobEnd)
    return rows, end


def test_a_stop_leaves_nothing_of_the_epoch(trainer: Trainer, rare: Job) -> None:
    rows, end = _stopped_in_the_third_epoch(trainer, rare, Wish.STOP)
    assert ([row.epoch for row in rows], end.status) == ([1, 2], "stopped")
    assert not rare.checkpoint.exists()


def test_a_stop_that_keeps_finishes_the_epoch_and_leaves_a_checkpoint(trainer: Trainer, rare: Job) -> None:
    rows, end = _stopped_in_the_third_epoch(trainer, rare, Wish.STOP_AND_KEEP)
    assert ([row.epoch for row in rows], end.status) == ([1, 2, 3], "stopped")
    assert len(checkpoint.read(rare.checkpoint, rare).rows) == 3
    rows, end = _run(trainer, rare, lambda: Wish.STOP_AND_KEEP)  # one more, though it is wished from the start
    assert ([row.epoch for row in rows], end.status) == ([1, 2, 3, 4], "stopped")
    rows, end = _run(trainer, rare, lambda: Wish.STOP_AND_KEEP)  # and the last one is an end like any other
    assert ([row.epoch for row in rows], end.status) == ([1, 2, 3, 4, 5], "completed")


def test_a_stop_that_keeps_first_writes_what_there_is(trainer: Trainer, rare: Job) -> None:
    """The worker may be ended before the epoch is."""
    rows, end = _stopped_in_the_third_epoch(trainer, rare, Wish.STOP_AND_KEEP, Wish.STOP)
    assert ([row.epoch for row in rows], end.status) == ([1, 2], "stopped")
    assert len(checkpoint.read(rare.checkpoint, rare).rows) == 2


def test_a_stop_that_comes_while_the_kept_epoch_is_evaluated_loses_no_epoch(trainer: Trainer, rare: Job) -> None:
    kept = set[int]()
    for steps in range(1, 40):
        rare.checkpoint.unlink(missing_ok=True)
        rows, _ = _stopped_in_the_third_epoch(trainer, rare, *[Wish.STOP_AND_KEEP] * steps, Wish.STOP)
        assert len(checkpoint.read(rare.checkpoint, rare).rows) == len(rows)
        kept.add(len(rows))
        if len(rows) == 3:
            break
    assert kept == {2, 3}


@pytest.mark.parametrize("error", [RuntimeError("a bug"), MemoryError("no room")])
def test_a_checkpoint_that_cannot_be_made_costs_no_finished_job_and_no_thread(
    trainer: Trainer, spec: Job, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def broken(*_: object) -> None:
        raise error

    monkeypatch.setattr(checkpoint, "write", broken)
    rows, end = _run(trainer, spec)
    assert (len(rows), end.status) == (5, "completed")
    assert any(f"no checkpoint: {type(error).__name__}: {error}" in note for note in end.notes)
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("checkpoint")]


def _cut(content: bytes) -> bytes:
    return content[: len(content) // 2]


def _flip(content: bytes) -> bytes:
    return content[:-9] + bytes([content[-9] ^ 1]) + content[-8:]


@pytest.mark.parametrize("spoil", [_cut, _flip, lambda _: b"", lambda _: b"\x80\x04cos\nsystem\n", lambda c: c[8:]])
def test_a_torn_file_is_set_aside_and_said(trainer: Trainer, spec: Job, spoil: Callable[[bytes], bytes]) -> None:
    _break_off(trainer, spec, 2)
    path = spec.checkpoint
    assert path is not None
    path.write_bytes(spoil(path.read_bytes()))
    rows, end = _run(trainer, dataclasses.replace(spec, checkpoint_seconds=1000.0))
    assert end.status == "completed"
    assert len(rows) == 5
    assert any("1.safetensors.torn" in note for note in end.notes), end.notes
    assert path.with_name("1.safetensors.torn").exists()
    assert not path.exists()


@pytest.mark.parametrize("change", [{"seed": 8}, {"schedule": 6}, {"params": {"width": 8, "batch_size": 32}}])
def test_a_file_of_another_trial_is_set_aside(trainer: Trainer, spec: Job, change: dict[str, object]) -> None:
    _break_off(trainer, spec, 2)
    other = dataclasses.replace(spec, **change)  # type: ignore[arg-type]
    rows, end = _run(trainer, other)
    assert any("another job" in note for note in end.notes)
    assert _numbers(rows) == _numbers(_run(trainer, dataclasses.replace(other, checkpoint=None))[0])


def test_a_disk_that_refuses_costs_the_checkpoint_and_not_the_trial(trainer: Trainer, spec: Job) -> None:
    assert spec.checkpoint is not None
    spec.checkpoint.parent.write_text("a file where the folder should be")
    rows, end = _run(trainer, spec)
    assert (len(rows), end.status) == (5, "completed")
    assert any("no checkpoint" in note for note in end.notes)


def test_a_disk_that_refuses_costs_the_logits_and_not_the_trial(trainer: Trainer, spec: Job, tmp_path) -> None:
    (tmp_path / "file").touch()
    _, end = _run(trainer, dataclasses.replace(spec, artifacts=tmp_path / "file" / "trial"))
    assert (end.status, end.files) == ("completed", {})
    assert any("val_logits were not kept: cannot write" in note for note in end.notes)


def test_none_is_written_unless_asked_for(trainer: Trainer, spec: Job, tmp_path: Path) -> None:
    _run(trainer, dataclasses.replace(spec, checkpoint=None))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.gpu
def test_a_resumed_trial_ends_near_the_undisturbed_one_on_a_gpu(spec: Job) -> None:
    """cuDNN may sum in another order each time: losses and weights are within 5 %."""
    spec = dataclasses.replace(spec, family="deep_cnn")
    undisturbed, resumed = Bench("cuda"), Bench("cuda")
    expected, _ = _run(undisturbed.trainer, dataclasses.replace(spec, checkpoint=None))
    _break_off(Trainer("cuda"), spec, 2)
    rows, end = _run(resumed.trainer, dataclasses.replace(spec, attempt=1))
    assert "continued after epoch 2 from a checkpoint" in end.notes
    assert [row.epoch for row in rows] == [1, 2, 3, 4, 5]
    for row, other in zip(rows, expected, strict=True):
        assert row.lr == other.lr
        assert row.train_loss == pytest.approx(other.train_loss, rel=0.05)
        assert row.val_loss == pytest.approx(other.val_loss, rel=0.05)
    before, after = undisturbed.network.state(), resumed.network.state()
    assert torch.equal(before["steps"], after["steps"])
    for name in ("values", "average"):
        distance = torch.linalg.vector_norm(before[name] - after[name])
        assert distance <= 0.05 * torch.linalg.vector_norm(before[name]), name
