"""What several lanes on one device train together, through real trials.

`benchmarks.training --lanes 1,2,4,8,auto` calls it. For each family, batch size and number of
lanes:

    images_per_second  the sum over all lanes, with drawing, evaluation and the rows that go to the
                       orchestrator. Each lane counts from the end of one epoch to that of a later
                       one, so that it counts as many evaluations as epochs.
    over_one           that over the same with one lane
    bare               the captured steps of the same networks replayed on their streams, and
                       nothing else
    trial_over_bare    the first over the third
    memory_gib         what is taken of the device
    thread             CPU seconds a second of the thread that drives all lanes
    build_ms           the longest time for which building a network keeps that thread from the
                       other lanes; `turn_ms` is the same while none is built
    lanes              with `auto`, the number that it found

With --profile it adds the kernels of half a second: `overlap` is the sum of their durations over
the time that passed, and `kernels` says which of them take it.
"""

from __future__ import annotations

import pickle
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile

from fer_tune.job import EpochRow, Job, JobEnd, Wish
from fer_tune.pool.lanes import LaneSet
from fer_tune.pool.port import Lanes
from fer_tune.train.loop import Trainer

MOST_KERNELS = 25
CHUNK = 4
"""Steps that a lane is given at once where nothing but steps is measured."""
LONG = 1000
"""Epochs of a trial. None ends while it is measured."""
EPOCHS = 2
"""Whole epochs of each lane that are measured, at least."""


