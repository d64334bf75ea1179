"""The devices of this machine, and how workers share them. This module never imports torch."""

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
"""The highest number of workers. Each worker is a process, so a higher number is a typing error."""

CPU_QUOTA = Path("/sys/fs/cgroup/cpu.max")


def choose_devices(devices: str | None = None, workers: Count | None = None) -> list[str]:
    """Returns one device for each worker, such as `["cuda:0", "cuda:1", "cuda:0"]`.

    Args:
        devices: `cpu`, `cuda` (all GPUs), or a list such as `cuda:0,cuda:1`. None and `auto` mean
            all GPUs, or the CPU if there are none.
        workers: how many workers share the devices, in turn. None and `auto` mean one for each GPU,
            or one for every two cores of a CPU.

    Raises:
        SettingsError: a device name is not valid, a GPU does not exist, or the number of workers is
            not between 1 and `MOST_WORKERS`.
    """
    names = _named((devices or "auto").split(","), "--devices", "a list such as cuda:0,cuda:1")
    if workers is None or workers == "auto":
        workers = max(1, cores() // 2) if names == ["cpu"] else len(names)
    refuse_workers(workers, "auto starts one worker for each GPU, or one for every two CPU cores.")
    return [names[index % len(names)] for index in range(workers)]


def choose_device(device: str | None = None) -> str:
    """Returns the device for one model, such as `cuda:0`.

    Args:
        device: `cpu`, `cuda` (the first GPU) or a name such as `cuda:0`. None and `auto` mean the
            first GPU, or the CPU if there is none.

    Raises:
        SettingsError: the name is not valid, or the GPU does not exist.
    """
    return _named([device or "auto"], "--device", "a name such as cuda:0")[0]


def refuse_workers(workers: object, hint: str) -> None:
    """Raises an error if a number of workers is not valid.

    Raises:
        SettingsError: it is not between 1 and `MOST_WORKERS`.
    """
    if not isinstance(workers, int) or not 1 <= workers <= MOST_WORKERS:
        raise SettingsError(f"--workers must be between 1 and {MOST_WORKERS}, or auto (got {workers}).", hint)


def _named(words: Sequence[str], option: str, other: str) -> list[str]:
    """Returns the devices that some words name.

    Args:
        option: what the user named them with, for the errors.
        other: what it takes beside `cpu`, `cuda` and `auto`, for the errors.
    """
    names: list[str] = []
    for word in map(str.strip, words):
        if word == "auto":
            names += _gpus() or ["cpu"]
        elif word == "cpu":
            names.append(word)
        elif word == "cuda" or re.fullmatch(r"cuda:\d+", word):
            names += _present(word, option)
        else:
            raise SettingsError(
                f"{option} must be cpu, cuda, auto, or {other} (got {','.join(words)}).",
                "`fer-tune doctor` lists the devices of this machine.",
            )
    return names


def _present(word: str, option: str) -> list[str]:
    gpus = _gpus()
    if word == "cuda" and gpus:
        return gpus
    if word in gpus:
        return [word]
    has = f"This machine has {', '.join(gpus)}." if gpus else f"This machine has no GPU. Use {option} cpu."
    raise SettingsError(f"{option}: {word} does not exist.", has)


def _gpus() -> list[str]:
    return [f"cuda:{index}" for index in range(count_gpus())]


def count_gpus() -> int:
    """Returns the number of CUDA devices. It obeys CUDA_VISIBLE_DEVICES, as torch does.

    It asks the driver. That takes a few milliseconds and no device memory; importing torch to ask
    takes 2 s.
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
    """Returns the driver's version, such as `580.65.06, CUDA 13.0`, or None if there is no
    driver."""
    try:
        driver, monitor = ctypes.CDLL(CUDA_LIBRARY), ctypes.CDLL(MONITOR_LIBRARY)
    except OSError:
        return None
    cuda, text = ctypes.c_int(0), ctypes.create_string_buffer(80)
    if driver.cuDriverGetVersion(ctypes.byref(cuda)) != 0 or monitor.nvmlInit_v2() != 0:
        return None
    version = text.value.decode() if monitor.nvmlSystemGetDriverVersion(text, ctypes.c_uint(len(text))) == 0 else ""
    monitor.nvmlShutdown()
    return f"{version or 'unknown'}, CUDA {cuda.value // 1000}.{cuda.value % 1000 // 10}"


def cores() -> int:
    """Returns how many cores this process may use, by its affinity and its container's quota."""
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        quota, period = CPU_QUOTA.read_text().split()
        count = min(count, max(1, round(int(quota) / int(period))))
    except (OSError, ValueError):  # no cgroup, or no quota ("max")
        pass
    return count


def threads_each(devices: Sequence[str]) -> int:
    """Returns the number of threads for each worker, so that all workers together fill the
    cores.

    Args:
        devices: one for each worker.
    """
    return max(1, cores() // len(devices))


def environment(device: str, threads: int) -> tuple[dict[str, str], str]:
    """Returns the environment of a worker's process, and the name of its device in there.

    A worker sees only its own GPU, as `cuda:0`. So it cannot allocate memory on another worker's
    GPU by mistake. Its threads sleep while they wait for each other, unless the user's environment
    says otherwise. With more work than cores, spinning doubled the processor time in a measurement;
    on idle cores it gained nothing. A GPU gets a queue for each stream; with CUDA's default of
    eight, lanes would wait for each other. Torch would read the metadata of all packages, in search
    of plug-ins for other devices.
    """
    variables = {"OMP_WAIT_POLICY": "PASSIVE", "TORCH_DEVICE_BACKEND_AUTOLOAD": "0", **os.environ}
    variables |= dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS"), str(threads))
    if device == "cpu":
        return variables | {"CUDA_VISIBLE_DEVICES": ""}, device
    index = int(device.removeprefix("cuda:"))
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    name = visible.split(",")[index].strip() if visible else str(index)
    return {"CUDA_DEVICE_MAX_CONNECTIONS": "32", **variables, "CUDA_VISIBLE_DEVICES": name}, "cuda:0"


def gpu_uuid(device: str) -> str | None:
    """Returns the UUID of `cuda:N`, 32 hexadecimal digits and dashes, or None without such a GPU.

    The UUID names the same GPU to every tool. An index does not, because CUDA_VISIBLE_DEVICES and
    the order of counting change it.
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
