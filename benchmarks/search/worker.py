"""A process that plays cases: it reads them as lines of JSON, and writes a line for each.

`workers` starts it, with the Python that has the library of its rivals. It imports nothing that
such an environment lacks.
"""

from __future__ import annotations

import json
import os
import pickle
import sys
import traceback
from functools import cache
from pathlib import Path
from typing import Any

from threadpoolctl import threadpool_limits

from benchmarks.search.cases import Case, our_sweeps
from benchmarks.search.measure import play_case
from benchmarks.search.simulator import Simulator
from fer_tune.sweep import Sweep


class Player:
    """Plays cases of the given families.

    Args:
        families: for each family the file of its `sweep`, the file of its fitted `simulator`, and
            the `variants` of our sweep.
    """

    def __init__(self, families: dict[str, dict[str, Any]]) -> None:
        self._families = families
        self._simulator = cache(self._load)
        self._sweeps = cache(self._read)

    def play(self, case: Case) -> dict[str, Any]:
        """Returns the trace of a case."""
        return play_case(case, self._sweeps(case.family, case.begin), self._simulator(case.family))

    def _load(self, family: str) -> Simulator:
        found: Simulator = pickle.loads(Path(self._families[family]["simulator"]).read_bytes())
        return found

    def _read(self, family: str, begin: str) -> dict[str, Sweep]:
        facts, simulator = self._families[family], self._simulator(family)
        return our_sweeps(Path(facts["sweep"]), facts["variants"], begin, simulator, simulator.epochs)


def main() -> None:
    """Plays each case that is read, until the input ends."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what a library prints must not look like an answer
    player = Player(json.loads(sys.argv[1]))
    with threadpool_limits(1):
        for line in sys.stdin:
            try:
                answer = player.play(Case(**json.loads(line)))
            except Exception as error:  # the other cases can still be played
                traceback.print_exc()
                answer = {"error": f"{type(error).__name__}: {error}"[:300]}
            answers.write(json.dumps(answer) + "\n")
            answers.flush()


if __name__ == "__main__":
    main()
