"""Captures work on a GPU as a CUDA graph, whose replay is one launch instead of hundreds."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

WARM_UPS = 3
"""Runs before a capture: cuDNN chooses its algorithms, the allocator reaches its size."""

_pools: dict[torch.device, Any] = {}
_streams: dict[torch.device, torch.cuda.Stream] = {}
"""One for all captures of a device: cuBLAS keeps a workspace of many MiB for each stream."""


def captured(
    run: Callable[[], None], device: torch.device, rewind: Callable[[], object] = lambda: None
) -> Callable[[], None]:
    """Captures `run` as a CUDA graph, and returns its replay.

    `rewind` is called before each warm-up, so that these do not run past the end of a buffer.

    All graphs of a device share one memory pool. They never run at the same time, and leave nothing
    in it after a replay. So eight engines need the memory of the largest one. The device
    gets it back when all of them are gone.
    """
    if device not in _streams:
        _streams[device] = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
    stream = _streams[device]
    stream.wait_stream(torch.cuda.current_stream(device))
    with torch.cuda.stream(stream):
        for _ in range(WARM_UPS):
            rewind()
            run()
    torch.cuda.current_stream(device).wait_stream(stream)
    torch.cuda.synchronize(device)
    if device not in _pools:
        _pools[device] = torch.cuda.graph_pool_handle()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph, pool=_pools[device], stream=stream):
        run()
    return graph.replay


def forget_pool(device: torch.device) -> None:
    """Lets the next capture begin a new pool. Call it when all graphs of the device are gone."""
    _pools.pop(device, None)
