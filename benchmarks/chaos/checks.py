"""What must be true after a campaign. Each check is a function that yields what is wrong."""

from __future__ import annotations

import math
import statistics
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from fer_tune.job import EpochRow

from .evidence import Config, Evidence, Try, config_of
from .faults import Effect
from .subject import EPOCHS, FINAL_EPOCHS, INTERVAL

NOTICED_WITHIN = 1.0
"""Seconds within which a dead worker is noticed.

It holds for the median: a busy machine has delays.
"""


@dataclass(frozen=True)
class Case:
    """What the checks look at.

    Attributes:
        budget: trials that the study had to finish.
        found: what the campaign left.
        calm: what an undisturbed run of the same sweep left, with at least as many trials.
        effects: of the faults, by their names.
        mirrored: whether wandb's runs were written.
        processes: command lines of processes that still run.
        fitted: whether final fits were trained.
    """

    budget: int
    found: Evidence
    calm: Evidence
    effects: Mapping[str, list[Effect]]
    mirrored: bool
    processes: tuple[str, ...]
    fitted: bool = False

    @property
    def expected(self) -> dict[int, Config]:
        """The configurations that the undisturbed run drew first, by seed: `budget` of them."""
        drawn = {seed: trial for trial in self.calm.finished if (seed := self.calm.seed_of(trial)) is not None}
        return {seed: config_of(drawn[seed]) for seed in sorted(drawn)[: self.budget]}


def budget_is_met(case: Case) -> Iterator[str]:
    """The budget is finished trials, all complete. None is running or waiting."""
    states = Counter(trial.state for trial in case.found.trials)
    del states["requeued"]
    if states != Counter({"complete": case.budget}):
        told = ", ".join(f"{count} {state}" for state, count in sorted(states.items()))
        yield f"the budget is {case.budget} trials; there are {told or 'none'}"


def no_trial_is_lost(case: Case) -> Iterator[str]:
    """The study tried the configurations of the undisturbed run, with their seeds, no others."""
    tried = {seed: config_of(trial) for trial in case.found.finished if (seed := case.found.seed_of(trial)) is not None}
    for seed, config in case.expected.items():
        if seed not in tried:
            yield f"the configuration with seed {seed} was never finished"
        elif tried[seed] != config:
            yield f"seed {seed} has {dict(tried[seed])}, undisturbed {dict(config)}"
    for seed in tried.keys() - case.expected.keys():
        yield f"seed {seed} was tried, and the undisturbed run does not try it"


def no_trial_is_double(case: Case) -> Iterator[str]:
    """No configuration counts twice."""
    seeds = Counter(case.found.seed_of(trial) for trial in case.found.finished)
    yield from (f"seed {seed} counts {count} times" for seed, count in seeds.items() if count > 1)


def no_epoch_is_double(case: Case) -> Iterator[str]:
    """A finished trial has each of its epochs once, in order.

    So has each attempt, as far as it got.
    """
    for trial in case.found.finished:
        epochs = [row.epoch for row in case.found.curve(trial.number)]
        if epochs != list(range(1, EPOCHS + 1)):
            yield f"trial {trial.number} has the epochs {epochs}"
    for one in _tries(case.found):
        epochs = [row.epoch for row in one.rows]
        if epochs != list(range(1, len(epochs) + 1)):
            yield f"attempt {one.record.attempt} of {_label(one)} has the epochs {epochs}"


def attempts_are_over(case: Case) -> Iterator[str]:
    """Each attempt has an end, and a reason unless it completed."""
    for one in _tries(case.found):
        record = one.record
        if record.ended is None or (record.status != "completed" and not record.reason):
            yield f"attempt {record.attempt} of {_label(one)} ended as {record.status}, {record.reason!r}"


