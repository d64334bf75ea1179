"""Memory that is too small: the same training in smaller parts, or a failure that says so.

On a CPU a network that refuses plays the device; on a GPU the allocator is given a share of its
memory.
"""

import dataclasses
import gc
import json
import subprocess
import sys
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from fer_tune.data.spec import DataRef
from fer_tune.job import EpochRow, Job, JobEnd, Value
from fer_tune.train.device_network import DeviceNetwork
from fer_tune.train.inputs import DeviceData
from fer_tune.train.loop import Trainer
from fer_tune.train.memory import Memory, out_of_memory
from fer_tune.train.network_cache import MOST_NETWORKS
from fer_tune.train.network_plan import NetworkPlan
from tests.train.bench import Bench

GIB = 2**30
ROOT = Path(__file__).parents[2]


@pytest.fixture
def spec(faces: DataRef) -> Callable[..., Job]:
    def make(family: str = "simple_cnn", epochs: int = 2, **params: Value) -> Job:
        params = {"width": 8, "batch_size": 64, "lr": 0.01, "optimizer": "sgd", **params}
        return Job("a1b2c3", "study", "search", family, params, epochs, 7, faces)

    return make


def _run(trainer: Trainer, spec: Job) -> tuple[list[EpochRow], JobEnd]:
    *rows, end = trainer.train_alone(spec)
    assert isinstance(end, JobEnd)
    return [row for row in rows if isinstance(row, EpochRow)], end


class SmallMemory(Memory):
    """A device of 8 GiB, 7 of them free."""

    def __init__(self) -> None:
        super().__init__(torch.device("cpu"))
        self.free = 7 * GIB

    def total(self) -> int:
        return 8 * GIB

    def available(self) -> int:
        return self.free

    def release(self) -> None:
        """Collects nothing: what failed must be gone by itself."""


class SmallDevice:
    """Builds networks that take at most `limit` images at once.

    Larger ones fail in `place`, from epoch `since` on.

    Attributes:
        built: the images at once of each network that was begun to be built.
        trained: the epochs that were begun.
        alive: the networks that are in memory.
        memory: what the trainer takes for the device's.
    """

    def __init__(self, limit: int, place: str = "build", since: int = 1) -> None:
        self.limit, self.place, self.since = limit, place, since
        self.built: list[int] = []
        self.trained: list[int] = []
        self.failed: list[weakref.ref[DeviceNetwork]] = []
        self.alive: weakref.WeakSet[DeviceNetwork] = weakref.WeakSet()
        self.memory = SmallMemory()
        self.trainer = Trainer("cpu", threads=1, build=self.build, memory=self.memory)

    @property
    def network(self) -> DeviceNetwork:
        """The only network in memory."""
        [network] = self.alive
        return network

    def need(self, place: str, network: DeviceNetwork, images: int, epoch: int = 1) -> None:
        if place == self.place and images > self.limit and epoch >= self.since:
            self.failed.append(weakref.ref(network))
            raise torch.OutOfMemoryError(
                "CUDA out of memory. Tried to allocate 9.00 GiB. GPU 0 has a total capacity of 8.00 GiB."
            )

    def build(self, plan: NetworkPlan, parts: int) -> DeviceNetwork:
        assert not any(failed() for failed in self.failed), "a failed network is still in memory"
        images, device = plan.images(parts), self
        self.built.append(images)

        class Fastidious(DeviceNetwork):
            def __init__(self) -> None:
                super().__init__(plan, parts)
                device.need("build", self, images)

            def train_epoch(self, epoch: int) -> Iterator[int]:
                device.trained.append(epoch)
                device.need("train", self, images, epoch)
                yield from super().train_epoch(epoch)

            def evaluate(self) -> None:
                device.need("evaluate", self, images, device.trained[-1])
                super().evaluate()

        network = Fastidious()
        self.alive.add(network)
        return network


