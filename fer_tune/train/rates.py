"""How many images a second several lanes of a device train together."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence

import torch

from fer_tune.train.device_network import DeviceNetwork
from fer_tune.train.network_cache import NetworkCache, Room

SECONDS = 0.4
"""For which lanes are measured, at least."""
LEAST_ROUNDS = 4
"""In which each lane does a chunk of steps, at least."""

Build = Callable[[NetworkCache], Generator[int, None, DeviceNetwork]]
"""Builds a job's network in a lane, and yields where another lane may have its turn."""


def lane_rates(room: Room, build: Build) -> Generator[float | None, None, None]:
    """Yields the images a second of 1, 2, 4 and so on lanes; see `pool.port.Measures`.

    A job that is in training waits meanwhile. The networks go at the end, because most jobs have
    other networks.
    """
    held: list[NetworkCache] = []
    try:
        while True:
            cache = room.free_lane()
            cache.taken = True
            held.append(cache)
            yield from _prepared(cache, build)
            if room.device.type == "cuda" and cache.latest.replays.step is None:
                return  # nothing was captured: lanes would only take turns
            if len(held).bit_count() == 1:
                yield rate_together(held)
    finally:
        for cache in held:
            cache.rest()
            cache.taken = False
        _wait_for(room.device)
        room.clear()


def _prepared(cache: NetworkCache, build: Build) -> Iterator[None]:
    """Builds a network in a lane, and draws an epoch for it."""
    building = build(cache)
    while True:
        with cache.lane:
            if next(building, None) is None:
                break
        yield None
    cache.rest()  # so that the next lane builds at once
    with cache.lane:
        cache.latest.begin_next(1)


def rate_together(lanes: Sequence[NetworkCache]) -> float:
    """Returns the images a second that the latest networks of lanes train side by side."""
    device = lanes[0].latest.device
    _round(lanes)  # replaying a graph for the first time takes longer
    _wait_for(device)
    images, rounds, ahead = 0, 0, deque[list[torch.cuda.Event]]()
    began = time.perf_counter()
    while rounds < LEAST_ROUNDS or time.perf_counter() - began < SECONDS:
        images += _round(lanes)
        rounds += 1
        if device.type == "cuda":
            ahead.append([cache.lane.stream.record_event() for cache in lanes if cache.lane.stream])
            for event in ahead.popleft() if len(ahead) > 2 else ():
                event.synchronize()
    _wait_for(device)
    return images / (time.perf_counter() - began)


def _round(lanes: Sequence[NetworkCache]) -> int:
    """Gives each lane a chunk of steps. Returns their images."""
    images = 0
    for cache in lanes:
        with cache.lane:
            images += cache.latest.rehearse()
    return images


def _wait_for(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
