"""The run under test: its commands, its folder, and its processes by their roles."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
import psutil

from benchmarks.ray_nodes import RayNodes
from fer_tune.settings import Settings

ROOT = Path(__file__).parents[2]

STUDY = "chaos"

SWEEP = """\
study: chaos
family: simple_cnn
data: %(data)s
split: {val: 0.12, test: 0.14}
sampler: random
pruner: none
budget: {trials: 8, epochs: 20}
retries: 100
checkpoint_interval: %(interval)g
hang_timeout: %(hang)g
storage_patience: 120
params:
  lr: {low: 1e-4, high: 1e-2, log: true}
  width: {choices: [8, 16]}
  head_dropout: {low: 0.0, high: 0.5}
  batch_size: {choices: [64, 128]}
"""
"""A trial takes a second or two: 144 training images, 20 epochs.

The random sampler without a pruner draws the same configurations however often they are
interrupted. So an undisturbed run says what the result must be.
"""

FACES = 196
"""Images of a run: 144 of them are training images."""

EPOCHS = 20
INTERVAL = 0.5
"""Seconds between the checkpoints of a job."""

FINAL_EPOCHS = 24
"""Epochs of a final fit."""

FITS = f"""\
import sys, fer_tune
[trial, seeds] = map(int, sys.argv[1:])
fer_tune.retrain(
    "{STUDY}", trial=trial, seeds=seeds, epochs={FINAL_EPOCHS}, until="end", devices="cpu", engine="inline", lanes=1,
    wandb="disabled",
)
"""
"""Trains final fits in one process, which no command does.

The arguments are the trial and the number of fits.
"""

Role = Literal["orchestrator", "worker", "mirror", "other"]

MARKS: tuple[tuple[str, Role], ...] = (
    ("fer_tune.pool.worker", "worker"),
    ("fer_tune.mirror", "mirror"),
    ("fer_tune run", "orchestrator"),
    ("fer_tune retrain", "orchestrator"),
)
"""Parts of a process's command line, and the role that the first match means."""

SUBJECT = "CHAOS_SUBJECT"
"""Environment variable that every process of a run has, with its storage folder.

A worker on a node of Ray that shares no files has a storage folder of its own."""

OURS = ("FER_TUNE_", "WANDB_", "OPTUNA_")


def write_faces(folder: Path, count: int) -> Path:
    """Writes images of seven classes as a CSV file, and returns its path.

    The classes differ so little that some configurations tell them apart and others do not.
    """
    random, file = np.random.default_rng(0), folder / "faces.csv"
    lines = ["emotion,pixels"]
    for place in range(count):
        image = random.integers(0, 120, (48, 48), dtype=np.uint8)
        image[6 * (place % 7) : 6 * (place % 7) + 6] += 15
        lines.append(f"{place % 7},{' '.join(map(str, image.ravel()))}")
    file.write_text("\n".join(lines), encoding="utf-8")
    return file


class StuckError(Exception):
    """Something did not happen in the time that it had."""


