"""Collects learning curves of random configurations with fer-tune itself.

    python -m benchmarks.search.collect --family deep_cnn --configurations 800 --data FILE
    python -m benchmarks.search.collect --sweep sweeps/demo.yaml --configurations 4 --epochs 2

It runs the family's sweep with the random sampler, without pruning and without `start:`. Each
call adds one chunk with a seed of its own, until the file has as many configurations as asked.
Before that it trains the first `start:` configuration under `--seeds` seeds, if the file has fewer.
`--near 60` adds configurations around that one, where random ones seldom are. `--minutes` ends the
call in time, and keeps what was trained. The same command continues a call that was killed.
`--study NAME` trains nothing: it adds the trials that a search of the storage folder trained to
their end. A search goes where random configurations seldom are. Several machines can collect at the
same time, each with its own `--seed` and `--out`; `--add FILE` then puts their files together.
"""

from __future__ import annotations

import argparse
import math
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.circumstances import commit, device, today, versions
from benchmarks.search.curves import FOLDER, MEASURES, SWEEPS, Curve, Curves, Kind
from benchmarks.search.invented import drawn, random_configuration
from fer_tune.job import OUT_OF_TIME, EpochRow, Value
from fer_tune.pool.port import TrainerFactory, load_trainer
from fer_tune.settings import Settings, sqlite_url
from fer_tune.sources.run import run_sweeps
from fer_tune.sources.workers import RunOptions
from fer_tune.store import AttemptRecord, JobRecord, Store
from fer_tune.sweep import Sweep, load_sweep
from fer_tune.sweep.schema import Start, SweepKeys
from fer_tune.sweep.space import Fixed, Parameter, Space

RESERVE = 12.0
"""Seconds of `--minutes` that are kept for the start of the workers and for writing the file."""

FIRST_SEED = 7_001
"""Seed of the first chunk. The shipped sweeps have others, so that no curve is one of theirs."""


def main() -> None:
    """Collects curves, and prints what the file has then."""
    options = arguments().parse_args()
    began = time.monotonic()
    sweep = options.sweep or SWEEPS / f"{options.family}.yaml"
    family = load_sweep(sweep).family
    out = options.out or FOLDER / f"{family}.npz"
    curves = Curves.load(out) if out.exists() else Curves(family, options.epochs)
    if curves.epochs != options.epochs:
        raise SystemExit(f"{out} has curves of {curves.epochs} epochs. Use --epochs {curves.epochs}, or another --out.")
    if options.study or options.add:
        for file in options.add:
            curves.join(Curves.load(file))
        if options.study:
            add_study(curves, options)
        curves.save(out)
        print(f"{out.name}: {summary(curves)}, {out.stat().st_size / 1000:.0f} kB")
        return
    targets: dict[Kind, int] = {"seeds": options.seeds, "near": options.near, "random": options.configurations}
    for kind, target in targets.items():
        missing = target - sum(curves.kind(curve) == kind and curve.state != "cut" for curve in curves.curves)
        left = math.inf if options.minutes is None else 60 * options.minutes - (time.monotonic() - began) - RESERVE
        if missing > 0 and left > 0:
            seed = options.seed + 1_000 * len(curves.chunks)
            collect(Chunk(sweep, missing, kind, seed, left), curves, options)
            curves.save(out)
    print(f"{out.name}: {summary(curves)}, {out.stat().st_size / 1000:.0f} kB")


