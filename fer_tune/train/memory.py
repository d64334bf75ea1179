"""How much memory a device has, and how to tell that it did not suffice."""

from __future__ import annotations

import gc
import re

import psutil
import torch

from fer_tune.errors import TrainingError

SIGNS = ("out of memory", "ALLOC_FAILED", "can't allocate memory")
"""What torch, CUDA's libraries and Triton say where they raise no `torch.OutOfMemoryError`."""
UNITS = {"bytes": 1, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30}
LEAST_EXCESS = 0.01
"""Of a trial that failed although its known need is below what was there: memory in pieces, or taken by others."""


class TooLargeError(TrainingError):
    """A trial needs more memory than the device has, also in the smallest parts.

    Attributes:
        excess: need over what was there, less 1: above 0, a fraction.
    """

    def __init__(
        self, message: str, excess: float, hint: str = "A smaller width or batch_size needs less memory."
    ) -> None:
        super().__init__(message, hint)
        self.excess = excess


def out_of_memory(error: BaseException) -> bool:
    """Whether memory ran out: here, or in what this error came of (a broken capture hides the cause)."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, torch.OutOfMemoryError | MemoryError):
            return True
        if isinstance(cause, RuntimeError) and any(sign in str(cause) for sign in SIGNS):
            return True
        cause = cause.__cause__ or cause.__context__
    return False


class Memory:
    """One device's memory, all figures in bytes. A CPU's is the computer's."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._cuda = device.type == "cuda"

    def total(self) -> int:
        """What the device has."""
        if self._cuda:
            return int(torch.cuda.mem_get_info(self._device)[1])
        return int(psutil.virtual_memory().total)

    def available(self) -> int:
        """What this process could use: what is free, and what it holds already."""
        if self._cuda:
            return int(torch.cuda.mem_get_info(self._device)[0]) + torch.cuda.memory_reserved(self._device)
        return int(psutil.virtual_memory().available) + int(psutil.Process().memory_info().rss)

    def used(self) -> tuple[int, int]:
        """What lies in tensors now, and what is held of the device for them; on a CPU both are the process's."""
        if self._cuda:
            return torch.cuda.memory_allocated(self._device), torch.cuda.memory_reserved(self._device)
        resident = int(psutil.Process().memory_info().rss)
        return resident, resident

    def watch(self) -> None:
        """Begins anew to look for the peak."""
        if self._cuda:
            torch.cuda.reset_peak_memory_stats(self._device)

    def needed(self, said: str) -> int:
        """A lower bound of what would have sufficed: the peak since `watch`, and what was refused on top of it.

        Args:
            said: the text of the error.
        """
        refused = re.search(r"Tried to allocate ([\d.]+) (bytes|[KMG]iB)", said)
        peak = torch.cuda.max_memory_allocated(self._device) if self._cuda else 0
        return int(peak + (float(refused[1]) * UNITS[refused[2]] if refused else 0))

    def release(self) -> None:
        """Gives back to the device what no tensor uses."""
        gc.collect()
        if self._cuda:
            torch.cuda.empty_cache()


def shown(size: int) -> str:
    """`79.1 GiB`."""
    return f"{size / 2**30:.1f} GiB"
