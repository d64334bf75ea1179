"""Plain Optuna in memory: random search, and TPE with three pruners, each with its defaults."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import optuna
from optuna.pruners import BasePruner, HyperbandPruner, MedianPruner, NopPruner, SuccessiveHalvingPruner
from optuna.samplers import BaseSampler, RandomSampler, TPESampler
from optuna.trial import Trial, TrialState

from benchmarks.search.slots import RivalFactory, Task
from fer_tune.sweep import Sweep
from fer_tune.sweep.space import Choice, Fixed, Space, keyed


class PlainOptuna:
    """A study as Optuna's documentation shows it, with ask and tell."""

    def __init__(self, sweep: Sweep, sampler: BaseSampler, pruner: BasePruner) -> None:
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._space, self._epochs = sweep.space, sweep.budget.epochs
        self._study = optuna.create_study(direction="maximize", sampler=sampler, pruner=pruner)
        for start in sweep.start:
            self._study.enqueue_trial(keyed(sweep.space, start.params))

    def next(self) -> Task:
        """Returns the next trial."""
        trial = self._study.ask()
        return Task(trial.number, suggest(trial, self._space), self._epochs, trial)

    def report(self, task: Task, epoch: int, value: float) -> bool:
        """Reports an epoch. Returns whether the pruner stops the trial."""
        task.handle.report(value, epoch)
        return bool(task.handle.should_prune()) and epoch < self._epochs

    def ended(self, task: Task, value: float | None, stopped: bool) -> None:
        """Tells how a trial ended."""
        if stopped:
            self._study.tell(task.handle, state=TrialState.PRUNED)
        elif value is None:
            self._study.tell(task.handle, state=TrialState.FAIL)
        else:
            self._study.tell(task.handle, value)


def suggest(trial: Trial, space: Space) -> dict[str, Any]:
    """Returns the parameters of a trial, drawn in the order of the space."""
    params: dict[str, Any] = {}
    for key, parameter in space.items():
        domain: Any = parameter.domain
        if not parameter.active(params):
            continue
        if isinstance(domain, Fixed):
            params[parameter.name] = domain.value
        elif isinstance(domain, Choice):
            params[parameter.name] = trial.suggest_categorical(key, domain.choices)
        elif domain.integer:
            low, high, step = int(domain.low), int(domain.high), int(domain.step or 1)
            params[parameter.name] = trial.suggest_int(key, low, high, step=step, log=domain.log)
        else:
            params[parameter.name] = trial.suggest_float(key, domain.low, domain.high, step=domain.step, log=domain.log)
    return params


def _tpe(pruner: Callable[[int], BasePruner]) -> RivalFactory:
    return lambda sweep, seed, slots: PlainOptuna(sweep, TPESampler(seed=seed), pruner(sweep.budget.epochs))


FACTORIES: dict[str, RivalFactory] = {
    "random": lambda sweep, seed, slots: PlainOptuna(sweep, RandomSampler(seed=seed), NopPruner()),
    "tpe+median": _tpe(lambda epochs: MedianPruner()),
    "tpe+hyperband": _tpe(lambda epochs: HyperbandPruner(max_resource=epochs)),
    "tpe+halving": _tpe(lambda epochs: SuccessiveHalvingPruner()),
}
