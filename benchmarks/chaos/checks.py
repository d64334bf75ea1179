"""What must hold after a campaign. Each check is a function that says, a sentence each, what does not."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from fer_tune.job import EpochRow

from .evidence import Config, Evidence, Try, config_of
from .faults import Effect
from .subject import EPOCHS, INTERVAL

NOTICED_WITHIN = 1.0
"""Seconds within which a dead worker is replaced; of the median, since a busy machine may forget a process."""


@dataclass(frozen=True)
class Case:
    """What the checks look at.

    Attributes:
        budget: trials that the study had to finish.
        found: what the campaign left.
        calm: what an undisturbed, inline run of the same sweep left, of at least as many trials.
        effects: of the faults, by what people call them.
        mirrored: whether wandb's runs were written.
        processes: the command lines that were left running.
    """

    budget: int
    found: Evidence
    calm: Evidence
    effects: Mapping[str, list[Effect]]
    mirrored: bool
    processes: tuple[str, ...]

    @property
    def expected(self) -> dict[int, Config]:
        """What the undisturbed run tried, by seed: as many as the budget, in the order in which they were drawn."""
        drawn = {seed: trial for trial in self.calm.finished if (seed := self.calm.seed_of(trial)) is not None}
        return {seed: config_of(drawn[seed]) for seed in sorted(drawn)[: self.budget]}


def budget_is_met(case: Case) -> Iterator[str]:
    """Exactly as many finished trials as the budget has, all complete, and none still running or waiting."""
    states = Counter(trial.state for trial in case.found.trials)
    del states["requeued"]
    if states != Counter({"complete": case.budget}):
        told = ", ".join(f"{count} {state}" for state, count in sorted(states.items()))
        yield f"the budget is {case.budget} trials; there are {told or 'none'}"


def no_trial_is_lost(case: Case) -> Iterator[str]:
    """Each configuration that an undisturbed run tries was tried, with its seed, and no other."""
    tried = {seed: config_of(trial) for trial in case.found.finished if (seed := case.found.seed_of(trial)) is not None}
    for seed, config in case.expected.items():
        if seed not in tried:
            yield f"the configuration with seed {seed} was never finished"
        elif tried[seed] != config:
            yield f"seed {seed} stands for {dict(tried[seed])}, undisturbed for {dict(config)}"
    for seed in tried.keys() - case.expected.keys():
        yield f"seed {seed} was tried, which an undisturbed run does not try"


def no_trial_is_double(case: Case) -> Iterator[str]:
    """No configuration counts twice."""
    seeds = Counter(case.found.seed_of(trial) for trial in case.found.finished)
    yield from (f"seed {seed} counts {count} times" for seed, count in seeds.items() if count > 1)


def no_epoch_is_double(case: Case) -> Iterator[str]:
    """A finished trial has each of its epochs once, in order; so has each attempt, as far as it got."""
    for trial in case.found.finished:
        epochs = [row.epoch for row in case.found.curve(trial.number)]
        if epochs != list(range(1, EPOCHS + 1)):
            yield f"trial {trial.number} has the epochs {epochs}"
    for one in _tries(case.found):
        epochs = [row.epoch for row in one.rows]
        if epochs != list(range(1, len(epochs) + 1)):
            yield f"attempt {one.record.attempt} of trial {one.record.number} has the epochs {epochs}"


def attempts_are_over(case: Case) -> Iterator[str]:
    """Each attempt has an end, and a reason where it was lost."""
    for one in _tries(case.found):
        record = one.record
        if record.ended is None or (record.status != "completed" and not record.reason):
            yield f"attempt {record.attempt} of trial {record.number} ended as {record.status}, {record.reason!r}"


def little_is_repeated(case: Case) -> Iterator[str]:
    """An attempt trains again at most what its predecessor trained in one checkpoint interval.

    A checkpoint is written at the first epoch's end after the interval, and takes a while: hence two epochs more. Where
    a checkpoint was spoilt or a full disk refused it, its trial begins at the beginning, as it should.
    """
    if case.effects.get("disk full"):
        return
    torn = {seed for effects in case.effects.values() for effect in effects for seed in effect.torn}
    for seed, tries in case.found.tries.items():
        if seed in torn:
            continue
        for attempt, seconds, slowest in repeated(tries):
            if seconds > INTERVAL + 2 * slowest:
                yield f"seed {seed}: attempt {attempt} repeated {seconds:.2f} s, the slowest epoch took {slowest:.2f} s"


def repeated(tries: tuple[Try, ...]) -> Iterator[tuple[int, float, float]]:
    """For each further try: which it was, seconds of the epochs that it trained again, seconds of the slowest epoch.

    An epoch that comes from a checkpoint has the very duration that it had before; one that was trained again has not.
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
    """Each epoch measured, bit for bit, what it measures undisturbed."""
    for seed, tries in case.found.tries.items():
        calm = {row.epoch: measured(row) for one in case.calm.tries.get(seed, ()) for row in one.rows}
        for one in tries:
            other = [row.epoch for row in one.rows if measured(row) != calm.get(row.epoch)]
            if other:
                yield f"trial {one.record.number} (seed {seed}) measured something else in the epochs {other}"


