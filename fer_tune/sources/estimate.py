"""Warns of a run on the CPU whose hours are over before a trial has finished an epoch."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Sequence

from fer_tune.data.spec import DataSpec
from fer_tune.pool.devices import environment, threads_each
from fer_tune.store import StudyRecord
from fer_tune.sweep.schema import Sweep
from fer_tune.sweep.space import Fixed

TIMEOUT = 20.0
"""Seconds that the measurement may take, the import of torch included."""

LEAST_PER_IMAGE = 2.0
"""Seconds for an image that are assumed if the measurement of four images takes longer than
`TIMEOUT`.
"""


def warn_of_hours(sweep: Sweep, record: StudyRecord, devices: Sequence[str], note: Callable[[str], object]) -> None:
    """Measures a step of the sweep's first configuration, and says if the hours are too few for an
    epoch.

    A GPU is not measured: there an epoch takes seconds.

    Args:
        devices: the device of each worker.
    """
    if sweep.budget.hours is None or any(device != "cpu" for device in devices):
        return
    images = record.split.counts.get("train", 0)
    epoch = estimate_epoch_seconds(sweep, record.data_spec, images, threads_each(devices))
    if epoch is not None and (text := hopeless(sweep, epoch)):
        note(text)


def hopeless(sweep: Sweep, epoch: float) -> str:
    """Returns the warning for an epoch of so many seconds, or an empty text if the hours suffice
    for one.
    """
    hours = sweep.budget.hours
    if hours is None or epoch <= 3600 * hours:
        return ""
    return (
        f"{sweep.study}: an epoch of its first trial takes about {_minutes(epoch)} on this CPU, and this run has "
        f"{_minutes(3600 * hours)}. No trial will finish an epoch. Give it more time (--hours {epoch / 900:.1f}), "
        "search a smaller network (--set width=...), or use a GPU."
    )


def estimate_epoch_seconds(sweep: Sweep, spec: DataSpec, images: int, threads: int) -> float | None:
    """Returns about how long an epoch of the sweep's first configuration takes on the CPU.

    The measurement runs in a process of its own. None means that it failed. One that takes too long
    is an answer, too: then an epoch takes at least this long.

    Args:
        images: number of training images.
        threads: threads of a worker.
    """
    fixed = {p.name: p.domain.value for p in sweep.space.values() if isinstance(p.domain, Fixed) and not p.when}
    first = sweep.start[0].params if sweep.start else {}
    given = {"family": sweep.family, "params": fixed | first, "spec": spec.as_dict()}
    command = [sys.executable, "-m", "fer_tune.train.estimate"]
    variables, _ = environment("cpu", threads)
    try:
        done = subprocess.run(
            command, input=json.dumps(given).encode(), capture_output=True, env=variables, timeout=TIMEOUT, check=True
        )
        return float(done.stdout) * images
    except subprocess.TimeoutExpired:
        return LEAST_PER_IMAGE * images
    except (OSError, ValueError, subprocess.SubprocessError):
        return None


def _minutes(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} minutes"
