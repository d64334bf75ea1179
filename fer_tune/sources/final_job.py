"""The job of a final fit, and the epoch at which it ends."""

from __future__ import annotations

from collections.abc import Mapping

import yaml

from fer_tune.job import Job, Part, Value, new_uid
from fer_tune.jobs.checkpoints import checkpoint_path
from fer_tune.selection.statistics import standard_error
from fer_tune.settings import Settings
from fer_tune.store import JobRecord, Store, StudyRecord
from fer_tune.study import TrialSummary
from fer_tune.study.usual_fits import METRICS
from fer_tune.sweep.schema import SweepLimits

PARTS: dict[Part, tuple[str, ...]] = {
    "train": ("train",),
    "train+val": ("train", "val"),
    "all": ("train", "val", "test"),
}
"""The parts of the split that a fit is trained on."""


def final_job(
    store: Store,
    settings: Settings,
    record: StudyRecord,
    trial: TrialSummary,
    *,
    batch: str,
    schedule: int,
    until: int,
    seed: int,
    fit: Part = "train+val",
    changes: Mapping[str, Value] | None = None,
    reuse: bool = False,
) -> Job:
    """Returns the job of a final fit. One that the batch has already keeps its uid.

    Args:
        trial: whose configuration is trained.
        batch: names the fits that belong together.
        schedule, until, seed, fit: see `Job`.
        changes: hyperparameters that replace the trial's.
        reuse: whether a finished fit of another batch that was trained in the same way is taken.
    """
    changes = dict(changes or {})
    equal = [
        job
        for job in store.jobs.of(record.name, "final")
        if (job.seed, job.origin.get("trial"), job.origin.get("changes", {})) == (seed, trial.number, changes)
    ]
    mine = [job for job in equal if job.origin.get("batch") == batch]
    if reuse and not mine:
        mine = [job for job in equal if (job.fit, job.schedule) == (fit, schedule) and _trained(store, job, until)]
    uid = mine[0].uid if mine else new_uid()
    attempts = store.jobs.attempts(record.name, uid) if mine else []
    return Job(
        uid=uid,
        study=record.name,
        kind="final",
        family=record.family,
        params={**trial.params, **changes},
        schedule=schedule,
        seed=seed,
        data=record.data_ref(settings.root),
        attempt=max((attempt.attempt + 1 for attempt in attempts), default=0),
        objective=record.objective if fit == "train" else "train_accuracy",
        objective_of="last",
        until=until,
        fit=fit,
        artifacts=settings.job_folder(record.name, record.uid, uid),
        checkpoint=checkpoint_path(settings.checkpoint_folder(record.name, record.uid), uid),
        checkpoint_seconds=checkpoint_seconds(record),
    )


def _trained(store: Store, job: JobRecord, until: int) -> bool:
    """Returns whether a final fit trained so many epochs, and all its files are recorded."""
    kinds = {file.kind for file in store.artifacts.of(job.study, job.uid)}
    return job.state == "complete" and METRICS in kinds and len(store.epochs.curve(job.study, job.uid)) == until


def checkpoint_seconds(record: StudyRecord) -> float:
    """Returns the seconds between two checkpoints, as the study's sweep says."""
    default = SweepLimits.model_fields["checkpoint_interval"].default
    return float((yaml.safe_load(record.sweep_text) or {}).get("checkpoint_interval", default))


def last_epoch(store: Store, record: StudyRecord, chosen: TrialSummary, schedule: int, on: Part = "train+val") -> int:
    """Returns the last epoch of a final fit with `until="best"`.

    The trial's last epoch may be worse than its best one by more than a standard error. Then the
    trial overfitted, and the fit ends where the trial was best:

        best epoch of the trial * schedule of the fit / schedule of the trial * training images of
        the trial / images of the fit

    The last factor scales the epoch to the larger set: the fit takes as many steps as the trial had
    taken, and an epoch of more images has more steps. Otherwise it trains to the end of the
    schedule.

    The reason: the best of many epochs is best mostly by the noise of validation. And a fit that
    stops early ends with a high learning rate. So this is the rule of one standard error (Breiman
    et al. 1984, section 3.4.3): a difference below one standard error counts as none.

    Args:
        record: of the study.
        chosen: the trial whose configuration is trained.
        schedule: epochs of the fit's schedule.
        on: the images of the fit.
    """
    curve = store.epochs.curve(record.name, chosen.job) if chosen.job else []
    if not curve or chosen.best_epoch is None:
        return schedule
    values = [getattr(row, record.objective) for row in curve]
    error = standard_error(max(values), record.split.counts.get("val", 0))
    if error is None or max(values) - values[-1] <= error:
        return schedule
    counts = record.split.counts
    images = sum(counts.get(part, 0) for part in PARTS[on])
    larger = counts.get("train", 0) / images if images and counts.get("train") else 1.0
    return min(schedule, max(1, round(schedule * chosen.best_epoch / int(record.sweep_json["epochs"]) * larger)))
