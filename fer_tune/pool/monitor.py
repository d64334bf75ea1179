"""Measures the load and the memory of workers, without disturbing the run.

A thread of the orchestrator asks the driver's management library (NVML) or the operating system
every two seconds. A measurement takes a millisecond. A value that cannot be measured, for example
because a driver is missing, is None; it is never an error.
"""

from __future__ import annotations

import threading
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Self

import psutil

from fer_tune.pool.devices import gpu_uuid
from fer_tune.pool.port import WorkerInfo

EVERY = 2.0
"""Seconds between two measurements."""


@dataclass(frozen=True)
class Gauge:
    """One measurement of a worker. A value that could not be measured is None.

    Attributes:
        used: bytes. On a GPU, the memory that this worker and all other processes use; on the CPU,
            the worker's resident memory.
        total: bytes of the GPU's memory; None on the CPU.
        load: on a GPU, the share of the last moments in which it ran kernels (0..1); on the CPU,
            the number of cores that the worker keeps busy, such as 1.5.
    """

    used: int | None = None
    total: int | None = None
    load: float | None = None


class Monitor:
    """Measures workers in a thread of its own. Use it as a context manager.

    Args:
        every: seconds between two measurements.
    """

    def __init__(self, every: float = EVERY) -> None:
        self.every = every
        self._workers: dict[int, WorkerInfo] = {}
        self._seen: dict[int, Gauge] = {}
        self._processes: dict[int | None, psutil.Process] = {}
        self._handles: dict[str, Any] = {}
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="gauges", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join(self.every)

    def follow(self, worker: WorkerInfo) -> None:
        """Measures this worker from now on. It replaces an earlier worker of the same index.

        A worker of another machine is not measured.
        """
        if worker.here:
            self._workers[worker.index] = worker
        else:
            self._workers.pop(worker.index, None)
            self._seen.pop(worker.index, None)

    def get(self, index: int) -> Gauge:
        """Returns the last measurement of a worker."""
        return self._seen.get(index, Gauge())

    def look(self) -> None:
        """Measures each worker once."""
        for worker in list(self._workers.values()):
            self._seen[worker.index] = self._process(worker) if worker.device == "cpu" else self._gpu(worker.device)

    def _watch(self) -> None:
        while not self._over.wait(self.every):
            self.look()

    def _process(self, worker: WorkerInfo) -> Gauge:
        try:
            process = self._processes.get(worker.pid)
            if process is None:
                process = self._processes[worker.pid] = psutil.Process(worker.pid)
                process.cpu_percent()  # the next call measures from here on
                return Gauge(process.memory_info().rss)
            return Gauge(process.memory_info().rss, None, process.cpu_percent() / 100)
        except (psutil.Error, OSError):
            return Gauge()

    def _gpu(self, device: str) -> Gauge:
        if device not in self._handles:
            self._handles[device] = _handle(device)
        handle = self._handles[device]
        if handle is None:
            return Gauge()
        import pynvml

        used = total = load = None
        with suppress(pynvml.NVMLError):
            memory = pynvml.nvmlDeviceGetMemoryInfo(handle)
            used, total = int(memory.used), int(memory.total)
        with suppress(pynvml.NVMLError):  # a slice of a GPU has memory of its own and no load
            load = pynvml.nvmlDeviceGetUtilizationRates(handle).gpu / 100
        return Gauge(used, total, load)


def _handle(device: str) -> Any:
    """Returns NVML's handle of `cuda:N`, or None.

    It looks the GPU up by UUID, because NVML may count GPUs in another order than CUDA.
    """
    uuid = gpu_uuid(device)
    if uuid is None:
        return None
    import pynvml

    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:  # the driver's library is missing, or of another version
        return None
    for kind in ("GPU", "MIG"):
        with suppress(pynvml.NVMLError):
            return pynvml.nvmlDeviceGetHandleByUUID(f"{kind}-{uuid}")
    return None
