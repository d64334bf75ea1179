"""What trains: cores and memory, the driver, and each GPU."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import psutil

from fer_tune.doctor.findings import Finding, note, ok, problem, size
from fer_tune.doctor.probe import Probed
from fer_tune.pool.devices import cores, count_gpus, driver_version

NEEDED = 2 << 30
"""Bytes of a GPU's memory that a trial of a small family takes, CUDA's own included."""


def devices(probed: Probed) -> Iterator[Finding]:
    """The CPU, the driver, and each GPU that the driver or torch sees."""
    memory = psutil.virtual_memory()
    count = cores()
    told = f"{count} core{'s' if count != 1 else ''}, {size(memory.total)} of memory, {size(memory.available)} free"
    yield ok("cpu", told)
    present = count_gpus()
    if not present and not probed.gpus:
        yield note("gpu", "none; trials train on the CPU", "" if driver_version() is None else "See nvidia-smi.")
        return
    yield ok("driver", driver_version() or "of unknown version")
    if present and not probed.gpus:
        built = f"torch is built for CUDA {probed.cuda}" if probed.cuda else "torch is built without CUDA"
        if trouble := probed.imports.get("torch"):
            built = f"torch cannot be imported: {trouble}"
        yield problem(
            "gpu",
            f"the driver sees {present}, torch sees none: {built}",
            "Install a torch that fits the driver: https://pytorch.org/get-started/locally/.",
        )
    for index, gpu in enumerate(probed.gpus):
        yield _gpu(f"cuda:{index}", gpu)


def _gpu(name: str, gpu: dict[str, Any]) -> Finding:
    told = f"{gpu['name'] or 'unknown'}, {size(gpu['free'])} of {size(gpu['total'])} free"
    if gpu["error"]:
        return problem(
            name,
            f"{told}, and it does not multiply: {gpu['error']}",
            "See nvidia-smi; `--devices` leaves a GPU out, a restart of the machine may mend it.",
        )
    if gpu["free"] < NEEDED:
        return note(name, told, "Other processes hold its memory: nvidia-smi lists them.")
    return ok(name, f"{told}; it multiplies right")
