"""Several jobs in the lanes of one device: the same numbers as alone, and shared memory."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import pytest
import torch

from fer_tune.data.spec import DataRef
from fer_tune.job import Crowded, EpochRow, Job, JobEnd, StepProgress, Value, Wish
from fer_tune.pool.lanes import LaneSet
from fer_tune.train import network_cache, rates
from fer_tune.train.device_network import DeviceNetwork
from fer_tune.train.loop import Trainer
from fer_tune.train.memory import Memory
from tests.train.bench import Bench

RANDOM: dict[str, Value] = {
    "augment": 0.5, "mixup": 0.3, "cutmix": 0.2, "head_dropout": 0.3, "sampling": "weighted", "ema": 0.9, "lr": 0.003,
}  # fmt: skip
"""All that draws random numbers is on."""

Weights = dict[str, torch.Tensor]


@pytest.fixture
def spec(faces: DataRef) -> Callable[..., Job]:
    def make(number: int, family: str = "simple_cnn", epochs: int = 2, **params: Value) -> Job:
        width: Value = 8 if family.endswith("cnn") else 0.25
        params = {"width": width, "batch_size": 32, **RANDOM, **params}
        return Job(f"a1b2c{number}", "study", "search", family, params, epochs, number, faces)

    return make


def side_by_side(trainer: Trainer, jobs: list[Job], stops: dict[str, int] | None = None) -> dict[str, list[Any]]:
    """Trains jobs in turn, as a worker does. Returns what each said."""
    said: dict[str, list[Any]] = {job.uid: [] for job in jobs}
    stops = {} if stops is None else stops
    lanes = {job.uid: trainer.train(job, lambda uid=job.uid: stops.get(uid, Wish.CONTINUE)) for job in jobs}
    while lanes:
        for uid, lane in list(lanes.items()):
            message = next(lane, None)
            if message is None:
                del lanes[uid]
            elif not isinstance(message, int):
                said[uid].append(message)
    return said


def numbers(messages: list[Any]) -> list[EpochRow]:
    timed = {"seconds": 0.0, "images_per_second": 0.0, "device_seconds": 0.0}
    return [dataclasses.replace(row, **timed) for row in messages if isinstance(row, EpochRow)]


def test_measuring_lanes_leaves_nothing_behind(spec, monkeypatch):
    """The job has the same numbers as without, and what was built is gone."""
    monkeypatch.setattr(rates, "SECONDS", 0.0)
    job, trainer = spec(1, epochs=1), Trainer("cpu")
    with closing(trainer.rates(job)) as measured:
        seen = list(itertools.islice((rate for rate in measured if rate is not None), 3))
    assert len(seen) == 3
    assert min(seen) > 0
    assert len(trainer.lanes) == 4
    assert not any(len(cache) or cache.taken or cache.busy for cache in trainer.lanes)
    said = side_by_side(trainer, [job])[job.uid]
    assert numbers(said) == numbers(side_by_side(Trainer("cpu"), [job])[job.uid])


def measured_within(trainer: Trainer, job: Job) -> tuple[list[Any], int]:
    """Trains a job that is measured after an epoch. Returns what it said, and the lanes."""
    lanes, said = LaneSet(trainer, head_start=1e-9), list[Any]()
    lanes.use("auto", None)
    lanes.start(0, job, lambda: Wish.CONTINUE)
    while lanes.busy:
        said += [message for _, message in lanes.turn()]
    assert lanes.settled
    return said, lanes.lanes


def test_a_job_in_training_waits_while_lanes_are_measured(spec, monkeypatch):
    monkeypatch.setattr(rates, "SECONDS", 0.0)
    job, trainer = spec(1, epochs=3), Trainer("cpu", threads=1)
    trainer.hardware = "not the CPU"
    said, _ = measured_within(trainer, job)
    assert len(trainer.lanes) > 2
    assert numbers(said) == numbers(list(Trainer("cpu", threads=1).train_alone(job)))


@pytest.mark.gpu
def test_a_job_in_training_waits_while_lanes_are_measured_on_a_gpu(spec):
    job = spec(1, "deep_cnn", epochs=4)
    said, lanes = measured_within(Trainer("cuda"), job)
    assert lanes > 1
    assert said[-1].notes == ()
    assert numbers(said) == numbers(list(Trainer("cuda").train_alone(job)))


def test_a_job_that_cannot_be_built_ends_the_rates_and_says_why_itself(spec):
    job, trainer = spec(1, width=0), Trainer("cpu")
    assert list(trainer.rates(job)) == []
    assert side_by_side(trainer, [job])[job.uid][-1].status == "failed"


def test_a_job_beside_others_has_the_numbers_that_it_has_alone(spec):
    """The jobs differ in family, shape, batch size and length."""
    jobs = [
        spec(0),
        spec(1, epochs=3, batch_size=50),
        spec(2, "deep_cnn", hidden=16),
        spec(3, "simple_cnn", optimizer="muon", self_distillation=0.5),
    ]
    alone = {job.uid: list(Trainer("cpu", threads=1).train_alone(job)) for job in jobs}
    together = side_by_side(Trainer("cpu", threads=1), jobs)
    for job in jobs:
        assert numbers(together[job.uid]) == numbers(alone[job.uid])
        assert together[job.uid][-1] == alone[job.uid][-1]


def test_a_lane_takes_the_next_job_and_the_numbers_stay_the_same(spec):
    trainer = Trainer("cpu", threads=1)
    first, second, third = spec(0), spec(1, epochs=4), spec(2)
    alone = list(trainer.train_alone(third))
    long = trainer.train(second)
    next(long)
    list(trainer.train_alone(first))
    assert numbers(list(trainer.train_alone(third))) == numbers(alone)
    assert isinstance(list(long)[-1], JobEnd)


def test_the_state_of_the_callers_random_numbers_is_left_alone(spec):
    torch.manual_seed(3)
    wanted = torch.rand(2)
    torch.manual_seed(3)
    list(Trainer("cpu", threads=1).train_alone(spec(0, epochs=1)))
    assert torch.equal(torch.rand(2), wanted)


def test_a_stop_ends_one_lane(spec):
    stops = {"a1b2c1": Wish.STOP}
    said = side_by_side(Trainer("cpu", threads=1), [spec(0), spec(1)], stops)
    assert [messages[-1].status for messages in said.values()] == ["completed", "stopped"]


def test_lanes_share_their_device_by_their_images(spec):
    """The seconds of the device add up to those that passed, and not to twice as many."""
    jobs = [spec(0, epochs=3), spec(1, epochs=3)]
    said = side_by_side(Trainer("cpu", threads=1), jobs)
    rows = [[row for row in messages if isinstance(row, EpochRow)] for messages in said.values()]
    for row in (row for lane in rows for row in lane):
        assert 0.3 * row.seconds < row.device_seconds < 0.7 * row.seconds
    alone = [row for row in Trainer("cpu", threads=1).train_alone(jobs[0]) if isinstance(row, EpochRow)]
    assert all(row.device_seconds == row.seconds for row in alone)


def test_the_images_between_messages_are_those_of_the_epochs(spec):
    trainer = Trainer("cpu", threads=1)
    found = list(trainer.train(spec(0, epochs=2)))
    steps = trainer.latest.steps_per_epoch
    assert sum(count for count in found if isinstance(count, int)) == 2 * steps * 32


def test_one_lane_builds_at_a_time_while_the_others_train(spec):
    """Building keeps the only thread from the other lanes."""
    building: list[str] = []
    seen: list[list[str]] = []

    def build(plan: Any, parts: int) -> DeviceNetwork:
        class Slow(DeviceNetwork):
            def prepare(self, alone: bool = True, known: bool = False) -> Iterator[None]:
                building.append("one")
                for _ in range(5):
                    seen.append(list(building))
                    yield
                building.pop()

        return Slow(plan, parts)

    jobs = [spec(number, width=8 + number, epochs=1) for number in range(3)]
    said = side_by_side(Trainer("cpu", threads=1, build=build), jobs)
    assert [messages[-1].status for messages in said.values()] == ["completed"] * 3
    assert seen == [["one"]] * 15


# -- memory that is too small for all lanes --------------------------------------------------------


class SmallDevice(Bench):
    """A device that has memory for `most` networks at the same time."""

    def __init__(self, most: int) -> None:
        super().__init__()
        self.most, self.alive = most, 0
        self.trainer = Trainer("cpu", threads=1, build=self._build)

    def _build(self, plan: Any, parts: int) -> DeviceNetwork:
        device = self

        class Counted(DeviceNetwork):
            counted = False

            def __init__(self) -> None:
                super().__init__(plan, parts)
                if device.alive >= device.most:
                    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 9.00 GiB.")
                self.counted = True
                device.alive += 1

            def __del__(self) -> None:
                device.alive -= self.counted

        return Counted()


def test_a_job_waits_for_memory_until_another_lane_has_ended(spec):
    device = SmallDevice(2)
    said = side_by_side(device.trainer, [spec(number, width=8 + number, epochs=2) for number in range(3)])
    assert [messages[-1].status for messages in said.values()] == ["completed"] * 3
    assert all(not messages[-1].notes for messages in said.values()), "a batch was divided"
    *_, waited = said.values()
    assert isinstance(waited[0], Crowded)
    assert isinstance(waited[1], StepProgress), "a silent job would be taken to hang"
    assert [row.epoch for row in waited if isinstance(row, EpochRow)] == [1, 2]


def test_two_jobs_that_wait_do_not_wait_for_each_other(spec):
    device = SmallDevice(1)
    said = side_by_side(device.trainer, [spec(number, width=8 + number, epochs=1) for number in range(3)])
    assert [messages[-1].status for messages in said.values()] == ["completed"] * 3


def test_a_job_that_waits_can_be_stopped(spec):
    device, stops = SmallDevice(1), {"a1b2c1": Wish.STOP_AND_KEEP}
    said = side_by_side(device.trainer, [spec(0, epochs=3), spec(1, width=9)], stops)
    assert said["a1b2c1"][-1].status == "stopped"
    assert said["a1b2c0"][-1].status == "completed"


# -- on a GPU -----------------------------------------------------------------------------------------------------


def weights_of(bench: Bench, job: Job, beside: list[Job]) -> Iterator[tuple[list[EpochRow], Weights]]:
    """Yields a job's numbers and its last weights, alone and then beside other jobs."""
    for others in ([], beside):
        kept: dict[str, Weights] = {}

        def train(one: Job, kept: dict[str, Weights] = kept) -> Iterator[Any]:
            for message in bench.trainer.train(one):
                if isinstance(message, JobEnd) and one is job:
                    lane = next(cache for cache in bench.trainer._room.lanes if cache.taken)
                    kept["weights"] = lane.latest.state_dict()
                yield message

        lanes = [train(one) for one in (job, *others)]
        said: list[Any] = []
        while lanes:
            for lane in list(lanes):
                message = next(lane, None)
                if message is None:
                    lanes.remove(lane)
                elif lane is lanes[0] and not kept.get("done") and not isinstance(message, int):
                    said.append(message)
        yield numbers([one for one in said if isinstance(one, EpochRow) and one.job == job.uid]), kept["weights"]


