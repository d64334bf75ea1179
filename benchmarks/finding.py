"""Runs a sweep for a given time, then trains its winner again under fresh seeds.

    python -m benchmarks.finding sweeps/deep_cnn.yaml --data FILE --seconds 224 --seed 1
    python -m benchmarks.finding sweeps/deep_cnn.yaml --data FILE --from recipe --out finding.json
    python -m benchmarks.finding sweeps/deep_cnn.yaml --data FILE --from only-recipe

From `nothing` the sweep has no start configuration and no prior. From `recipe` it is as shipped.
`only-recipe` searches nothing: it trains the first start configuration. The winner is the trial
that `fer-tune best` names first. What counts is the mean under the fresh seeds, because the
search's own figure was chosen among many. Each call adds its finding to `--out`.

`--searched` searches nothing: the same command has searched before in this storage folder, and its
end was cut off. The fresh seeds are trained, and the search's seconds come from the database.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.circumstances import commit, device, today, versions
from benchmarks.search.poor import poor_shares
from benchmarks.sweep import command_of, fer_tune, set_words
from fer_tune.selection.spending import fate
from fer_tune.settings import Settings
from fer_tune.store import Store
from fer_tune.sweep import load_sweep
from fer_tune.sweep.rung_levels import levels_of

FROM = ("nothing", "recipe", "only-recipe")

RECORD = Path(__file__).parent / "results" / "finding.json"


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the commands, and adds what came out to the file."""
    options = parser().parse_args(arguments)
    found = finding(options)
    record = json.loads(options.out.read_text(encoding="utf-8")) if options.out.exists() else {"findings": []}
    record["findings"].append(found)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(found, indent=1))
    print(summary(found))


def parser() -> argparse.ArgumentParser:
    """Returns the parser of the command line."""
    made = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    made.add_argument("sweep", type=Path)
    made.add_argument("--data", required=True)
    made.add_argument("--from", default="nothing", choices=FROM, dest="begin")
    made.add_argument("--seconds", type=float, help="wall time of the search; by default the sweep's hours")
    made.add_argument("--seed", type=int, default=0, help="of the sampler and the trials")
    made.add_argument("--fresh", type=int, default=2, help="seeds under which the winner is trained again")
    made.add_argument("--devices", help="of the search")
    made.add_argument("--confirm-devices", help="of the fresh seeds; by default those of the search")
    made.add_argument("--searched", action="store_true", help="the search has ended already")
    made.add_argument("--workers", default="1")
    made.add_argument("--lanes", default="auto")
    made.add_argument("--set", action="append", default=[], dest="changes", help="further changes of the sweep")
    made.add_argument("--out", type=Path, default=RECORD)
    return made


def finding(options: argparse.Namespace) -> dict[str, Any]:
    """Runs the search and the confirmation. Returns what they found and what they cost."""
    study = f"{options.sweep.stem}-{options.begin}-{options.seed}"
    changes = [*changes_of(options.begin), *options.changes]
    devices = [] if options.devices is None else ["--devices", options.devices]
    others = devices if options.confirm_devices is None else ["--devices", options.confirm_devices]
    words = (
        ["run", str(options.sweep), "--study", study, "--data", options.data, "--seed", str(options.seed)]
        + ["--workers", options.workers, "--lanes", options.lanes, "--wandb", "disabled", *devices]
        + (["--hours", str(options.seconds / 3600)] if options.seconds else [])
        + (["--trials", "1"] if options.begin == "only-recipe" else [])
        + set_words(changes)
    )
    ran = earlier(study, words) if options.searched else fer_tune(words)
    best = json.loads(fer_tune(["best", "--study", study, "--json"])["output"])["trials"][0]
    again = ["confirm", study, "--top", "1", "--seeds", str(max(2, options.fresh)), "--lanes", options.lanes]
    confirmed = fer_tune([*again, "--wandb", "disabled", "--json", *others])
    sweep = load_sweep(options.sweep, changes)
    return {
        "family": sweep.family,
        "study": study,
        "from": options.begin,
        "seed": options.seed,
        "budget_seconds": options.seconds or 3600 * (sweep.budget.hours or 0.0),
        "wall_seconds": ran["seconds"],
        **spent(study, levels_of(sweep)[:-1]),
        "winner": winner(study, best["number"]),
        "confirmed": confirmations(study),
        "confirm_seconds": confirmed["seconds"],
        "commands": [ran["command"], confirmed["command"]],
        "device": device(),
        "versions": versions(),
        "commit": commit(),
        "date": today(),
        "output": ran["output"].replace(options.data, Path(options.data).name)[-1500:],
    }


def earlier(study: str, words: Sequence[str]) -> dict[str, Any]:
    """Returns the command of an earlier search, and its seconds from the first start of a trial to
    the last end."""
    with Store.of(Settings.from_environment(), create=False) as store:
        searched = {job.uid for job in store.jobs.of(study, "search")}
        attempts = [one for one in store.jobs.attempts(study) if one.job in searched and one.ended is not None]
    began, ended = min(one.started for one in attempts), max(one.ended for one in attempts if one.ended)
    return {"command": command_of(words), "seconds": round((ended - began).total_seconds(), 2), "output": ""}


def changes_of(begin: str) -> list[str]:
    """Returns the changes of a sweep that take away its start configurations, if they should be."""
    return ["start=[]", "search.prior=null"] if begin == "nothing" else []


def spent(study: str, rungs: Sequence[int]) -> dict[str, Any]:
    """Returns the trials by state, and on what the seconds of the search were spent."""
    with Store.of(Settings.from_environment(), create=False) as store:
        jobs = store.jobs.of(study, "search")
        trained = store.epochs.trained(study, "search")
        seconds: dict[str, float] = {}
        for job in jobs:
            epochs, took = trained.get(job.uid, (0, 0.0))
            what = fate(job.state, epochs, rungs)
            seconds[what] = round(seconds.get(what, 0.0) + took, 1)
        states = [job.state for job in jobs]
        return {
            "trials": {state: states.count(state) for state in sorted(set(states))},
            "epochs": sum(epochs for epochs, _ in trained.values()),
            "spent": seconds,
            "poor": poor_shares(store, study, rungs),
        }


def winner(study: str, number: int) -> dict[str, Any]:
    """Returns the winning trial, and where it came from."""
    from fer_tune.study import trials

    with Store.of(Settings.from_environment(), create=False) as store:
        trial = next(one for one in trials(store, study) if one.number == number)
    return {
        "number": number,
        "name": trial.name,
        "drawn": trial.attrs.get("drawn"),
        "value": trial.value,
        "params": trial.params,
    }


def confirmations(study: str) -> dict[str, Any]:
    """Returns the accuracies of the winner under the fresh seeds, and their mean."""
    with Store.of(Settings.from_environment(), create=False) as store:
        values = [job.value for job in store.jobs.of(study, "confirm") if job.value is not None]
    return {"values": values, "mean": sum(values) / len(values) if values else None}


def summary(found: dict[str, Any]) -> str:
    """Returns a finding in one line."""
    won, again = found["winner"], found["confirmed"]
    mean = "nothing" if again["mean"] is None else f"{again['mean']:.2%}"
    return (
        f"{found['study']}: trial {won['number']} with {won['value']:.2%} after {found['wall_seconds']:.0f} s; "
        f"{mean} under {len(again['values'])} fresh seeds; {found['poor']['never_above_median']:.0%} of the time "
        "went to trials that were never above the median of a rung."
    )


if __name__ == "__main__":
    main()