@dataclass
class Driver:
    """Drives lanes as a worker does, and keeps all of them busy with jobs of one shape."""

    trainer: Trainer
    job: Job
    given: Lanes
    remembered: Path | None = None
    over: bool = False
    started: int = 0
    rows: dict[str, list[tuple[float, float]]] = field(default_factory=dict)
    """The ends of each job's epochs, and the images that it had trained by then."""
    longest: float = 0.0
    places: dict[int, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.lanes = LaneSet(self.trainer, head_start=0.0)
        self.lanes.use(self.given, self.remembered)

    def fill(self) -> None:
        """Gives each free lane a job."""
        for lane in range(self.lanes.lanes):
            if lane not in self.places and len(self.places) < self.lanes.lanes:
                self.started += 1
                job = replace(self.job, uid=f"lane-{self.started}", seed=self.started)
                self.places[lane] = job.uid
                self.lanes.start(lane, job, partial(self.wish, lane))

    def wish(self, lane: int) -> Wish:
        """Stops jobs at the end, and those of lanes that were given up."""
        return Wish.STOP if self.over or lane >= self.lanes.lanes else Wish.CONTINUE

    def turn(self) -> None:
        """Gives each lane a turn, and sends what it says as a worker would."""
        began = time.perf_counter()
        for lane, message in self.lanes.turn():
            pickle.dumps(message)
            if isinstance(message, EpochRow):
                images = message.epoch * message.images_per_second * message.seconds
                self.rows.setdefault(message.job, []).append((time.perf_counter(), images))
            elif isinstance(message, JobEnd):
                refuse(message)
                del self.places[lane]
        self.longest = max(self.longest, time.perf_counter() - began)

    def all_train(self) -> bool:
        """Returns whether all lanes have a job that has finished an epoch."""
        return len(self.places) == self.lanes.lanes and all(uid in self.rows for uid in self.places.values())

    def measured(self) -> bool:
        """Returns whether each lane has finished enough epochs since the rows were cleared."""
        return all(len(self.rows.get(uid, ())) > EPOCHS for uid in self.places.values())

    def rate(self) -> float:
        """Returns the images a second of all lanes."""
        found = 0.0
        for uid in self.places.values():
            (began, before), (ended, images) = self.rows[uid][0], self.rows[uid][-1]
            found += (images - before) / (ended - began)
        return found

    def until(self, ready: Callable[[], bool], limit: float = 60.0) -> None:
        """Trains until it is ready.

        Raises:
            TimeoutError: that took longer than `limit` seconds.
        """
        deadline = time.monotonic() + limit
        while not ready():
            self.fill()
            self.turn()
            if time.monotonic() > deadline:
                raise TimeoutError(f"{self.job.family} in {self.given} lanes")

    def end(self) -> None:
        """Stops all jobs."""
        self.over = True
        while self.places:
            self.turn()


def refuse(end: JobEnd) -> None:
    """Raises an error if a trial did not run as it should.

    Raises:
        RuntimeError: it failed, or has a note.
    """
    if end.status != "stopped" or end.notes:
        raise RuntimeError(f"{end.job} {end.status}: {end.reason} {end.detail} {end.notes}")


def measure_lanes(trainer: Trainer, job: Job, given: Lanes, seconds: float, kernels: bool = False) -> dict[str, Any]:
    """One row of the table.

    Args:
        job: what each lane trains, under a seed of its own.
        seconds: how long the lanes are measured, at least.
        kernels: whether to add a profile of them.
    """
    driver = Driver(trainer, replace(job, schedule=LONG), given)
    began = time.perf_counter()
    driver.until(driver.all_train)
    if given == "auto":
        driver.until(lambda: driver.lanes.settled and driver.all_train())
    waited, building = time.perf_counter() - began, driver.longest
    driver.longest = 0.0
    driver.rows.clear()
    wall, cpu = time.perf_counter(), time.thread_time()
    driver.until(lambda: time.perf_counter() > wall + seconds and driver.measured())
    wall, cpu = time.perf_counter() - wall, time.thread_time() - cpu
    rate = driver.rate()
    lanes = driver.lanes.lanes
    row = {
        "lanes": lanes,
        "images_per_second": round(rate),
        "thread": round(cpu / wall, 3),
        "build_ms": round(1000 * building, 1),
        "turn_ms": round(1000 * driver.longest, 1),
        "seconds_until_all_train": round(waited, 2),
        "memory_gib": round(taken(trainer.device) / 2**30, 2),
    }
    if kernels and trainer.device.type == "cuda":
        row |= profiled(driver)
    driver.end()
    row["bare"] = round(bare_lanes(trainer, lanes))
    row["trial_over_bare"] = round(rate / row["bare"], 3)
    return row


def profiled(driver: Driver, seconds: float = 0.5) -> dict[str, Any]:
    """Returns what the device does while the lanes train."""
    with profile(activities=[ProfilerActivity.CUDA]):
        pass  # the first profile of a process sees nothing
    synchronise(driver.trainer.device)
    began = time.perf_counter()
    with profile(activities=[ProfilerActivity.CUDA]) as seen:
        driver.until(lambda: time.perf_counter() > began + seconds)
        synchronise(driver.trainer.device)
        lasted = time.perf_counter() - began
    kernels = sorted(((event.device_time_total, event.count, event.key) for event in seen.key_averages()), reverse=True)
    total = sum(spent for spent, _, _ in kernels)
    first = [
        {"share": round(spent / total, 3), "microseconds": round(spent / count, 1), "name": name[:100]}
        for spent, count, name in kernels[:MOST_KERNELS]
        if total
    ]
    return {
        "overlap": round(total / 1e6 / lasted, 2),
        "launches": sum(count for _, count, _ in kernels),
        "kernels": first,
    }


def taken(device: torch.device) -> int:
    """Returns the bytes that are taken of a GPU; 0 on a CPU."""
    if device.type == "cpu":
        return 0
    free, total = torch.cuda.mem_get_info(device)
    return int(total - free)


def bare_lanes(trainer: Trainer, lanes: int) -> float:
    """Images a second of the captured steps alone, each replayed on its lane's stream."""
    held = trainer.lanes[:lanes]
    networks = [cache.latest for cache in held]
    steps = networks[0].steps_per_epoch
    best = 0.0
    synchronise(trainer.device)  # steps of the jobs that were ended still move the cursor
    for _ in range(2):
        for network in networks:
            network._cursor.zero_()
        synchronise(trainer.device)
        began = time.perf_counter()
        for first in range(0, steps, CHUNK):
            for cache, network in zip(held, networks, strict=True):
                with cache.lane:
                    for _ in range(first, min(first + CHUNK, steps)):
                        (network.replays.step or network._train_step)()
        synchronise(trainer.device)
        best = max(best, lanes * steps * networks[0].batch_size / (time.perf_counter() - began))
    return best


def synchronise(where: torch.device) -> None:
    """Waits for the device."""
    if where.type == "cuda":
        torch.cuda.synchronize(where)


def lanes_table(rows: list[dict[str, Any]]) -> str:
    """Returns the rows as Markdown."""
    names = [
        "family", "batch", "given", "lanes", "images_per_second", "over_one", "bare", "trial_over_bare", "memory_gib",
        "thread", "build_ms", "turn_ms",
    ]  # fmt: skip
    lines = ["| " + " | ".join(names) + " |", "|" + "---|" * len(names)]
    lines += ["| " + " | ".join(str(row.get(name, "")) for name in names) + " |" for row in rows]
    return "\n".join(lines)
