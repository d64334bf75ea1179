"""Fitted simulators, kept in the storage folder so that one is fitted once for a file of curves."""

from __future__ import annotations

import hashlib
import json
import pickle
from pathlib import Path

from benchmarks.search.curves import FOLDER, Curves
from benchmarks.search.invented import invent
from benchmarks.search.simulator import VERSION, Simulator
from fer_tune.files import replace_file
from fer_tune.settings import Settings
from fer_tune.sweep import Sweep


def simulator_of(sweep: Sweep, curves: Path | None = None, invented: int = 0, grower: str | None = None) -> Simulator:
    """Returns the simulator of a sweep's family.

    Args:
        sweep: its space must be the one that the curves were drawn from.
        curves: the file; by default the family's in benchmarks/curves.
        invented: plays so many invented curves in place of collected ones, if above 0.
        grower: see `Simulator`.

    Raises:
        DataError: there are no curves, or too few.
    """
    return simulator_file(sweep, curves, invented, grower)[1]


def simulator_file(
    sweep: Sweep, curves: Path | None = None, invented: int = 0, grower: str | None = None
) -> tuple[Path, Simulator]:
    """Returns the file in which the simulator is kept, and the simulator. See `simulator_of`."""
    path = curves or FOLDER / f"{sweep.family.replace('/', '-')}.npz"
    found = invent(sweep, invented) if invented else Curves.load(path)
    kept = _place(sweep, found, grower)
    if kept.exists():
        fitted: Simulator = pickle.loads(kept.read_bytes())
        return kept, fitted
    fitted = Simulator(found, sweep.space, grower)
    replace_file(kept, lambda stream: pickle.dump(fitted, stream))
    return kept, fitted


def _place(sweep: Sweep, curves: Curves, grower: str | None) -> Path:
    """Returns the file of a fitted simulator. Its name has the hash of all that it depends on."""
    digest = hashlib.sha256(f"{VERSION} {grower} {sorted(map(str, sweep.space.values()))}".encode())
    for curve in curves.curves:
        digest.update(json.dumps(curve.params, sort_keys=True).encode() + curve.rows.tobytes())
    return Settings.from_environment().root / "simulators" / f"{curves.family}-{digest.hexdigest()[:16]}.pickle"
