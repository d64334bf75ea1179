"""A small study, made through the classes that a run uses, without training."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from zlib import crc32

from fer_tune.data.spec import DataRef
from fer_tune.job import PRUNED_IN, End, EpochRow, Job, JobEnd, Value
from fer_tune.settings import Settings
from fer_tune.store import Store
from fer_tune.study import Proposal, Study
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
    """Returns the uid of the job of a trial. That of `tiny` is the number."""
    return f"{0 if study == 'tiny' else crc32(study.encode()) >> 16:04x}{number:08x}"


def epoch_row(number: int, epoch: int, value: float, attempt: int = 0, study: str = "tiny") -> EpochRow:
    """Returns a row of a trial. Its numbers follow from its place, so that a swapped one shows."""
    base = number + epoch / 10
    recall = (value, 0.1, float("nan"), 0.3, 0.4, 0.5, 0.6)
    job, rate = uid_of(number, study), 1e-3 / epoch
    return EpochRow(job, attempt, epoch, base, 0.5, 1.5, value, 0.4, 0.45, recall, rate, 0.25, 1000 + base)


def make_study(
    settings: Settings, curves: tuple[Curve, ...] = CURVES, sweep: str = SWEEP, data: DataRef | None = None
) -> Store:
    """Makes a study of these trials and returns the open store. Without `data` it has no images."""
    store = Store.of(settings)
    data = data or DataRef(settings.cache / "faces", "d" * 64, settings.cache / "split.npz", "5" * 64)
    study = Study.open(loads_sweep(sweep, Path("tiny.yaml")), store, data, {"train": 98, "val": 21, "test": 21})
    for state, values in curves:
        add_trial(store, study, state, values)
    return store


def job_of(number: int, data: DataRef, attempt: int = 0, study: str = "tiny") -> Job:
    """Returns the job of a trial, where its hyperparameters do not matter."""
    params: dict[str, Value] = {"width": 8}
    return Job(uid_of(number, study), study, "search", "simple_cnn", params, 3, 0, data, number=number, attempt=attempt)


def trial_job(store: Store, study: str, proposal: Proposal, attempt: int = 0) -> Job:
    """Returns the job of a trial, as the search makes it."""
    return Job(
        uid=uid_of(proposal.number, study),
        study=study,
        kind="search",
        family="simple_cnn",
        params=proposal.params,
        schedule=3,
        seed=proposal.seed,
        data=store.studies.get(study).data_ref(store.root),
        number=proposal.number,
        name=proposal.name,
        attempt=attempt,
    )


def add_trial(store: Store, study: Study, state: str, values: list[float], attempt: int = 0) -> int:
    """Asks for a trial, reports its epochs and tells its end. Returns its number."""
    proposal = study.ask()
    number = proposal.number
    job = trial_job(store, study.name, proposal, attempt)
    store.jobs.put(job)
    store.jobs.start_attempt(job, 0, "cpu")
    classes = len(job.data.spec.classes)
    for epoch, value in enumerate(values, start=1):
        row = epoch_row(number, epoch, value, attempt, study.name)
        store.epochs.add(replace(row, recall=row.recall[:classes]))
        study.report(number, epoch, value)
    attrs = {"device": "cpu", "parameters": 1234, "seconds": 0.25 * len(values), "epochs": len(values)}
    status: End = "failed" if state == "failed" else "completed"
    store.jobs.end_attempt(JobEnd(job.uid, attempt, status, parameters=1234))
    match state:
        case "complete":
            reason = ""
            study.complete(number, max(values), attrs)
        case "failed":
            reason = "RuntimeError: made to fail"
            study.fail(number, reason, attrs)
        case "paused":
            study.pause(number, len(values), attrs)
            store.jobs.set_state(job.uid, "paused", "", values[-1])
            return number
        case _:
            reason = f"{PRUNED_IN} {len(values)}" if state == "pruned" else state
            study.prune(number, reason, attrs)
    ended = state if state in ("complete", "failed") else "pruned"
    store.jobs.set_state(job.uid, ended, reason, max(values, default=None) if ended == "complete" else None)
    return number
