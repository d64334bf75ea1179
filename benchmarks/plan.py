"""Compares what `fer-tune run --plan` forecasts with what then happens, for several sweeps.

    python -m benchmarks.plan --data demo --devices cpu --lanes 1 --out plan.json
    python -m benchmarks.plan --data FILE --sweeps "deep_cnn:60,simple_cnn:60,deep_cnn:60,resnet:8"

Each sweep is `NAME:TRIALS` and has no limit of time. So the plan must say what so many trials will
cost. `NAME:60s` has a limit of 60 s; there the plan must say how many trials will start. All use
one new storage folder. So the first sweep of a family is planned from a probe, and a second one
from the trials of the first. Each has another seed, so that no two are the same search. `--seed`
is that of the first sweep, so that two records need not have the same searches.

On a machine whose speed drifts by a quarter within minutes, no forecast is within 15 % for sure.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import optuna

from benchmarks.circumstances import commit, device, today, versions
from benchmarks.sweep import fer_tune, set_words
from fer_tune.settings import Settings
from fer_tune.sources.spending import COMPARED

SWEEPS = "demo:30,demo:40,demo:36,demo:90s,demo:60s"

MANY = 10_000
"""Trials that no sweep here has the time for."""

WITHIN = 0.15
"""How far a forecast may be from what happened."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Plans and runs each sweep, and writes one JSON file after each."""
    made = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    made.add_argument("--sweeps", default=SWEEPS)
    made.add_argument("--data", required=True)
    made.add_argument("--devices")
    made.add_argument("--workers", default="1")
    made.add_argument("--lanes", default="auto")
    made.add_argument("--seed", type=int, default=0, help="of the first sweep; each later one has the next seed")
    made.add_argument("--set", action="append", default=[], dest="changes")
    made.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "plan.json")
    options = made.parse_args(arguments)
    record: dict[str, Any] = {"device": device(), "versions": versions(), "commit": commit(), "date": today()}
    record |= {"within": WITHIN, "sweeps": []}
    with tempfile.TemporaryDirectory(prefix="fer-tune-plan-") as folder:
        os.environ["FER_TUNE_DIR"] = folder
        for seed, given in enumerate(options.sweeps.split(","), start=options.seed):
            record["sweeps"].append(compared(given, seed, options))
            options.out.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
            print(line(record["sweeps"][-1]), flush=True)


def compared(given: str, seed: int, options: argparse.Namespace) -> dict[str, Any]:
    """Returns the plan of one sweep beside what it took.

    Args:
        given: `NAME:TRIALS` or `NAME:SECONDSs`.
        seed: of its sampler and trials.
    """
    name, _, limit = given.partition(":")
    timed, study = limit.endswith("s"), f"plan-{seed}"
    words = [name, "--study", study, "--seed", str(seed), "--data", options.data]
    words += ["--workers", options.workers, "--lanes", options.lanes]
    words += [] if options.devices is None else ["--devices", options.devices]
    hours, trials = (float(limit[:-1]) / 3600, MANY) if timed else ("null", limit)
    limits = [f"budget.hours={hours}", f"budget.trials={trials}"]
    words += set_words([*limits, *options.changes])
    planned = fer_tune(["run", *words, "--plan"])
    ran = fer_tune(["run", *words, "--wandb", "disabled"])
    found = optuna.load_study(study_name=study, storage=Settings.from_environment().url).user_attrs[COMPARED]
    what = "started" if timed else "device_seconds"
    expected, took = found["expected"][what], found["took"][what]
    return {
        "sweep": given,
        "forecast": what,
        "expected": expected,
        "took": took,
        "forecasts": found,
        "error": round(took / expected["middle"] - 1, 3),
        "in_range": expected["low"] <= took <= expected["high"],
        "plan_seconds": planned["seconds"],
        "wall_seconds": ran["seconds"],
        "plan": planned["output"],
    }


def line(one: dict[str, Any]) -> str:
    """Returns one comparison in words."""
    expected, verdict = one["expected"], "within" if abs(one["error"]) <= WITHIN else "NOT within"
    return (
        f"{one['sweep']}: {one['forecast']} expected {expected['middle']:.1f} "
        f"({expected['low']:.1f} to {expected['high']:.1f}), took {one['took']:.1f}: "
        f"{one['error']:+.0%}, {verdict} {WITHIN:.0%}. The plan took {one['plan_seconds']:.0f} s."
    )


if __name__ == "__main__":
    main()
