"""Replays a study's recorded curves under other rungs, pruners and budgets.

It trains nothing: each recorded trial comes in its recorded order, with its recorded epochs. So it
says what the same trials would have cost, and which of them would have been found. It cannot say
which other trials the sampler would have proposed.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import optuna

from fer_tune.errors import SweepError
from fer_tune.job import ObjectiveOf
from fer_tune.selection.objective import objective_of
from fer_tune.selection.rungs import Rungs
from fer_tune.store import Store
from fer_tune.study.pruners import make_pruner
from fer_tune.study.rung_values import rung_value
from fer_tune.sweep.load import loads_sweep
from fer_tune.sweep.overrides import origin
from fer_tune.sweep.rung_levels import rung_epochs, unreached
from fer_tune.sweep.schema import PrunerSpec, SearchSpec, Sweep


@dataclass(frozen=True)
class Recorded:
    """A trial of the study.

    Attributes:
        values, seconds: the objective and the duration of each epoch.
        losses: the loss of each epoch on validation.
        whole: whether nothing stopped it. Else nobody knows how its curve would have continued.
        objective_of: which epochs decide the objective of the trial.
    """

    number: int
    values: tuple[float, ...]
    seconds: tuple[float, ...]
    losses: tuple[float, ...]
    whole: bool
    objective_of: ObjectiveOf = "max"

    @property
    def objective(self) -> float:
        """The objective of the whole training."""
        found = objective_of(self.values, self.objective_of)
        assert found is not None  # the values are finite
        return found


@dataclass(frozen=True)
class Rule:
    """What decides in a replay which trials continue."""

    name: str
    search: SearchSpec = field(default_factory=SearchSpec)
    pruner: PrunerSpec = field(default_factory=lambda: PrunerSpec("none"))


@dataclass(frozen=True)
class Replayed:
    """What a rule would have come to.

    Attributes:
        budget: seconds of training that it could spend.
        seconds: that it spent.
        started, complete: number of trials.
        value, number: of the best complete trial; None if none completed.
        top: the part of the seconds that went to complete trials.
        unknown: trials that needed epochs that were never recorded. They count as not complete.
        exhausted: whether it started all recorded trials. It would have started more then.
        notes: in words, which rungs of the rule no trial reaches.
    """

    rule: str
    budget: float
    seconds: float
    started: int
    complete: int
    value: float | None
    number: int | None
    top: float
    unknown: int
    exhausted: bool
    notes: tuple[str, ...] = ()


def recorded(store: Store, study: str) -> list[Recorded]:
    """Returns the trials of a study that trained at least one epoch, in their order.

    Raises:
        StudyError: the study does not exist.
    """
    record = store.studies.get(study)
    objective, rule = record.objective, record.sweep_json.get("objective_of", "max")
    curves = store.epochs.curves(study)
    found = []
    for job in store.jobs.of(study, "search"):
        rows = [row for row in curves.get(job.uid, []) if math.isfinite(getattr(row, objective))]
        if rows and job.number is not None:
            values = tuple(float(getattr(row, objective)) for row in rows)
            seconds = tuple(row.seconds for row in rows)
            losses = tuple(-rung_value(row, objective, "val_loss") for row in rows)
            found.append(Recorded(job.number, values, seconds, losses, job.state == "complete", rule))
    return sorted(found, key=lambda trial: trial.number)


def common_rules() -> list[Rule]:
    """Returns the rules that are compared unless the user names some."""
    return [
        Rule("no pruning"),
        Rule("pruner: median", pruner=PrunerSpec("median", {"n_startup_trials": 5, "n_warmup_steps": 5})),
        Rule("pruner: successive_halving", pruner=PrunerSpec("successive_halving", {"reduction_factor": 3})),
        *(
            Rule(f"search: promote, factor {factor}", SearchSpec(strategy="promote", factor=factor))
            for factor in (2, 3, 4)
        ),
    ]


def replay(trials: Sequence[Recorded], rule: Rule, schedule: int, budget: float) -> Replayed:
    """Returns what a rule would have come to on one worker.

    Args:
        trials: see `recorded`.
        schedule: epochs of a trial.
        budget: seconds of training.
    """
    run = _Replay(trials, rule, schedule, budget)
    while run.step():
        pass
    return run.result()


class _Replay:
    def __init__(self, trials: Sequence[Recorded], rule: Rule, schedule: int, budget: float) -> None:
        self.trials, self.rule, self.schedule, self.budget = trials, rule, schedule, budget
        spec = rule.search
        rungs = rung_epochs(schedule, spec.factor, spec.first) if spec.rungs is None else spec.rungs
        self.rungs = Rungs([e for e in rungs if e < schedule] if spec.strategy == "promote" else [], spec.factor)
        with _Quiet():
            self.study = optuna.create_study(direction="maximize", pruner=make_pruner(rule.pruner, schedule))
        self.asked: dict[int, optuna.Trial] = {}
        self.at: dict[int, int] = {}
        self.complete: list[Recorded] = []
        self.spent: dict[int, float] = {}
        self.unknown = 0

    @property
    def seconds(self) -> float:
        return sum(self.spent.values())

    def step(self) -> bool:
        """Trains one trial to its next rung. Returns whether there is anything left to do."""
        closing = len(self.at) == len(self.trials)
        place = next(self.rungs.promotable(closing), None)
        if place is None and closing:
            return False
        number = len(self.at) if place is None else int(place)
        trial, begin = self.trials[number], self.at.get(number, 0)
        self.rungs.promote(str(number))
        until = self.rungs.next_after(begin) or self.schedule
        for epoch in range(begin + 1, min(until, len(trial.values)) + 1):
            if self.seconds + trial.seconds[epoch - 1] > self.budget:
                return False
            self.at[number] = epoch
            self.spent[number] = self.spent.get(number, 0.0) + trial.seconds[epoch - 1]
            by_loss = self.rule.search.compare == "val_loss"
            compared = -trial.losses[epoch - 1] if by_loss else trial.values[epoch - 1]
            self.rungs.record(str(number), epoch, compared, number)
            if self._pruned(number, epoch):
                return True
        if until < self.schedule and len(trial.values) >= until:
            self.rungs.pause(str(number), until)
        elif trial.whole:
            self.complete.append(trial)
            self._told(number, trial.objective)
        else:
            self.unknown += 1
        return True

    def _pruned(self, number: int, epoch: int) -> bool:
        if self.rule.pruner.name == "none":
            return False
        if number not in self.asked:
            self.asked[number] = self.study.ask()
        self.asked[number].report(self.trials[number].values[epoch - 1], epoch)
        if epoch < self.schedule and self.asked[number].should_prune():
            self.study.tell(self.asked[number], state=optuna.trial.TrialState.PRUNED)
            return True
        return False

    def _told(self, number: int, value: float) -> None:
        if number in self.asked:
            self.study.tell(self.asked[number], value)

    def result(self) -> Replayed:
        best = max(self.complete, key=lambda trial: (trial.objective, -trial.number), default=None)
        places = {trial.number: place for place, trial in enumerate(self.trials)}
        top = sum(self.spent[places[trial.number]] for trial in self.complete)
        return Replayed(
            rule=self.rule.name,
            budget=self.budget,
            seconds=self.seconds,
            started=len(self.at),
            complete=len(self.complete),
            value=best.objective if best else None,
            number=best.number if best else None,
            top=top / self.seconds if self.seconds else 0.0,
            unknown=self.unknown,
            exhausted=len(self.at) == len(self.trials),
            notes=unreached(self.rule.search, self.schedule),
        )


def as_recorded(trials: Sequence[Recorded]) -> Replayed:
    """Returns what the study itself came to."""
    complete = [trial for trial in trials if trial.whole]
    best = max(complete, key=lambda trial: (trial.objective, -trial.number), default=None)
    seconds = sum(sum(trial.seconds) for trial in trials)
    top = sum(sum(trial.seconds) for trial in complete)
    return Replayed(
        rule="as recorded",
        budget=seconds,
        seconds=seconds,
        started=len(trials),
        complete=len(complete),
        value=best.objective if best else None,
        number=best.number if best else None,
        top=top / seconds if seconds else 0.0,
        unknown=0,
        exhausted=True,
    )


def replays(store: Store, study: str, rules: Sequence[Rule], budgets: Sequence[float]) -> list[Replayed]:
    """Returns what the study came to, and what each rule would have come to with each budget.

    Args:
        rules: none stands for `common_rules`.
        budgets: as parts of the seconds that the study trained.

    Raises:
        StudyError: the study does not exist.
    """
    trials = recorded(store, study)
    schedule = int(store.studies.get(study).sweep_json["epochs"])
    first = as_recorded(trials)
    found = [
        replay(trials, rule, schedule, part * first.seconds) for part in budgets for rule in rules or common_rules()
    ]
    return [first, *found]


def rules_of(sweep_text: str, searches: Sequence[str], pruners: Sequence[str]) -> list[Rule]:
    """Returns the rules that a user names, in the words of a sweep.

    Args:
        sweep_text: of the study.
        searches, pruners: each is the value of `search` or of `pruner`.

    Raises:
        SweepError: one is not valid.
    """
    found = []
    for text in searches:
        sweep = _with(sweep_text, f"--search {text}", [f"search={text}", "pruner=none"])
        found.append(Rule(f"search: {text}", sweep.search))
    for text in pruners:
        sweep = _with(sweep_text, f"--pruner {text}", ["search=prune", f"pruner={text}"])
        found.append(Rule(f"pruner: {text}", pruner=sweep.pruner))
    return found


def _with(sweep_text: str, option: str, changes: Sequence[str]) -> Sweep:
    """Returns the sweep of a study with another rule. An error names the option."""
    try:
        return loads_sweep(sweep_text, Path("replay.yaml"), changes)
    except SweepError as error:
        places = [f"{origin(change)}: " for change in changes]
        why = "; ".join(_without(places, problem) for problem in error.problems) or error.message
        raise SweepError(f"{option} is not valid: {why}.", error.hint) from error


def _without(places: Sequence[str], problem: str) -> str:
    """Returns a problem without the place at its beginning, if it is one of these."""
    return next((problem.removeprefix(place) for place in places if problem.startswith(place)), problem)


class _Quiet:
    """Keeps Optuna from printing a line for each study."""

    def __enter__(self) -> None:
        self.before = optuna.logging.get_verbosity()
        optuna.logging.set_verbosity(optuna.logging.WARNING)

    def __exit__(self, *_: object) -> None:
        optuna.logging.set_verbosity(self.before)