def measured(row: EpochRow) -> tuple[object, ...]:
    """All of a row that does not depend on the clock; as text, since nan equals nothing."""
    return (
        row.epoch,
        row.train_loss,
        row.train_accuracy,
        row.val_loss,
        row.val_accuracy,
        row.val_macro_f1,
        row.lr,
        repr(row.recall),
    )


def ranking_is_equal(case: Case) -> Iterator[str]:
    """The configurations rank as they do undisturbed; those of one value in any order."""
    expected = set(case.expected.values())
    calm = [(trial.value, config_of(trial)) for trial in case.calm.ranked if config_of(trial) in expected]
    found = [(trial.value, config_of(trial)) for trial in case.found.ranked]
    if [value for value, _ in found] != [value for value, _ in calm]:
        yield f"the values rank as {[value for value, _ in found]}, undisturbed as {[value for value, _ in calm]}"
    elif set(found) != set(calm):
        yield f"the values are those of other configurations: {sorted(set(found) - set(calm), key=repr)}"


def database_is_sound(case: Case) -> Iterator[str]:
    """SQLite finds no damage, and no row points nowhere."""
    if case.found.integrity != "ok":
        yield f"PRAGMA integrity_check says {case.found.integrity}"
    if case.found.foreign:
        yield f"PRAGMA foreign_key_check finds {case.found.foreign} rows"


def doctor_is_content(case: Case) -> Iterator[str]:
    """`fer-tune doctor` has nothing to say of database, studies and files."""
    yield from case.found.doctor


def nothing_is_left(case: Case) -> Iterator[str]:
    """No checkpoint, no half-written file, no process."""
    if case.found.left:
        yield f"files are left: {', '.join(case.found.left)}"
    if case.processes:
        yield f"processes are left: {', '.join(case.processes)}"


def mirror_has_all(case: Case) -> Iterator[str]:
    """wandb has one run for each finished trial, and in it each epoch once, with its numbers."""
    if not case.mirrored:
        return
    expected = Counter[tuple[object, ...]](_told(case.found.curve(trial.number)) for trial in case.found.finished)
    got = Counter[tuple[object, ...]](
        tuple((row["_step"], row.get("train_loss"), row.get("val_accuracy")) for row in rows)
        for rows in case.found.mirrored.values()
    )
    if got != expected:
        missing, more = sum((expected - got).values()), sum((got - expected).values())
        yield f"of {case.budget} runs wandb lacks {missing} and has {more} that no trial has"


def _told(rows: list[EpochRow]) -> tuple[tuple[int, float, float], ...]:
    return tuple((row.epoch, row.train_loss, row.val_accuracy) for row in rows)


def deaths_are_noticed(case: Case) -> Iterator[str]:
    """A dead worker is noticed within a second, as a rule; and whatever a fault asked for came about."""
    seconds = [effect.seconds for effect in case.effects.get("SIGKILL worker", []) if effect.seconds is not None]
    if seconds and statistics.median(seconds) > NOTICED_WITHIN:
        yield f"a dead worker was noticed after {statistics.median(seconds):.1f} s (median)"
    yield from (
        f"{name}: {effect.wrong}" for name, effects in case.effects.items() for effect in effects if effect.wrong
    )


def _tries(evidence: Evidence) -> Iterator[Try]:
    for tries in evidence.tries.values():
        yield from tries


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
    "faults noticed": deaths_are_noticed,
}
"""By what people call them."""


def problems(case: Case) -> dict[str, list[str]]:
    """By check, what is wrong; the checks that hold have an empty list."""
    return {name: list(check(case)) for name, check in CHECKS.items()}
