"""Runs a sweep as a user would, then best and retrain, and stores what came out.

    python -m benchmarks.sweep sweeps/resnet.yaml --data FILE --hours 0.1 --out result.json

Every figure is read back from the commands' own output or from the database; wall times include
starting Python.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.circumstances import commit, device, versions
from fer_tune.settings import Settings
from fer_tune.store import Store

HAND_TUNED_TEST = 0.5816
"""The accuracy on test that a person reached by hand; a sweep is timed until a trial's val
accuracy passes it."""


def main() -> None:
    """Runs the commands and writes one JSON file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("sweep", type=Path)
    parser.add_argument("--data", required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--hours", type=float)
    parser.add_argument("--trials", type=int)
    parser.add_argument("--workers", default="1")
    parser.add_argument("--lanes", default="auto")
    parser.add_argument("--devices", help="of the workers, and of the final fit")
    parser.add_argument("--set", action="append", default=[], dest="changes")
    parser.add_argument("--retrain-epochs", type=int)
    parser.add_argument("--retrain-until", default="best", choices=["best", "end"])
    parser.add_argument("--retrain-set", action="append", default=[], dest="retrain_changes")
    parser.add_argument("--only", choices=["search", "retrain"], help="half of it; retrain continues the file")
    options = parser.parse_args()

    result = json.loads(options.out.read_text(encoding="utf-8")) if options.only == "retrain" else search(options)
    _write(options.out, result)  # a final fit that is cut off must not take the sweep with it
    if options.only != "search":
        result |= retrain(options)
        _write(options.out, result)
    print(json.dumps({key: value for key, value in result.items() if not key.endswith("output")}, indent=2))


def search(options: argparse.Namespace) -> dict[str, Any]:
    """Runs the sweep and looks at what it found."""
    study = options.sweep.stem
    run = ["run", str(options.sweep), "--data", options.data, "--workers", options.workers, "--wandb", "disabled"]
    run += ["--lanes", options.lanes]
    run += [] if options.devices is None else ["--devices", options.devices]
    run += _given(options, "hours", "trials") + set_words(options.changes)
    began = datetime.now(UTC)
    ran = fer_tune(run)
    best = fer_tune(["best", "--study", study, "--json"])
    trials = fer_tune(["trials", "--study", study, "--json"])
    rows = json.loads(trials["output"])
    winner = json.loads(best["output"])["trials"][0]
    states = [row["state"] for row in rows]
    return {
        "study": study,
        "family": _family(study),
        "device": device(),
        "versions": versions(),
        "commit": commit(),
        "date": began.date().isoformat(),
        "command": ran["command"],
        "wall_seconds": ran["seconds"],
        "best_command": best["command"],
        "trained_epochs": trained_epochs(study),
        "trials": {state: states.count(state) for state in sorted(set(states))},
        "found": [{key: row[key] for key in ("number", "state", "value", "epochs", "name", "seconds")} for row in rows],
        "best_trial": winner["number"],
        "best_val_accuracy": winner["value"],
        "best_params": winner["params"],
        "optuna_best": _optuna_best(study),
        "seconds_to_pass_hand_tuned": seconds_to_pass(study, began, HAND_TUNED_TEST),
        "output": ran["output"][-3000:],
        "retrain": None,
    }


def retrain(options: argparse.Namespace) -> dict[str, Any]:
    """Runs the final fit of the sweep's best, and tests it."""
    study = options.sweep.stem
    words = ["retrain", "--study", study]
    words += [] if options.retrain_epochs is None else ["--epochs", str(options.retrain_epochs)]
    words += ["--until", options.retrain_until]
    words += [] if options.devices is None else ["--devices", options.devices]
    words += set_words(options.retrain_changes)
    retrained = fer_tune(words)
    return {
        "retrain_command": retrained["command"],
        "retrain_wall_seconds": retrained["seconds"],
        "retrain_output": retrained["output"][-3000:],
        "retrain": _metrics(study),
    }


def _write(path: Path, result: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


def _given(options: argparse.Namespace, *names: str) -> list[str]:
    return [word for name in names if getattr(options, name) for word in (f"--{name}", str(getattr(options, name)))]


def fer_tune(words: list[str]) -> dict[str, Any]:
    """Runs `fer-tune` with these words; ends the benchmark if it fails."""
    started = time.perf_counter()
    done = subprocess.run([sys.executable, "-m", "fer_tune", *words], capture_output=True, text=True, check=False)
    seconds = round(time.perf_counter() - started, 2)
    command = command_of(words)
    if done.returncode != 0:
        sys.exit(
            f"{command} ended with {done.returncode} after {seconds} s:\n{done.stdout[-3000:]}{done.stderr[-5000:]}"
        )
    folder = str(Settings.from_environment().root)  # whose place on this machine is nobody's business
    return {"command": command, "seconds": seconds, "output": done.stdout.replace(folder, "storage")}


def set_words(changes: Iterable[str]) -> list[str]:
    """Returns the words of a command line for changes of a sweep: `--set KEY=VALUE` for each."""
    return [word for change in changes for word in ("--set", change)]


def command_of(words: Sequence[str]) -> str:
    """Returns the command, with files without their folders, which are this machine's."""
    return "fer-tune " + shlex.join(Path(word).name if word.startswith(("/", ".")) else word for word in words)


def _optuna_best(study: str) -> dict[str, Any]:
    """What Optuna's own command line calls the best trial of the same file."""
    words = ["best-trial", "--storage", Settings.from_environment().url, "--study-name", study, "-f", "json"]
    start = [sys.executable, "-c", "from optuna.cli import main; import sys; sys.argv[0] = 'optuna'; sys.exit(main())"]
    done = subprocess.run([*start, *words], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        return {"error": done.stderr[-500:]}
    found: dict[str, Any] = json.loads(done.stdout)
    return {"number": found.get("number"), "value": found.get("value", found.get("values"))}


def trained_epochs(study: str) -> int:
    """Returns how many epochs all trials trained, also those that did not end."""
    with Store.of(Settings.from_environment(), create=False) as store:
        return sum(map(len, store.epochs.curves(study).values()))


def seconds_to_pass(study: str, began: datetime, threshold: float) -> float | None:
    """From `began` until the first epoch of any trial whose val accuracy exceeds `threshold`.

    None if none did.
    """
    with Store.of(Settings.from_environment(), create=False) as store:
        passed = []
        for attempt in store.jobs.attempts(study):
            at = (attempt.started - began).total_seconds()
            for row in store.epochs.all(study, attempt.job):
                if row.attempt != attempt.attempt:
                    continue
                at += row.seconds
                if row.val_accuracy > threshold:
                    passed.append(at)
                    break
    return round(min(passed), 2) if passed else None


def _family(study: str) -> str:
    with Store.of(Settings.from_environment(), create=False) as store:
        return store.studies.get(study).family


def _metrics(study: str) -> dict[str, Any]:
    """The newest final fit's metrics.json."""
    found = sorted(Settings.from_environment().artifacts.glob(f"{study}-*/*/metrics.json"), key=os.path.getmtime)
    metrics: dict[str, Any] = json.loads(found[-1].read_text(encoding="utf-8"))
    return metrics


if __name__ == "__main__":
    main()
