"""The lanes of a worker, and how `auto` finds their number."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from fer_tune.job import Crowded, Job, JobEnd
from fer_tune.pool import lane_count
from fer_tune.pool.lane_count import LaneCount, growth
from fer_tune.pool.lanes import LaneSet

from .conftest import job


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


class Device:
    """A device that trains `rate(lanes)` images a second, shared by its lanes."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, rate: Callable[[int], float]) -> None:
        self.now, self.rate = 0.0, rate
        monkeypatch.setattr(lane_count.time, "monotonic", lambda: self.now)

    def train(self, count: LaneCount, seconds: float = 60.0, family: str = "deep_cnn") -> list[int]:
        """Trains jobs that never end in all lanes. Returns the numbers of lanes, as they came."""
        busy, seen = 0, [count.lanes]
        end = self.now + seconds
        while self.now < end:
            while busy < count.lanes:
                count.starts(of(busy, family))
                busy += 1
            self.now += 0.1
            for number in range(busy):
                count.trained(job(number).uid, int(0.1 * self.rate(busy) / busy))
            count.measure(busy)
            if count.lanes != seen[-1]:
                seen.append(count.lanes)
                busy = min(busy, count.lanes)
        return seen


RATES = {1: 118_000, 2: 165_000, 4: 217_000, 8: 258_000, 16: 262_000}


def test_lanes_are_added_as_long_as_the_sum_grows(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    device, file = Device(monkeypatch, RATES.__getitem__), tmp_path / "lanes.json"
    assert device.train(LaneCount("auto", "a GPU", file)) == [1, 2, 4, 8, 16, 8]
    again = LaneCount("auto", "a GPU", file)
    assert device.train(again) == [1, 8], "the answer is remembered"
    assert device.train(LaneCount("auto", "another GPU", file), 0.5) == [1]


@pytest.mark.parametrize("first_evaluation", [0.0, 0.4, 0.8, 1.2, 1.6])
def test_evaluations_do_not_hide_what_more_lanes_are_worth(
    monkeypatch: pytest.MonkeyPatch, first_evaluation: float
) -> None:
    """Of resnet, four lanes train 9 % more than two. Each lane evaluates after 20,000 images."""
    device = Device(monkeypatch, {1: 20_200, 2: 25_350, 4: 27_550, 8: 26_900}.__getitem__)
    count, busy = LaneCount("auto", "a GPU"), 0
    images, evaluates_until = Counter[int](), defaultdict[int, float](float)
    while not count.settled:
        while busy < count.lanes:
            count.starts(of(busy, "resnet"))
            images[busy] = int(20_000 * first_evaluation / 2)
            busy += 1
        device.now += 0.05
        for number in range(busy):
            if device.now < evaluates_until[number]:
                continue
            count.trained(job(number).uid, int(0.05 * device.rate(busy) / busy))
            images[number] += int(0.05 * device.rate(busy) / busy)
            if images[number] >= 20_000:
                images[number], evaluates_until[number] = 0, device.now + 0.07 * busy
        count.measure(busy)
    assert count.lanes == 4


def test_another_family_is_measured_by_itself(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    device, file = Device(monkeypatch, RATES.__getitem__), tmp_path / "lanes.json"
    count = LaneCount("auto", "a GPU", file)
    device.train(count)
    device.rate = lambda lanes: 27_000.0 if lanes > 1 else 26_500.0
    count.starts(of(0, "resnet"))
    assert count.lanes == 1
    device.train(count, family="resnet")
    assert count.lanes == 1


@pytest.mark.parametrize("damaged", ["", "{", "[]", '{"deep_cnn on a GPU": "many"}', '{"deep_cnn on a GPU": 5000}'])
def test_a_damaged_answer_is_measured_again(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, damaged: str) -> None:
    file = tmp_path / "lanes.json"
    file.write_text(damaged)
    device = Device(monkeypatch, RATES.__getitem__)
    assert device.train(LaneCount("auto", "a GPU", file))[-1] == 8


def test_a_disk_that_refuses_the_answer_costs_nothing_else(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    device = Device(monkeypatch, RATES.__getitem__)
    (tmp_path / "file").write_text("")
    assert device.train(LaneCount("auto", "a GPU", tmp_path / "file" / "lanes.json"))[-1] == 8


@pytest.mark.parametrize(("lanes", "hardware", "wanted"), [(4, "a GPU", 4), (3, None, 3), ("auto", "cpu", 1)])
def test_a_given_number_and_a_cpu_are_not_measured(
    monkeypatch: pytest.MonkeyPatch, lanes: Any, hardware: str | None, wanted: int
) -> None:
    device = Device(monkeypatch, lambda lanes: 1000.0 * lanes)
    assert device.train(LaneCount(lanes, hardware)) == [wanted]


def test_growth_follows_from_the_jobs_that_were_measured_both_times() -> None:
    before = (2, {"slow": 100.0, "fast": 300.0})
    assert growth(before, (4, {"slow": 60.0, "fast": 180.0, "third": 1.0, "fourth": 1.0})) == pytest.approx(1.2)
    assert growth(before, (4, {"fast": 180.0, "other": 1.0})) == pytest.approx(1.2)
    assert growth(before, (4, {"other": 200.0, "another": 400.0})) == pytest.approx(1.5)


def test_memory_that_is_short_ends_the_search_for_more_lanes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    device, file = Device(monkeypatch, RATES.__getitem__), tmp_path / "lanes.json"
    count = LaneCount("auto", "a GPU", file)
    device.train(count, 2.0)
    assert count.lanes > 1
    count.crowded(1)
    assert device.train(count) == [1]
    assert not file.exists()