# -- a step in parts ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
@pytest.mark.parametrize(("batch", "parts"), [(64, 2), (64, 8), (50, 4)])
def test_a_step_in_parts_is_the_step(spec, optimizer, batch, parts):
    """Without BatchNorm and dropout, all but rounding is the same."""
    wanted = spec(
        batch_size=batch, optimizer=optimizer, lr=1e-3, augment=0.5, mixup=0.3, label_smoothing=0.1,
        sampling="class_weights", grad_clip=0.5,
    )  # fmt: skip
    whole, divided = Bench(), SmallDevice(-(-batch // parts))
    rows, _ = _run(whole.trainer, wanted)
    same, _ = _run(divided.trainer, wanted)
    assert divided.network.parts == parts
    for row, other in zip(rows, same, strict=True):
        assert other.train_loss == pytest.approx(row.train_loss, rel=1e-5)
        assert other.val_loss == pytest.approx(row.val_loss, rel=1e-5)
        assert other.lr == row.lr
    before, after = whole.network, divided.network
    assert before.steps_per_epoch == after.steps_per_epoch
    assert torch.equal(before.inputs.images, after.inputs.images)
    # Adam divides by the gradient's size, so where that is near 0 rounding decides the direction.
    near = 1e-6 if optimizer == "sgd" else 2e-4
    assert torch.allclose(before.flat.values, after.flat.values, rtol=1e-4, atol=near)


def test_batchnorm_sees_a_part_and_its_running_statistics_keep_their_pace(spec):
    wanted = spec("deep_cnn", epochs=3, lr=0.003)
    whole, divided = Bench(), SmallDevice(16)
    rows, _ = _run(whole.trainer, wanted)
    similar, end = _run(divided.trainer, wanted)
    assert "BatchNorm's statistics are those of a part" in end.notes[0]
    assert similar != rows
    assert similar[-1].train_loss == pytest.approx(rows[-1].train_loss, rel=0.1)
    one, four = (
        next(module for module in network.flat.model.modules() if isinstance(module, torch.nn.BatchNorm2d))
        for network in (whole.network, divided.network)
    )
    assert (1 - four.momentum) ** 4 == pytest.approx(1 - one.momentum)
    assert torch.allclose(one.running_mean, four.running_mean, rtol=0.2, atol=0.05)


# -- when memory runs out -------------------------------------------------------------------------------------


@pytest.mark.parametrize("place", ["build", "train", "evaluate"])
def test_the_batch_is_halved_until_it_fits(spec, place):
    device = SmallDevice(16, place)
    rows, end = _run(device.trainer, spec())
    assert (end.status, end.infeasible) == ("completed", 0.0)
    assert [row.epoch for row in rows] == [1, 2]
    assert device.built == [64, 32, 16]
    assert end.notes[0].startswith("memory was short: each step of 64 images was computed in 4 parts of 16")


@pytest.mark.parametrize("place", ["build", "train"])
def test_what_never_fits_fails_with_what_it_needed_and_is_not_tried_again(spec, place):
    device = SmallDevice(4, place)
    rows, end = _run(device.trainer, spec())
    assert device.built == [64, 32, 16, 8]
    assert (rows, end.status, end.detail) == ([], "failed", "")
    assert "9.0 GiB" in end.reason
    assert "8.0 GiB" in end.reason
    assert end.infeasible == pytest.approx(9 / 7 - 1)
    assert not device.alive

    device.built.clear()
    _, again = _run(device.trainer, spec(lr=0.1))
    assert (again.status, again.reason, device.built) == ("failed", end.reason, [])
    _, larger = _run(device.trainer, spec(batch_size=128))
    assert (larger.status, device.built) == ("failed", [])
    assert larger.infeasible > again.infeasible
    _, smaller = _run(device.trainer, spec(batch_size=16))
    assert (smaller.status, device.built) == ("completed", [4])
    assert _run(device.trainer, spec("deep_cnn", batch_size=8))[1].status == "completed"


def test_the_next_trial_of_a_shape_begins_with_the_parts_that_fit(spec):
    device = SmallDevice(16, "train")
    _run(device.trainer, spec(epochs=1))
    for width in range(9, 9 + MOST_NETWORKS):
        _run(device.trainer, spec(epochs=1, width=width, batch_size=16))
    device.built.clear()
    _, end = _run(device.trainer, spec(epochs=1))
    assert device.built == [16]
    assert "4 parts of 16" in end.notes[0]
    _run(device.trainer, spec(epochs=1, batch_size=128))
    assert device.built == [16, 16]


def test_more_memory_than_there_was_is_worth_a_try(spec):
    device = SmallDevice(4)
    assert _run(device.trainer, spec())[1].status == "failed"
    device.limit = 64
    assert _run(device.trainer, spec())[1].status == "failed"
    device.memory.free = 8 * GIB
    _, end = _run(device.trainer, spec())
    assert (end.status, end.notes) == ("completed", ())


def test_other_networks_make_room_before_the_batch_is_halved(spec):
    device = SmallDevice(64)
    for width in range(9, 9 + MOST_NETWORKS):
        assert _run(device.trainer, spec(epochs=1, width=width))[1].status == "completed"
    assert len(device.alive) == MOST_NETWORKS
    whole = device.need

    def crowded(place: str, network: DeviceNetwork, images: int, epoch: int = 1) -> None:
        device.limit = 0 if device.alive else 64
        whole(place, network, images, epoch)

    device.need = crowded  # type: ignore[method-assign]
    device.built.clear()
    rows, end = _run(device.trainer, spec())
    assert device.built == [64, 64]
    assert (end.status, end.notes, len(rows)) == ("completed", (), 2)
    assert len(device.alive) == 1


def test_a_trial_goes_on_after_its_last_epoch_and_reports_none_twice(spec, tmp_path):
    kept = dataclasses.replace(spec(epochs=5), checkpoint=tmp_path / "1.safetensors", checkpoint_seconds=1000.0)
    device = SmallDevice(16, "train", since=4)
    rows, end = _run(device.trainer, kept)
    assert [row.epoch for row in rows] == [1, 2, 3, 4, 5]
    assert device.trained == [1, 2, 3, 4, 4, 4, 5]
    assert end.status == "completed"
    assert end.notes[-1] == "continued after epoch 3 from a checkpoint"
    undisturbed, _ = _run(Trainer("cpu", threads=1), spec(epochs=5))
    assert rows[-1].val_loss == pytest.approx(undisturbed[-1].val_loss, rel=1e-4)


def test_without_checkpoints_it_begins_again_and_reports_none_twice(spec):
    device = SmallDevice(32, "evaluate", since=3)
    rows, end = _run(device.trainer, spec(epochs=4))
    assert [row.epoch for row in rows] == [1, 2, 3, 4]
    assert device.trained == [1, 2, 3, 1, 2, 3, 4]
    assert end.status == "completed"


def test_a_part_has_two_images_at_least(spec):
    """BatchNorm cannot be computed from one."""
    device = SmallDevice(1)
    assert _run(device.trainer, spec(batch_size=8))[1].status == "failed"
    assert device.built == [8, 4, 2]


def test_any_other_error_is_a_failure_and_not_infeasible(spec, monkeypatch):
    def broken(self: DeviceNetwork) -> None:
        raise RuntimeError("CUDA error: an illegal memory access was encountered")

    monkeypatch.setattr(DeviceNetwork, "evaluate", broken)
    _, end = _run(Trainer("cpu", threads=1), spec())
    assert (end.status, end.infeasible) == ("failed", 0.0)
    assert "illegal memory access" in end.reason


def _faces_that_need(room: Callable[[], bool]) -> Callable[..., DeviceData]:
    load = DeviceData.load

    def loaded(*arguments: Any) -> DeviceData:
        if not room():
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 9.00 GiB.")
        return load(*arguments)

    return loaded


def test_faces_that_fit_into_no_memory_are_a_trial_that_does_not_fit(spec, monkeypatch):
    monkeypatch.setattr(DeviceData, "load", _faces_that_need(lambda: False))
    device = SmallDevice(64)
    rows, end = _run(device.trainer, spec())
    assert (end.status, rows, device.built) == ("failed", [], [])
    assert end.infeasible == pytest.approx(9 / 7 - 1)
    assert "the images do not fit" in end.reason
    assert "9.0 GiB" in end.reason
    monkeypatch.undo()
    assert _run(device.trainer, spec())[1].status == "completed", "the worker lives on"


def test_networks_make_room_for_faces(spec, monkeypatch):
    device = SmallDevice(64)
    _run(device.trainer, spec())
    assert len(device.alive) == 1
    monkeypatch.setattr(DeviceData, "load", _faces_that_need(lambda: not device.alive))
    other = dataclasses.replace(spec(), fit="train+val")
    assert _run(device.trainer, other)[1].status == "completed"


def test_the_ways_in_which_want_of_memory_is_said():
    hidden = RuntimeError("operation failed due to a previous error during capture")
    hidden.__context__ = torch.OutOfMemoryError("CUDA out of memory.")
    for error in (
        torch.OutOfMemoryError("CUDA out of memory."),
        RuntimeError("CUDA error: out of memory"),
        RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
        RuntimeError("GET was unable to find an engine to execute this computation"),
        MemoryError(),
        hidden,
    ):
        assert out_of_memory(error), error
    assert not out_of_memory(RuntimeError("CUDA error: device-side assert triggered"))
    assert not out_of_memory(ValueError("Tried to allocate"))


def test_dropped_networks_leave_memory_without_the_collector(spec):
    """A network that refers to itself would keep its memory until the next garbage collection."""
    device = SmallDevice(64)
    _run(device.trainer, spec(epochs=1))
    first = weakref.ref(device.network)
    gc.disable()
    try:
        for width in range(9, 9 + MOST_NETWORKS):
            _run(device.trainer, spec(epochs=1, width=width))
        assert first() is None
    finally:
        gc.enable()


# -- many trials ----------------------------------------------------------------------------------------------


def _measured(tmp_path: Path, *options: str) -> dict:
    out = tmp_path / "memory.json"
    command = [sys.executable, "-m", "benchmarks.memory", *options, "--out", str(out)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True, timeout=100)
    return json.loads(out.read_text())


@pytest.mark.slow
def test_the_benchmark_of_memory_runs_on_a_cpu(tmp_path):
    found = _measured(tmp_path, "--cpu", "--trials", "12")
    assert [row["trial"] for row in found["rows"]] == list(range(12))
    assert all(row["allocated"] > 0 for row in found["rows"])


@pytest.mark.gpu
@pytest.mark.slow
def test_device_memory_does_not_grow_over_200_trials_of_mixed_shapes(tmp_path):
    found = _measured(tmp_path)
    assert found["trials"] == 200
    assert found["shapes"] > MOST_NETWORKS
    assert found["growth"]["allocated"] <= 0.05, found["growth"]
    assert found["growth"]["reserved"] <= 0.05, found["growth"]


# -- on a GPU -------------------------------------------------------------------------------------------------


RESNET: dict[str, Value] = {"width": 0.25, "stem": "7x7", "batch_size": 64, "lr": 0.01}


@pytest.mark.gpu
def test_a_captured_step_in_parts_agrees_with_the_eager_one(spec):
    captured, eager = Bench("cuda", parts=4), Bench("cuda", parts=4, capture=False)
    (rows, end), (others, _) = (_run(bench.trainer, spec("resnet", epochs=3, **RESNET)) for bench in (captured, eager))
    assert len(end.notes) == 1, end.notes
    assert "4 parts of 16" in end.notes[0]
    assert rows[-1].train_loss == pytest.approx(others[-1].train_loss, rel=1e-2)
    assert torch.allclose(captured.network.flat.values, eager.network.flat.values, rtol=2e-2, atol=2e-3)


@pytest.mark.gpu
def test_a_step_in_parts_is_the_step_on_a_gpu(spec):
    """simple_cnn has no BatchNorm; products in bfloat16 are summed in another order."""
    found = []
    for parts in (1, 8):
        trainer = Trainer("cuda", build=lambda plan, _, parts=parts: DeviceNetwork(plan, parts))
        rows, end = _run(trainer, spec(epochs=3, augment=0.5, mixup=0.3))
        assert end.status == "completed", end.detail
        found.append(rows)
    for whole, divided in zip(*found, strict=True):
        assert divided.train_loss == pytest.approx(whole.train_loss, rel=1e-2)
        assert divided.val_loss == pytest.approx(whole.val_loss, rel=2e-2)


@pytest.mark.gpu
def test_a_real_device_that_is_too_small(large_data):
    """The allocator has a share of the device: enough for a part of the batch, then for none."""
    device = torch.device("cuda", 0)
    params: dict[str, Value] = {"width": 2.0, "batch_size": 256, "lr": 0.01}
    large = Job("a1b2c3", "s", "search", "resnet", params, 1, 3, large_data)
    whole = Trainer("cuda")
    torch.cuda.reset_peak_memory_stats(device)
    assert _run(whole, large)[1].notes == ()
    peak = torch.cuda.max_memory_allocated(device)
    total = torch.cuda.mem_get_info(device)[1]
    del whole
    Memory(device).release()
    try:
        torch.cuda.set_per_process_memory_fraction(0.6 * peak / total, device)
        trainer = Trainer("cuda")
        rows, end = _run(trainer, large)
        assert (end.status, len(rows)) == ("completed", 1), end
        assert "memory was short" in end.notes[0]

        del trainer
        Memory(device).release()
        torch.cuda.set_per_process_memory_fraction(0.02 * peak / total, device)
        trainer = Trainer("cuda")
        rows, end = _run(trainer, large)
        assert (end.status, rows) == ("failed", []), end
        assert end.infeasible > 0
        assert "GiB" in end.reason
        torch.cuda.set_per_process_memory_fraction(1.0, device)
        small = dataclasses.replace(large, params={**params, "width": 0.25, "batch_size": 32})
        assert _run(trainer, small)[1].status == "completed"
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0, device)
