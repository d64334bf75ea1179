"""How a GPU is fed: a stand-in for its stream does a step in a given time."""

from __future__ import annotations

import pytest

from fer_tune.train import replays
from fer_tune.train.replays import AHEAD, LEAST, MOST_AHEAD, Replays


class Device:
    """A device whose clock advances only where somebody looks or waits.

    Attributes:
        idle: seconds in which it had nothing to do, between its first and its last step.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch, seconds: float, look: float) -> None:
        self.now, self.seconds, self.look = 0.0, seconds, look
        self.free_at, self.idle, self.given = 0.0, 0.0, 0
        monkeypatch.setattr(replays.time, "perf_counter", lambda: self.now)

    def step(self) -> None:
        if self.given:
            self.idle += max(0.0, self.now - self.free_at)
        self.free_at = max(self.free_at, self.now) + self.seconds
        self.given += 1

    def record_event(self) -> Event:
        return Event(self, self.free_at)

    @property
    def queued(self) -> float:
        return self.free_at - self.now


class Event:
    def __init__(self, device: Device, due: float) -> None:
        self.device, self.due = device, due

    def query(self) -> bool:
        return self.device.now >= self.due

    def synchronize(self) -> None:
        self.device.now = max(self.device.now, self.due)


@pytest.mark.parametrize("count", [1, 3, 17, 314])
@pytest.mark.parametrize("seconds", [0.0003, 0.003, 0.03])
def test_a_device_is_never_idle_and_never_far_behind(
    monkeypatch: pytest.MonkeyPatch, count: int, seconds: float
) -> None:
    device, run = Device(monkeypatch, seconds, 0.0005), Replays()
    seen, most = [], 0.0
    for done in run.feed(count, device.step, device):  # type: ignore[arg-type]
        seen.append(done)
        most = max(most, device.queued)
        assert device.queued <= (MOST_AHEAD + 1) * seconds
        device.now += device.look
    assert device.given == count
    assert seen == sorted(seen)
    assert device.idle == 0.0
    assert most <= max(1.5 * AHEAD, (2 * LEAST + 1) * seconds)


def test_a_lane_without_others_waits_for_a_chunk(monkeypatch: pytest.MonkeyPatch) -> None:
    device, run, waits = Device(monkeypatch, 0.01, 0.0), Replays(), 0
    for _ in run.feed(100, device.step, device):  # type: ignore[arg-type]
        before = device.now
        run.wait()
        waits += device.now > before
    assert device.given == 100
    assert waits > 5
    assert device.idle == 0.0


def test_a_stall_of_the_thread_is_bridged(monkeypatch: pytest.MonkeyPatch) -> None:
    """A capture of another lane takes the thread for less than what is queued."""
    device, run = Device(monkeypatch, 0.002, 0.0005), Replays(pace=0.002)
    for turn, _ in enumerate(run.feed(400, device.step, device)):  # type: ignore[arg-type]
        device.now += 0.07 if turn % 50 == 49 else device.look
    assert device.idle == 0.0
