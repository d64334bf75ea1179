"""Captures work on a GPU as a CUDA graph, whose replay is one launch instead of hundreds."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator

import torch

from fer_tune.train.lane import Lane

WARM_UPS = 3
"""Runs before a capture: cuDNN chooses its algorithms, the allocator reaches its size."""
SPARE = 2**30
"""Unused bytes that torch may hold. Networks of many shapes leave some behind, each a little."""
KNOWN = 1
"""Runs before a capture of work whose algorithms are chosen: it makes what is made at first use."""


def warm_up(
    run: Callable[[], None],
    device: torch.device,
    rewind: Callable[[], object] = lambda: None,
    quiet: bool = True,
    known: bool = False,
) -> Iterator[None]:
    """Runs `run` as often as a capture needs, and yields after each time.

    Args:
        rewind: is called before each run, so that these do not run past the end of a buffer.
        quiet: whether nothing else runs on the device, or it would not matter. If not, the first
            run waits for the whole device.
        known: whether this process has captured such work before.
    """
    if not quiet:
        torch.cuda.synchronize(device)
    for _ in range(KNOWN if known else WARM_UPS):
        rewind()
        run()
        yield


def captured_alone(
    run: Callable[[], None], lane: Lane, rewind: Callable[[], object] = lambda: None
) -> Callable[[], None]:
    """Warms up and captures at once, in a lane that does not have its turn."""
    with lane:
        for _ in warm_up(run, lane.device, rewind):
            pass
        return captured(run, lane)


def captured(run: Callable[[], None], lane: Lane, alone: bool = True) -> Callable[[], None]:
    """Captures `run` as a CUDA graph on the lane's stream, and returns its replay.

    The lane must have its turn, and `run` must be warm. Other lanes' work continues on the device.
    Two things would disturb them, so neither `torch.cuda.graph` nor the garbage collector is used:
    the first waits for the whole device, and the second may free memory in the middle of a capture.

    All graphs of a lane share one memory pool. They never run at the same time, and leave nothing
    in it after a replay. So eight networks need the memory of the largest one. The device gets it
    back when all of them are gone.

    Args:
        alone: whether no other lane trains.
    """
    assert lane.stream is not None, "only a GPU captures"
    lane.stream.synchronize()
    if alone or holds_much(lane.device):
        torch.cuda.empty_cache()  # a capture cannot do it, and other lanes would wait for it
    graph = torch.cuda.CUDAGraph()
    collects = gc.isenabled()
    gc.disable()
    try:
        graph.capture_begin(pool=lane.pool(), capture_error_mode="thread_local")
        try:
            run()
        finally:
            graph.capture_end()
    finally:
        if collects:
            gc.enable()
    lane.graphs.add(graph)
    return graph.replay


def holds_much(device: torch.device) -> bool:
    """Returns whether torch holds much memory of the device that it does not use: more than is free
    there, or more than it uses and more than `SPARE`."""
    free, _ = torch.cuda.mem_get_info(device)
    used = torch.cuda.memory_allocated(device)
    return torch.cuda.memory_reserved(device) - used > min(free, max(used, SPARE))
