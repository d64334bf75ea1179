"""Trains final models: one configuration under several seeds, or an ensemble."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Literal, get_args

from fer_tune.api.arguments import as_path, at_least, check_lanes, one_of, open_store, study_names
from fer_tune.api.results import find_study
from fer_tune.settings import Settings

if TYPE_CHECKING:
    from fer_tune.job import Part, Tta, Value
    from fer_tune.jobs import Observer
    from fer_tune.mirror import Mode
    from fer_tune.pool.engines import EngineName
    from fer_tune.sources.ensemble import EnsembleFit
    from fer_tune.sources.final_result import FinalFit


def retrain(
    study: str | None = None,
    *,
    trial: int | None = None,
    seeds: int = 1,
    on: Part = "train+val",
    tta: Tta = "none",
    test: bool = True,
    epochs: int | None = None,
    until: Literal["best", "end"] = "best",
    out: str | os.PathLike[str] | None = None,
    lanes: int | Literal["auto"] = "auto",
    devices: str | None = None,
    engine: EngineName = "local",
    changes: Mapping[str, Value] | Sequence[str] = (),
    wandb: Mode | None = None,
    observer: Observer | None = None,
    storage: str | None = None,
) -> tuple[FinalFit, ...] | None:
    """Trains one configuration on training and validation images, and evaluates it on test once.

    The fits run side by side on all devices. A call that was killed is continued by the same call.
    Each fit is calibrated by a temperature, if predictions for validation images are stored: those
    of the trial, or with changes those of a fit on training images with the same changes. Those of
    a network that was trained for clearly longer or shorter do not count.

    Args:
        trial: the number of the trial whose configuration is trained. None is the best, by its
            confirmations if there are any.
        seeds: how many fits, each under its own seed. `out` gets the one nearest the median.
        on: the images to train on. `all` has the test images in it, and is not tested.
        tta: `crops` evaluates ten crops of each test image too. The network alone and with flips
            are always evaluated.
        test: whether to open test.
        epochs: length of the schedule. None is the study's.
        until: `best` ends where the trial was best, if it overfitted afterwards: after as many
            steps as the trial had taken, which are fewer epochs on more images. `end` trains the
            whole schedule.
        out: a folder to copy the model to, beside the job's own folder below the storage folder. It
            must be new or empty, or have the copy that the same call left, which is replaced.
        lanes, devices, engine, wandb, observer: as in `run`.
        changes: hyperparameters that replace the trial's: a mapping, or `key=value` as `--set`
            takes them.

    Returns:
        The fits by seed, or None if Ctrl-C or SIGTERM interrupted them.

    Raises:
        SettingsError: an argument or a change is not valid, or `out` has other files in it.
        TrainingError: a fit failed or diverged.
        StorageError: a file cannot be written. If all is done but the copy to `out`, the error has
            an attribute `fits`.
    """
    from fer_tune.job import Part, Tta
    from fer_tune.sources.final import Request
    from fer_tune.sources.retrain import run_final_fits
    from fer_tune.sources.workers import RunOptions
    from fer_tune.sweep.overrides import read_changes

    at_least(1, seeds=seeds, epochs=epochs)
    check_lanes(lanes)
    one_of(get_args(Part), on=on)
    one_of(get_args(Tta), tta=tta)
    one_of(("best", "end"), until=until)
    target = None if out is None else as_path(out, "out")
    record = find_study(study, storage=storage)
    changed = read_changes(record.family, changes, record.data_spec.side)
    return run_final_fits(
        record.name,
        Request(trial, epochs, until, seeds, on, tta, test, changed),
        Settings.from_environment(storage),
        RunOptions(devices=devices, engine=engine, wandb=wandb, lanes=lanes),
        observer=observer,
        out=target,
    )


def ensemble(
    studies: str | Sequence[str] | None = None,
    *,
    size: int = 8,
    epochs: int | None = None,
    tta: Tta = "none",
    test: bool = True,
    lanes: int | Literal["auto"] = "auto",
    devices: str | None = None,
    engine: EngineName = "local",
    wandb: Mode | None = None,
    observer: Observer | None = None,
    storage: str | None = None,
) -> EnsembleFit | None:
    """Chooses trials whose predictions are best together, trains them again, and tests them once.

    The choice is greedy, with replacement, on the stored predictions for validation images: those
    of trials, and of final fits on training images alone. The members are trained on training and
    validation images. A call that was killed is continued by the same call.

    Args:
        studies: whose trials may be members. They must have the same split. None is all.
        size: how many networks. A configuration that is chosen twice is trained under two seeds.
        epochs: length of the schedules. None leaves that to the studies.
        tta, test, lanes, devices, engine, wandb, observer: as in `retrain`.

    Returns:
        The ensemble, or None if Ctrl-C or SIGTERM interrupted the run.

    Raises:
        SettingsError: an argument is not valid.
        StudyError: the studies have different splits, or no stored predictions.
        TrainingError: the training of a member failed.
    """
    from fer_tune.job import Tta
    from fer_tune.sources.ensemble import run_ensemble
    from fer_tune.sources.workers import RunOptions

    at_least(1, size=size, epochs=epochs)
    check_lanes(lanes)
    one_of(get_args(Tta), tta=tta)
    with open_store(storage) as store:
        names = study_names(store, studies)
        for name in names:
            store.studies.get(name)  # its error names the nearest study
    return run_ensemble(
        names,
        Settings.from_environment(storage),
        RunOptions(devices=devices, engine=engine, wandb=wandb, lanes=lanes),
        size=size,
        epochs=epochs,
        tta=tta,
        test=test,
        observer=observer,
    )