@pytest.mark.gpu
@pytest.mark.parametrize("family", ["simple_cnn", "deep_cnn", "vgg", "resnet"])
def test_a_job_beside_seven_others_ends_with_the_same_weights(spec, family):
    job = spec(0, family, epochs=4)
    others = [spec(number, one, epochs=6) for number, one in enumerate(["simple_cnn", "deep_cnn", "vgg"] * 2, 1)]
    others.append(spec(7, "resnet", epochs=6))
    (rows, weights), (same, beside) = weights_of(Bench("cuda"), job, others)
    assert same == rows
    for name, tensor in weights.items():
        assert torch.equal(beside[name], tensor), name


@pytest.mark.gpu
def test_lanes_are_measured_on_a_gpu_and_jobs_are_captured_afterwards(spec):
    trainer = Trainer("cuda")
    with closing(trainer.rates(spec(0, "deep_cnn"))) as measured:
        one, two, four, eight = itertools.islice((rate for rate in measured if rate is not None), 4)
    assert two > 1.2 * one
    assert min(four, eight) > 1.5 * one
    said = side_by_side(trainer, [spec(number, "deep_cnn", width=8 + 8 * (number % 2)) for number in range(8)])
    assert [(messages[-1].status, messages[-1].notes) for messages in said.values()] == [("completed", ())] * 8


