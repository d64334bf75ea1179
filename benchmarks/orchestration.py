"""Measures what the orchestrator costs: processor time a trial, waiting slots, and growth.

    python -m benchmarks.orchestration [--slots 2,8,64,512] [--rivals PYTHON] [--quick]

The search is real: source, runner, store, SQLite, notes. The workers are simulated. They send
sampled learning curves of 30 epochs, and the median pruner stops trials after five. Beside it run
plain `study.optimize` on the same curves, as Optuna's documentation has it and with WAL, and Ray
Tune where `--rivals` names a Python that has it (benchmarks/orchestration-rivals.txt). Each
measurement is a process of its own. `simulated_pool.py` says what the clock is.

Writes benchmarks/results/orchestration.json, and prints its tables.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks import orchestration_tables as tables
from benchmarks.circumstances import commit, machine, today, versions
from benchmarks.cloned_trials import clone_trials
from benchmarks.orchestration_arms import FLAT, SEED, settings_of

ROOT = Path(__file__).parents[1]
RECORD = ROOT / "benchmarks" / "results" / "orchestration.json"

FLAT12, RESNET = "flat12", "resnet"
MANY = 512
"""Slots from which an epoch takes a second. With fewer slots, a trial of 30 epochs takes seven."""

BASE = 100
"""Trials that are really run before they are copied."""
MORE = 120
"""Trials by which a study of copied trials is continued: the end of a run, which reads the whole
study once, is a small part of them."""

COMMANDS = (("best", "best"), ("studies", "studies"), ("trials", "trials", "--csv"), ("watch", "watch", "--once"))
"""Names, and the commands that are timed."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Measures, writes one JSON file, and prints the tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--slots", default="2,8,64,512")
    parser.add_argument("--growth", default="100,1000,10000", help="finished trials; empty measures none")
    parser.add_argument("--repeats", type=int, default=3, help="of the short measurements; the median counts")
    parser.add_argument("--limit", type=float, default=120, help="processor seconds after which a run is cut short")
    parser.add_argument("--rivals", default="", help="a Python that has Ray Tune")
    parser.add_argument("--quick", action="store_true", help="a few trials of each, to see that it works")
    parser.add_argument("--out", type=Path, default=RECORD)
    options = parser.parse_args(arguments)
    if options.quick:
        options.slots, options.growth, options.repeats = "2", "20", 1
    load = os.getloadavg()
    with tempfile.TemporaryDirectory(prefix="orchestration-") as folder:
        bench = Bench(Path(folder), options.repeats, options.limit, options.quick)
        slots = [int(text) for text in options.slots.split(",") if text]
        spaces = () if not slots else (FLAT12,) if options.quick else (FLAT12, RESNET)
        result: dict[str, Any] = {"spaces": {space: bench.space(space, slots) for space in spaces}}
        if options.rivals:
            result["ray"] = bench.ray(options.rivals, [count for count in slots if count <= 8])
        result["growth"] = bench.growth([int(text) for text in options.growth.split(",") if text])
    result |= {
        "repeats": options.repeats,
        "load_average_before": [round(value, 2) for value in load],
        "load_average_after": [round(value, 2) for value in os.getloadavg()],
        "date": today(),
        "commit": commit(),
        "versions": versions("optuna", "sqlalchemy", "numpy", "scipy"),
        "machine": f"{machine()}, shared with other work",
    }
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    for table in (tables.orchestration_cost, tables.orchestration_waits, tables.orchestration_growth):
        print(table(result), end="\n\n")


