"""The sides of `benchmarks.orchestration`, each in a process of its own.

    python -m benchmarks.orchestration_arms '{"arm": "optuna", "folder": "x", ...}'

It prints what it measured as one line of JSON.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from benchmarks.simulated_pool import Enough, Measured, SimulatedPool, curve
from fer_tune.settings import Settings
from fer_tune.sweep.load import loads_sweep
from fer_tune.sweep.schema import Sweep
from fer_tune.sweep.space import Choice, Fixed

SWEEPS = Path(__file__).parents[1] / "sweeps"

EPOCHS = 30
SEED = 1

FLAT: dict[str, tuple[float, float, bool]] = {
    "lr": (1e-4, 3e-1, True),
    "weight_decay": (1e-6, 1e-1, True),
    "momentum": (0.8, 0.97, False),
    "warmup": (0.0, 0.2, False),
    "label_smoothing": (0.0, 0.2, False),
    "self_distillation": (0.0, 0.9, False),
    "head_dropout": (0.0, 0.7, False),
    "head_dropout2": (0.0, 0.6, False),
    "block_dropout": (0.0, 0.2, False),
    "block_dropout_step": (0.0, 0.1, False),
    "augment": (0.0, 1.0, False),
    "mixup": (0.0, 0.6, False),
}
"""The twelve parameters of the space `flat12`: low, high, and whether the range is logarithmic."""

FLAT_SWEEP = f"""
study: flat12
family: deep_cnn
data: demo
sampler: tpe
pruner: {{name: median, n_warmup_steps: 5}}
budget: {{trials: 1, epochs: {EPOCHS}}}
seed: {SEED}
params:
  optimizer: sgd
""" + "".join(f"  {name}: {{low: {low}, high: {high}, log: {log}}}\n" for name, (low, high, log) in FLAT.items())

CHANGES = (
    "data=demo", "start=[]", "sampler=tpe", "pruner={name: median, n_warmup_steps: 5}", f"seed={SEED}",
    "search=null", "patience=0", f"budget.epochs={EPOCHS}", "budget.hours=null",
)  # fmt: skip
"""What makes resnet's sweep the same measurement with another space."""


def sweep_of(space: str, trials: int) -> Sweep:
    """Returns the sweep of a space, with this budget."""
    if space == "flat12":
        return loads_sweep(FLAT_SWEEP, Path("flat12.yaml"), (f"budget.trials={trials}",))
    path = SWEEPS / f"{space}.yaml"
    text = path.read_text(encoding="utf-8")
    return loads_sweep(text, path, (*CHANGES, f"study={space}", f"budget.trials={trials}"))


def settings_of(folder: str) -> Settings:
    """Returns the settings of a storage folder."""
    root = Path(folder)
    return Settings(root, f"sqlite:///{root.as_posix()}/fer_tune.db")


# fer-tune -------------------------------------------------------------------------------------------------------------


def ours(folder: str, space: str, *, slots: int, trials: int, trial_seconds: float, limit: float) -> dict[str, Any]:
    """Runs a real search on simulated workers, or continues it. Returns what it cost.

    Args:
        trials: the budget of the study.
        trial_seconds: how long a trial of all epochs takes.
        limit: processor seconds after which the run is cut short.
    """
    from fer_tune.sources.run import run_sweeps
    from fer_tune.sources.workers import RunOptions

    pool = SimulatedPool(slots, trial_seconds / EPOCHS, limit, SEED)
    options = RunOptions(engine="inline", devices="cpu", wandb="disabled")
    sweep = sweep_of(space, trials)
    began = time.process_time()
    try:
        run_sweeps([sweep], settings_of(folder), options, None, _no_trainer, pool=pool)
        cut = False
    except Enough:
        cut = True
    measured = pool.measured
    measured.opening -= began
    return {"slots": slots, "cut_short": cut} | figures(measured)


def _no_trainer(device: str, threads: int | None) -> Any:
    raise AssertionError("simulated workers train nothing")


