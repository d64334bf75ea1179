"""The lanes of a worker, and how `auto` finds their number."""

from __future__ import annotations

import json
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any

import pytest

from fer_tune.job import Crowded, Job, JobEnd
from fer_tune.pool.lanes import LaneSet
from fer_tune.pool.port import Lanes

from .conftest import job
from .trainers import row


class Scripted:
    """A trainer whose jobs say what the test lists for them."""

    hardware = "a GPU"

    def __init__(self, **said: list[Any]) -> None:
        self.said = said

    def train(self, spec: Job, stop_requested: Callable[[], int]) -> Iterator[Any]:
        yield from self.said[spec.family]
        yield JobEnd(spec.uid, spec.attempt, "completed")


def of(number: int, family: str) -> Job:
    from dataclasses import replace

    return replace(job(number), family=family)


def never() -> int:
    return 0


def test_lanes_take_turns() -> None:
    lanes = LaneSet(Scripted(first=[5, 0], second=[7, 7, 7]))
    lanes.use(2, None)
    lanes.start(0, of(0, "first"), never)
    lanes.start(1, of(1, "second"), never)
    ends = []
    for turn in range(1, 5):
        ends += [(turn, lane) for lane, message in lanes.turn() if isinstance(message, JobEnd)]
    assert ends == [(3, 0), (4, 1)]
    assert not lanes.busy


def test_a_lane_with_a_job_takes_no_other() -> None:
    lanes = LaneSet(Scripted(first=[1]))
    lanes.start(0, of(0, "first"), never)
    with pytest.raises(AssertionError, match="not idle"):
        lanes.start(0, of(1, "first"), never)


def test_memory_that_is_short_takes_lanes_back_until_the_job_has_ended() -> None:
    lanes = LaneSet(Scripted(small=[1] * 9, large=[Crowded(), 0, 1]))
    lanes.use(3, None)
    for lane, family in enumerate(["small", "small", "large"]):
        lanes.start(lane, of(lane, family), never)
    lanes.turn()
    assert lanes.lanes == 2
    for _ in range(3):
        lanes.turn()
    assert lanes.lanes == 3


# -- auto ---------------------------------------------------------------------------------------------------------

DEEP_CNN = [118_000, 165_000, 217_000, 258_000, 262_000]
RESNET = [20_200, 25_300, 27_500, 26_900]


class Device(Scripted):
    """A trainer whose device trains so many images a second in 1, 2, 4 and so on lanes."""

    def __init__(self, **rates: list[int]) -> None:
        super().__init__(**{family: [5] for family in rates})
        self.of, self.asked = rates, list[str]()

    def rates(self, spec: Job) -> Generator[float | None, None, None]:
        self.asked.append(spec.family)
        for rate in self.of[spec.family]:
            yield None
            yield rate


def train(lanes: LaneSet, number: int, family: str, stop: Callable[[], int] = never) -> int:
    """Trains a job in an idle lane. Returns how many lanes there are then."""
    lanes.start(0, of(number, family), stop)
    while lanes.busy:
        lanes.turn()
    return lanes.lanes


def auto(device: Scripted, file: Path | None = None, head_start: float = 0.0) -> LaneSet:
    lanes = LaneSet(device, head_start)
    lanes.use("auto", file)
    return lanes


def test_lanes_are_added_as_long_as_the_device_trains_more(tmp_path: Path) -> None:
    device, file = Device(deep_cnn=DEEP_CNN), tmp_path / "lanes.json"
    lanes = auto(device, file)
    assert lanes.lanes == 1
    assert not lanes.settled
    assert train(lanes, 1, "deep_cnn") == 8
    assert lanes.settled
    assert train(lanes, 2, "deep_cnn") == 8
    assert device.asked == ["deep_cnn"], "it measures before the first job only"

    assert train(auto(device, file), 3, "deep_cnn") == 8
    assert device.asked == ["deep_cnn"], "the answer is remembered"
    other = Device(deep_cnn=[*DEEP_CNN[:2], 165_000])
    other.hardware = "another GPU"
    assert train(auto(other, file), 4, "deep_cnn") == 2


