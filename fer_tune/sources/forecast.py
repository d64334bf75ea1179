"""Warns before a sweep on the CPU if its hours are too short for one epoch."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

from fer_tune.data.spec import DataSpec
from fer_tune.pool.devices import threads_each
from fer_tune.store import Store, StudyRecord
from fer_tune.sweep.catalogue import catalogue
from fer_tune.sweep.schema import Sweep
from fer_tune.sweep.space import fixed_values

TIMEOUT = 30.0
"""Seconds that the measurement may take. If it takes longer, its two steps have taken so long."""

IMAGES = 32
"""Images in a measured step. A step of four images takes a large network as long."""

SMALLEST = "simple_cnn"
"""The family with the shortest epochs."""


def warning(store: Store, sweep: Sweep, study: StudyRecord, devices: Sequence[str]) -> str | None:
    """Returns sentences for the user if probably no trial can finish an epoch within the sweep's
    hours.

    The fastest of the earlier trials of the family on a CPU says how long an epoch takes. Without
    earlier trials, it measures a step of the first configuration, in a process of its own. That
    takes several seconds. So it measures only if all workers are on the CPU and the hours are
    limited.

    Args:
        study: what its images are like, and how many are in the training part.
        devices: one for each worker.
    """
    hours = sweep.budget.hours
    if hours is None or any(device != "cpu" for device in devices):
        return None
    from fer_tune.sources.recorded_pace import recorded_pace  # most runs do not need it

    if (pace := recorded_pace(store, sweep, study, devices)) is not None:
        seconds = min(pace.epochs)
        takes = f"by {pace.source}, an epoch takes {_long(seconds)} or more"
    else:
        each = _seconds_for_an_image(sweep, study.data_spec, threads_each(devices))
        if each is None:
            return None
        seconds = each * study.split.counts.get("train", 0)
        takes = f"an epoch takes about {_long(seconds)}"
    if seconds <= 3600 * hours:
        return None
    return (
        f"{sweep.study}: {takes} on this CPU, and the run ends after {_long(3600 * hours)}. Probably no trial will "
        f"finish an epoch. Use a GPU, more --hours, or a smaller network ({_smaller(sweep.family)})."
    )


def _smaller(family: str) -> str:
    """Returns how to train a smaller network than one of this family."""
    ways = [] if family == SMALLEST else [f"fer-tune run {SMALLEST}"]
    return ", or ".join([*ways, *(["--set width=..."] if "width" in catalogue(family) else [])])


def first_configuration(sweep: Sweep) -> dict[str, Any]:
    """Returns the hyperparameters of the first trial: fixed ones, and those of the first start."""
    return fixed_values(sweep.space) | (dict(sweep.start[0].params) if sweep.start else {})


def _seconds_for_an_image(sweep: Sweep, spec: DataSpec, threads: int) -> float | None:
    """Returns the measured seconds, those of `TIMEOUT` if that was too short, or None if it
    failed."""
    asked = {
        "family": sweep.family,
        "params": first_configuration(sweep),
        "spec": spec.as_dict(),
        "images": IMAGES,
        "threads": threads,
    }
    command = [sys.executable, "-m", "fer_tune.train.estimate", json.dumps(asked)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT, check=True)
        return float(done.stdout)
    except subprocess.TimeoutExpired:
        return TIMEOUT / (2 * IMAGES)
    except (OSError, subprocess.CalledProcessError, ValueError):  # the training will report the error
        return None


def _long(seconds: float) -> str:
    """Returns a duration in seconds, minutes or hours."""
    if seconds < 120:
        number = f"{seconds:.0f}" if seconds >= 10 else f"{seconds:.2g}"
        return f"{number} second{'' if number == '1' else 's'}"
    return f"{seconds / 60:.0f} minutes" if seconds < 7200 else f"{seconds / 3600:.1f} hours"
