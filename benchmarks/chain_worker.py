"""The worker's side of `benchmarks.chain`: trains nothing, and sends curves like a real one."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.simulated_pool import curve
from fer_tune.data.access import open_search
from fer_tune.job import EpochRow, Job, JobEnd

EPOCH_VARIABLE = "FER_TUNE_CHAIN_EPOCH"
"""The variable that says how many seconds an epoch takes."""

NAP = 0.02
"""Seconds that a worker sleeps between two turns of all its lanes."""
TURN = 0.002
"""Seconds that a turn of all lanes takes, at most."""

SEED = 1


class Simulated:
    """A trainer whose jobs send a sampled curve, and leave predictions if they complete."""

    hardware = "cpu"

    def __init__(self) -> None:
        self._seconds = float(os.environ.get(EPOCH_VARIABLE, "0.23"))
        self._rested = 0.0

    def train(self, job: Job, stop_requested: Callable[[], int]) -> Iterator[Any]:
        """Yields a row after each epoch, and the end."""
        draws = random.Random(job.seed + job.attempt)
        for epoch, value in enumerate(curve(SEED, job.seed, job.last_epoch), 1):
            until = time.monotonic() + self._seconds * draws.uniform(0.9, 1.1)
            while time.monotonic() < until:
                self._nap()
                if stop_requested():
                    yield JobEnd(job.uid, job.attempt, "stopped", "asked to stop", parameters=1_000_000)
                    return
                yield 0
            yield _row(job, epoch, value, self._seconds)
        yield JobEnd(job.uid, job.attempt, "completed", parameters=1_000_000, files=_files(job))

    def _nap(self) -> None:
        """Sleeps, unless another lane has just done so."""
        if time.monotonic() - self._rested > TURN:
            time.sleep(NAP)
            self._rested = time.monotonic()


def simulated(device: str, threads: int | None) -> Simulated:
    """Makes the trainer of a worker."""
    return Simulated()


def _row(job: Job, epoch: int, value: float, seconds: float) -> EpochRow:
    recall = tuple(value for _ in job.data.spec.classes)
    return EpochRow(
        job.uid, job.attempt, epoch, 1.5, value, 1.6, value, value, value, recall, 1e-3, seconds, 20_000 / seconds
    )


def _files(job: Job) -> dict[str, Path]:
    """Leaves predictions as a real job does. The dashboard's picture is drawn from them."""
    if job.artifacts is None:
        return {}
    job.artifacts.mkdir(parents=True, exist_ok=True)
    shape = (len(open_search(job.data).val), len(job.data.spec.classes))
    path = job.artifacts / "val_logits.npy"
    np.save(path, np.random.default_rng(0).normal(size=shape).astype(np.float16))
    return {"val_logits": path}