class Clock:
    """Stands for the module `time`."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr("fer_tune.pool.lanes.time", made)
    return made


def turns(lanes: LaneSet, clock: Clock, count: int) -> list[int]:
    """Gives all lanes turns of a second each. Returns how many lanes there are after each."""
    found = []
    for _ in range(count):
        lanes.turn()
        clock.now += 1
        found.append(lanes.lanes)
    return found


def test_the_first_job_trains_alone_until_an_epoch_has_ended_and_is_then_measured(clock: Clock) -> None:
    device = Device(deep_cnn=[5, 6, 5, 4])
    device.said["deep_cnn"] = [0, 5, 5, row(of(1, "deep_cnn"), 1, 0.5), 5, row(of(1, "deep_cnn"), 2, 0.5), 5, 5]
    lanes = auto(device, head_start=3.5)
    lanes.start(0, of(1, "deep_cnn"), never)
    assert turns(lanes, clock, 4) == [1] * 4
    assert not device.asked, "its head start is not over when its first epoch ends"
    turns(lanes, clock, 2)
    assert not device.asked, "it is over in the middle of the second one"
    turns(lanes, clock, 1)
    assert device.asked == ["deep_cnn"]
    turns(lanes, clock, 5)
    assert (lanes.lanes, lanes.settled) == (2, True)
    while lanes.busy:
        lanes.turn()
    assert lanes.lanes == 2


def test_a_long_epoch_does_not_keep_the_lanes_from_being_measured(clock: Clock) -> None:
    device = Device(deep_cnn=DEEP_CNN)
    device.said["deep_cnn"] = [5] * 100
    lanes = auto(device, head_start=2.0)
    lanes.start(0, of(1, "deep_cnn"), never)
    turns(lanes, clock, 10)
    assert not device.asked
    turns(lanes, clock, 2)
    assert device.asked == ["deep_cnn"]
    turns(lanes, clock, 10)
    assert lanes.lanes == 8


def test_short_jobs_have_their_head_start_together(clock: Clock) -> None:
    device = Device(deep_cnn=DEEP_CNN)
    lanes = auto(device, head_start=3.0)
    counts = []
    for number in range(1, 6):
        lanes.start(0, of(number, "deep_cnn"), never)
        while lanes.busy:
            turns(lanes, clock, 1)
        counts.append(lanes.lanes)
    assert counts[0] == 1
    assert counts[-1] == 8
    assert device.asked == ["deep_cnn"]


def test_remembered_lanes_open_when_the_head_start_is_over(tmp_path: Path, clock: Clock) -> None:
    file = tmp_path / "lanes.json"
    train(auto(Device(deep_cnn=DEEP_CNN), file), 1, "deep_cnn")
    device = Device(deep_cnn=DEEP_CNN)
    device.said["deep_cnn"] = [5] * 9
    lanes = auto(device, file, head_start=2.0)
    lanes.start(0, of(1, "deep_cnn"), never)
    assert turns(lanes, clock, 4) == [1, 8, 8, 8]
    assert not device.asked


def test_a_given_number_of_lanes_has_no_head_start(clock: Clock) -> None:
    lanes = LaneSet(Device(deep_cnn=DEEP_CNN), head_start=60.0)
    lanes.use(4, None)
    assert lanes.lanes == 4


def test_no_more_than_eight_lanes_are_measured() -> None:
    assert train(auto(Device(simple_cnn=[2**power for power in range(9)])), 1, "simple_cnn") == 8


def test_another_family_is_measured_when_the_others_jobs_have_ended(tmp_path: Path) -> None:
    device, file = Device(deep_cnn=DEEP_CNN, resnet=RESNET), tmp_path / "lanes.json"
    lanes = auto(device, file)
    train(lanes, 1, "deep_cnn")
    device.said["deep_cnn"] = [5] * 10
    lanes.start(0, of(2, "deep_cnn"), never)
    lanes.start(1, of(3, "resnet"), never)
    for _ in range(5):
        lanes.turn()
    assert (lanes.lanes, device.asked) == (1, ["deep_cnn"])
    while lanes.busy:
        lanes.turn()
    assert (lanes.lanes, device.asked) == (4, ["deep_cnn", "resnet"])
    assert train(auto(device, file), 4, "resnet") == 4


def several(lanes: LaneSet, *families: str, stop: Callable[[], int] = never) -> None:
    """Starts a job of each family at once, each in a lane that the last search left open."""
    for lane, family in enumerate(families):
        lanes.start(lane, of(lane + 2, family), stop)


def ended(lanes: LaneSet, most: int = 200) -> list[int]:
    """Gives all lanes so many turns, at most. Returns the lanes whose jobs have ended."""
    said = [one for _ in range(most) if lanes.busy for one in lanes.turn()]
    return [lane for lane, message in said if isinstance(message, JobEnd)]


def test_of_jobs_that_start_together_one_is_measured_and_the_others_then_train() -> None:
    device = Device(deep_cnn=DEEP_CNN)
    lanes = auto(device)
    several(lanes, *["deep_cnn"] * 4)
    assert sorted(ended(lanes)) == [0, 1, 2, 3]
    assert (lanes.lanes, device.asked) == (8, ["deep_cnn"])


def test_if_the_first_cannot_be_measured_the_next_is_tried_when_it_has_ended() -> None:
    device = Device(deep_cnn=[])
    lanes = auto(device)
    several(lanes, *["deep_cnn"] * 3)
    assert sorted(ended(lanes)) == [0, 1, 2]
    assert (lanes.lanes, device.asked) == (1, ["deep_cnn"] * 3)


def test_each_of_two_families_that_start_together_is_measured_once_and_for_itself(tmp_path: Path) -> None:
    device, file = Device(deep_cnn=DEEP_CNN, resnet=RESNET), tmp_path / "lanes.json"
    lanes = auto(device, file)
    several(lanes, "deep_cnn", "resnet", "deep_cnn", "resnet")
    assert sorted(ended(lanes)) == [0, 1, 2, 3]
    assert device.asked == ["deep_cnn", "resnet"]
    assert json.loads(file.read_text()) == {"deep_cnn on a GPU": 8, "resnet on a GPU": 4}


def test_a_stop_reaches_a_job_that_waits_to_be_measured() -> None:
    device, wishes = Device(deep_cnn=DEEP_CNN, resnet=RESNET), [0]
    lanes = auto(device)
    train(lanes, 1, "deep_cnn")
    device.said["deep_cnn"] = [5] * 1000
    several(lanes, "deep_cnn", "resnet", stop=lambda: wishes[0])
    assert ended(lanes, 10) == []
    wishes[0] = 1
    assert ended(lanes, 10) == [1]  # the trainer of the other does not ask for stops
    assert device.asked == ["deep_cnn"]


def test_where_memory_ends_the_lanes_the_answer_is_for_this_run(tmp_path: Path) -> None:
    device, file = Device(deep_cnn=DEEP_CNN[:3]), tmp_path / "lanes.json"
    lanes = auto(device, file)
    assert train(lanes, 1, "deep_cnn") == 4
    assert lanes.settled
    assert not file.exists()


def test_a_network_that_cannot_be_measured_has_one_lane_and_the_next_is_tried() -> None:
    device = Device(deep_cnn=[])
    lanes = auto(device)
    assert train(lanes, 1, "deep_cnn") == 1
    device.of["deep_cnn"] = DEEP_CNN
    assert train(lanes, 2, "deep_cnn") == 8


def test_a_job_that_is_stopped_is_not_measured_to_the_end() -> None:
    device = Device(deep_cnn=DEEP_CNN)
    assert train(auto(device), 1, "deep_cnn", lambda: 1) == 1


@pytest.mark.parametrize("damaged", ["", "{", "[]", '{"deep_cnn on a GPU": "many"}', '{"deep_cnn on a GPU": 5000}'])
def test_a_damaged_answer_is_measured_again(tmp_path: Path, damaged: str) -> None:
    file = tmp_path / "lanes.json"
    file.write_text(damaged)
    assert train(auto(Device(deep_cnn=DEEP_CNN), file), 1, "deep_cnn") == 8


def test_a_disk_that_refuses_the_answer_costs_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert train(auto(Device(deep_cnn=DEEP_CNN), tmp_path / "file" / "lanes.json"), 1, "deep_cnn") == 8


@pytest.mark.parametrize(("lanes", "hardware", "wanted"), [(4, "a GPU", 4), (3, "cpu", 3), ("auto", "cpu", 1)])
def test_a_given_number_and_a_cpu_are_not_measured(lanes: Lanes, hardware: str, wanted: int) -> None:
    device = Device(deep_cnn=DEEP_CNN)
    device.hardware = hardware
    one = LaneSet(device)
    one.use(lanes, None)
    assert one.settled
    assert train(one, 1, "deep_cnn") == wanted
    assert not device.asked
