"""A job's state at an epoch's end as one file, from which it continues after its worker is gone.

The file is safetensors: the network's tensors, the logits of the best epoch, and as text the rows
so far and what early stopping remembers. Nothing in it can run. Random numbers depend on the seed
and the epoch alone, so no random state is kept. A file that is cut short, altered, or of another
job is set aside and never used.
"""

from __future__ import annotations

import hashlib
import json
import math
import time
import zlib
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from fer_tune.errors import FerTuneError
from fer_tune.files import replace_file
from fer_tune.job import EpochRow, Job
from fer_tune.train.lane import BESIDE

FORMAT = 2
LOGITS = "logits"
DECIDING = ("family", "params", "schedule", "seed", "objective", "patience", "fit")
"""Fields of a job that decide its numbers, beside the data."""


@dataclass(frozen=True)
class State:
    """The state of a job at the end of an epoch.

    Attributes:
        rows: of all epochs so far.
        best, best_epoch: of the objective; -inf and 0 if there is none.
        logits: float32 [V, classes] of the best epoch, or None.
        tensors: the network's, by name; see `DeviceNetwork.state`.
    """

    rows: tuple[EpochRow, ...]
    best: float
    best_epoch: int
    logits: Tensor | None
    tensors: dict[str, Tensor]


class Keeper:
    """Keeps one job's checkpoint: writes by time and at a stop, reads at the start.

    A thread copies the state from the device and writes the file; the training waits for neither.
    Whatever goes wrong with a write costs the checkpoint, not the job, and is noted.

    Attributes:
        notes: what the user should know, each once.
    """

    def __init__(self, job: Job) -> None:
        self.notes: list[str] = []
        self._job = job
        self._path = job.checkpoint
        self._thread = ThreadPoolExecutor(1, "checkpoint")
        self._writing: Future[None] | None = None
        self._latest: State | None = None
        self._due = time.monotonic() + job.checkpoint_seconds
        self._each = False

    @property
    def wanted(self) -> bool:
        """Whether the job has a place for checkpoints."""
        return self._path is not None

    def load(self, shapes: dict[str, torch.Size]) -> State | None:
        """Returns the state to continue from, or None to begin at the start.

        Its rows have the number of this attempt.
        """
        self._collect()
        if self._path is None or not self._path.exists():
            return None
        try:
            found = read(self._path, self._job)
            if {name: tensor.shape for name, tensor in found.tensors.items()} != shapes:
                raise ValueError("it is of another network")
        except (OSError, SafetensorError, ValueError, KeyError, TypeError) as error:
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            self._note(f"the checkpoint could not be used ({reason}); it was {set_aside(self._path)}")
            return None
        self._note(f"continued after epoch {len(found.rows)} from a checkpoint")
        return found

    def remember(self, state: Callable[[], State]) -> None:
        """Takes the state at an epoch's end, and writes it if it is time.

        Nothing may change its tensors later.
        """
        if not self.wanted:
            return
        self._latest = state()
        if self._each or (time.monotonic() >= self._due and (self._writing is None or self._writing.done())):
            self.write()

    def keep(self) -> None:
        """Writes the last state, and from now on each one: the job may be stopped at any moment."""
        self._each = True
        self.write()

    def write(self) -> None:
        """Writes the last state, unless it is written already."""
        if self._path is None or self._latest is None:
            return
        self._collect()
        state, self._latest = self._latest, None
        self._writing = self._thread.submit(_copy_and_write, self._path, self._job, state, _recorded(state))
        del state  # the thread lets go of the device's memory as soon as it can
        self._due = time.monotonic() + self._job.checkpoint_seconds

    @property
    def busy(self) -> bool:
        """Whether a file is being written, so that `close` would wait."""
        return self._writing is not None and not self._writing.done()

    def wait(self) -> None:
        """Waits until the last file is written, and its state has left the device's memory."""
        self._collect()

    def close(self) -> None:
        """Waits until the last file is written, and ends the thread."""
        try:
            self._collect()
        finally:
            self._thread.shutdown()

    def _collect(self) -> None:
        if self._writing is not None:
            try:
                self._writing.result()
            except FerTuneError as error:
                self._note(f"no checkpoint: {error.message}")
            except Exception as error:  # a bug, or no memory for the file: the job itself is sound
                self._note(f"no checkpoint: {type(error).__name__}: {error}")
            self._writing = None

    def _note(self, text: str) -> None:
        if text not in self.notes:
            self.notes.append(text)


