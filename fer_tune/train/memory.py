"""How much memory a device has, and which errors say that it was too small."""

from __future__ import annotations

import gc
import re

import psutil
import torch

from fer_tune.errors import TrainingError

SIGNS = ("out of memory", "ALLOC_FAILED", "can't allocate memory", "unable to find an engine to execute")
"""Words of torch, CUDA's libraries and Triton, if they do not raise `torch.OutOfMemoryError`. The
last ones are cuDNN's, where no algorithm gets its workspace."""
UNITS = {"bytes": 1, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30}
LEAST_EXCESS = 0.01
"""The excess of a job that failed although its known need was below the memory that there was:
memory was fragmented, or other processes took it."""


class TooLargeError(TrainingError):
    """A job needs more memory than the device has, even in the smallest parts.

    Attributes:
        excess: above 0: the fraction that it needs more than there was.
    """

    def __init__(
        self, message: str, excess: float, hint: str = "A smaller width or batch_size needs less memory."
    ) -> None:
        super().__init__(message, hint)
        self.excess = excess


def out_of_memory(error: BaseException) -> bool:
    """Returns whether memory ran out: in this error or in its cause, which a capture hides."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, torch.OutOfMemoryError | MemoryError):
            return True
        if isinstance(cause, RuntimeError) and any(sign in str(cause) for sign in SIGNS):
            return True
        cause = cause.__cause__ or cause.__context__
    return False


class Memory:
    """The memory of one device, in bytes. That of a CPU is the computer's."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._cuda = device.type == "cuda"

    def total(self) -> int:
        """Returns the memory of the device."""
        if self._cuda:
            return int(torch.cuda.mem_get_info(self._device)[1])
        return int(psutil.virtual_memory().total)

    def available(self) -> int:
        """Returns what this process could use: free memory, and what it holds already."""
        if self._cuda:
            return int(torch.cuda.mem_get_info(self._device)[0]) + torch.cuda.memory_reserved(self._device)
        return int(psutil.virtual_memory().available) + int(psutil.Process().memory_info().rss)

    def used(self) -> tuple[int, int]:
        """Returns the memory that tensors use, and that is reserved; on a CPU the process's."""
        if self._cuda:
            return torch.cuda.memory_allocated(self._device), torch.cuda.memory_reserved(self._device)
        resident = int(psutil.Process().memory_info().rss)
        return resident, resident

    def watch(self) -> None:
        """Forgets the peak, and begins to watch for the next one."""
        if self._cuda:
            torch.cuda.reset_peak_memory_stats(self._device)

    def needed(self, said: str) -> int:
        """Returns a lower bound of the need: the peak since `watch`, plus what was refused.

        Args:
            said: the text of the error.
        """
        refused = re.search(r"Tried to allocate ([\d.]+) (bytes|[KMG]iB)", said)
        peak = torch.cuda.max_memory_allocated(self._device) if self._cuda else 0
        return int(peak + (float(refused[1]) * UNITS[refused[2]] if refused else 0))

    def release(self) -> None:
        """Gives memory that no tensor uses back to the device."""
        gc.collect()
        if self._cuda:
            torch.cuda.empty_cache()


def shown(size: int) -> str:
    """Returns a size for people, such as `79.1 GiB`."""
    return f"{size / 2**30:.1f} GiB"
