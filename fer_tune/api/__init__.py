"""The public functions of fer-tune. `import fer_tune` exports them, and the command line calls no
others.

    find:    check, check_family, template, copy_sweeps, convert_sweep,
             preview, plan, run, stop
    read:    find_study, studies, best, trials, failures, logs,
             load_trials, load_epochs
    show:    write_report, publish_report, write_parquet, sync,
             audit_data, diagnose
    choose:  standings, gain, confirm, overtuning, compare, replay
    train:   retrain, ensemble
    use:     load_model, predict, evaluate, protocols, export
    keep:    backup, restore, migrate, delete_study, rename_study,
             export_study, import_study

Importing this module is cheap: each function imports the libraries that it needs. `storage` is
always the URL of the database. By default it is what FER_TUNE_STORAGE or FER_TUNE_DIR name. `study`
may be left out if the database has only one.

Errors that you can do something about are a `fer_tune.errors.FerTuneError` with a message and a
hint.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from fer_tune.errors import FerTuneError, StudyError
from fer_tune.settings import Settings

if TYPE_CHECKING:
    from pandas import DataFrame

    from fer_tune.data.audit import Audit
    from fer_tune.doctor import Finding
    from fer_tune.job import Part, Tta, Value
    from fer_tune.jobs import Observer, RunOutcome
    from fer_tune.jobs.callbacks import Callback
    from fer_tune.mirror import Mode
    from fer_tune.mirror.sync import Synced
    from fer_tune.pool.engines import EngineName
    from fer_tune.selection.overtuning import Meter
    from fer_tune.sources.assess import Assessment
    from fer_tune.sources.compare import Comparison
    from fer_tune.sources.ensemble import EnsembleFit
    from fer_tune.sources.final_result import FinalFit
    from fer_tune.sources.plan import SweepPlan
    from fer_tune.sources.predict import Prediction
    from fer_tune.sources.preview import Preview
    from fer_tune.sources.protocols import Protocols
    from fer_tune.store import Store, StudyRecord
    from fer_tune.store.backup import Backup
    from fer_tune.store.holder import Holder
    from fer_tune.store.restore import Restored
    from fer_tune.study import StudySummary, TrialSummary
    from fer_tune.study.baseline import Gain
    from fer_tune.study.deleting import Deleted
    from fer_tune.study.exporting import Exported
    from fer_tune.study.migrating import Migrated
    from fer_tune.study.replay import Replayed
    from fer_tune.study.standings import Rule, Standings
    from fer_tune.study.trial_logs import TrialLog
    from fer_tune.sweep import Sweep
    from fer_tune.sweep.load import Converted
    from fer_tune.train.conformance import Checked
    from fer_tune.train.ensemble import Ensemble
    from fer_tune.train.export import Predictor

Paths = str | os.PathLike[str] | Sequence[str | os.PathLike[str]]


# find -----------------------------------------------------------------------------------------------------------------


def template(family: str) -> str:
    """Returns the text of a commented sweep of a family, which can be run as it is.

    Args:
        family: a name, or a file and a class such as `./mynet.py:MyNet`.

    Raises:
        SweepError: there is no such family.
        TrainingError: the file cannot be read or imported, or has no such family.
    """
    from fer_tune.sweep.templates import template as write

    return write(family)


def copy_sweeps() -> list[Path]:
    """Copies the sweeps that come with fer-tune into `sweeps/`, and returns the copies.

    Raises:
        SweepError: one of the files exists.
        StorageError: the folder cannot be written.
    """
    from fer_tune.sweep.shipped import copy_all

    return copy_all()


def convert_sweep(file: str | os.PathLike[str], family: str | None = None) -> Converted:
    """Returns a sweep that searches what a W&B sweep searches.

    Args:
        file: the W&B sweep, a YAML file.
        family: the network. None is what the file says, else resnet.

    Raises:
        SweepError: the file is not a W&B sweep, or there is no such family.
    """
    from fer_tune.sweep.load import convert_wandb

    return convert_wandb(Path(file), family)


def check(sweeps: Paths, changes: Sequence[str] = ()) -> list[Sweep]:
    """Reads sweep files, and the sweep files in folders.

    A name such as `resnet` is the sweep of that name in `sweeps/`, or else the one that comes with
    fer-tune.

    Args:
        changes: `key=value`, as `--set` takes them.

    Raises:
        SweepError: a file is not a valid sweep. `problems` has all that is wrong.
    """
    from fer_tune.sweep import load_sweeps

    return load_sweeps(_paths(sweeps), changes)


def check_family(family: str) -> list[Checked]:
    """Returns what the trainer expects of a family, and whether it is so. It takes some seconds.

    A family in a file is copied into the storage folder, where models that use it find it.

    Args:
        family: a name, or a file and a class such as `./mynet.py:MyNet`.

    Raises:
        TrainingError: there is no such family, or its file cannot be imported.
        StorageError: the storage folder cannot be written.
    """
    from fer_tune.models import FAMILIES, family_files
    from fer_tune.train.conformance import conformance

    if family_files.is_written(family):
        family = family_files.register(family, Path())
        family_files.keep(family, Settings.from_environment())
    return list(conformance(FAMILIES[family]))


def run(
    sweeps: Paths | Sweep | Sequence[Sweep],
    *,
    changes: Sequence[str] = (),
    workers: int | Literal["auto"] = "auto",
    lanes: int | Literal["auto"] | None = None,
    devices: str | None = None,
    engine: EngineName = "local",
    ray_address: str | None = None,
    wandb: Mode | None = None,
    observer: Observer | None = None,
    callbacks: Sequence[Callback] = (),
    display: bool | None = None,
    storage: str | None = None,
) -> RunOutcome:
    """Runs sweeps to their budgets, one after another. A study that exists is continued.

    Call it from a program's main module, under `if __name__ == "__main__":`, because `local` starts
    processes.

    Args:
        sweeps: files, folders of files, or what `check` returns.
        changes: `key=value`, as `--set` takes them.
        workers: how many processes train. `auto` is one for each GPU, or one for every two cores.
        lanes: how many trials a worker trains at the same time. `auto` measures how many are worth
            it on a GPU, and is one on a CPU. None is what the sweep says.
        devices: `cpu`, `cuda`, or a list such as `cuda:0,cuda:1`. None is all GPUs, or the CPU
            without one.
        engine: `local` trains in worker processes, `inline` in this process, and `ray` on a Ray
            cluster.
        ray_address: `auto` (the cluster of this machine or of RAY_ADDRESS), `local` (one that is
            started for the run), `HOST:PORT` or `ray://HOST:PORT`. None is `auto`.
        wandb: `online`, `offline` or `disabled`. None is online with a key, and offline without
            one.
        observer: hears what happens; see `fer_tune.jobs.Observer`.
        callbacks: each is called with a job and how it ended, when a trial has ended:
            `lambda job, ended: print(job.number, job.params, ended.value)`. An error of theirs does
            not end the run. `fer_tune.stop(job.study)` does.
        display: whether a notebook shows the run as it goes. None is yes in a notebook.

    Raises:
        FerTuneError: a sweep cannot be run as it is, or the workers keep dying.
    """
    from fer_tune.sources.workers import RunOptions, started

    options = RunOptions(
        workers=workers, devices=devices, engine=engine, wandb=wandb, lanes=lanes, ray_address=ray_address
    )
    settings = Settings.from_environment(storage)
    with started(settings, options) as pool:
        from fer_tune.sources.run import run_sweeps

        wanted = _sweeps(sweeps) or check(sweeps, changes)  # type: ignore[arg-type]
        return run_sweeps(wanted, settings, options, _observers(settings, observer, callbacks, display), pool=pool)


def _observers(
    settings: Settings, observer: Observer | None, callbacks: Sequence[Callback], display: bool | None
) -> Observer | None:
    """Returns an observer that passes everything to those that a caller of `run` wants."""
    from fer_tune.display.notebook import in_notebook
    from fer_tune.jobs.callbacks import Callbacks
    from fer_tune.jobs.observers import Observers

    found = [] if observer is None else [observer]
    if callbacks:
        found.append(Callbacks(callbacks))
    if in_notebook() if display is None else display:
        from fer_tune.display.notebook import NotebookView
        from fer_tune.display.recall import recall
        from fer_tune.display.run_state import RunState

        state = RunState()
        found += [state, NotebookView(state, lambda state: recall(state, settings))]
    return Observers(found, settings.logs / "observers.log") if len(found) > 1 else next(iter(found), None)


def plan(
    sweeps: Paths | Sweep | Sequence[Sweep],
    *,
    changes: Sequence[str] = (),
    workers: int | Literal["auto"] = "auto",
    devices: str | None = None,
    engine: EngineName = "local",
    ray_address: str | None = None,
    lanes: int | Literal["auto"] | None = None,
    note: Callable[[str], None] = lambda text: None,
    storage: str | None = None,
) -> list[SweepPlan]:
    """Returns what sweeps will cost: trials, GPU-hours and time, each with a range.

    The pace comes from earlier trials in the database, else from a probe of some seconds. The plan
    is kept with the study, and compared when a run ends. The arguments are those of `run`.

    Raises:
        FerTuneError: a sweep cannot be run as it is.
    """
    from fer_tune.sources.plan import plan_sweeps
    from fer_tune.sources.workers import RunOptions

    given = _sweeps(sweeps)
    options = RunOptions(
        workers=workers, devices=devices, engine=engine, wandb="disabled", lanes=lanes, ray_address=ray_address
    )
    return plan_sweeps(given or check(sweeps, changes), Settings.from_environment(storage), options, note)  # type: ignore[arg-type]


def preview(
    sweeps: Paths | Sweep | Sequence[Sweep],
    *,
    changes: Sequence[str] = (),
    workers: int | Literal["auto"] = "auto",
    devices: str | None = None,
    engine: EngineName = "local",
    storage: str | None = None,
) -> list[Preview]:
    """Returns what `run` would do, and writes and trains nothing.

    It says which study would be made or continued, on which devices, and which trials come first.
    The arguments are those of `run`.

    Raises:
        FerTuneError: a sweep cannot be run as it is.
    """
    from fer_tune.sources.preview import preview_sweeps
    from fer_tune.sources.workers import RunOptions

    given = _sweeps(sweeps)
    options = RunOptions(workers=workers, devices=devices, engine=engine)
    return preview_sweeps(given or check(sweeps, changes), Settings.from_environment(storage), options)  # type: ignore[arg-type]


def stop(study: str | None = None, *, storage: str | None = None) -> Holder:
    """Asks the run of a study to end, as one Ctrl-C does, and returns its process.

    Raises:
        StudyError: nothing runs the study, or a process that this one cannot reach.
    """
    from fer_tune.store import StudyLock

    settings = Settings.from_environment(storage)
    name = find_study(study, storage=storage).name
    lock = StudyLock(settings, settings.url, name)
    holder = lock.holder()
    if holder is None:
        if elsewhere := lock.server_holder():
            raise StudyError(
                f"The study {name} is being run by {elsewhere}, from another storage folder.",
                "Run `fer-tune stop` there.",
            )
        raise StudyError(f"The study {name} is not being run.", "`fer-tune studies` lists the studies.")
    holder.ask_to_end(name)
    return holder


# read -----------------------------------------------------------------------------------------------------------------


def find_study(study: str | None = None, *, storage: str | None = None) -> StudyRecord:
    """Returns the record of a study: its family, its sweep, its images.

    Raises:
        StudyError: there is no such study. Or none was named, and there is not exactly one.
    """
    with open_store(storage) as store:
        return store.studies.get(study_name(store, study))


def studies(*, storage: str | None = None) -> list[StudySummary]:
    """Returns all studies with their counts and best trials, the oldest first."""
    from fer_tune.study import summaries

    with open_store(storage) as store:
        return summaries(store)


def best(study: str | None = None, top: int = 1, *, storage: str | None = None) -> list[TrialSummary]:
    """Returns the best complete trials of a study, the best first. Empty if none has completed.

    Confirmed trials come first, ranked by their means. `standings` says how sure the order is.
    """
    from fer_tune.study.standings import best as read

    with open_store(storage) as store:
        return read(store, study_name(store, study), top)


def trials(
    study: str | None = None, *, where: Sequence[str] = (), sort: str | None = None, storage: str | None = None
) -> list[TrialSummary]:
    """Returns the trials of a study, by number.

    Args:
        where: conditions that a trial must meet, such as `lr>0.01`, `optimizer=sgd` or
            `state!=failed`.
        sort: `value` puts the best first. Any other name, such as `lr`, sorts from low to high, and
            `-lr` from high to low.

    Raises:
        StudyError: there is no such study.
        SettingsError: a condition cannot be read, or no trial has what it names.
    """
    from fer_tune.study import trials as read
    from fer_tune.study.picking import pick

    with open_store(storage) as store:
        found = read(store, study_name(store, study))
    return pick(found, where, sort) if where or sort is not None else found


def failures(study: str | None = None, *, storage: str | None = None) -> dict[int, str]:
    """Returns the traceback, or the end of the log, of each failed trial's last attempt, by the
    trial's number.
    """
    with open_store(storage) as store:
        attempts = store.jobs.attempts(study_name(store, study))
        return {attempt.number: attempt.detail for attempt in attempts if attempt.number is not None}


def logs(study: str | None = None, trial: int | None = None, *, storage: str | None = None) -> list[TrialLog]:
    """Returns the attempts at a trial, with the lines that workers wrote meanwhile.

    Args:
        trial: its number. None is the latest trial that failed.

    Raises:
        StudyError: there is no such study or trial, or none was named and none has failed.
    """
    from fer_tune.study.summaries import trials as read
    from fer_tune.study.trial_logs import trial_logs

    with open_store(storage) as store:
        name = study_name(store, study)
        if trial is None:
            failed = [one.number for one in read(store, name, ["failed"])]
            if not failed:
                raise StudyError(f"No trial of {name} has failed.", "Name a trial with --trial N.")
            trial = failed[-1]
        return trial_logs(store, Settings.from_environment(storage), name, trial)


def load_trials(study: str | None = None, *, storage: str | None = None) -> DataFrame:
    """Returns the trials of a study as a table, one row for each, by number.

    | column | dtype | |
    |---|---|---|
    | number | int64 | from 0 |
    | state | str | complete, pruned, failed, paused, requeued, running, interrupted or waiting |
    | value | float64 | in 0..1: best epoch of a complete trial, last one of a pruned one |
    | epochs | int64 | how many were reported |
    | best_epoch | Int64 | the first epoch with the highest objective, from 1 |
    | name | str | of the `start:` configuration that it came from |
    | started, ended | datetime64[us, UTC] | |
    | seconds | float64 | from start to end, with the time of waiting for a worker |
    | params.lr, ... | as searched | one column for each hyperparameter, also for fixed ones |
    | attrs.device, ... | as recorded | Optuna's user attributes, such as `attrs.parameters` |

    A value that a trial does not have is nan, NA or None. The columns up to `seconds` exist for
    every study. A column of hyperparameters has dtype object if it has words in some trials and
    numbers in others.
    """
    from fer_tune.report import tables

    return tables.trial_frame(trials(study, storage=storage))


def load_epochs(
    study: str | None = None, trial: int | None = None, *, storage: str | None = None, attempts: bool = False
) -> DataFrame:
    """Returns the learning curves of a study as a table, one row for each epoch, by trial and
    epoch.

    | column | dtype | |
    |---|---|---|
    | number, attempt, epoch | int64 | the trial's number; its attempt, from 0; the epoch, from 1 |
    | train_loss, val_loss | float64 | mean cross-entropy in nats |
    | train_accuracy, val_accuracy, val_macro_f1, val_balanced_accuracy | float64 | in 0..1 |
    | lr | float64 | learning rate of the epoch's last step |
    | seconds | float64 | of training and validation |
    | images_per_second | float64 | training images over `seconds` |
    | device_seconds | float64 | the trial's share of its device in `seconds` |
    | recall.angry, ... | float64 | for each class on validation, in 0..1; nan without images |

    Args:
        trial: the number of one trial.
        attempts: whether to include epochs that a later attempt trained again.
    """
    from fer_tune.report import tables

    with open_store(storage) as store:
        return tables.epoch_frame(store, study_name(store, study), trial, attempts)


def replay(
    study: str | None = None,
    *,
    searches: Sequence[str] = (),
    pruners: Sequence[str] = (),
    budgets: Sequence[float] = (1.0,),
    storage: str | None = None,
) -> list[Replayed]:
    """Returns what a study's recorded trials would have come to under other rungs, pruners and
    budgets. The first entry is what the study itself came to.

    Args:
        searches, pruners: values of `search` and `pruner`, as a sweep has them. Without any, common
            ones are compared.
        budgets: as parts of the time that the study trained.

    Raises:
        SweepError: a search or a pruner is not valid.
    """
    from fer_tune.study.replay import replays, rules_of

    with open_store(storage) as store:
        record = store.studies.get(study_name(store, study))
        return replays(store, record.name, rules_of(record.sweep_text, searches, pruners), budgets)


# show -----------------------------------------------------------------------------------------------------------------


def write_report(
    out: str | os.PathLike[str],
    studies: Sequence[str] | None = None,
    form: Literal["html", "md"] = "html",
    *,
    storage: str | None = None,
) -> Path:
    """Writes what studies found into one file, and returns its path. See also `publish_report`.

    Args:
        studies: names. None is all.
        form: `html` needs no network. `md` has tables for a README.
    """
    from fer_tune.files import replace_text
    from fer_tune.report.page import render

    file = Path(out)
    with open_store(storage) as store:
        replace_text(file, render(store, study_names(store, studies), form))
    return file


def publish_report(studies: Sequence[str] | None = None, *, storage: str | None = None) -> list[str]:
    """Logs the report on each study to wandb, in the study's group, and returns where the runs are.

    A run has the page of `write_report`, and tables of the trials and their epochs. It is online
    with a key, and offline without one or with WANDB_MODE=offline.

    Args:
        studies: names. None is all.

    Raises:
        StudyError: there is no such study.
        SettingsError: WANDB_MODE is `disabled`.
        StorageError: wandb's server does not answer.
    """
    from fer_tune.mirror.wandb_tracker.publish import Report, Table, publish
    from fer_tune.report.page import render
    from fer_tune.report.study_report import read_study
    from fer_tune.report.tables import epoch_frame, plain_table, trial_rows

    places = []
    with open_store(storage) as store:
        for name in study_names(store, studies):
            found = read_study(store, name)
            epochs = epoch_frame(store, name)
            tables = {
                "trials": Table(*plain_table(trial_rows(found.trials))),
                "epochs": Table(list(epochs.columns), epochs.values.tolist()),
            }
            figures = {
                "best_value": found.best.value if found.best else None,
                "baseline": found.baseline,
                "trials": len(found.trials),
                "objective": found.record.objective,
            }
            report = Report(name, found.record.uid, render(store, [name]), tables, figures)
            places.append(publish(report, Settings.from_environment(storage)))
    return places


def write_parquet(out: str | os.PathLike[str], study: str | None = None, *, storage: str | None = None) -> Path:
    """Writes the trials of a study into a Parquet file, and returns its path.

    Raises:
        MissingExtraError: pyarrow is not installed.
    """
    from fer_tune.report import tables

    tables.write_parquet(trials(study, storage=storage), Path(out))
    return Path(out)


def sync(
    study: str,
    *,
    include_disabled: bool = False,
    tracker: str = "wandb",
    progress: Callable[[int], object] = lambda runs: None,
    storage: str | None = None,
) -> Synced:
    """Copies to wandb what it does not have of a study: online with a key, else into offline files.

    Args:
        include_disabled: whether to copy the jobs that ran with `--wandb disabled` too.
        tracker: another tracker to copy to.
        progress: is called with the number of runs that are finished.
    """
    from fer_tune.mirror.sync import sync as copy

    with open_store(storage) as store:
        settings = Settings.from_environment(storage)
        return copy(settings, store, study, progress, include_disabled=include_disabled, tracker=tracker)


def audit_data(
    source: str, *, side: int = 48, channels: int = 1, note: Callable[[str], None] = lambda text: None
) -> Audit:
    """Counts the classes, blank images and copies of a data set, and what a plain random split
    would leak.

    Args:
        source: `fer2013`, `demo`, or a path.
        side, channels: what the images are resized and converted to first.
        note: is called with a sentence now and then while files are read.
    """
    from fer_tune.data.audit import audit
    from fer_tune.data.load import load_faces

    settings = Settings.from_environment()
    return audit(load_faces(source, settings, note, side=side, channels=channels), settings)


def diagnose(*, storage: str | None = None) -> dict[str, list[Finding]]:
    """Examines the environment, the devices and the storage, and changes nothing.

    Takes some ten seconds.
    """
    from fer_tune.doctor import examine

    return examine(Settings.from_environment(storage))


# choose ---------------------------------------------------------------------------------------------------------------


def standings(study: str | None = None, top: int = 1, *, rule: Rule = "max", storage: str | None = None) -> Standings:
    """Returns the best trials of a study, how sure their order is, and the one to choose.

    Confirmed trials come first, ranked by their means. Where the trials' predictions are stored,
    they are compared image by image with the leader.

    Args:
        top: how many trials, at least.
        rule: `max` chooses the leader. `one_se` chooses the cheapest trial within one standard
            error of it: with the fewest parameters, then the fastest.
    """
    from fer_tune.study.standings import standings as read

    with open_store(storage) as store:
        return read(store, study_name(store, study), top, rule)


def gain(study: str | None = None, trial: int | None = None, *, storage: str | None = None) -> Gain | None:
    """Returns what a search gained over the best configuration of `start:`, with its error.

    Args:
        trial: the number of a complete trial. None is the best.

    Returns:
        None if there is no complete trial from `start:`.
    """
    from fer_tune.study.baseline import gain as read

    with open_store(storage) as store:
        return read(store, study_name(store, study), trial)


def overtuning(
    study: str, trial: int, test: Sequence[float] | None = None, *, storage: str | None = None
) -> Meter | None:
    """Returns a trial's figures of the search, of its confirmations and of test, side by side.

    Args:
        test: its accuracies on test, by seed. None reads those of its recorded final fits.

    Returns:
        The figures, with a warning for each gap that chance does not explain. None if the trial is
        not complete, or if the study's objective is not the accuracy.
    """
    from fer_tune.study.standings import overtuning as read

    with open_store(storage) as store:
        return read(store, study, trial, test)


def confirm(
    study: str | None = None,
    *,
    top: int = 5,
    seeds: int = 3,
    lanes: int | Literal["auto"] = "auto",
    devices: str | None = None,
    engine: EngineName = "local",
    wandb: Mode | None = None,
    observer: Observer | None = None,
    storage: str | None = None,
) -> Standings | None:
    """Trains the best trials of a study under new seeds, and returns the study's standings.

    A trial that is clearly behind gets no more seeds. A call that was killed is continued by the
    same call, and a complete one trains nothing more.

    Args:
        top: how many of the best trials are confirmed.
        seeds: how many new seeds each of them gets at most.
        lanes, devices, engine, wandb, observer: as in `run`.

    Returns:
        The standings, or None if Ctrl-C or SIGTERM interrupted the run.

    Raises:
        StudyError: no trial is complete yet, or another process confirms this study.
    """
    from fer_tune.sources.confirm import run_confirmations
    from fer_tune.sources.workers import RunOptions

    return run_confirmations(
        find_study(study, storage=storage).name,
        Settings.from_environment(storage),
        RunOptions(devices=devices, engine=engine, wandb=wandb, lanes=lanes),
        top=top,
        seeds=seeds,
        observer=observer,
    )


def compare(first: str, second: str, *, storage: str | None = None) -> Comparison:
    """Compares two studies, families or model folders, and says whether they differ beyond chance.

    A family stands for the best of its studies, and a study for its best trial: the confirmed one
    if there are confirmations. Models are compared by their stored predictions for test images.

    Raises:
        StudyError: a name is neither a study nor a family nor a folder, or has no complete trial.
        DataError: a folder has no predictions, or the two cannot be compared.
    """
    from fer_tune.sources.compare import compare_two
    from fer_tune.sources.evaluate import PREDICTIONS

    if all((Path(name) / PREDICTIONS).is_file() for name in (first, second)):
        return compare_two(None, first, second)
    with open_store(storage) as store:
        return compare_two(store, first, second)


# train ----------------------------------------------------------------------------------------------------------------


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
    Each fit is calibrated by a temperature, if validation predictions of the trial are stored.

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
        out: a folder to copy the model to, beside the job's own folder below the storage folder.
        lanes, devices, engine, wandb, observer: as in `run`.
        changes: hyperparameters that replace the trial's: a mapping, or `key=value` as `--set`
            takes them.

    Returns:
        The fits by seed, or None if Ctrl-C or SIGTERM interrupted them.

    Raises:
        SettingsError: a change is not valid.
        TrainingError: a fit failed or diverged.
    """
    from fer_tune.sources.final import Request
    from fer_tune.sources.retrain import run_final_fits
    from fer_tune.sources.workers import RunOptions
    from fer_tune.sweep.overrides import read_changes

    record = find_study(study, storage=storage)
    return run_final_fits(
        record.name,
        Request(trial, epochs, until, seeds, on, tta, test, read_changes(record.family, changes)),
        Settings.from_environment(storage),
        RunOptions(devices=devices, engine=engine, wandb=wandb, lanes=lanes),
        observer=observer,
        out=None if out is None else Path(out),
    )


