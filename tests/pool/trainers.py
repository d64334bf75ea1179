"""Trainers for tests. They behave as the parameters of the trial say, and need no torch."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator

from fer_tune.job import EpochRow, Job, JobEnd, Wish


def row(spec: Job, epoch: int, value: float) -> EpochRow:
    return EpochRow(
        job=spec.uid,
        attempt=spec.attempt,
        epoch=epoch,
        train_loss=1.0,
        train_accuracy=value,
        val_loss=1.0,
        val_accuracy=value,
        val_macro_f1=value,
        val_balanced_accuracy=value,
        recall=(value,) * 7,
        lr=0.1,
        seconds=0.01,
        images_per_second=100.0,
    )


class Obedient:
    """A trainer that does what the trial's parameters say.

    Its objective is `value`, plus a hundredth in each epoch. An epoch takes `seconds`. If `deaf` is
    true, it ignores stops. In the first `deaths` attempts it kills its process in epoch `die`,
    before it sends the row. A test that kills the worker from outside cannot know how many rows the
    worker has sent by then.
    """

    def __init__(self, device: str, threads: int | None) -> None:
        self.device, self.threads = device, threads

    def train(self, spec: Job, stop_requested: Callable[[], int]) -> Iterator[EpochRow | JobEnd]:
        for epoch in range(1, spec.last_epoch + 1):
            until = time.monotonic() + float(spec.params.get("seconds", 0.0))
            while True:
                if not spec.params.get("deaf") and stop_requested() == Wish.STOP:
                    yield JobEnd(spec.uid, spec.attempt, "stopped", f"asked to stop in epoch {epoch}")
                    return
                if time.monotonic() >= until:
                    break
                time.sleep(0.002)
            if spec.params.get("die") == epoch and spec.attempt < float(spec.params.get("deaths", "inf")):
                print("about to die", flush=True)
                os.kill(os.getpid(), signal.SIGKILL)
            yield row(spec, epoch, float(spec.params.get("value", 0.5)) + epoch / 100)
            if not spec.params.get("deaf") and stop_requested() == Wish.STOP_AND_KEEP and epoch < spec.last_epoch:
                yield JobEnd(spec.uid, spec.attempt, "stopped", f"asked to stop in epoch {epoch}")
                return
        notes = (
            self.device,
            str(self.threads),
            os.environ.get("OMP_NUM_THREADS", ""),
            os.environ.get("CUDA_VISIBLE_DEVICES", "unset"),
        )
        yield JobEnd(spec.uid, spec.attempt, "paused" if spec.pauses else "completed", parameters=7, notes=notes)


def obedient(device: str, threads: int | None) -> Obedient:
    return Obedient(device, threads)


def unwilling(device: str, threads: int | None) -> Obedient:
    raise RuntimeError(f"the {device} is on fire")


def sleepy(device: str, threads: int | None) -> Obedient:
    time.sleep(3600)
    return Obedient(device, threads)