def figures(seen: Measured) -> dict[str, Any]:
    """Returns the figures of a run."""
    rows = len(seen.lags)
    return {
        "trials": seen.ends,
        "completed": seen.completed,
        "rows": rows,
        "cpu_ms_a_trial": _ms(seen.processor / max(1, seen.ends)),  # says nothing if the run was cut short
        "cpu_ms_a_row": _ms(seen.processor / max(1, rows)),
        "opening_cpu_seconds": round(seen.opening, 3),
        "share_of_a_core": round(seen.processor / max(seen.elapsed, 1e-9), 3),
        "wait_ms": _spread(seen.gaps),
        "row_read_late_ms": _spread(seen.lags),
    }


def _spread(seconds: Sequence[float]) -> dict[str, float]:
    if len(seconds) < 2:
        return {}
    ordered = sorted(seconds)
    return {
        "median": _ms(statistics.median(ordered)),
        "p99": _ms(ordered[min(len(ordered) - 1, int(0.99 * len(ordered)))]),
        "of": len(ordered),
    }


def _ms(seconds: float) -> float:
    return round(1000 * seconds, 3)


# plain Optuna ---------------------------------------------------------------------------------------------------------


def optuna(folder: str, space: str, trials: int, wal: bool) -> dict[str, Any]:
    """Runs `study.optimize` on the same space and the same curves, one trial at a time.

    Args:
        wal: whether SQLite writes ahead and the sampler has fer-tune's options. If not, all is as
            Optuna's documentation has it.
    """
    import warnings

    from optuna import Trial, TrialPruned, create_study, logging
    from optuna.pruners import MedianPruner
    from optuna.samplers import TPESampler
    from optuna.storages import RDBStorage
    from sqlalchemy import event

    logging.set_verbosity(logging.WARNING)
    warnings.simplefilter("ignore")
    Path(folder).mkdir(parents=True, exist_ok=True)
    storage = RDBStorage(f"sqlite:///{folder}/optuna.db")
    sweep = sweep_of(space, trials)
    options: dict[str, Any] = {}
    if wal:
        options = dict(sweep.sampler.options)

        def tune(connection: Any, _: Any) -> None:
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute("PRAGMA synchronous=NORMAL")

        event.listen(storage.engine, "connect", tune)
        storage.engine.dispose()
    sampler = TPESampler(seed=SEED, **options)
    study = create_study(
        storage=storage, study_name=space, direction="maximize", sampler=sampler, pruner=MedianPruner(n_warmup_steps=5)
    )
    rows = 0

    def objective(trial: Trial) -> float:
        nonlocal rows
        params: dict[str, Any] = {}
        for key, parameter in sweep.space.items():
            if parameter.active(params):
                params[parameter.name] = _suggest(trial, key, parameter.domain)
        values = curve(SEED, SEED + trial.number, EPOCHS)
        for epoch, value in enumerate(values, 1):
            rows += 1
            trial.report(value, epoch)
            if trial.should_prune() and epoch < EPOCHS:
                raise TrialPruned
        return max(values)

    began = time.process_time()
    study.optimize(objective, n_trials=trials)
    spent = time.process_time() - began
    return {
        "trials": trials,
        "rows": rows,
        "cpu_ms_a_trial": _ms(spent / trials),
        "cpu_ms_a_row": _ms(spent / rows),
    }


def _suggest(trial: Any, key: str, domain: Any) -> Any:
    if isinstance(domain, Fixed):
        return domain.value
    if isinstance(domain, Choice):
        return trial.suggest_categorical(key, domain.choices)
    if domain.integer:
        return trial.suggest_int(key, int(domain.low), int(domain.high), step=int(domain.step or 1), log=domain.log)
    return trial.suggest_float(key, domain.low, domain.high, step=domain.step, log=domain.log)


ARMS: dict[str, Callable[..., dict[str, Any]]] = {"ours": ours, "optuna": optuna}

if __name__ == "__main__":
    given = json.loads(sys.argv[1])
    print(json.dumps(ARMS[given.pop("arm")](**given)))
