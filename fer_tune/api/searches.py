"""Previews, plans, runs and stops searches."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Literal, cast

from fer_tune.api.arguments import Paths, check_lanes, one_of
from fer_tune.api.checks import check
from fer_tune.api.results import find_study
from fer_tune.errors import SettingsError, StudyError
from fer_tune.settings import Settings

if TYPE_CHECKING:
    from fer_tune.jobs import Observer, RunOutcome
    from fer_tune.jobs.callbacks import Callback
    from fer_tune.mirror import Mode
    from fer_tune.pool.engines import EngineName
    from fer_tune.sources.plan import SweepPlan
    from fer_tune.sources.preview import Preview
    from fer_tune.store.holder import Holder
    from fer_tune.sweep import Sweep


WANDB_MODES = ("online", "offline", "disabled")
"""`Mode` of the mirror, which is not imported before the workers start."""


def preview(
    sweeps: Paths | Sweep | Sequence[Sweep],
    *,
    changes: str | Sequence[str] = (),
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

    options = RunOptions(workers=workers, devices=devices, engine=engine)
    return preview_sweeps(_read(sweeps, changes), Settings.from_environment(storage), options)


def plan(
    sweeps: Paths | Sweep | Sequence[Sweep],
    *,
    changes: str | Sequence[str] = (),
    workers: int | Literal["auto"] = "auto",
    devices: str | None = None,
    engine: EngineName = "local",
    ray_address: str | None = None,
    lanes: int | Literal["auto"] | None = None,
    note: Callable[[str], None] = lambda text: None,
    planned: Callable[[SweepPlan], object] = lambda plan: None,
    storage: str | None = None,
) -> list[SweepPlan]:
    """Returns what sweeps will cost: trials, GPU-hours and time, each with a range.

    The pace comes from earlier trials in the database, else from a probe of some seconds. The plan
    is kept with the study, and compared when a run ends. The other arguments are those of `run`.

    Args:
        note: is called with one line that the user should read.
        planned: is called with each plan as soon as it is made.

    Raises:
        FerTuneError: a sweep cannot be run as it is.
    """
    from fer_tune.sources.plan import plan_sweeps
    from fer_tune.sources.workers import RunOptions

    check_lanes(lanes)
    options = RunOptions(
        workers=workers, devices=devices, engine=engine, wandb="disabled", lanes=lanes, ray_address=ray_address
    )
    wanted = _read(sweeps, changes)
    return plan_sweeps(wanted, Settings.from_environment(storage), options, note, planned=planned)


def run(
    sweeps: Paths | Sweep | Sequence[Sweep],
    *,
    changes: str | Sequence[str] = (),
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

    one_of(WANDB_MODES, wandb=wandb)
    check_lanes(lanes)
    options = RunOptions(
        workers=workers, devices=devices, engine=engine, wandb=wandb, lanes=lanes, ray_address=ray_address
    )
    settings = Settings.from_environment(storage)
    with started(settings, options) as pool:
        from fer_tune.sources.run import run_sweeps

        wanted = _read(sweeps, changes)
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


def stop(study: str | None = None, *, storage: str | None = None) -> Holder:
    """Asks the run or the confirmation of a study to end, as one Ctrl-C does.

    Returns:
        Its process: that of the run, if there are both.

    Raises:
        StudyError: neither is there, or it is a process that this one cannot reach.
    """
    from fer_tune.store import ConfirmLock, StudyLock

    settings = Settings.from_environment(storage)
    name = find_study(study, storage=storage).name
    locks = StudyLock(settings, settings.url, name), ConfirmLock(settings, settings.url, name)
    holder = next((found for lock in locks if (found := lock.holder())), None)
    if holder is None:
        if elsewhere := next((other for lock in locks if (other := lock.server_holder())), None):
            raise StudyError(
                f"The study {name} is being run by {elsewhere}, from another storage folder.",
                "Run `fer-tune stop` there.",
            )
        raise StudyError(f"The study {name} is not being run.", "`fer-tune studies` lists the studies.")
    holder.ask_to_end(name)
    return holder


def _read(given: Paths | Sweep | Sequence[Sweep], changes: str | Sequence[str]) -> list[Sweep]:
    """Returns the sweeps that `run` was given, read from files if it was given paths.

    Raises:
        SettingsError: there are changes, and the sweeps were read before.
    """
    from fer_tune.sweep import Sweep

    several = given if isinstance(given, Sequence) else [given]
    sweeps = [sweep for sweep in several if isinstance(sweep, Sweep)]
    if sweeps and changes:
        raise SettingsError("changes are made to files, and not to sweeps that were read.", "Give them to `check`.")
    return sweeps or check(cast("Paths", given), changes)
