"""Ray Tune's side of `benchmarks.orchestration`: a driver that searches with OptunaSearch and ASHA.

It runs in an environment of its own (benchmarks/orchestration-rivals.txt), so it imports nothing of
fer-tune. It prints one line of JSON.
"""

from __future__ import annotations

import json
import math
import random
import sys
import tempfile
import time
from typing import Any

import psutil
import ray
from ray import tune
from ray.tune.schedulers import ASHAScheduler
from ray.tune.search.optuna import OptunaSearch

EPOCHS, GRACE = 30, 5


class Sampled(tune.Trainable):  # type: ignore[misc]
    """A trial that trains nothing, and reports a sampled learning curve as fast as it is asked."""

    def setup(self, config: dict[str, float]) -> None:
        """Draws the curve of a configuration."""
        draws = random.Random(json.dumps(config, sort_keys=True))
        top, pace = draws.uniform(0.3, 0.7), draws.uniform(2.0, 8.0)
        self.curve = [top * (1 - math.exp(-e / pace)) + draws.gauss(0, 0.004) for e in range(1, EPOCHS + 1)]

    def step(self) -> dict[str, Any]:
        """Reports an epoch."""
        value = self.curve[self.iteration]
        return {"accuracy": value, "done": self.iteration + 1 >= EPOCHS}

    def reset_config(self, new_config: dict[str, float]) -> bool:
        """Lets the actor take the next trial."""
        self.setup(new_config)
        return True

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        """Leaves nothing."""


def main(*, slots: int, trials: int, space: dict[str, tuple[float, float, bool]], seed: int, folder: str) -> None:
    """Runs the search and prints what it cost."""
    ray.init(num_cpus=slots, _temp_dir=folder, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    searched = {
        name: tune.loguniform(low, high) if log else tune.uniform(low, high) for name, (low, high, log) in space.items()
    }
    config = tune.TuneConfig(
        metric="accuracy",
        mode="max",
        search_alg=OptunaSearch(seed=seed),
        scheduler=ASHAScheduler(max_t=EPOCHS, grace_period=GRACE),
        num_samples=trials,
        max_concurrent_trials=slots,
        reuse_actors=True,
    )
    began, others = time.process_time(), processor_of_others()
    quiet = tune.RunConfig(verbose=0, storage_path=folder)
    results = tune.Tuner(Sampled, param_space=searched, tune_config=config, run_config=quiet).fit()
    spent, others = time.process_time() - began, processor_of_others() - others
    rows = sum(int(result.metrics["training_iteration"]) for result in results)
    print(
        json.dumps(
            {
                "slots": slots,
                "trials": len(results),
                "rows": rows,
                "cpu_ms_a_trial": round(1000 * spent / len(results), 3),
                "cpu_ms_a_row": round(1000 * spent / rows, 3),
                "cpu_ms_a_trial_of_other_processes": round(1000 * others / len(results), 3),
                "ray": ray.__version__,
            }
        )
    )


def processor_of_others() -> float:
    """Returns the processor seconds of Ray's other processes that still run."""
    seconds = 0.0
    for process in psutil.Process().children(recursive=True):
        try:
            times = process.cpu_times()
        except psutil.Error:
            continue
        seconds += times.user + times.system
    return seconds


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(prefix="ray-", ignore_cleanup_errors=True) as place:
        main(**json.loads(sys.argv[1]), folder=place)