def little_is_repeated(case: Case) -> Iterator[str]:
    """An attempt trains again at most what its predecessor trained in one checkpoint interval.

    A worker writes a checkpoint at the end of the first epoch after the interval, and that takes a
    while: hence two epochs more. If a node is lost, the last checkpoint may have been on its way to
    the orchestrator: hence one interval more. A job begins again from the start where its
    checkpoint was damaged or a full disk refused it.
    """
    if case.effects.get("disk full"):
        return
    interval = 2 * INTERVAL if case.effects.get("node lost") else INTERVAL
    torn = {job for effects in case.effects.values() for effect in effects for job in effect.torn}
    for tries in (*case.found.tries.values(), *(fit.tries for fit in case.found.fits)):
        if any(one.record.job in torn for one in tries):
            continue
        for attempt, seconds, slowest in repeated(tries):
            if seconds > interval + 2 * slowest:
                told = f"attempt {attempt} repeated {seconds:.2f} s, the slowest epoch took {slowest:.2f} s"
                yield f"{_label(tries[0])}: {told}"


def repeated(tries: tuple[Try, ...]) -> Iterator[tuple[int, float, float]]:
    """Yields for each further try: its place, seconds of epochs that it trained again, the slowest
    epoch.

    An epoch that comes from a checkpoint has exactly the duration that it had before. One that was
    trained again does not.
    """
    trained: dict[int, EpochRow] = {}
    slowest = max((row.seconds for one in tries for row in one.rows), default=0.0)
    for place, one in enumerate(tries):
        again = [
            trained[row.epoch] for row in one.rows if row.epoch in trained and row.seconds != trained[row.epoch].seconds
        ]
        if place:
            yield place, sum(row.seconds for row in again), slowest
        trained |= {row.epoch: row for row in one.rows}


def epochs_are_equal(case: Case) -> Iterator[str]:
    """Each epoch of a trial measured, bit for bit, what it measures undisturbed."""
    for seed, tries in case.found.tries.items():
        calm = {row.epoch: measured(row) for one in case.calm.tries.get(seed, ()) for row in one.rows}
        for one in tries:
            other = [row.epoch for row in one.rows if measured(row) != calm.get(row.epoch)]
            if other:
                yield f"{_label(one)} (seed {seed}) measured something else in the epochs {other}"


def measured(row: EpochRow) -> tuple[object, ...]:
    """Returns what does not depend on the clock, as text, because nan does not equal nan."""
    return (
        row.epoch,
        repr((row.train_loss, row.train_accuracy, row.lr)),
        repr((row.val_loss, row.val_accuracy, row.val_macro_f1, row.recall)),
    )


def ranking_is_equal(case: Case) -> Iterator[str]:
    """The configurations rank as in the undisturbed run. Equal ones may be in any order."""
    expected = set(case.expected.values())
    calm = [(trial.value, config_of(trial)) for trial in case.calm.ranked if config_of(trial) in expected]
    found = [(trial.value, config_of(trial)) for trial in case.found.ranked]
    if [value for value, _ in found] != [value for value, _ in calm]:
        yield f"the values rank as {[value for value, _ in found]}, undisturbed as {[value for value, _ in calm]}"
    elif set(found) != set(calm):
        yield f"other configurations have these values: {sorted(set(found) - set(calm), key=repr)}"


def database_is_sound(case: Case) -> Iterator[str]:
    """SQLite finds no damage, and no row refers to a missing row."""
    if case.found.integrity != "ok":
        yield f"PRAGMA integrity_check says {case.found.integrity}"
    if case.found.foreign:
        yield f"PRAGMA foreign_key_check finds {case.found.foreign} rows"


def doctor_is_content(case: Case) -> Iterator[str]:
    """`fer-tune doctor` finds no problem in the database, the studies and the files."""
    yield from case.found.doctor


def nothing_is_left(case: Case) -> Iterator[str]:
    """There is no checkpoint, no half-written file and no process."""
    if case.found.left:
        yield f"files are left: {', '.join(case.found.left)}"
    if case.processes:
        yield f"processes are left: {', '.join(case.processes)}"


def mirror_has_all(case: Case) -> Iterator[str]:
    """wandb has one run for each finished trial and each final fit, with each epoch once."""
    if not case.mirrored:
        return
    curves = [
        *(case.found.curve(trial.number) for trial in case.found.finished),
        *(fit.curve for fit in case.found.fits),
    ]
    expected = Counter[tuple[object, ...]](map(_curve, curves))
    got = Counter[tuple[object, ...]](
        tuple((row["_step"], row.get("train_loss"), row.get("val_accuracy")) for row in rows)
        for rows in case.found.mirrored.values()
    )
    if got != expected:
        missing, more = sum((expected - got).values()), sum((got - expected).values())
        yield f"of {len(curves)} runs wandb lacks {missing} and has {more} that no job has"