@pytest.mark.gpu
def test_all_lanes_are_captured_and_nothing_is_shared(spec):
    trainer = Trainer("cuda")
    jobs = [spec(number, "deep_cnn", epochs=3, width=8) for number in range(4)]
    said = side_by_side(trainer, jobs)
    assert [messages[-1].notes for messages in said.values()] == [()] * 4
    streams = {cache.lane.stream.cuda_stream for cache in trainer._room.lanes}
    assert len(streams) == 4


@pytest.mark.gpu
def test_a_lane_captures_another_shape_after_its_only_network_has_gone(spec):
    """Many lanes keep one network each. Some jobs are stopped while steps of theirs are queued."""
    trainer = Trainer("cuda")
    for turn in range(3):
        jobs = [spec(number, "deep_cnn", epochs=3, width=8 * (turn + 1), batch_size=16 + number) for number in range(9)]
        stops = {jobs[number].uid: Wish.STOP for number in range(turn)}
        said = side_by_side(trainer, jobs, stops)
        ends = [messages[-1] for messages in said.values()]
        assert [end.notes for end in ends] == [()] * 9
        assert [end.status for end in ends] == ["stopped"] * turn + ["completed"] * (9 - turn)


@pytest.mark.gpu
def test_a_lane_that_holds_one_network_captures_one_after_another(spec, monkeypatch):
    """The graphs of a lane share a pool of memory, which ends with the last of them."""
    monkeypatch.setattr(network_cache, "MOST_NETWORKS", 1)
    trainer = Trainer("cuda")
    ends = [list(trainer.train_alone(spec(number, width=8 + 8 * (number % 2))))[-1] for number in range(4)]
    assert [(end.status, end.notes) for end in ends] == [("completed", ())] * 4


