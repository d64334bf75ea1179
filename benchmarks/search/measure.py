"""Plays one search, and keeps the results of many."""

from __future__ import annotations

import importlib
import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.search.cases import OURS, Case
from benchmarks.search.clock import VirtualClock
from benchmarks.search.lanes import slowness
from benchmarks.search.simulator import Simulator
from benchmarks.search.slots import Play, RivalFactory
from fer_tune.errors import SettingsError
from fer_tune.files import replace_text
from fer_tune.sweep import Sweep

LIBRARIES = {
    "plain_optuna": ("random", "tpe+median", "tpe+hyperband", "tpe+halving"),
    "syne": ("syne-tune asha", "syne-tune bohb"),
    "neps_rival": ("neps hyperband", "neps asha", "neps priorband"),
    "smac_rival": ("smac multi-fidelity",),
    "dehb_rival": ("dehb",),
}
"""The rivals by the module that has them. Each module needs its own library."""


def play_case(case: Case, sweeps: dict[str, Sweep], simulator: Simulator) -> dict[str, Any]:
    """Plays one search, and returns its trace.

    Args:
        sweeps: by name of our search; the rivals take that of `fer-tune`.
    """
    slow = slowness(simulator.family, case.slots)
    began, cpu = time.perf_counter(), time.process_time()
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
    took = {"wall_seconds": time.perf_counter() - began, "cpu_seconds": time.process_time() - cpu}
    return trace.as_dict() | {"seconds": case.seconds} | {name: round(seconds, 1) for name, seconds in took.items()}


def factory(rival: str) -> RivalFactory:
    """Returns what makes a rival.

    Raises:
        SettingsError: there is no such rival, or its library is not installed.
    """
    known(rival)
    module = next(module for module, names in LIBRARIES.items() if rival in names)
    try:
        found = importlib.import_module(f"benchmarks.search.rivals.{module}")
    except ModuleNotFoundError as error:
        raise SettingsError(
            f"The rival {rival} needs {error.name}, which is not installed here.",
            "Give the Python that has it as --python rivals=PATH; see benchmarks/search/rivals.txt.",
        ) from error
    made: RivalFactory = found.FACTORIES[rival]
    return made


def known(rival: str) -> None:
    """Checks that there is a search of this name.

    Raises:
        SettingsError: there is none.
    """
    names = [OURS, *(name for names in LIBRARIES.values() for name in names)]
    if rival not in names:
        raise SettingsError(f"There is no rival {rival}.", f"The rivals are {', '.join(names)}.")


class Results:
    """A file of results, which grows: the next command adds to it.

    Attributes:
        content: by family: the record of its simulation, the seconds of budget 1, and the runs.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}

    def describe(self, about: Mapping[str, Any], wanted: Sequence[Case]) -> None:
        """Says where the wanted cases are played: at the head of a new file, and else beside what
        the head says of the cases before. Without any, it says nothing."""
        if not wanted:
            return
        head = {key: self.content.get(key) for key in about}
        if any(part["runs"] for part in self.content.get("families", {}).values()) and head != about:
            self._continued({_search(case.part, case.key) for case in wanted}, about)
        else:
            self.content |= about

    def _continued(self, searches: set[str], about: Mapping[str, Any]) -> None:
        self.content.setdefault("continued", []).append({"searches": sorted(searches), **about})

    def family(self, name: str) -> dict[str, Any]:
        """Returns the part of a family."""
        part: dict[str, Any] = self.content.setdefault("families", {}).setdefault(name, {"runs": {}})
        return part

    def has(self, case: Case) -> bool:
        """Returns whether a case was played, for at least as long."""
        run = self.family(case.part)["runs"].get(case.key)
        return run is not None and bool(run.get("seconds", 0.0) >= case.seconds)

    def begin(self, part: dict[str, Any], simulation: dict[str, Any]) -> None:
        """Makes a part ready for more runs. Drops those that were played on another simulation.

        The models that were not chosen play no role. Their quality differs a little from one
        machine to another.
        """
        simulation = json.loads(json.dumps(simulation))  # as it is in the file
        if _played_on(part.setdefault("simulation", simulation)) != _played_on(simulation):
            part["runs"] = {}
            part["simulation"] = simulation

    def take(self, path: Path) -> int:
        """Takes over the runs of another file that are missing here, or longer than those here.

        Families of another simulation are left out. Returns how many runs were taken.
        """
        other, taken = json.loads(path.read_text(encoding="utf-8")), list[tuple[str, str]]()
        for name, theirs in other["families"].items():
            ours = self.family(name)
            if _played_on(ours.get("simulation", theirs["simulation"])) != _played_on(theirs["simulation"]):
                continue
            for fact, value in theirs.items():
                ours.setdefault(fact, value)
            longer = {
                key: run for key, run in theirs["runs"].items() if _seconds(ours["runs"].get(key)) < _seconds(run)
            }
            ours["runs"] |= longer
            taken += [(name, key) for key in longer]
        if taken:
            about = {key: other[key] for key in ("machine", "versions", "commit", "date")}
            self._continued({_search(part, key) for part, key in taken}, about)
            self.content["continued"] += other.get("continued", [])
        return len(taken)

    def save(self) -> None:
        """Writes the file. A run takes one line."""
        parts = []
        for name, part in self.content.get("families", {}).items():
            runs = {key: json.dumps(run) for key, run in sorted(part["runs"].items())}
            facts = {key: json.dumps(value, indent=1) for key, value in part.items() if key != "runs"}
            parts.append((name, _object(facts | {"runs": _object(runs)})))
        facts = {key: json.dumps(value, indent=1) for key, value in self.content.items() if key != "families"}
        replace_text(self.path, _object(facts | {"families": _object(dict(parts))}) + "\n")


def _search(part: str, key: str) -> str:
    return f"{part}, {key.rpartition('/')[0]}"


def _seconds(run: Mapping[str, Any] | None) -> float:
    """Returns how long a run is, in seconds; -1 if there is none."""
    return -1.0 if run is None else float(run["seconds"])


def _played_on(simulation: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in simulation.items() if key != "quality_of_others"}


def _object(members: Mapping[str, str]) -> str:
    """Returns a JSON object, given the text of each member."""
    return "{\n" + ",\n".join(f"{json.dumps(key)}: {text}" for key, text in members.items()) + "\n}"
