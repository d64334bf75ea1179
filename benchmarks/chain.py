"""Runs the whole chain: 64 simulated slots on Ray and PostgreSQL, and nodes that are lost.

    python -m benchmarks.chain [--trials 2500] [--losses 6]
    python -m benchmarks.chain --longest 5000

The orchestrator, the workers' processes, Ray and the PostgreSQL server are real, and on this
machine. Only the training is simulated: `chain_worker.py` sends sampled learning curves of 30
epochs. The nodes do not share the storage folder, so artifacts travel through Ray. The same runs
beside it with worker processes of this machine and SQLite, where workers are killed instead of
nodes. `--longest` runs without that comparison. Each run must end with exactly its budget and pass
every check of `chain_checks.py`.

Writes benchmarks/results/chain.json. Needs root, Ray, and the programs of PostgreSQL.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from random import Random
from typing import Any

import psutil

from benchmarks.chain_checks import problems
from benchmarks.chain_worker import EPOCH_VARIABLE, simulated
from benchmarks.circumstances import commit, machine, today, versions
from benchmarks.orchestration_arms import settings_of, sweep_of
from benchmarks.ray_nodes import ray_nodes
from fer_tune.jobs.observers import Observer
from fer_tune.settings import Settings
from tests import postgres

ROOT = Path(__file__).parents[1]
RECORD = ROOT / "benchmarks" / "results" / "chain.json"

NODES, WORKERS, LANES = 4, 8, 8
"""Eight lanes on each of eight workers are 64 slots. Two workers share a node."""

SPACE = "flat12"


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs both sides, writes one JSON file, and returns 1 if a check did not hold."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--trials", type=int, default=2500)
    parser.add_argument("--longest", type=int, help="trials of a run on Ray and PostgreSQL alone")
    parser.add_argument("--losses", type=int, default=6, help="nodes, or pairs of workers, that are lost")
    parser.add_argument("--epoch-seconds", type=float, default=0.23)
    parser.add_argument("--out", type=Path, default=RECORD)
    parser.add_argument("--arm", help="for the processes that it starts")
    options = parser.parse_args(arguments)
    if options.arm:
        print(json.dumps(orchestrate(**json.loads(options.arm))))
        return 0
    known = json.loads(options.out.read_text(encoding="utf-8")) if options.out.exists() else {}
    load = os.getloadavg()
    sides = (ray_and_postgresql,) if options.longest else (local_and_sqlite, ray_and_postgresql)
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(prefix="chain-") as name:
        for side in sides:
            place = Path(name) / side.__name__
            place.mkdir()
            found[side.__name__] = side(place, options.longest or options.trials, options.losses, options.epoch_seconds)
            print(side.__name__, json.dumps(found[side.__name__]), file=sys.stderr, flush=True)
    passed = all(held == "held" for side in found.values() for held in side["checks"].values())
    result = _compared(found) | {
        "slots": WORKERS * LANES,
        "nodes": NODES,
        "epoch_seconds": options.epoch_seconds,
        "load_average_before": [round(value, 2) for value in load],
        "load_average_after": [round(value, 2) for value in os.getloadavg()],
        "date": today(),
        "commit": commit(),
        "versions": versions("ray", "optuna", "sqlalchemy", "psycopg", "numpy"),
        "machine": f"{machine()}, shared with other work",
    }
    kept = known | {"longest": result} if options.longest else {"longest": known.get("longest")} | result
    options.out.write_text(json.dumps(kept, indent=2) + "\n", encoding="utf-8")
    return int(not passed)


def _compared(found: dict[str, Any]) -> dict[str, Any]:
    """Returns the sides, and what one costs beside the other if both were run."""
    ours, other = found["ray_and_postgresql"], found.get("local_and_sqlite")
    if other is None:
        return found
    return found | {
        "cpu_a_row_over_sqlite": round(ours["cpu_ms_a_row"] / other["cpu_ms_a_row"], 3),
        "cpu_a_trial_over_sqlite": round(ours["cpu_ms_a_trial"] / other["cpu_ms_a_trial"], 3),
    }


def local_and_sqlite(place: Path, trials: int, losses: int, epoch_seconds: float) -> dict[str, Any]:
    """Runs on worker processes and SQLite. At each loss two workers are killed."""
    settings = settings_of(str(place))
    random = Random(1)

    def lose(orchestrator: psutil.Process) -> None:
        workers = [child for child in orchestrator.children() if "fer_tune.pool.worker" in child.cmdline()]
        for victim in random.sample(workers, min(2, len(workers))):
            with suppress(psutil.Error):
                victim.send_signal(signal.SIGKILL)

    given = {"folder": str(place), "url": settings.url, "engine": "local", "address": None}
    return _side(settings, given, trials=trials, losses=losses, epoch_seconds=epoch_seconds, lose=lose)


def ray_and_postgresql(place: Path, trials: int, losses: int, epoch_seconds: float) -> dict[str, Any]:
    """Runs on a Ray cluster and PostgreSQL. At each loss a node dies and another joins."""
    programs = postgres.programs()
    if programs is None:
        raise SystemExit("The programs of PostgreSQL are not installed.")
    variables = {"FER_TUNE_DIR": str(place), EPOCH_VARIABLE: str(epoch_seconds)}
    random = Random(1)
    with ray_nodes(NODES, WORKERS // NODES, variables) as nodes, postgres.server(programs) as new:
        url = new()
        settings = Settings(place, url)

        def lose(_: psutil.Process) -> None:
            nodes.lose(random)
            nodes.add()

        given = {"folder": str(place), "url": url, "engine": "ray", "address": nodes.address}
        found = _side(settings, given, trials=trials, losses=losses, epoch_seconds=epoch_seconds, lose=lose)
        return found | {"cpu_seconds_of_ray": _cpu_of_ray()}


def _side(
    settings: Settings,
    given: dict[str, Any],
    *,
    trials: int,
    losses: int,
    epoch_seconds: float,
    lose: Callable[[psutil.Process], None],
) -> dict[str, Any]:
    """Runs the orchestrator in a process of its own, disturbs it, and checks what it left."""
    environment = dict(os.environ, PYTHONPATH=str(ROOT), OMP_NUM_THREADS="1", FER_TUNE_SHARED="0")
    environment |= {"FER_TUNE_DIR": given["folder"], EPOCH_VARIABLE: str(epoch_seconds)}
    points = [trials * number // (losses + 1) for number in range(1, losses + 1)]
    began, lost = time.monotonic(), 0
    words = [sys.executable, "-m", "benchmarks.chain", "--arm", json.dumps(given | {"trials": trials})]
    with subprocess.Popen(words, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        line = ""
        for line in process.stdout:  # the last one is the result
            if line.strip().isdigit() and points and int(line) >= points[0]:
                points.pop(0)
                lost += 1
                lose(psutil.Process(process.pid))
    if process.returncode != 0:
        raise SystemExit(f"the run ended with {process.returncode}: {line}")
    seconds = time.monotonic() - began
    found = problems(settings, SPACE, trials)
    return {
        "trials": trials,
        "losses": lost,
        "seconds": round(seconds, 1),
        **json.loads(line),
        "checks": {name: wrong or "held" for name, wrong in found.items()},
    }


# the orchestrator, in a process of its own --------------------------------------------------------


def orchestrate(*, folder: str, url: str, engine: Any, address: str | None, trials: int) -> dict[str, Any]:
    """Runs the study, prints how many trials have ended, and returns what it cost."""
    from fer_tune.sources.run import run_sweeps
    from fer_tune.sources.workers import RunOptions

    counter = _Counter()
    options = RunOptions(
        workers=WORKERS, devices="cpu", engine=engine, wandb="disabled", lanes=LANES, ray_address=address
    )
    sweep = sweep_of(SPACE, trials)
    run_sweeps([sweep], Settings(Path(folder), url), options, counter, simulated)
    spent = counter.last - counter.first
    return {
        "rows": counter.rows,
        "ended": counter.ended,
        "lost_workers": counter.lost,
        "cpu_ms_a_row": round(1000 * spent / counter.rows, 3),
        "cpu_ms_a_trial": round(1000 * spent / counter.ended, 3),
        "opening_cpu_seconds": round(counter.first, 2),
        "rows_a_second": round(counter.rows / (counter.until - counter.since), 1),
        "share_of_a_core": round(spent / (counter.until - counter.since), 3),
        "rss_mb": round(counter.memory() / 2**20),
    }


class _Counter(Observer):
    """Counts what happens. Processor time counts from the first start to the last end."""

    def __init__(self) -> None:
        self.rows = self.ended = self.lost = 0
        self.first = self.last = self.since = self.until = 0.0

    def job_started(self, *_: Any) -> None:
        if not self.since:
            self.first, self.since = time.process_time(), time.monotonic()

    def epoch(self, *_: Any) -> None:
        self.rows += 1

    def worker_lost(self, *_: Any) -> None:
        self.lost += 1

    def job_ended(self, *_: Any) -> None:
        self.ended += 1
        self.last, self.until = time.process_time(), time.monotonic()
        print(self.ended, flush=True)

    def memory(self) -> int:
        """Returns the resident memory, in bytes."""
        return int(psutil.Process().memory_info().rss)


def _cpu_of_ray() -> float:
    """Returns the processor seconds of Ray's own processes that still run."""
    seconds = 0.0
    for process in psutil.Process().children(recursive=True):
        with suppress(psutil.Error):
            if any(word in " ".join(process.cmdline()) for word in ("raylet", "gcs_server")):
                times = process.cpu_times()
                seconds += times.user + times.system
    return round(seconds, 1)


if __name__ == "__main__":
    sys.exit(main())
