"""Chooses among trials and studies, and says how sure the choice is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

from fer_tune.api.arguments import at_least, check_lanes, one_of, open_store, study_name
from fer_tune.api.results import find_study
from fer_tune.errors import StorageError
from fer_tune.settings import Settings

if TYPE_CHECKING:
    from fer_tune.jobs import Observer
    from fer_tune.mirror import Mode
    from fer_tune.pool.engines import EngineName
    from fer_tune.selection.overtuning import Meter
    from fer_tune.sources.compare import Comparison
    from fer_tune.study.baseline import Gain
    from fer_tune.study.replay import Replayed
    from fer_tune.study.standings import Rule, Standings


def standings(study: str | None = None, top: int = 1, *, rule: Rule = "max", storage: str | None = None) -> Standings:
    """Returns the best trials of a study, how sure their order is, and the one to choose.

    Confirmed trials come first, ranked by their means. Where the trials' predictions are stored,
    they are compared image by image with the leader.

    Args:
        top: how many trials, at least.
        rule: `max` chooses the leader. `one_se` chooses the cheapest trial within one standard
            error of it: with the fewest parameters, then the fastest.

    Raises:
        SettingsError: an argument is not valid.
    """
    from fer_tune.study.standings import RULES
    from fer_tune.study.standings import standings as read

    at_least(1, top=top)
    one_of(RULES, rule=rule)
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
        SettingsError: an argument is not valid.
        StudyError: no trial is complete yet, or another process confirms this study.
    """
    from fer_tune.sources.confirm import run_confirmations
    from fer_tune.sources.workers import RunOptions

    at_least(1, top=top)
    at_least(2, seeds=seeds)
    check_lanes(lanes)
    return run_confirmations(
        find_study(study, storage=storage).name,
        Settings.from_environment(storage),
        RunOptions(devices=devices, engine=engine, wandb=wandb, lanes=lanes),
        top=top,
        seeds=seeds,
        observer=observer,
    )


def overtuning(
    study: str, trial: int, test: Sequence[float] | None = None, *, storage: str | None = None
) -> Meter | None:
    """Returns a trial's figures of the search, of its confirmations and of test, side by side.

    Args:
        test: its plain accuracies on test, by seed. None reads those of its recorded final fits on
            training and validation images, without changes, and over the study's schedule or a
            longer one. Those of one length count, one for each seed.

    Returns:
        The figures, with a warning for each gap that chance does not explain. None if the trial is
        not complete, or if the study's objective is not the accuracy.
    """
    from fer_tune.study.standings import overtuning as read
    from fer_tune.study.usual_fits import OnTest

    with open_store(storage) as store:
        return read(store, study, trial, None if test is None else OnTest(list(test)))


def compare(first: str, second: str, *, storage: str | None = None) -> Comparison:
    """Compares two studies, families or model folders, and says whether they differ beyond chance.

    A family stands for the best of its studies, and a study for its best trial: the confirmed one
    if there are confirmations. Models are compared by their stored predictions for test images.

    Raises:
        StudyError: a name is neither a study nor a family nor a folder, or has no complete trial.
        DataError: a folder has no predictions, or the two cannot be compared.
    """
    from fer_tune.sources.compare import compare_two, has_predictions, is_folder, without_predictions

    missing = [name for name in (first, second) if not has_predictions(name)]
    if not missing:
        return compare_two(None, first, second)
    try:
        store = open_store(storage)
    except StorageError as error:
        for name in missing:
            if is_folder(name):  # with a database, it could be the name of a study too
                raise without_predictions(name) from error
        raise
    with store:
        return compare_two(store, first, second)


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
