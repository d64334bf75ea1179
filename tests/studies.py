"""A small study that has been run, made through the same doors as the orchestrator's, without training."""

from __future__ import annotations

from pathlib import Path

from fer_tune.data.spec import DataRef
from fer_tune.job import PRUNED_IN, EpochRow, JobEnd
from fer_tune.settings import Settings
from fer_tune.store import Store
from fer_tune.study import Study
from fer_tune.sweep.load import loads_sweep

SWEEP = """
study: tiny
family: simple_cnn
data: demo
sampler: random
budget: {trials: 20, epochs: 3}
params:
  lr: {low: 1e-4, high: 1e-2, log: true}
  width: {choices: [8, 16]}
start:
  - {name: by hand, lr: 1e-3, width: 8}
"""

Curve = tuple[str, list[float]]
"""How a trial ends (or why it was pruned, if not by the pruner), and its objective by epoch."""

CURVES: tuple[Curve, ...] = (
    ("complete", [0.3, 0.5, 0.45]),
    ("complete", [0.35, 0.55, 0.6]),
    ("pruned", [0.1, 0.12]),
    ("failed", []),
    ("complete", [0.2, 0.4, 0.5]),
)


def epoch_row(number: int, epoch: int, value: float, attempt: int = 0) -> EpochRow:
    """A row whose every number follows from its place, so that a swapped one shows."""
    base = number + epoch / 10
    recall = (value, 0.1, float("nan"), 0.3, 0.4, 0.5, 0.6)
    return EpochRow(number, attempt, epoch, base, 0.5, 1.5, value, 0.4, 0.45, recall, 1e-3 / epoch, 0.25, 1000 + base)


def make_study(
    settings: Settings, curves: tuple[Curve, ...] = CURVES, sweep: str = SWEEP, data: DataRef | None = None
) -> Store:
    """Runs through `curves` on paper; the store is open. Without `data` the study's faces are nowhere."""
    store = Store.of(settings)
    data = data or DataRef(settings.cache / "faces", "d" * 64, settings.cache / "split.npz", "5" * 64)
    study = Study.open(loads_sweep(sweep, Path("tiny.yaml")), store, data, {"train": 98, "val": 21, "test": 21})
    for state, values in curves:
        add_trial(store, study, state, values)
    return store


def add_trial(store: Store, study: Study, state: str, values: list[float], attempt: int = 0) -> int:
    """One trial, asked for, reported and told; its number."""
    number = study.ask().number
    store.jobs.start_attempt(study.name, number, attempt, 0, "cpu", 0)
    for epoch, value in enumerate(values, start=1):
        store.epochs.add(study.name, epoch_row(number, epoch, value, attempt))
        study.report(number, epoch, value)
    attrs = {"device": "cpu", "parameters": 1234, "seconds": 0.25 * len(values), "epochs": len(values)}
    status = "failed" if state == "failed" else "completed"
    store.jobs.end_attempt(study.name, JobEnd(number, attempt, status, parameters=1234))
    match state:
        case "complete":
            study.complete(number, max(values), attrs)
        case "pruned":
            study.prune(number, f"{PRUNED_IN} {len(values)}", attrs)
        case "failed":
            study.fail(number, "RuntimeError: made to fail", attrs)
        case reason:
            study.prune(number, reason, attrs)
    return number
