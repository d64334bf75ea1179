from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, get_args

import pytest

from benchmarks.loopback import loopback_only
from fer_tune.data.spec import DataRef
from fer_tune.job import Job, Value
from fer_tune.pool import Event, Pool, ReadyEvent
from fer_tune.pool.engines import EngineName
from fer_tune.pool.engines import engine as engine_of
from fer_tune.pool.port import TrainerFactory
from tests.studies import uid_of

from .trainers import obedient

MakePool = Callable[..., Any]


NAMES = [pytest.param(name, marks=[pytest.mark.slow] if name == "ray" else []) for name in get_args(EngineName)]


@pytest.fixture(params=NAMES)
def engine(request: pytest.FixtureRequest) -> EngineName:
    name: EngineName = request.param
    if name == "ray":
        request.getfixturevalue("ray_cluster")
    return name


@pytest.fixture(scope="module")
def ray_cluster() -> Iterator[Any]:
    """Yields Ray with one node of this machine, which listens on the loopback only."""
    ray = pytest.importorskip("ray", reason="Ray is not installed: pip install 'fer-tune[ray]'")
    with loopback_only() as reason:
        if reason:
            pytest.skip(reason)
        ray.init(address="local", num_cpus=4, include_dashboard=False, log_to_driver=False)
        yield ray
        ray.shutdown()


@pytest.fixture
def make_pool(engine: EngineName, tmp_path: Path) -> Iterator[MakePool]:
    """Yields a function that makes pools. They are closed after the test."""
    pools: list[Pool] = []

    def make(workers: int = 1, trainer: TrainerFactory = obedient, lanes: int = 1) -> Pool:
        pool = engine_of(engine).open("cpu", workers, tmp_path / "logs", trainer)
        pool.use_lanes(lanes)
        pools.append(pool)
        return pool

    yield make
    for pool in pools:
        pool.close(5)


def job(number: int = 0, epochs: int = 2, **params: Value) -> Job:
    data = DataRef(Path("cache"), "signature", Path("split"), "hash")
    return Job(uid_of(number), "s", "search", "simple_cnn", params, epochs, seed=1, data=data, number=number)


def listen(pool: Pool, until: Callable[[list[Event]], object], seconds: float = 20.0) -> list[Event]:
    """Collects events until `until` returns true for all of them. Returns the events."""
    events: list[Event] = []
    deadline = time.monotonic() + seconds
    while not until(events):
        assert time.monotonic() < deadline, f"the condition did not become true; the events: {events}"
        events += pool.events(0.2)
    return events


def start(pool: Pool, seconds: float = 20.0) -> None:
    """Waits until all workers are ready."""
    listen(pool, lambda events: sum(isinstance(event, ReadyEvent) for event in events) == len(pool.workers), seconds)


def start_lanes(pool: Pool, lanes: int) -> None:
    """Waits until all workers are ready and have so many lanes."""
    listen(pool, lambda _: len(pool.idle()) == lanes * len(pool.workers))
