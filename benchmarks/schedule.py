"""What `schedule: deterministic` costs: waiting workers, and the accuracy that is found.

    python -m benchmarks.schedule [--family deep_cnn] [--workers 1,2,8,16] [--seeds 4]

The search is real: source, runner and store. The workers are simulated; see benchmarks/search. Each
worker has a device of its own and a speed of its own, between 0.7 and 1.3 times the measured one,
and each epoch varies by a tenth. A run lasts as long as the family's shipped sweep, without start
configurations. Writes benchmarks/results/schedule.json, and prints its rows.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks.circumstances import commit, machine, today, versions
from benchmarks.search.curves import SWEEPS
from benchmarks.search.models import simulator_of
from benchmarks.search.play import play
from benchmarks.search.pool import SimulatedPool, _Lane
from benchmarks.search.simulator import Simulator
from fer_tune.sweep import Sweep, load_sweep
from fer_tune.sweep.schema import ScheduleSpec

RECORD = Path(__file__).parent / "results" / "schedule.json"

SEARCHES = {
    "promote": [],
    "prune": ["sampler=tpe", "search=prune", "pruner={name: median, n_warmup_steps: 5}"],
}
"""The shipped sweep's search, and another one, as changes of the sweep."""

SLOTS = (None, 8, 16)
"""Logical slots; None is the asynchronous schedule."""


class UnevenPool(SimulatedPool):
    """A pool whose workers have speeds of their own."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self._draws = random.Random(self.slots)
        self._speeds = [self._draws.uniform(0.7, 1.3) for _ in range(self.slots)]

    def _seconds(self, lane: _Lane, epoch: int) -> float:
        before = self.trained
        seconds = super()._seconds(lane, epoch) * self._draws.uniform(0.9, 1.1)
        seconds *= self._speeds[self._lanes.index(lane)]
        self.trained = before + seconds
        return seconds


def main(arguments: Sequence[str] | None = None) -> None:
    """Plays all runs, and writes one JSON file."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--family", default="deep_cnn")
    parser.add_argument("--searches", default=",".join(SEARCHES), help="others keep their rows in the file")
    parser.add_argument("--workers", default="1,2,8,16")
    parser.add_argument("--seeds", type=int, default=4)
    parser.add_argument("--seconds", type=float, help="of a run; by default the sweep's hours")
    parser.add_argument("--invented", type=int, default=0, help="play so many invented curves")
    parser.add_argument("--out", type=Path, default=RECORD)
    options = parser.parse_args(arguments)
    path = SWEEPS / f"{options.family}.yaml"
    simulator = simulator_of(load_sweep(path), None, options.invented, None)
    counts = [int(text) for text in options.workers.split(",")]
    found: list[dict[str, Any]] = []
    if options.out.exists():
        before = json.loads(options.out.read_text(encoding="utf-8"))["rows"]
        found = [row for row in before if row["search"] not in options.searches.split(",")]
    for search in options.searches.split(","):
        sweep = load_sweep(path, ["start=[]", "search.prior=null", *SEARCHES[search]])
        seconds = options.seconds or 3600 * (sweep.budget.hours or 0.05)
        found += [row | {"search": search} for row in rows(sweep, simulator, counts, options.seeds, seconds)]
    record = {
        "family": options.family, "seconds": seconds, "invented": bool(options.invented), "rows": found,
        "machine": machine(), "versions": versions("optuna", "numpy"), "commit": commit(), "date": today(),
    }  # fmt: skip
    options.out.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


def rows(
    sweep: Sweep, simulator: Simulator, counts: Sequence[int], seeds: int, seconds: float
) -> Iterator[dict[str, Any]]:
    """Yields a row for each number of workers and each schedule: means over the seeds."""
    for count in counts:
        for slots in SLOTS:
            schedule = ScheduleSpec() if slots is None else ScheduleSpec(name="deterministic", slots=slots)
            chosen = replace(sweep, schedule=schedule)
            traces = [
                play(chosen, simulator, seed=seed, seconds=seconds, slots=count, workers=UnevenPool)
                for seed in range(seeds)
            ]
            idle = [1 - trace.facts["trained_seconds"] / (count * seconds) for trace in traces]
            found = [trace.at(seconds) or 0.0 for trace in traces]
            row = {
                "workers": count,
                "slots": slots,
                "seeds": seeds,
                "idle_share": round(statistics.mean(idle), 4),
                "accuracy": round(statistics.mean(found), 4),
                "spread": round(statistics.stdev(found), 4) if seeds > 1 else None,
                "trials": round(statistics.mean(trace.jobs for trace in traces), 1),
            }
            print(json.dumps(row), flush=True)
            yield row


if __name__ == "__main__":
    main()
