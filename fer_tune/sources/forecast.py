"""Warns before a sweep on the CPU if its hours are too short for one epoch."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

from fer_tune.data.spec import DataSpec
from fer_tune.pool.devices import threads_each
from fer_tune.store import StudyRecord
from fer_tune.sweep.schema import Sweep
from fer_tune.sweep.space import fixed_values

TIMEOUT = 30.0
"""Seconds that the measurement may take. If it takes longer, this is the time for one image."""


def warning(sweep: Sweep, study: StudyRecord, devices: Sequence[str]) -> str | None:
    """Returns a sentence for the user if no trial can finish an epoch within the sweep's hours.

    It measures one small step of the first configuration, in a process of its own. That takes
    several seconds. So it measures only if all workers are on the CPU and the hours are limited.

    Args:
        study: what its images are like, and how many are in the training part.
        devices: one for each worker.
    """
    hours = sweep.budget.hours
    if hours is None or any(device != "cpu" for device in devices):
        return None
    images = study.split.counts.get("train", 0)
    each = _seconds_for_an_image(sweep, study.data_spec, threads_each(devices))
    if each is None or each * images <= 3600 * hours:
        return None
    return (
        f"{sweep.study}: an epoch takes about {_long(each * images)} on this CPU, and the run ends after "
        f"{_long(3600 * hours)}. No trial will finish an epoch. Use a GPU, more --hours, or a smaller "
        "network (fer-tune run sweeps/simple_cnn.yaml, or --set width=...)."
    )


def first_configuration(sweep: Sweep) -> dict[str, Any]:
    """Returns the hyperparameters of the first trial: fixed ones, and those of the first start."""
    return fixed_values(sweep.space) | (dict(sweep.start[0].params) if sweep.start else {})


def _seconds_for_an_image(sweep: Sweep, spec: DataSpec, threads: int) -> float | None:
    """Returns the measured seconds, `TIMEOUT` if that was too short, or None if it failed."""
    asked = {"family": sweep.family, "params": first_configuration(sweep), "spec": spec.as_dict(), "threads": threads}
    command = [sys.executable, "-m", "fer_tune.train.estimate", json.dumps(asked)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT, check=True)
        return float(done.stdout)
    except subprocess.TimeoutExpired:
        return TIMEOUT
    except (OSError, subprocess.CalledProcessError, ValueError):  # the training will report the error
        return None


def _long(seconds: float) -> str:
    """Returns a duration in seconds, minutes or hours."""
    if seconds < 120:
        return f"{seconds:.0f} seconds"
    return f"{seconds / 60:.0f} minutes" if seconds < 7200 else f"{seconds / 3600:.1f} hours"
