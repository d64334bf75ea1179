"""Examines what trains: cores and memory, the driver, and each GPU."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import psutil

from fer_tune.doctor import probe
from fer_tune.doctor.findings import Finding, many, note, ok, problem, size
from fer_tune.pool.devices import cores, count_gpus, driver_version


def devices(probed: probe.Probed | None = None) -> Iterator[Finding]:
    """Examines the CPU, the driver, and each GPU that the driver or torch sees."""
    probed = probed or probe.probe()
    memory = psutil.virtual_memory()
    count = cores()
    found = f"{many(count, 'core', 'cores')}, {size(memory.total)} of memory, {size(memory.available)} free"
    yield ok("cpu", found)
    if probed.error:
        advice = "Install it again: pip install --force-reinstall torch"
        yield problem("torch", f"cannot be used: {probed.error}", advice)
    present = count_gpus()
    if not present and not probed.gpus:
        yield note("gpu", "none; trials train on the CPU", "" if driver_version() is None else "See nvidia-smi.")
        return
    yield ok("driver", driver_version() or "unknown version")
    if present and not probed.gpus and not probed.error:
        built = f"torch is built for CUDA {probed.cuda}" if probed.cuda else "torch is built without CUDA"
        advice = "Install a torch that fits the driver: https://pytorch.org/get-started/locally/."
        yield problem("gpu", f"the driver sees {present}, torch sees none: {built}", advice)
    for index, gpu in enumerate(probed.gpus):
        yield _gpu(f"cuda:{index}", gpu)


def _gpu(name: str, gpu: dict[str, Any]) -> Finding:
    found = f"{gpu['name'] or 'unknown'}, {size(gpu['free'])} of {size(gpu['total'])} free"
    if gpu["error"]:
        advice = "See nvidia-smi. Leave this GPU out with `--devices`; a restart of the machine may help."
        return problem(name, f"{found}, but it does not compute: {gpu['error']}", advice)
    if gpu["free"] < 2 << 30:  # what a trial of a small family needs, with CUDA's own memory
        return note(name, found, "Other processes use its memory: nvidia-smi lists them.")
    return ok(name, f"{found}; it computes correctly")