class Waiting(DeviceNetwork):
    """A network whose step reads a number off the device, which a capture refuses."""

    def _train_step(self) -> None:
        super()._train_step()
        float(self._cursor)


@pytest.mark.gpu
def test_a_step_that_cannot_be_captured_runs_eagerly_and_later_jobs_train(spec):
    trainer = Trainer("cuda", build=Waiting)
    for number in range(3):
        end = list(trainer.train_alone(spec(number, width=8 + 8 * (number % 2))))[-1]
        assert end.status == "completed", end.detail
        assert "the step runs eagerly" in end.notes[0]


@pytest.mark.gpu
def test_large_jobs_share_a_device_that_has_memory_for_one(large_data: DataRef):
    """The second waits while the first has the memory, and is trained whole after it."""
    device = torch.device("cuda", 0)
    params: dict[str, Value] = {"width": 2.0, "batch_size": 256, "lr": 0.01}
    first, second = (
        Job(f"a1b2c{n}", "s", "search", "resnet", params, epochs, n, large_data) for n, epochs in ((0, 10_000), (1, 2))
    )
    trainer, stops = Trainer("cuda"), {first.uid: Wish.CONTINUE}
    Memory(device).release()
    before = torch.cuda.memory_reserved(device)
    one, other = trainer.train(first, lambda: stops[first.uid]), trainer.train(second, lambda: Wish.CONTINUE)
    assert any(isinstance(message, EpochRow) for message in one)  # it has all that it needs for an epoch
    Memory(device).release()
    held = torch.cuda.memory_reserved(device)
    try:
        total = torch.cuda.mem_get_info(device)[1]
        torch.cuda.set_per_process_memory_fraction((held + 0.3 * (held - before)) / total, device)
        waiting = zip(one, other, strict=False)
        assert any(isinstance(message, Crowded) for _, message in itertools.islice(waiting, 1_000_000))
        stops[first.uid] = Wish.STOP
        end_of_first, end_of_second = list(one)[-1], list(other)[-1]
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0, device)
        Memory(device).release()
    assert end_of_first.status == "stopped"
    assert (end_of_second.status, end_of_second.notes) == ("completed", ())
