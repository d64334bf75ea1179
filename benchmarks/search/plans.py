"""Says how right plans are where only chance can spoil them: in the simulation.

    python -m benchmarks.search.plans
    python -m benchmarks.search.plans --sweeps deep_cnn:150 --repeats 8 --out FILE

On a real machine a plan is also wrong because the machine's speed drifts. Here an epoch takes what
the simulator says. Several searches of a sweep are played in one database, one after another, each
with a seed of its own. The first one is planned from a probe, and the others from those before.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import astuple, dataclass, replace
from pathlib import Path
from statistics import fmean
from typing import Any

from benchmarks.circumstances import commit, machine, today, versions
from benchmarks.plan import WITHIN
from benchmarks.search.clock import VirtualClock
from benchmarks.search.curves import SWEEPS
from benchmarks.search.models import simulator_of
from benchmarks.search.play import opened, temporary_folder
from benchmarks.search.pool import SimulatedPool
from benchmarks.search.simulator import Simulator
from fer_tune.jobs.limits import Limits
from fer_tune.jobs.observers import Observers
from fer_tune.jobs.runner import Runner
from fer_tune.jobs.signals import Signals
from fer_tune.selection.cost import Forecast, ForecastRange, TrialPace, forecast
from fer_tune.settings import Settings, sqlite_url
from fer_tune.sources.plan import DRIFT, shape_of
from fer_tune.sources.probed_pace import probed_pace
from fer_tune.sources.recorded_pace import recorded_pace
from fer_tune.sources.search import Search
from fer_tune.store import Store
from fer_tune.sweep import load_sweep
from fer_tune.sweep.schema import Sweep

RESULT = Path(__file__).parents[1] / "results" / "plan-simulated.json"

DEVICE = "simulated"
"""The name of the device in the databases."""

NO_LIMITS = Limits(hang_timeout=1e9, job_timeout=None, retries=0, hours=None)


def main(arguments: Sequence[str] | None = None) -> None:
    """Plays the searches of each sweep, and writes one JSON file."""
    made = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    made.add_argument("--sweeps", default="deep_cnn:60,simple_cnn:50", help="FAMILY:TRIALS, with commas")
    made.add_argument("--repeats", type=int, default=12, help="databases of each sweep")
    made.add_argument("--searches", type=int, default=4, help="in each database")
    made.add_argument("--out", type=Path, default=RESULT)
    options = made.parse_args(arguments)
    if options.searches < 2:
        made.error("a database needs two searches: one that is planned from a probe, and one from the first")
    record: dict[str, Any] = {"machine": machine(), "versions": versions("optuna", "numpy"), "commit": commit()}
    record |= {"date": today(), "within": WITHIN, "searches": options.searches, "sweeps": {}}
    for given in options.sweeps.split(","):
        family, _, trials = given.partition(":")
        sweep = load_sweep(SWEEPS / f"{family}.yaml")
        simulator = simulator_of(sweep)
        limits = [f"budget.{one}" for one in ("hours=null", f"trials={trials}", f"epochs={simulator.epochs}")]
        sweep = load_sweep(SWEEPS / f"{family}.yaml", limits)
        played = [database(sweep, simulator, options.searches, place) for place in range(options.repeats)]
        record["sweeps"][given] = summary(played) | {"databases": [[one.as_dict() for one in each] for each in played]}
        options.out.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
        print(line(given, record["sweeps"][given]), flush=True)


@dataclass(frozen=True)
class Played:
    """A search that was played.

    Attributes:
        took: device-seconds.
        expected: what its plan said.
        probed: whether that came from a probe: for the first one of a database.
    """

    took: float
    expected: ForecastRange
    probed: bool = False

    @property
    def error(self) -> float:
        """How much more it took than expected, as a part of that."""
        return self.took / self.expected.middle - 1

    def as_dict(self) -> dict[str, Any]:
        """Returns it for the record."""
        expected = astuple(self.expected)
        return {"took": self.took, "expected": expected, "error": round(self.error, 3), "probed": self.probed}


def database(sweep: Sweep, simulator: Simulator, searches: int, place: int) -> list[Played]:
    """Returns the searches that were played one after another in a new database.

    Args:
        sweep: its budget is a number of trials.
        place: of the database; no two have a seed in common.
    """
    found = []
    with temporary_folder() as root:
        settings = Settings(root, sqlite_url(root / "fer_tune.db"))
        with Store.of(settings) as store:
            for index in range(searches):
                seed = 1 + searches * place + index
                one = replace(sweep, study=f"plan-{index}", seed=seed, sampler=replace(sweep.sampler, seed=None))
                found.append(_planned_and_played(one, simulator, store, settings))
    return found


def _planned_and_played(sweep: Sweep, simulator: Simulator, store: Store, settings: Settings) -> Played:
    with opened(sweep, store, settings) as search:
        earlier = recorded_pace(store, sweep, search.record, (DEVICE,))
        plan = _plan(sweep, search, earlier or _probed(sweep, simulator, search))
        clock = VirtualClock(own=False)
        pool = SimulatedPool(simulator, clock)
        observers = Observers([], settings.logs / "observers.log")
        Runner(search, pool, store, observers, Signals(), NO_LIMITS, clock=clock).run()
    # A trial that continues from a checkpoint reports its epochs again.
    epochs = {(row.job, row.epoch): row.device_seconds for row in store.epochs.all(sweep.study)}
    return Played(sum(epochs.values()), plan.device_seconds, probed=earlier is None)


def _probed(sweep: Sweep, simulator: Simulator, search: Search) -> TrialPace:
    clock = VirtualClock(own=False)
    found = probed_pace(sweep, SimulatedPool(simulator, clock), search.data, lanes=1, clock=clock)
    assert found is not None, "all simulated trials failed"
    return found


def _plan(sweep: Sweep, search: Search, pace: TrialPace) -> Forecast:
    """Returns what the search will cost."""
    shape = replace(shape_of(sweep, search.spending.so_far(), devices=1), drift=DRIFT)
    return forecast(shape, pace, search.rehearsed(pace, alone=True))


def summary(databases: Sequence[Sequence[Played]]) -> dict[str, Any]:
    """Returns how many plans were right, and how much searches differ from one another."""
    every = [one for played in databases for one in played]
    took = [one.took for one in every]
    return {
        "recorded": _right([one for one in every if not one.probed]),
        "probed": _right([one for one in every if one.probed]),
        "cheapest": round(min(took), 1),
        "mean": round(fmean(took), 1),
        "dearest": round(max(took), 1),
    }


def _right(plans: Sequence[Played]) -> dict[str, Any]:
    """Returns how many plans were right."""
    return {
        "plans": len(plans),
        "within": sum(abs(one.error) <= WITHIN for one in plans),
        "in_range": sum(one.expected.holds(one.took) for one in plans),
        "mean_error": round(fmean(one.error for one in plans), 3),
    }


def line(given: str, found: dict[str, Any]) -> str:
    """Returns the plans of a sweep in words."""
    sources = {"recorded": "earlier trials", "probed": "a probe"}
    told = [_told(found[name], source) for name, source in sources.items()]
    cost = f"A search took {found['cheapest']} to {found['dearest']} s, on average {found['mean']}."
    return f"{given}: {' '.join([*told, cost])}"


def _told(right: dict[str, Any], source: str) -> str:
    return (
        f"{right['within']} of {right['plans']} plans from {source} within {WITHIN:.0%}, "
        f"{right['in_range']} in their range, on average {right['mean_error']:+.1%}."
    )


if __name__ == "__main__":
    main()