@dataclass
class Subject:
    """A study that is run, killed, and run again; and then its final fits.

    Attributes:
        folder: its own. It contains the storage folder and the output of all its runs.
        workers: worker processes; 0 trains inline, in the orchestrator.
        trials: its budget.
        mirrored: whether wandb's offline runs are written.
        hang: seconds without an epoch after which the run ends a worker.
        seeds: final fits that `fer-tune retrain` is to train; 0 while the study is searched.
        trial: whose configuration they have; None is the best.
        lanes: jobs that each worker trains at the same time.
        nodes: the Ray cluster whose nodes the workers are on; None if they are not on one.
        ends: exit codes of the commands, in order; negative for a signal.
    """

    folder: Path
    workers: int
    trials: int
    mirrored: bool = False
    hang: float = 60.0
    seeds: int = 0
    trial: int | None = None
    lanes: int = 1
    nodes: RayNodes | None = None
    ends: list[int] = field(default_factory=list)
    _process: subprocess.Popen[bytes] | None = None
    _before: int = 0
    """Epochs that earlier runs recorded."""

    def __post_init__(self) -> None:
        self.storage.mkdir(parents=True, exist_ok=True)
        text = SWEEP % {"data": write_faces(self.folder, FACES), "interval": INTERVAL, "hang": self.hang}
        (self.folder / f"{STUDY}.yaml").write_text(text, encoding="utf-8")

    @property
    def storage(self) -> Path:
        """The storage folder. Every process of the run is found by it; see `SUBJECT`."""
        return self.folder / "storage"

    @property
    def settings(self) -> Settings:
        """For readers."""
        return Settings(self.storage, f"sqlite:///{self.database.as_posix()}")

    @property
    def database(self) -> Path:
        """The SQLite file."""
        return self.storage / "fer_tune.db"

    @property
    def log(self) -> Path:
        """What all its runs printed."""
        return self.folder / "run.log"

    # -- the command -----------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Gives the command, for the first time or again."""
        self._before = self.epochs()
        if self.seeds and not self.workers:
            self._process = self._python(["-c", FITS, str(self.trial), str(self.seeds)])
            return
        words = self._final_fits() if self.seeds else self._search()
        wandb = "offline" if self.mirrored else "disabled"
        self._process = self._command([*words, "--wandb", wandb])

    def _search(self) -> list[str]:
        engine = ["--workers", str(self.workers)] if self.workers else ["--engine", "inline"]
        if self.nodes is not None:
            engine += ["--engine", "ray", "--ray-address", self.nodes.address]
        lanes = ["--lanes", str(self.lanes)]
        sweep = str(self.folder / f"{STUDY}.yaml")
        return ["run", sweep, "--trials", str(self.trials), "--devices", "cpu", *engine, *lanes]

    def _final_fits(self) -> list[str]:
        words = ["retrain", "--study", STUDY, "--seeds", str(self.seeds), "--epochs", str(FINAL_EPOCHS)]
        chosen = [] if self.trial is None else ["--trial", str(self.trial)]
        devices = ",".join(["cpu"] * self.workers)  # a worker for each
        return [*words, *chosen, "--until", "end", "--devices", devices, "--lanes", str(self.lanes)]

    def begin_final_fits(self, seeds: int, trial: int | None = None) -> None:
        """From now on the command is `fer-tune retrain`."""
        self.seeds, self.trial, self.ends = seeds, trial, []
        self.start()

    def running(self) -> bool:
        """Whether the command has not ended. Keeps its exit code when it has."""
        if self._process is None:
            return False
        code = self._process.poll()
        if code is not None:
            self.ends.append(code)
            self._process = None
        return code is None

    @property
    def done(self) -> bool:
        """Whether the last command did all that it had to do."""
        return not self.running() and self.ends[-1:] == [0]

    def finish(self, patience: float = 600.0) -> None:
        """Gives the command until all is done.

        Raises:
            StuckError: that takes too long.
        """
        deadline = time.monotonic() + patience
        while not self.done:
            if time.monotonic() > deadline:
                raise StuckError(f"the command was not done within {patience:.0f} s; see {self.log}")
            if not self.running():
                self.start()
            time.sleep(0.05)

    def begin_sync(self) -> subprocess.Popen[bytes]:
        """Starts `fer-tune sync`, whatever else runs."""
        return self._command(["sync", "--study", STUDY])

    def call(self, words: list[str]) -> int:
        """Gives another command, waits for it, and returns its exit code."""
        return self._command(words).wait(timeout=300)

    def _command(self, words: list[str]) -> subprocess.Popen[bytes]:
        return self._python(["-m", "fer_tune", *words])

    def _python(self, words: list[str]) -> subprocess.Popen[bytes]:
        environment = {name: value for name, value in os.environ.items() if not name.startswith(OURS)}
        environment |= {} if self.nodes is None else {"FER_TUNE_SHARED": "0"}
        environment |= {"FER_TUNE_DIR": str(self.storage), SUBJECT: str(self.storage)}
        environment |= {"OMP_NUM_THREADS": "1", "NETRC": str(self.folder / "none")}
        for name in ("CONFIG", "CACHE", "DATA"):
            environment[f"WANDB_{name}_DIR"] = str(self.folder / "wandb")
        with self.log.open("ab") as output:
            return subprocess.Popen(
                [sys.executable, *words],
                cwd=ROOT,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
                preexec_fn=self._one_core_each,  # noqa: PLW1509 - this process has no threads
            )

    def _one_core_each(self) -> None:
        """Binds the command to one core for each worker.

        A worker uses as many threads as it has cores. With one, its sums equal those of the inline
        run.
        """
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: max(1, self.workers)])

    # -- its processes ---------------------------------------------------------------------------------------------

    def processes(self, role: Role | None = None) -> list[psutil.Process]:
        """Returns the processes that are alive and have this role; None is any role."""
        return [process for process, its_role in self._alive() if role in (None, its_role)]

    def _alive(self) -> Iterator[tuple[psutil.Process, Role]]:
        for process in psutil.process_iter():
            try:
                if process.environ().get(SUBJECT) == str(self.storage):
                    words = " ".join(process.cmdline())
                    yield process, next((role for mark, role in MARKS if mark in words), "other")
            except psutil.Error:  # it has just ended
                continue

    def kill(self, role: Role | None = None) -> None:
        """Kills the processes that have this role; None is all."""
        for process in self.processes(role):
            with suppress(psutil.Error):
                process.send_signal(signal.SIGKILL)

    def end_all(self) -> None:
        """Leaves no process behind, whatever happened."""
        self.kill()
        if self._process is not None:
            self._process.wait()

    # -- its progress ----------------------------------------------------------------------------------------------

    def epochs(self) -> int:
        """Returns how many epochs the database has, of all attempts; 0 while there is no table."""
        return self._count("SELECT count(*) FROM fer_epochs")

    def trains(self) -> bool:
        """Whether the command that runs now has recorded an epoch."""
        return self.epochs() > self._before

    def mirrored_runs(self) -> int:
        """Returns how many runs the mirror has finished."""
        return self._count("SELECT count(*) FROM fer_cursors WHERE finished")

    def _count(self, query: str) -> int:
        try:
            with closing(sqlite3.connect(f"{self.database.as_uri()}?mode=ro", uri=True, timeout=0.2)) as connection:
                return int(connection.execute(query).fetchone()[0])
        except sqlite3.Error:
            return 0


def wait_until(what: Callable[[], object], patience: float, pause: float = 0.01) -> float | None:
    """Returns the seconds until `what` was true, or None if that took longer than `patience`.

    Args:
        pause: seconds between two looks. To look at all processes takes some milliseconds.
    """
    began = time.monotonic()
    while not what():
        if time.monotonic() - began > patience:
            return None
        time.sleep(pause)
    return time.monotonic() - began