def identity(job: Job) -> str:
    """Returns the SHA-256 of all that decides a job's numbers."""
    deciding = {name: getattr(job, name) for name in DECIDING}
    deciding |= {"data": job.data.signature, "split": job.data.split_hash}
    return hashlib.sha256(json.dumps(deciding, sort_keys=True).encode()).hexdigest()


def _recorded(state: State) -> torch.cuda.Event | None:
    """Returns an event after what was queued for a state in a GPU's memory."""
    device = next(iter(state.tensors.values())).device
    return torch.cuda.current_stream(device).record_event() if device.type == "cuda" else None


def _copy_and_write(path: Path, job: Job, state: State, event: torch.cuda.Event | None) -> None:
    """Writes a state. Its copy from a GPU waits for the event, on a stream that no lane uses."""
    if event is None:
        write(path, job, state)
        return
    device = next(iter(state.tensors.values())).device
    if device not in _copying:
        _copying[device] = torch.cuda.Stream(device, priority=BESIDE)  # type: ignore[no-untyped-call]
    with torch.cuda.stream(_copying[device]):
        _copying[device].wait_event(event)
        copy = on_cpu(state)
    del state
    write(path, job, copy)


_copying: dict[torch.device, torch.cuda.Stream] = {}


def on_cpu(state: State) -> State:
    """Returns a copy of the state in the computer's own memory."""
    logits = None if state.logits is None else state.logits.cpu()
    return replace(state, logits=logits, tensors={name: tensor.cpu() for name, tensor in state.tensors.items()})


def write(path: Path, job: Job, state: State) -> None:
    """Writes a state, whole or not at all.

    Raises:
        StorageError: the disk refused.
    """
    tensors = dict(state.tensors)
    if state.logits is not None:
        tensors[LOGITS] = state.logits
    description = {
        "format": FORMAT,
        "trial": identity(job),
        "rows": [asdict(row) for row in state.rows],
        "best": state.best if math.isfinite(state.best) else None,
        "best_epoch": state.best_epoch,
        "checksum": checksum(tensors),
    }
    content = save(tensors, {"fer_tune": json.dumps(description)})
    replace_file(path, lambda file: file.write(content))


def read(path: Path, job: Job) -> State:
    """Reads the state of this job.

    Raises:
        OSError, SafetensorError, ValueError, KeyError, TypeError: the file is torn, or of another
            job or format.
    """
    with safe_open(path, framework="pt") as file:
        description = json.loads((file.metadata() or {})["fer_tune"])
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no mapping
    if description["format"] != FORMAT or description["trial"] != identity(job):
        raise ValueError("it is of another job")
    if description["checksum"] != checksum(tensors):
        raise ValueError("it is damaged")
    rows = [EpochRow(**{**row, "recall": tuple(row["recall"])}) for row in description["rows"]]
    if [row.epoch for row in rows] != list(range(1, len(rows) + 1)) or not 0 < len(rows) < job.schedule:
        raise ValueError("its epochs are not in order")
    return State(
        rows=tuple(replace(row, job=job.uid, attempt=job.attempt) for row in rows),
        best=-math.inf if description["best"] is None else float(description["best"]),
        best_epoch=int(description["best_epoch"]),
        logits=tensors.pop(LOGITS, None),
        tensors=tensors,
    )


def checksum(tensors: dict[str, Tensor]) -> int:
    """Returns the CRC-32 of all tensors, by name. They must be on the CPU."""
    crc = 0
    for name in sorted(tensors):
        content = tensors[name].contiguous().numpy().reshape(-1).view("uint8").data
        crc = zlib.crc32(content, zlib.crc32(name.encode(), crc))
    return crc


def set_aside(path: Path) -> str:
    """Renames a file that cannot be trusted. Returns what became of it."""
    aside = path.with_name(f"{path.name}.torn")
    try:
        path.replace(aside)
    except OSError as error:
        return f"left in place ({error.strerror})"
    return f"set aside as {aside.name}"