def arguments() -> argparse.ArgumentParser:
    """Returns the parser of the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--family", default="deep_cnn", help="whose shipped sweep is run")
    parser.add_argument("--sweep", type=Path, help="another sweep file")
    parser.add_argument("--data", default="fer2013")
    parser.add_argument("--configurations", type=int, default=800, help="as many as the file then has")
    parser.add_argument("--seeds", type=int, default=8, help="trainings of the first start configuration")
    parser.add_argument("--near", type=int, default=0, help="configurations around the first start configuration")
    parser.add_argument("--epochs", type=int, default=40)
    parser.add_argument("--minutes", type=float, help="wall time of this call")
    parser.add_argument("--devices")
    parser.add_argument("--workers", default="auto")
    parser.add_argument("--lanes", default="auto", help="trainings on each device at a time")
    parser.add_argument("--engine", default="local", help="where the workers run")
    parser.add_argument("--storage", type=Path, default=Path("storage/curves"), help="folder of the studies")
    parser.add_argument("--study", help="a study of the storage folder whose complete trials are added")
    parser.add_argument("--seed", type=int, default=FIRST_SEED, help="of the file's first chunk")
    parser.add_argument(
        "--add", type=Path, nargs="+", default=[], help="files of curves that are added; trains nothing"
    )
    parser.add_argument("--out", type=Path)
    return parser


@dataclass(frozen=True)
class Chunk:
    """What one call adds to the file.

    Attributes:
        sweep: the file of the sweep.
        count: the most configurations, or seeds.
        kind: see `curves.Kind`.
        seed: of the sampler, and of the first training.
        seconds: wall time of the run.
    """

    sweep: Path
    count: int
    kind: Kind
    seed: int
    seconds: float = math.inf


def collect(chunk: Chunk, curves: Curves, options: argparse.Namespace, trainer: TrainerFactory = load_trainer) -> None:
    """Trains the configurations of a chunk, and adds their curves."""
    sweep = prepared(chunk, options)
    settings = Settings(options.storage, sqlite_url(options.storage / "curves.db"))
    began = time.monotonic()
    run_sweeps([sweep], settings, run_options(options), trainer=trainer)
    wall = time.monotonic() - began
    with Store.of(settings) as store:
        found = read(store, sweep.study, chunk.kind == "seeds", len(curves.chunks))
        together = concurrency(store.jobs.attempts(sweep.study))
    curves.add(facts_of(options, chunk.kind, chunk.seed, together, wall), found)


def add_study(curves: Curves, options: argparse.Namespace) -> None:
    """Adds the complete trials of a study. Device and versions are those in its database."""
    settings = Settings(options.storage, sqlite_url(options.storage / "fer_tune.db"))
    with Store.of(settings, create=False) as store:
        found = [curve for curve in read(store, options.study, False, len(curves.chunks)) if curve.state == "complete"]
        attempts, study = store.jobs.attempts(options.study), store.studies.get(options.study)
    facts = facts_of(options, "search", 0, concurrency(attempts), 0.0)
    devices = sorted({attempt.device for attempt in attempts})
    curves.add(
        facts
        | {
            "study": options.study,
            "device": ", ".join(devices),
            "versions": dict(study.versions),
            "date": f"{study.created:%F}",
        },
        found,
    )


def facts_of(options: argparse.Namespace, kind: Kind, seed: int, together: float, wall: float) -> dict[str, Any]:
    """Returns what the file says about a chunk."""
    return {
        "seed": seed,
        "kind": kind,
        "device": device(),
        "devices": options.devices or "auto",
        "lanes": lanes_used(options),
        "concurrency": together,
        "versions": versions(),
        "commit": commit(),
        "date": today(),
        "wall_seconds": round(wall, 1),
    }


def prepared(chunk: Chunk, options: argparse.Namespace) -> Sweep:
    """Returns the sweep of a chunk: random sampler, no pruner, whole schedules."""
    path, seed = chunk.sweep, chunk.seed
    first = load_sweep(path).start[:1]
    changes = [
        f"study=curves-{path.stem}-{seed}",
        f"data={options.data}",
        f"seed={seed}",
        "sampler={name: random}",
        "pruner={name: none}",
        "patience=0",
        "start=[]",
        f"budget={{trials: {chunk.count}, epochs: {options.epochs}}}",
    ]
    changes += ["search=null"] if "search" in SweepKeys.model_fields else []
    sweep = load_sweep(path, changes)
    hours = None if chunk.seconds == math.inf else chunk.seconds / 3600
    sweep = replace(sweep, budget=sweep.budget.model_copy(update={"hours": hours}))
    if chunk.kind == "random":
        return sweep
    if not first:
        raise SystemExit(f"{path} has no `start:` configuration. Use --seeds 0 --near 0.")
    if chunk.kind == "near":
        draw = np.random.default_rng(seed)
        near = [neighbour(sweep.space, first[0].params, draw) for _ in range(chunk.count)]
        return replace(sweep, start=tuple(Start(f"near {index}", params) for index, params in enumerate(near)))
    fixed = {p.name: p.domain.value for p in sweep.space.values() if isinstance(p.domain, Fixed) and not p.when}
    space = {name: Parameter(name, name, Fixed(value)) for name, value in (fixed | first[0].params).items()}
    return replace(sweep, space=space)


def neighbour(space: Space, params: Mapping[str, Value], draw: np.random.Generator) -> dict[str, Value]:
    """Returns a configuration with some of its hyperparameters drawn again.

    How many differs: from nearly none to two thirds. So the models also see what is between good
    configurations and random ones.
    """
    other, share = random_configuration(space, draw), draw.uniform(0.02, 0.67)
    found: dict[str, Value] = {}
    for parameter in space.values():
        if not parameter.active(found):
            continue
        kept = params.get(parameter.name)
        if kept is None or not parameter.domain.contains(kept) or draw.random() < share:
            redrawn = other.get(parameter.name)
            fits = redrawn is not None and parameter.domain.contains(redrawn)
            kept = redrawn if fits and redrawn is not None else drawn(parameter.domain, draw)
        found[parameter.name] = kept
    return found


def run_options(options: argparse.Namespace) -> RunOptions:
    """Returns how the trials are trained, with lanes if this version has them."""
    workers = options.workers if options.workers == "auto" else int(options.workers)
    given: dict[str, Any] = {"workers": workers, "devices": options.devices, "wandb": "disabled"}
    given["engine"] = options.engine
    if _has_lanes():
        given["lanes"] = options.lanes if options.lanes == "auto" else int(options.lanes)
    return RunOptions(**given)


def lanes_used(options: argparse.Namespace) -> str:
    """Returns the lanes that were asked for; `1` in a version without lanes."""
    return str(options.lanes) if _has_lanes() else "1"


def _has_lanes() -> bool:
    return "lanes" in {field.name for field in fields(RunOptions)}


def read(store: Store, study: str, repeat: bool, chunk: int) -> list[Curve]:
    """Returns the curves of a study's jobs that have ended."""
    rows = store.epochs.curves(study)
    attempts: dict[str, list[AttemptRecord]] = {}
    for attempt in store.jobs.attempts(study):
        attempts.setdefault(attempt.job, []).append(attempt)
    found = []
    for job in store.jobs.of(study, "search"):
        if job.ended is not None:
            curve = rows.get(job.uid, [])
            found.append(_curve(job, curve, attempts.get(job.uid, []), repeat, chunk))
    return found


