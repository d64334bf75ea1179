"""What several orchestrators on one PostgreSQL cost: one study each, one database.

    python -m benchmarks.fleet [--orchestrators 1,2,4] [--slots 64] [--trials 192]

Each orchestrator is a process with a study of its own and simulated workers, as in
`benchmarks.orchestration`. Its clock jumps over the time in which the workers train. So all of them
write as fast as they can, and the server has as much to do as in a fleet that is many times larger.
Figures are processor time, of the orchestrators and of the server, because the machine has two
cores for all. Writes benchmarks/results/fleet.json, and prints its table.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
from sqlalchemy.engine import make_url

from benchmarks.circumstances import commit, machine, today, versions
from benchmarks.orchestration_arms import EPOCHS, SEED, figures, settings_of, sweep_of
from benchmarks.simulated_pool import SimulatedPool
from fer_tune.settings import Settings
from tests import postgres

ROOT = Path(__file__).parents[1]
RECORD = ROOT / "benchmarks" / "results" / "fleet.json"

TRIAL_SECONDS = 7.0
"""How long a trial of all epochs takes."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Measures each fleet, writes one JSON file, and prints the rows."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--orchestrators", default="1,2,4")
    parser.add_argument("--slots", type=int, default=64)
    parser.add_argument("--trials", type=int, default=192, help="of each study")
    parser.add_argument("--out", type=Path, default=RECORD)
    parser.add_argument("--one", help="for the processes that it starts")
    options = parser.parse_args(arguments)
    if options.one:
        print(json.dumps(orchestrate(**json.loads(options.one))))
        return
    programs = postgres.programs()
    if programs is None:
        raise SystemExit("The programs of PostgreSQL are not installed.")
    rows = []
    for count in map(int, options.orchestrators.split(",")):
        with tempfile.TemporaryDirectory(prefix="fleet-") as folder, postgres.server(programs) as new:
            rows.append(measured(Path(folder), new(), count, options.slots, options.trials))
            print(json.dumps(rows[-1]), flush=True)
    record = {
        "rows": rows, "slots": options.slots, "trials": options.trials, "trial_seconds": TRIAL_SECONDS,
        "date": today(), "commit": commit(), "versions": versions("optuna", "sqlalchemy", "psycopg"),
        "machine": f"{machine()}, shared with other work",
    }  # fmt: skip
    options.out.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


def measured(folder: Path, url: str, count: int, slots: int, trials: int) -> dict[str, Any]:
    """Runs so many orchestrators at the same time on one empty database."""
    from fer_tune.data.load import load_faces
    from fer_tune.store import Store

    load_faces("demo", settings_of(str(folder)))  # drawn once for all
    Store.open(url, root=folder).close()
    environment = dict(os.environ, PYTHONPATH=str(ROOT), OMP_NUM_THREADS="1", FER_TUNE_DIR=str(folder))
    began, before = time.monotonic(), server_seconds(url)
    processes = []
    for number in range(count):
        given = {"folder": str(folder), "url": url, "study": f"study{number}", "slots": slots, "trials": trials}
        words = [sys.executable, "-m", "benchmarks.fleet", "--one", json.dumps(given)]
        processes.append(subprocess.Popen(words, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True))
    found = []
    for process in processes:
        output, _ = process.communicate()
        if process.returncode != 0:
            raise SystemExit(f"An orchestrator ended with {process.returncode}.")
        found.append(json.loads(output.splitlines()[-1]))
    rows = sum(one["rows"] for one in found)
    return {
        "orchestrators": count,
        "trials": sum(one["trials"] for one in found),
        "rows": rows,
        "seconds": round(time.monotonic() - began, 1),
        "cpu_ms_a_row": round(sum(one["cpu_ms_a_row"] * one["rows"] for one in found) / rows, 3),
        "server_cpu_ms_a_row": round(1000 * (server_seconds(url) - before) / rows, 3),
        "share_of_a_core": round(max(one["share_of_a_core"] for one in found), 3),
    }


def server_seconds(url: str) -> float:
    """Returns the processor time of a PostgreSQL server and all its processes, also ended ones."""
    port = str(make_url(url).port)
    for process in psutil.process_iter(["name", "cmdline"]):
        words = process.info["cmdline"] or []
        if process.info["name"] == "postgres" and "-p" in words and words[words.index("-p") + 1] == port:
            return seconds_with_children(process)
    raise SystemExit(f"There is no PostgreSQL server at port {port}.")


def seconds_with_children(process: psutil.Process) -> float:
    """Returns the processor time of a process and its children, also ended ones.

    A child may end while they are read. Then all are read again.
    """
    while True:
        own = process.cpu_times()
        try:
            alive = [child.cpu_times() for child in process.children()]
        except psutil.NoSuchProcess:
            continue
        ended = own.children_user + own.children_system
        return float(own.user + own.system + ended + sum(one.user + one.system for one in alive))


def orchestrate(*, folder: str, url: str, study: str, slots: int, trials: int) -> dict[str, Any]:
    """Runs one study on simulated workers. Returns what it cost."""
    from fer_tune.sources.run import run_sweeps
    from fer_tune.sources.workers import RunOptions

    pool = SimulatedPool(slots, TRIAL_SECONDS / EPOCHS, seed=SEED)
    options = RunOptions(engine="inline", devices="cpu", wandb="disabled")
    sweep = replace(sweep_of("flat12", trials), study=study)
    run_sweeps([sweep], Settings(Path(folder), url), options, None, _no_trainer, pool=pool)
    return figures(pool.measured)


def _no_trainer(device: str, threads: int | None) -> Any:
    raise AssertionError("simulated workers train nothing")


if __name__ == "__main__":
    main()
