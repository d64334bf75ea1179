"""Which devices there are, and how workers share them. Never imports torch."""

from __future__ import annotations

import ctypes
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Literal
from uuid import UUID

from fer_tune.errors import SettingsError

Count = int | Literal["auto"]

CUDA_LIBRARY = "libcuda.so.1"
MONITOR_LIBRARY = "libnvidia-ml.so.1"
MOST_WORKERS = 1024
"""More is a slip of the finger; each is a process."""

CPU_QUOTA = Path("/sys/fs/cgroup/cpu.max")


def choose_devices(devices: str | None = None, workers: Count | None = None) -> list[str]:
    """One device for each worker, such as `["cuda:0", "cuda:1", "cuda:0"]`.

    Args:
        devices: `cpu`, `cuda` (all GPUs), `cuda:0,cuda:1`, or None or `auto`: all GPUs if there are
            any, else the CPU.
        workers: how many, dealt round-robin over the devices; None or `auto`: one for each GPU, or
            for half the cores.

    Raises:
        SettingsError: a name is not a device, a GPU does not exist, or there are less than one or
            more than `MOST_WORKERS` workers.
    """
    names = _named(devices or "auto")
    if workers is None or workers == "auto":
        workers = max(1, cores() // 2) if names == ["cpu"] else len(names)
    if not 1 <= workers <= MOST_WORKERS:
        raise SettingsError(
            f"--workers must be between 1 and {MOST_WORKERS}, or auto (got {workers}).",
            "auto starts one worker for each GPU, or one for every two CPU cores.",
        )
    return [names[index % len(names)] for index in range(workers)]


def _named(text: str) -> list[str]:
    names: list[str] = []
    for word in (part.strip() for part in text.split(",")):
        if word == "auto":
            names += _gpus() or ["cpu"]
        elif word == "cpu":
            names.append(word)
        elif word == "cuda" or re.fullmatch(r"cuda:\d+", word):
            names += _present(word)
        else:
            raise SettingsError(
                f"--devices must be cpu, cuda, auto, or a list such as cuda:0,cuda:1 (got {text}).",
                "`fer-tune doctor` lists the devices of this machine.",
            )
    return names


def _present(word: str) -> list[str]:
    gpus = _gpus()
    if word == "cuda" and gpus:
        return gpus
    if word in gpus:
        return [word]
    has = f"This machine has {', '.join(gpus)}." if gpus else "This machine has no GPU. Use --devices cpu."
    raise SettingsError(f"--devices: {word} does not exist.", has)


def _gpus() -> list[str]:
    return [f"cuda:{index}" for index in range(count_gpus())]


def count_gpus() -> int:
    """Number of CUDA devices, asked of the driver itself: as torch counts them (it obeys
    CUDA_VISIBLE_DEVICES too).

    Costs a few ms and no device memory, where importing torch to ask costs 2 s.
    """
    try:
        driver = ctypes.CDLL(CUDA_LIBRARY)
    except OSError:
        return 0
    count = ctypes.c_int(0)
    if driver.cuInit(0) != 0 or driver.cuDeviceGetCount(ctypes.byref(count)) != 0:
        return 0
    return count.value


def driver_version() -> str | None:
    """`580.65.06, CUDA 13.0` as the driver says it; None where there is none."""
    try:
        driver, monitor = ctypes.CDLL(CUDA_LIBRARY), ctypes.CDLL(MONITOR_LIBRARY)
    except OSError:
        return None
    cuda, text = ctypes.c_int(0), ctypes.create_string_buffer(80)
    if driver.cuDriverGetVersion(ctypes.byref(cuda)) != 0 or monitor.nvmlInit_v2() != 0:
        return None
    told = text.value.decode() if monitor.nvmlSystemGetDriverVersion(text, ctypes.c_uint(len(text))) == 0 else ""
    monitor.nvmlShutdown()
    return f"{told or 'unknown'}, CUDA {cuda.value // 1000}.{cuda.value % 1000 // 10}"


def cores() -> int:
    """Cores that this process may use: its affinity, and its container's quota where there is
    one."""
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        quota, period = CPU_QUOTA.read_text().split()
        count = min(count, max(1, round(int(quota) / int(period))))
    except (OSError, ValueError):  # no cgroup, or no quota ("max")
        pass
    return count


def threads_each(devices: Sequence[str]) -> int:
    """Threads for each of these workers, so that together they fill the cores and do not fight for
    them."""
    return max(1, cores() // len(devices))


def environment(device: str, threads: int) -> tuple[dict[str, str], str]:
    """The environment of a worker's process, and what its device is called in there.

    A worker sees its own GPU alone, as `cuda:0`: so no stray allocation lands on another's. Its
    threads sleep where they wait for one another, unless the user's environment says otherwise:
    with more work than cores, spinning was measured to double the processor time, and on idle cores
    it gained nothing.
    """
    variables = {"OMP_WAIT_POLICY": "PASSIVE", **os.environ}
    variables |= dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS"), str(threads))
    if device == "cpu":
        return variables | {"CUDA_VISIBLE_DEVICES": ""}, device
    index = int(device.removeprefix("cuda:"))
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    name = visible.split(",")[index].strip() if visible else str(index)
    return variables | {"CUDA_VISIBLE_DEVICES": name}, "cuda:0"


def gpu_uuid(device: str) -> str | None:
    """The UUID of `cuda:N`, 32 hexadecimal digits and dashes, or None where there is no such GPU.

    It names the same GPU to every tool, whatever CUDA_VISIBLE_DEVICES and the order of counting.
    """
    try:
        driver = ctypes.CDLL(CUDA_LIBRARY)
    except OSError:
        return None
    handle, raw = ctypes.c_int(0), (ctypes.c_ubyte * 16)()
    index = int(device.removeprefix("cuda:"))
    if driver.cuInit(0) != 0 or driver.cuDeviceGet(ctypes.byref(handle), index) != 0:
        return None
    if driver.cuDeviceGetUuid_v2(raw, handle) != 0:
        return None
    return str(UUID(bytes=bytes(raw)))