class Bench:
    """Runs the measurements in folders of their own.

    Args:
        limit: processor seconds after which a run is cut short.
        quick: whether a few trials of each are enough.
    """

    def __init__(self, folder: Path, repeats: int, limit: float, quick: bool) -> None:
        self._folder, self._repeats, self._limit, self._quick = folder, repeats, limit, quick
        self._faces = folder / "faces"
        self._number = 0
        from fer_tune.data.load import load_faces

        load_faces("demo", settings_of(str(self._faces)))  # drawn once; every run gets a copy of the cache

    def space(self, space: str, slots: Sequence[int]) -> dict[str, Any]:
        """Measures one space: plain Optuna, and fer-tune with so many slots.

        The short measurements are repeated in turns, because a machine may become slower meanwhile.
        """
        trials = 8 if self._quick else 60
        short: dict[str, Callable[[], dict[str, Any]]] = {
            name: partial(self._arm, "optuna", space=space, trials=trials, wal=wal)
            for name, wal in (("optuna", False), ("optuna_wal", True))
        }
        short |= {f"ours {count}": partial(self._slots, space, count) for count in slots if count <= 8}
        seen: dict[str, list[dict[str, Any]]] = {name: [] for name in short}
        for _ in range(self._repeats):
            for name, measure in short.items():
                seen[name].append(measure())
        middle = {name: _median(found) for name, found in seen.items()}
        long = [self._slots(space, count) for count in slots if count > 8 and (space == FLAT12 or count < MANY)]
        ours = [found for name, found in middle.items() if name.startswith("ours")]
        return {"optuna": middle["optuna"], "optuna_wal": middle["optuna_wal"], "ours": [*ours, *long]}

    def _slots(self, space: str, slots: int) -> dict[str, Any]:
        trials = 6 if self._quick else 2 * slots if slots >= MANY else max(60, 4 * slots)
        seconds = 30.0 if slots >= MANY else 7.0
        return self._arm("ours", space=space, slots=slots, trials=trials, trial_seconds=seconds, limit=self._limit)

    def growth(self, sizes: Sequence[int]) -> list[dict[str, Any]]:
        """Measures studies of so many finished trials: continued, and read."""
        if not sizes:
            return []
        base = min(BASE, *sizes)
        first = self._new()
        self._run_in(first, "ours", space=RESNET, slots=8, trials=base, trial_seconds=7.0, limit=self._limit)
        rows = []
        for size in sizes:
            place = self._new(first)
            clone_trials(place / "fer_tune.db", size)
            commands = {name: self._command(place, words) for name, *words in COMMANDS[: 1 if self._quick else None]}
            more = 4 if self._quick else MORE
            seen = self._run_in(
                place, "ours", space=RESNET, slots=8, trials=size + more, trial_seconds=7.0, limit=self._limit
            )
            rows.append({"finished": size, "commands": commands} | seen)
            shutil.rmtree(place)
        return rows

    def ray(self, python: str, slots: Sequence[int]) -> list[dict[str, Any]]:
        """Measures Ray Tune in a network that has only the loopback."""
        found = []
        for count in slots:
            given = {"slots": count, "trials": 8 if self._quick else 60, "space": FLAT, "seed": SEED}
            script = shlex.join([python, str(ROOT / "benchmarks" / "orchestration_ray.py"), json.dumps(given)])
            command = ["unshare", "-n", "sh", "-c", f"ip link set lo up && exec {script}"]
            found.append(_answer(command, dict(os.environ)))
            _say(f"ray {count}", found[-1])
        return found

    # within -----------------------------------------------------------------------------------------------------------

    def _new(self, like: Path | None = None) -> Path:
        """Returns a new storage folder with the images, or a copy of another one."""
        self._number += 1
        return shutil.copytree(like or self._faces, self._folder / str(self._number))

    def _arm(self, arm: str, **given: Any) -> dict[str, Any]:
        """Runs a measurement in a folder of its own."""
        place = self._new()
        try:
            return self._run_in(place, arm, **given)
        finally:
            shutil.rmtree(place)

    def _run_in(self, place: Path, arm: str, **given: Any) -> dict[str, Any]:
        words = [sys.executable, "-m", "benchmarks.orchestration_arms"]
        found = _answer([*words, json.dumps({"arm": arm, "folder": str(place)} | given)], _environment(place))
        _say(f"{arm} {given['space']} {given.get('slots', '')}", found)
        return found

    def _command(self, place: Path, words: Sequence[str]) -> dict[str, float]:
        """Returns the median seconds that a command takes, of wall and of processor time."""
        walls, processors = [], []
        for _ in range(self._repeats):
            began = time.perf_counter()
            process = subprocess.Popen(
                [sys.executable, "-m", "fer_tune", *words],
                stdout=subprocess.DEVNULL,
                cwd=ROOT,
                env=_environment(place),
            )
            _, status, used = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
            if process.returncode not in (0, 3):
                raise SystemExit(f"fer-tune {' '.join(words)} ended with {process.returncode}")
            walls.append(time.perf_counter() - began)
            processors.append(used.ru_utime + used.ru_stime)
        found = {"wall": round(statistics.median(walls), 3), "cpu": round(statistics.median(processors), 3)}
        _say(" ".join(words), found)
        return found


def _median(measured: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Returns the measurement whose processor time a trial is the median."""
    found = sorted(measured, key=lambda one: float(one["cpu_ms_a_trial"]))
    return found[len(found) // 2] | {"all_cpu_ms_a_trial": [one["cpu_ms_a_trial"] for one in found]}


def _environment(place: Path) -> dict[str, str]:
    ours = ("FER_TUNE_D", "FER_TUNE_STORAGE", "WANDB_", "OPTUNA_")
    clean = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    return clean | {"FER_TUNE_DIR": str(place), "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}


def _answer(command: Sequence[str], environment: dict[str, str]) -> dict[str, Any]:
    """Returns the last line that a command prints, which is JSON."""
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT, env=environment)
    if done.returncode != 0:
        raise SystemExit(f"{shlex.join(command)} ended with {done.returncode}:\n{done.stderr[-4000:]}")
    found: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return found


def _say(what: str, found: dict[str, Any]) -> None:
    print(what, json.dumps(found), file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
