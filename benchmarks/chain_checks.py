"""What must be true after a run of `benchmarks.chain`. Each check yields what is wrong."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from sqlalchemy import text

from benchmarks.chain_worker import SEED
from benchmarks.orchestration_arms import EPOCHS
from benchmarks.simulated_pool import curve
from fer_tune.doctor.storage import storage
from fer_tune.doctor.studies import studies
from fer_tune.job import EpochRow
from fer_tune.settings import Settings
from fer_tune.store import AttemptRecord, JobRecord, Store
from fer_tune.study import TrialSummary, trials


@dataclass(frozen=True)
class Found:
    """What a run left.

    Attributes:
        curves: the rows that count, by the uid of the job.
        reported: how many epochs Optuna has.
    """

    budget: int
    trials: list[TrialSummary]
    jobs: list[JobRecord]
    attempts: list[AttemptRecord]
    curves: dict[str, list[EpochRow]]
    reported: int
    doctor: list[str]
    left: list[str]

    @property
    def finished(self) -> list[TrialSummary]:
        """The trials that the budget counts."""
        return [trial for trial in self.trials if trial.state in ("complete", "pruned", "failed")]


def budget_is_met(found: Found) -> Iterator[str]:
    """The budget is finished trials, none of them failed. None is running or waiting."""
    states = Counter(trial.state for trial in found.trials)
    del states["requeued"]
    if set(states) - {"complete", "pruned"} or states.total() != found.budget:
        yield f"the budget is {found.budget} trials; there are {dict(states)}"
    yield from (f"job {job.uid} failed: {job.reason}" for job in found.jobs if job.state == "failed")


def no_trial_is_lost_or_double(found: Found) -> Iterator[str]:
    """Each job has one finished trial, and each seed one job."""
    jobs = Counter(trial.job for trial in found.finished)
    yield from (f"job {uid} counts {count} times" for uid, count in jobs.items() if count > 1)
    seeds = Counter(job.seed for job in found.jobs)
    yield from (f"seed {seed} has {count} jobs" for seed, count in seeds.items() if count > 1)
    if len(found.jobs) != found.budget:
        yield f"there are {len(found.jobs)} jobs"


def curves_are_whole(found: Found) -> Iterator[str]:
    """Each trial has each of its epochs once, with the value that its worker sent."""
    seeds = {job.uid: job.seed for job in found.jobs}
    for trial in found.finished:
        rows = found.curves.get(trial.job or "", [])
        expected = curve(SEED, seeds[trial.job or ""], EPOCHS)[: len(rows)]
        if [(row.epoch, row.val_accuracy) for row in rows] != list(enumerate(expected, 1)):
            yield f"trial {trial.number} has other epochs"
        if trial.state == "complete" and len(rows) != EPOCHS:
            yield f"trial {trial.number} is complete after {len(rows)} epochs"


def optuna_has_the_same(found: Found) -> Iterator[str]:
    """Optuna has as many epochs of finished trials as our own table."""
    ours = sum(len(found.curves.get(trial.job or "", [])) for trial in found.finished)
    if ours != found.reported:
        yield f"Optuna has {found.reported} epochs, and our table {ours}"


def attempts_are_over(found: Found) -> Iterator[str]:
    """Each attempt has an end, and a reason unless it completed."""
    for one in found.attempts:
        if one.ended is None or (one.status != "completed" and not one.reason):
            yield f"attempt {one.attempt} of {one.job} ended as {one.status}, {one.reason!r}"


def doctor_is_content(found: Found) -> Iterator[str]:
    """`fer-tune doctor` finds no problem."""
    yield from found.doctor


def nothing_is_left(found: Found) -> Iterator[str]:
    """There is no checkpoint and no half-written file."""
    yield from found.left


CHECKS: dict[str, Callable[[Found], Iterator[str]]] = {
    "exactly its budget": budget_is_met,
    "no trial lost or double": no_trial_is_lost_or_double,
    "each epoch once, as it was sent": curves_are_whole,
    "the same epochs in Optuna": optuna_has_the_same,
    "every attempt over": attempts_are_over,
    "doctor content": doctor_is_content,
    "nothing left behind": nothing_is_left,
}
"""The checks by name."""


def problems(settings: Settings, study: str, budget: int) -> dict[str, list[str]]:
    """Returns what is wrong with a study, by check: the first ten of each."""
    found = read(settings, study, budget)
    return {name: list(check(found))[:10] for name, check in CHECKS.items()}


def read(settings: Settings, study: str, budget: int) -> Found:
    """Reads all that a run left."""
    doctor = [*storage(settings), *studies(settings)]
    files = [path for path in settings.root.rglob("*") if path.is_file()]
    with Store.of(settings, create=False) as store:
        return Found(
            budget=budget,
            trials=list(trials(store, study)),
            jobs=list(store.jobs.of(study)),
            attempts=list(store.jobs.attempts(study)),
            curves=store.epochs.curves(study),
            reported=_reported(store),
            doctor=[f"{one.what}: {one.found}" for one in doctor if one.state == "problem"],
            left=[path.name for path in files if path.name.startswith(".") or path.suffix == ".safetensors"],
        )


def _reported(store: Store) -> int:
    with store.engine.connect() as connection:
        query = (
            "SELECT count(*) FROM trial_intermediate_values JOIN trials USING (trial_id) "
            "WHERE trials.state IN ('COMPLETE', 'PRUNED')"
        )
        return int(connection.execute(text(query)).scalar_one())
