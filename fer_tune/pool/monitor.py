"""How busy workers are and how much memory they hold: looked at from beside the run, never in its
way.

A thread of the orchestrator asks the driver's management library (NVML) or the operating system
every two seconds; a look takes a millisecond. Whatever cannot be had is missing: no GPU, driver or
permission ever troubles a run.
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
"""Seconds between two looks."""


@dataclass(frozen=True)
class Gauge:
    """One look at a worker; None is what could not be had.

    Attributes:
        used: bytes. Of a GPU, all that is in use on it, by this worker and others; on the CPU, the
            worker's own resident memory.
        total: bytes that the GPU has; None on the CPU.
        load: of a GPU, the share of the last moments in which it was running kernels (0..1); on the
            CPU, the cores that the worker keeps busy (1.5 is one and a half).
    """

    used: int | None = None
    total: int | None = None
    load: float | None = None


class Monitor:
    """Looks at the workers it was told to follow, in a thread of its own; use it as a context
    manager."""

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
        """Looks at this worker from now on; a fresh process under the same index takes the old
        one's place."""
        self._workers[worker.index] = worker

    def get(self, index: int) -> Gauge:
        """The last look at a worker."""
        return self._seen.get(index, Gauge())

    def look(self) -> None:
        """One look at each worker."""
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
                process.cpu_percent()  # counts from here on
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
    """NVML's handle of `cuda:N`, or None; found by UUID, since NVML counts GPUs in an order of its
    own."""
    uuid = gpu_uuid(device)
    if uuid is None:
        return None
    import pynvml

    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:  # the library of the driver is not there, or not of its version
        return None
    for kind in ("GPU", "MIG"):
        with suppress(pynvml.NVMLError):
            return pynvml.nvmlDeviceGetHandleByUUID(f"{kind}-{uuid}")
    return None