def concurrency(attempts: Sequence[AttemptRecord]) -> float:
    """Returns how many trainings shared a device on average, so that an epoch took longer."""
    whole = [(attempt.started, attempt.ended) for attempt in attempts if attempt.ended is not None]
    if not whole:
        return 1.0
    spent = sum((ended - started).total_seconds() for started, ended in whole)
    wall = (max(ended for _, ended in whole) - min(started for started, _ in whole)).total_seconds()
    devices = len({attempt.device if attempt.device != "cpu" else attempt.worker for attempt in attempts})
    return round(max(1.0, spent / wall / devices), 3) if wall else 1.0


def _curve(job: JobRecord, rows: list[EpochRow], attempts: list[AttemptRecord], repeat: bool, chunk: int) -> Curve:
    table = np.array([[getattr(row, name) for name in MEASURES] for row in rows]).reshape(len(rows), len(MEASURES))
    spent = sum((attempt.ended - attempt.started).total_seconds() for attempt in attempts if attempt.ended)
    state = {"complete": "complete", "failed": "failed"}.get(
        job.state, "cut" if job.reason == OUT_OF_TIME else "diverged"
    )
    overhead = max(0.0, spent - float(table[:, MEASURES.index("seconds")].sum()))
    return Curve(dict(job.params), job.seed, state, repeat, overhead, chunk, table)


def summary(curves: Curves) -> str:
    """Returns how many curves of which kind there are, in words."""
    states = [curve.state for curve in curves.curves if curves.kind(curve) == "random"]
    parts = [f"{states.count(state)} {state}" for state in sorted(set(states))]
    count = Counter(curves.kind(curve) for curve in curves.curves)
    rest = f"{count['seeds']} of the start configuration, {count['near']} near it"
    rest += f", {count['search']} of searches" if count["search"] else ""
    return f"{', '.join(parts) or 'no random configuration'}; {rest}"


if __name__ == "__main__":
    main()
