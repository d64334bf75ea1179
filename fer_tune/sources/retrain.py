"""A run of final fits: the runner trains them on all workers, then each is evaluated on test."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from fer_tune.errors import FerTuneError, StorageError, TrainingError
from fer_tune.jobs.observers import Observer, Observers
from fer_tune.pool.devices import choose_devices
from fer_tune.pool.port import TrainerFactory, load_trainer
from fer_tune.settings import Settings
from fer_tune.sources.final import FinalFits, Request
from fer_tune.sources.final_copy import STORAGE, Copy, check_place, refuse_others
from fer_tune.sources.final_result import FinalFit, finish
from fer_tune.sources.run import observers_of, recorded_limits
from fer_tune.sources.wiring import wired
from fer_tune.sources.workers import RunOptions
from fer_tune.store import Store
from fer_tune.store.connection import parse_url, shown
from fer_tune.store.reading import is_writable, working_copy


def run_final_fits(
    study: str,
    request: Request,
    settings: Settings,
    options: RunOptions | None = None,
    *,
    observer: Observer | None = None,
    out: Path | None = None,
    trainer: TrainerFactory = load_trainer,
) -> tuple[FinalFit, ...] | None:
    """Trains a study's best configuration, or a chosen one, and evaluates it on test.

    Like trials, the fits run side by side on all devices, and every epoch is recorded. After a run
    was killed, the same call continues from the last checkpoints. Test is opened once for each fit,
    if the request says so.

    Args:
        observer: is called for everything that happens, such as a display.
        out: a folder to copy the model and its figures to. It must be new or empty, or have the
            copy that an equal request left, which is replaced. Of several seeds it gets the fit
            that is nearest the median. If the storage folder cannot be written, the fits are
            recorded in `out/storage`.

    Returns:
        The fits by seed, or None if Ctrl-C or SIGTERM interrupted the run.

    Raises:
        StudyError: the study or the trial does not exist, or no trial is complete yet.
        SettingsError: a device does not exist, or `out` is a file, or has other files in it.
        TrainingError: a fit failed or diverged. The others are evaluated first.
        DataError: the study's images are neither in the cache nor where the sweep named them.
        StorageError: the database cannot be used, or a file cannot be written. If all is done but
            the copy, it is a `NotCopiedError`, which has the fits.
        PoolError: workers cannot be started, or keep dying.
    """
    if out is not None:
        check_place(out)
    observers = observers_of(settings, observer)
    place = partial(_writable, out=out, observers=observers)
    with wired(settings, options, observers, trainer, place) as run:
        fits = FinalFits(run.store, run.settings, study, request, mirrored=run.mirrored)
        run.held.callback(fits.lock.release)
        copy = None if out is None else Copy(out, fits, run.settings)
        if fits.doubt is not None:
            observers.note(fits.doubt)
        run.keep_images(fits.record)
        run.begin()
        if fits.wanted():
            outcome = run.train(fits, recorded_limits(fits.record), len(fits.jobs))
            run.end_workers()
        else:
            outcome = fits.outcome("budget")
        found: tuple[FinalFit, ...] | None = None
        if not run.signals.requested:
            found = _evaluate(fits, run.store, run.settings, choose_devices(run.options.devices, 1)[0], observers)
        observers.study_closed(outcome)
        if found is not None and copy is not None:
            copy.write(found)
        return found
    return None


def _writable(settings: Settings, out: Path | None, observers: Observers) -> Settings:
    """Returns the storage folder that records the fits: the user's, or a copy of it below `out` if
    the user's cannot be written.

    Raises:
        StorageError: the user's folder cannot be written, and there is no `out`.
        SettingsError: `out` has files of something else in it.
    """
    url = parse_url(settings.url)
    if is_writable(url) or not Path(str(url.database)).is_file():
        return settings
    if out is None:
        raise StorageError(
            f"{shown(url)} cannot be written, so a final fit cannot be recorded there.",
            "--out FOLDER records it in FOLDER/storage, beside the model.",
        )
    if not (out / STORAGE / "fer_tune.db").is_file():  # one that a killed call left is used again
        refuse_others(out)
    own = out / STORAGE
    observers.note(f"{settings.root} cannot be written. The fit and its opening of test are recorded in {own}.")
    return working_copy(settings, own)


def _evaluate(
    fits: FinalFits, store: Store, settings: Settings, device: str, observers: Observers
) -> tuple[FinalFit, ...]:
    """Evaluates every trained fit. Then raises the error of the first one that failed, if any."""
    found, errors = [], []
    record = fits.record
    for job in fits.records():
        try:
            folder = settings.job_folder(record.name, record.uid, job.uid)
            views, validated = fits.request.views, fits.request.validated
            fit = store.patiently(partial(finish, store, record, job, folder, device, views=views, validated=validated))
        except TrainingError as error:
            errors.append(error)
            continue
        found.append(fit)
        if fit.tested is not None:
            _show_in_dashboard(fit, store, settings, observers)
    if errors:
        raise errors[0]
    return tuple(found)


def _show_in_dashboard(fit: FinalFit, store: Store, settings: Settings, observers: Observers) -> None:
    from fer_tune.dashboard.writer import NoteWriter

    try:
        NoteWriter(store, settings, fit.study).add_final_fit(fit.trial, fit.folder / "confusion.png")
    except (FerTuneError, OSError, KeyError) as error:
        observers.note(f"{fit.study}: the confusion matrix cannot be added to optuna-dashboard: {error}")
