"""Work on a GPU captured once as a CUDA graph and replayed: one launch instead of hundreds."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

WARM_UPS = 3
"""Runs before a capture: they let cuDNN choose its algorithms and the allocator reach its size."""

_pools: dict[torch.device, Any] = {}
_streams: dict[torch.device, torch.cuda.Stream] = {}
"""One for all captures of a device: cuBLAS keeps a workspace of many MiB for every stream that it was used on."""


def captured(
    run: Callable[[], None], device: torch.device, rewind: Callable[[], object] = lambda: None
) -> Callable[[], None]:
    """Captures `run` as a CUDA graph and returns its replay; `rewind` undoes what would let warm-ups run over an end.

    All graphs of a device share one memory pool: they never run at the same time and leave nothing in it
    that outlives a replay. So eight engines need the memory of the largest one. The device gets it back when all of
    them are gone.
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
    """Lets the next capture begin a pool of its own; to be called when all graphs of the device are gone."""
    _pools.pop(device, None)
