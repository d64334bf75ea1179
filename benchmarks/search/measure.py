"""Plays searches for many seeds in several processes, and keeps each result as it comes."""

from __future__ import annotations

import importlib
import json
import multiprocessing
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from threadpoolctl import threadpool_limits

from benchmarks.search.clock import VirtualClock
from benchmarks.search.lanes import slowness
from benchmarks.search.simulator import Simulator
from benchmarks.search.slots import Play, RivalFactory
from fer_tune.errors import SettingsError
from fer_tune.files import replace_text
from fer_tune.sweep import Sweep

OURS = "fer-tune"
"""How the names of our own searches begin: `fer-tune`, or `fer-tune NAME` for a variant."""

LIBRARIES = {
    "plain_optuna": ("random", "tpe+median", "tpe+hyperband", "tpe+halving"),
    "syne": ("syne-tune asha", "syne-tune bohb"),
    "neps_rival": ("neps hyperband", "neps asha", "neps priorband"),
    "smac_rival": ("smac multi-fidelity",),
    "dehb_rival": ("dehb",),
}
"""The rivals by the module that has them. Each module needs its own library."""


@dataclass(frozen=True)
class Case:
    """One search to play.

    Attributes:
        rival: its name.
        slots: trainings at a time. Eight share one device, as lanes do.
        seconds: of the simulation.
        own: whether the search's own processor time counts.
    """

    rival: str
    slots: int
    seed: int
    seconds: float
    own: bool = True

    @property
    def key(self) -> str:
        """Identifies the case in a file of results."""
        return f"{self.rival}/{self.slots}/{self.seed}"


_state: dict[str, Any] = {}


def play_case(case: Case, sweeps: dict[str, Sweep], simulator: Simulator) -> dict[str, Any]:
    """Plays one search, and returns its trace.

    Args:
        sweeps: by name of our search; the rivals take that of `fer-tune`.
    """
    slow = slowness(simulator.family, case.slots)
    began = time.perf_counter()
    if case.rival in sweeps:
        from benchmarks.search.play import play

        sweep = sweeps[case.rival]
        options: dict[str, Any] = {"slots": case.slots, "slowness": slow, "own": case.own}
        trace = play(sweep, simulator, seed=case.seed, seconds=case.seconds, **options)
    else:
        sweep = sweeps[OURS]
        rival = factory(case.rival)(sweep, case.seed, case.slots)
        trace = Play(
            rival, simulator, case.seed, case.seconds, case.slots, slow, sweep.patience, VirtualClock(case.own)
        ).run()
    return trace.as_dict() | {"seconds": case.seconds, "wall_seconds": round(time.perf_counter() - began, 1)}


def factory(rival: str) -> RivalFactory:
    """Returns what makes a rival.

    Raises:
        SettingsError: there is no such rival, or its library is not installed.
    """
    for module, names in LIBRARIES.items():
        if rival in names:
            try:
                found = importlib.import_module(f"benchmarks.search.rivals.{module}")
            except ModuleNotFoundError as error:
                raise SettingsError(
                    f"The rival {rival} needs {error.name}, which is not installed here.",
                    "Run this command in the environment of benchmarks/search/rivals.txt; see its first lines.",
                ) from error
            made: RivalFactory = found.FACTORIES[rival]
            return made
    known = [OURS, *(name for names in LIBRARIES.values() for name in names)]
    raise SettingsError(f"There is no rival {rival}.", f"The rivals are {', '.join(known)}.")


def play_all(
    cases: Sequence[Case], sweeps: dict[str, Sweep], simulator: Simulator, processes: int
) -> Iterator[tuple[Case, dict[str, Any]]]:
    """Yields each case with its trace, as they end."""
    if processes == 1:
        with threadpool_limits(1):
            for case in cases:
                yield case, play_case(case, sweeps, simulator)
        return
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(processes, context, _prepare, (sweeps, simulator))
    try:
        futures = {pool.submit(_play, case): case for case in cases}
        for future in as_completed(futures):
            yield futures[future], future.result()
    finally:
        pool.shutdown(cancel_futures=True)  # the caller may have stopped asking


def _prepare(sweeps: dict[str, Sweep], simulator: Simulator) -> None:
    threadpool_limits(1)
    _state.update(sweeps=sweeps, simulator=simulator)


def _play(case: Case) -> dict[str, Any]:
    return play_case(case, _state["sweeps"], _state["simulator"])


class Results:
    """A file of results, which grows: the next command adds to it.

    Attributes:
        content: by family: the record of its simulation, the seconds of budget 1, and the runs.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}

    def family(self, name: str) -> dict[str, Any]:
        """Returns the part of a family."""
        part: dict[str, Any] = self.content.setdefault("families", {}).setdefault(name, {"runs": {}})
        return part

    def begin(self, part: dict[str, Any], simulation: dict[str, Any]) -> None:
        """Makes a part ready for more runs. Drops those that were played on another simulation."""
        if part.get("simulation") not in (None, json.loads(json.dumps(simulation))):
            part["runs"] = {}
        part["simulation"] = simulation

    def save(self) -> None:
        """Writes the file. A run takes one line."""
        parts = []
        for name, part in self.content.get("families", {}).items():
            runs = {key: json.dumps(run) for key, run in sorted(part["runs"].items())}
            facts = {key: json.dumps(value, indent=1) for key, value in part.items() if key != "runs"}
            parts.append((name, _object(facts | {"runs": _object(runs)})))
        facts = {key: json.dumps(value, indent=1) for key, value in self.content.items() if key != "families"}
        replace_text(self.path, _object(facts | {"families": _object(dict(parts))}) + "\n")


def _object(members: Mapping[str, str]) -> str:
    """Returns a JSON object, given the text of each member."""
    return "{\n" + ",\n".join(f"{json.dumps(key)}: {text}" for key, text in members.items()) + "\n}"