def ensemble(
    studies: Sequence[str] | None = None,
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
        StudyError: the studies have different splits, or no stored predictions.
        TrainingError: the training of a member failed.
    """
    from fer_tune.sources.ensemble import run_ensemble
    from fer_tune.sources.workers import RunOptions

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


# use ------------------------------------------------------------------------------------------------------------------


def load_model(folder: str | os.PathLike[str], device: str = "cpu") -> Predictor | Ensemble:
    """Loads the model that `retrain` left in a folder, or the ensemble that `ensemble` left.

    Raises:
        DataError: the folder has no model, or one of a newer version.
        StorageError: the files of the model are damaged.
    """
    from fer_tune.train.ensemble import load_any

    return load_any(Path(folder), device)


def predict(
    folder: str | os.PathLike[str],
    images: Paths,
    *,
    tta: Tta = "none",
    faces: Literal["auto", "on", "off"] = "auto",
    submission: str | os.PathLike[str] | None = None,
    sheet: str | os.PathLike[str] | None = None,
    note: Callable[[str], object] = lambda text: None,
) -> list[Prediction]:
    """Returns what a model or an ensemble says of each image.

    An image file that is not readable is skipped with a note. Notes also name images that do not
    look like a cropped face.

    Args:
        folder: what `retrain` or `ensemble` left.
        images: files, folders, patterns such as `*.png`, or CSV files with a column `pixels`.
        tta: `flip` averages over each image and its mirror image, `crops` over ten crops of it.
        faces: whether photographs are cropped to the face: `auto` if the extra `faces` is
            installed, `on`, or `off`.
        submission: a CSV file to write, with `id` and `emotion`, as the competition takes it.
        sheet: a PNG file to write, with all images and their classes.
        note: is called with a sentence about images that were changed, skipped or look wrong.

    Raises:
        DataError: something does not exist, or no image is readable.
        MissingExtraError: `faces` is `on`, and the extra `faces` is not installed.
    """
    from fer_tune.sources.predict import predict_images

    files = {"submission": submission, "sheet": sheet}
    targets = {name: None if file is None else Path(file) for name, file in files.items()}
    return predict_images(Path(folder), _paths(images), tta=tta, faces=faces, note=note, **targets)


def evaluate(
    folder: str | os.PathLike[str],
    source: str,
    *,
    usage: str | None = None,
    device: str | None = None,
    out: str | os.PathLike[str] | None = None,
    note: Callable[[str], None] = lambda text: None,
) -> Assessment:
    """Evaluates a model or an ensemble on a labelled source, plain, with flips and with ten crops.

    If the source is the data set that the model was made from, only the test images of its split
    are used. Each evaluation is recorded in the ledger of the storage folder.

    Args:
        folder: what `retrain` or `ensemble` left.
        source: `fer2013`, `demo`, or a path.
        usage: a part of the competition, such as `PrivateTest`. None is the whole source.
        device: `cpu` or `cuda:N`. None is a GPU if there is one.
        out: a folder for the figures and the predictions.
        note: is called with a sentence now and then while files are read.

    Raises:
        DataError: the source cannot be read, or has a class that the model does not know.
    """
    from fer_tune.sources.assess import assess

    target = None if out is None else Path(out)
    return assess(Path(folder), source, Settings.from_environment(), usage=usage, device=device, out=target, note=note)


def protocols(
    folder: str | os.PathLike[str],
    source: str,
    *,
    device: str | None = None,
    note: Callable[[str], None] = lambda text: None,
) -> Protocols:
    """Evaluates a model or an ensemble under the protocols that people use on FER2013.

    These are the test images of its own split, PublicTest and PrivateTest, each with and without
    copies of training images. Protocols that need another training are named, and published figures
    are restated in the protocol that their code used. Each evaluation is recorded in the ledger.

    Args:
        folder, source, device, note: as in `evaluate`. PublicTest and PrivateTest need a file with
            a Usage column.

    Raises:
        DataError: the source cannot be read, or no protocol fits the model and the source.
    """
    from fer_tune.sources.protocols import under_protocols

    return under_protocols(Path(folder), source, Settings.from_environment(), device=device, note=note)


def export(folder: str | os.PathLike[str], onnx: str | os.PathLike[str]) -> float:
    """Writes a model or an ensemble as an ONNX file, and compares it with torch in ONNX Runtime.

    The input `images` is uint8 [N, channels, side, side], with any N; the normalisation is inside.
    The output `probabilities` is float32 [N, classes].

    Returns:
        The largest difference of a probability from torch's.

    Raises:
        MissingExtraError: the packages of the extra `onnx` are not installed.
    """
    from fer_tune.train.onnx import export_onnx

    return export_onnx(load_model(folder), Path(onnx))


# keep -----------------------------------------------------------------------------------------------------------------


def backup(to: str | os.PathLike[str] | None = None, *, artifacts: bool = False, storage: str | None = None) -> Backup:
    """Copies the database into one file, also during a run, and reads the copy back.

    Args:
        to: a file that does not exist yet, or a folder. None is `backups/` in the storage folder.
        artifacts: whether to include models and all other files of jobs.

    Raises:
        StorageError: the backup cannot be written, or the database is damaged or on a server.
    """
    from fer_tune.store.backup import back_up

    with open_store(storage) as store:
        return back_up(store, None if to is None else Path(to), artifacts)


def restore(file: str | os.PathLike[str], *, replace: bool = False, storage: str | None = None) -> Restored:
    """Puts a backup in the place of the database, and its artifacts into the storage folder.

    Args:
        replace: whether to move a database aside that is there.

    Raises:
        StorageError: the file is not a backup, a database is there, or a run uses it.
    """
    from fer_tune.store.restore import restore as put_back

    return put_back(Path(file), Settings.from_environment(storage), replace)


def migrate(to: str, *, storage: str | None = None) -> Migrated:
    """Copies all studies to another database, and compares the copy row by row.

    The files of the jobs stay in the storage folder. From then on they belong to the copy, and the
    old database can only be read.

    Args:
        to: URL of the other database, such as `postgresql+psycopg://user@host/fer_tune`. SQLite
            files are made.

    Raises:
        StudyError: there is no study, or a process writes one.
        StorageError: the other database has a study of the same name, or cannot be written.
    """
    from dataclasses import replace

    from fer_tune.mirror.process import MirrorLock
    from fer_tune.store import Store, StudyLock
    from fer_tune.study.migrating import migrate as copy

    def mirror_lock(settings: Settings, url: str, study: str) -> StudyLock:
        return MirrorLock(replace(settings, url=url), study)

    settings = Settings.from_environment(storage)
    with Store.of(settings, create=False) as source, Store.of(replace(settings, url=to)) as target:
        return copy(source, target, settings, (StudyLock, mirror_lock))


def delete_study(study: str, *, storage: str | None = None) -> Deleted:
    """Deletes a study whole: trials, epochs, artifacts, checkpoints, and trackers' cursors.

    Its openings of test images stay in the ledger. What wandb has of it stays too.

    Raises:
        StudyError: there is no such study, or a process runs it.
        StorageError: the database cannot be written, or belongs to another storage folder.
    """
    from fer_tune.store import Store
    from fer_tune.study.deleting import delete_study as delete

    settings = Settings.from_environment(storage)
    with Store.of(settings, create=False) as store:
        return delete(store, settings, study)


def rename_study(study: str, to: str, *, storage: str | None = None) -> None:
    """Gives a study another name. Copies that trackers have keep the old name.

    Raises:
        StudyError: there is no such study, the name is taken or not valid, or a process runs it.
        StorageError: the database cannot be written, or belongs to another storage folder.
    """
    from fer_tune.store import Store
    from fer_tune.study.renaming import rename_study as rename

    settings = Settings.from_environment(storage)
    with Store.of(settings, create=False) as store:
        rename(store, settings, study, to)


def export_study(study: str, to: str | os.PathLike[str], *, storage: str | None = None) -> Exported:
    """Writes one study into a file, with its models and other files. The images are not in it.

    Args:
        to: a file that does not exist yet, or a folder.

    Raises:
        StudyError: there is no such study, or a process runs it.
        StorageError: the file exists or cannot be written.
    """
    from fer_tune.study.exporting import export_study as write

    with open_store(storage) as store:
        return write(store, Settings.from_environment(storage), study, Path(to))


def import_study(file: str | os.PathLike[str], *, storage: str | None = None) -> Exported:
    """Adds a study that `export_study` wrote to the database and its storage folder.

    Raises:
        StudyError: there is a study of its name.
        StorageError: the file is not an exported study, or cannot be unpacked.
    """
    from fer_tune.store import Store
    from fer_tune.study.exporting import import_study as add

    settings = Settings.from_environment(storage)
    with Store.of(settings) as store:
        return add(store, settings, Path(file))


# helpers of the command line ------------------------------------------------------------------------------------------


def open_store(storage: str | None = None) -> Store:
    """Opens a database that exists, also in a folder that cannot be written. Reading creates none.

    Raises:
        StorageError: there is no database, or it cannot be read.
    """
    from fer_tune.store.reading import open_reader

    return open_reader(Settings.from_environment(storage))


def beside_start(study: str, gained: Gain | None, *, storage: str | None = None) -> str:
    """Returns what `gain` returned in words, or why there is no gain. It may be empty."""
    from fer_tune.study.baseline import beside_start as words

    with open_store(storage) as store:
        return words(store, study, gained)


def explained(error: Exception) -> FerTuneError | None:
    """Returns the error for the user if a damaged value in a database explains `error`, else None.

    Without such a value, the error is a bug of fer-tune.
    """
    reading = sys.modules.get("fer_tune.store.reading")  # not imported: then no database was read
    return None if reading is None else reading.explained(error)


def study_name(store: Store, asked: str | None) -> str:
    """Returns the name of the study that was asked for, or of the only one.

    Raises:
        StudyError: none was asked for, and there is none or more than one.
    """
    if asked is not None:
        return asked
    names = study_names(store, None)
    if len(names) == 1:
        return names[0]
    raise StudyError(f"There are {len(names)} studies.", f"Name one with --study: {', '.join(names)}.")


def study_names(store: Store, asked: Sequence[str] | None) -> list[str]:
    """Returns the names that were asked for, each once, or those of all studies.

    Raises:
        StudyError: there is no study.
    """
    names = list(dict.fromkeys(asked)) if asked is not None else [record.name for record in store.studies.all()]
    if not names:
        raise StudyError(f"There is no study in {store.shown}.", "`fer-tune run SWEEP` makes one.")
    return names


@contextmanager
def dashboard_application(
    study: str | None = None, *, host: str = "127.0.0.1", storage: str | None = None
) -> Iterator[tuple[Any, str]]:
    """Opens optuna-dashboard as a WSGI application, and yields it with the path of a page.

    Args:
        host: the address that it is served at. It answers under no other name.
    """
    from fer_tune.dashboard.server import application, guarded, study_id

    with open_store(storage) as store:
        page = "/dashboard" if study is None else f"/dashboard/studies/{study_id(store, study)}"
        yield guarded(application(store, Settings.from_environment(storage)), host), page


def _sweeps(given: Any) -> list[Sweep]:
    """Returns the sweeps among what `run` was given, if it was not given paths."""
    from fer_tune.sweep import Sweep

    several = given if isinstance(given, Sequence) else [given]
    return [sweep for sweep in several if isinstance(sweep, Sweep)]


def _paths(given: Any) -> list[Path]:
    return [Path(given)] if isinstance(given, str | os.PathLike) else [Path(path) for path in given]
