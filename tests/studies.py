"""A small study that has been run, made through the same doors as the orchestrator's, without training."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from zlib import crc32

from fer_tune.data.spec import DataRef
from fer_tune.job import PRUNED_IN, EpochRow, Job, JobEnd
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


def uid_of(number: int, study: str = "tiny") -> str:
    """Returns the uid of the job that `add_trial` makes of a trial. That of `tiny` is its number."""
    return f"{0 if study == 'tiny' else crc32(study.encode()) >> 16:04x}{number:08x}"


def epoch_row(number: int, epoch: int, value: float, attempt: int = 0, study: str = "tiny") -> EpochRow:
    """Returns a row whose every number follows from its place, so that a swapped one shows."""
    base = number + epoch / 10
    recall = (value, 0.1, float("nan"), 0.3, 0.4, 0.5, 0.6)
    measured = (base, 0.5, 1.5, value, 0.4, 0.45, recall, 1e-3 / epoch, 0.25, 1000 + base)
    return EpochRow(uid_of(number, study), attempt, epoch, *measured)


def job_of(number: int, data: DataRef, attempt: int = 0, study: str = "tiny") -> Job:
    """Returns a job as `add_trial` makes it of a trial."""
    uid = uid_of(number, study)
    return Job(uid, study, "search", "simple_cnn", {"width": 8}, 3, number, data, number=number, attempt=attempt)


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
    """Asks for a trial, reports its epochs and tells its end; returns its number."""
    proposal = study.ask()
    number = proposal.number
    job = job_of(number, store.studies.get(study.name).data_ref(store.root), attempt, study.name)
    job = replace(job, params=proposal.params, name=proposal.name, seed=proposal.seed)
    store.jobs.put(job)
    store.jobs.start_attempt(job, 0, "cpu")
    for epoch, value in enumerate(values, start=1):
        store.epochs.add(epoch_row(number, epoch, value, attempt, study.name))
        study.report(number, epoch, value)
    attrs = {"device": "cpu", "parameters": 1234, "seconds": 0.25 * len(values), "epochs": len(values)}
    status = "failed" if state == "failed" else "completed"
    store.jobs.end_attempt(JobEnd(job.uid, attempt, status, parameters=1234))
    match state:
        case "complete":
            study.complete(number, max(values), attrs)
        case "pruned":
            study.prune(number, f"{PRUNED_IN} {len(values)}", attrs)
        case "failed":
            study.fail(number, "RuntimeError: made to fail", attrs)
        case reason:
            study.prune(number, reason, attrs)
    told = next(trial for trial in study.finished() if trial.number == number)
    store.jobs.set_state(job.uid, told.state, told.reason, told.value)
    return number
