"""Sweeps that take no time: only the training is replaced, and does as its parameters say."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from fer_tune.data.policy import SplitPolicy
from fer_tune.job import Value
from fer_tune.sweep.schema import Budget, PrunerSpec, SamplerSpec, SearchSpec, Start, Sweep
from fer_tune.sweep.space import Choice, Fixed, Parameter, Range


def make_sweep(
    study: str = "s",
    *,
    start: Sequence[dict[str, Value]] = (),
    epochs: int = 3,
    pruner: PrunerSpec | None = None,
    hours: float | None = None,
    retries: int = 2,
    budget: int = 4,
    search: SearchSpec | None = None,
    **fixed: Value,
) -> Sweep:
    """A sweep for `Obedient`: what it searches is how it behaves."""
    domains = {
        "value": Range(0.0, 0.9),
        "seconds": Fixed(0.005),
        "die": Choice((0, 1, 2, 3)),
        "deaf": Fixed(False),
        **{name: Fixed(value) for name, value in fixed.items()},
    }
    if "die" not in fixed and not any("die" in params for params in start):
        domains["die"] = Fixed(0)
    return Sweep(
        study=study,
        family="simple_cnn",
        data="fer2013",
        split=SplitPolicy(),
        objective="val_accuracy",
        sampler=SamplerSpec("random"),
        pruner=pruner or PrunerSpec("none"),
        budget=Budget(trials=budget, epochs=epochs, hours=hours),
        seed=1,
        patience=0,
        retries=retries,
        space={name: Parameter(name, name, domain) for name, domain in domains.items()},
        start=tuple(Start(None, params) for params in start),
        path=Path(f"{study}.yaml"),
        search=search or SearchSpec(),
    )


def obedient_sweep(trials: int, hours: float | None = None) -> Sweep:
    """Four epochs at `value` and a hundredth more each; what falls below the median is pruned."""
    return Sweep(
        study="obedient",
        family="simple_cnn",
        data="fer2013",
        split=SplitPolicy(),
        objective="val_accuracy",
        sampler=SamplerSpec("random"),
        pruner=PrunerSpec("median", {"n_startup_trials": 1, "n_warmup_steps": 0}),
        budget=Budget(trials=trials, epochs=4, hours=hours),
        seed=1,
        patience=0,
        retries=0,
        space={
            "value": Parameter("value", "value", Range(0.0, 0.9)),
            "seconds": Parameter("seconds", "seconds", Fixed(0.0)),
            "die": Parameter("die", "die", Fixed(0)),
        },
        start=(Start("by hand", {"value": 0.5}), Start(None, {"value": 0.1})),
        path=Path("obedient.yaml"),
    )