def _curve(rows: Sequence[EpochRow]) -> tuple[tuple[int, float, float | None], ...]:
    """Returns what wandb must have of a curve. It leaves out what was not measured."""
    return tuple((row.epoch, row.train_loss, _measured_or_none(row.val_accuracy)) for row in rows)


def _measured_or_none(value: float) -> float | None:
    return None if math.isnan(value) else value


def fits_are_whole(case: Case) -> Iterator[str]:
    """Each request has all its final fits, complete and evaluated, with each epoch once."""
    if case.fitted and not case.found.fits:
        yield "no final fit was recorded"
    for batch, count in Counter(fit.batch for fit in case.found.fits).items():
        if count != len({fit.seed for fit in case.calm.fits}):
            yield f"the request {batch} has {count} fits"
    for fit in case.found.fits:
        if fit.state != "complete" or not fit.evaluated or not fit.model:
            how = "evaluated" if fit.evaluated else "not evaluated"
            yield f"the final fit {fit.job} is {fit.state} and {how}"
        if [row.epoch for row in fit.curve] != list(range(1, FINAL_EPOCHS + 1)):
            yield f"the final fit {fit.job} has the epochs {[row.epoch for row in fit.curve]}"


def test_is_opened_once(case: Case) -> Iterator[str]:
    """The ledger has one opening of test for each final fit."""
    yield from (
        f"the final fit {fit.job} has {fit.openings} openings of test" for fit in case.found.fits if fit.openings != 1
    )


def fits_are_equal(case: Case) -> Iterator[str]:
    """Each final fit has, bit for bit, the epochs and the weights of the undisturbed one."""
    calm = {(fit.seed, fit.config): fit for fit in case.calm.fits}
    for fit in case.found.fits:
        other = calm.get((fit.seed, fit.config))
        if other is None:
            yield f"the undisturbed run has no final fit with seed {fit.seed} and {dict(fit.config)}"
        elif [measured(row) for row in fit.curve] != [measured(row) for row in other.curve]:
            yield f"the final fit {fit.job} (seed {fit.seed}) measured something else"
        elif fit.model != other.model:
            yield f"the final fit {fit.job} (seed {fit.seed}) has other weights"


def deaths_are_noticed(case: Case) -> Iterator[str]:
    """Dead workers are noticed within a second (median), and each run reacted to its faults."""
    seconds = [effect.seconds for effect in case.effects.get("SIGKILL worker", []) if effect.seconds is not None]
    if seconds and statistics.median(seconds) > NOTICED_WITHIN:
        yield f"a dead worker was noticed after {statistics.median(seconds):.1f} s (median)"
    yield from (
        f"{name}: {effect.wrong}" for name, effects in case.effects.items() for effect in effects if effect.wrong
    )


def _tries(evidence: Evidence) -> Iterator[Try]:
    for tries in (*evidence.tries.values(), *(fit.tries for fit in evidence.fits)):
        yield from tries


def _label(one: Try) -> str:
    record = one.record
    return f"the final fit {record.job}" if record.number is None else f"trial {record.number}"


CHECKS: dict[str, Callable[[Case], Iterator[str]]] = {
    "exactly its budget": budget_is_met,
    "no trial lost": no_trial_is_lost,
    "no trial double": no_trial_is_double,
    "no epoch double": no_epoch_is_double,
    "every attempt over": attempts_are_over,
    "one interval repeated at most": little_is_repeated,
    "epochs equal, bit for bit": epochs_are_equal,
    "ranking equal": ranking_is_equal,
    "database sound": database_is_sound,
    "doctor content": doctor_is_content,
    "nothing left behind": nothing_is_left,
    "wandb has each row once": mirror_has_all,
    "final fits whole": fits_are_whole,
    "test opened once": test_is_opened_once,
    "final fits equal, bit for bit": fits_are_equal,
    "faults noticed": deaths_are_noticed,
}
"""The checks by name."""


def problems(case: Case) -> dict[str, list[str]]:
    """Returns what is wrong, by check. A check that holds has an empty list."""
    return {name: list(check(case)) for name, check in CHECKS.items()}
