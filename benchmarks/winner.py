"""Measures what makes a winner better, on real faces: crops, views, seeds and an ensemble.

    python -m benchmarks.winner --data FILE --families resnet,vgg --variant crop=44 \\
        --variant crop=40 --devices cuda:0,cuda:1 --lanes 4 --minutes 9 --out result.json

There is no search: each family's recipe is the first `start:` configuration of its sweep. `--set`
changes it for all parts. `--set resnet:width=1.0` does so for one family, and so does `--variant`.
The parts are:

1. `views`: the recipe and each `--variant` are trained on training images under two seeds, side by
   side. Validation says which variant is best, and which kind of test-time augmentation.
2. `retrain`: the best variant of all families is trained on training and validation images under
   `--seeds` seeds. Each fit opens test once.
3. `ensemble`: chosen from the fits of part 1, of all families. It opens test once.

The file is written after each part. After `--minutes` the training is interrupted like by Ctrl-C,
and the same command continues it, if the storage folder is still there. Parts that are in the file
are not measured again.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import fer_tune
from benchmarks.circumstances import commit, device, today, versions
from fer_tune.job import Job, Tta, Value
from fer_tune.jobs import Observer
from fer_tune.jobs.runner import Runner
from fer_tune.jobs.signals import Signals
from fer_tune.pool.devices import choose_devices
from fer_tune.pool.engines import EngineName
from fer_tune.selection.statistics import deviation, mean
from fer_tune.settings import Settings
from fer_tune.sources.evaluate import VIEW_NAMES, TestScores
from fer_tune.sources.final import FinalFits, Request
from fer_tune.sources.final_result import FinalFit, finish
from fer_tune.sources.run import open_store
from fer_tune.sources.together import Together
from fer_tune.sources.workers import RunOptions, open_pool
from fer_tune.store import Store
from fer_tune.sweep import Sweep
from fer_tune.sweep.overrides import read_changes

Changes = dict[str, Value]

EVERY: tuple[Tta, ...] = ("none", "flip", "crops")


@dataclass(frozen=True)
class How:
    """How everything is trained.

    Attributes:
        families: the best variant of all is retrained, and all of them are in the ensemble.
        variants: changes to the recipe, as `--set` takes them, joined by commas.
        base: changes of every training.
        epochs: of part 1.
        final_epochs: of the parts 2 and 3.
    """

    data: str
    families: tuple[str, ...] = ("resnet",)
    variants: tuple[str, ...] = ()
    base: tuple[str, ...] = ()
    epochs: int = 60
    final_epochs: int = 100
    seeds: int = 3
    size: int = 8
    devices: str | None = None
    lanes: int | Literal["auto"] = "auto"
    engine: EngineName = "local"

    @property
    def options(self) -> RunOptions:
        """The same for the functions of `fer_tune.sources`."""
        return RunOptions(devices=self.devices, engine=self.engine, wandb="disabled", lanes=self.lanes)

    def changes(self, family: str) -> dict[str, Changes]:
        """Returns the changes of each variant of a family, the recipe first."""
        base = of_family(self.base, family)
        every = {"recipe": base} | {text: [*base, *text.split(",")] for text in of_family(self.variants, family)}
        return {name: dict(read_changes(family, texts)) for name, texts in every.items()}


def of_family(texts: Sequence[str], family: str) -> list[str]:
    """Returns the changes that are meant for a family: `crop=44`, or `resnet:crop=44`."""
    split = [text.rpartition(":") for text in texts]
    return [change for meant, _, change in split if meant in ("", family)]


class Lines(Observer):
    """Prints the end of each training, for the log of the machine."""

    def note(self, text: str) -> None:
        """Prints a note of the run."""
        print(text, flush=True)

    def job_ended(self, job: Job, ended: Any) -> None:
        """Prints how a training ended."""
        value = "" if ended.value is None else f" {ended.value:.4f}"
        print(f"{time.strftime('%H:%M:%S')} {job.study} {job.label} seed {job.seed}: {ended.state}{value}", flush=True)


def studies(how: How) -> bool:
    """Makes a study of each family, whose one trial is the recipe with a single epoch.

    Returns whether the time sufficed.
    """
    fixed = [
        f"data={how.data}",
        "sampler={name: random}",
        "pruner={name: none}",
        "search=null",
        "patience=0",
        "budget={trials: 1, epochs: 1}",
    ]
    sweeps: list[Sweep] = [one for family in how.families for one in fer_tune.check(family, fixed)]
    outcome = fer_tune.run(sweeps, devices=how.devices, engine=how.engine, wandb="disabled", lanes=1, observer=Lines())
    return not outcome.interrupted


def views(how: How) -> dict[str, dict[str, list[FinalFit]]] | None:
    """Trains each variant of each family under two seeds, and evaluates it on validation.

    Returns the fits by family and variant, or None if the time was over.
    """
    settings, signals, found = Settings.from_environment(), Signals(), dict[str, dict[str, list[FinalFit]]]()
    with ExitStack() as stack:
        store = stack.enter_context(open_store(settings, 60.0, print))
        signals.hurry = store.patiently.hurry
        stack.enter_context(signals.handled())
        pool = open_pool(settings, how.options, 60.0, print)
        stack.callback(pool.close)
        wanted = {
            (family, name): FinalFits(store, settings, family, _request(how, changes), mirrored=False)
            for family in how.families
            for name, changes in how.changes(family).items()
        }
        for one in wanted.values():
            stack.callback(one.lock.release)
        together = Together(list(wanted.values()))
        if together.wanted():
            Runner(together, pool, store, Lines(), signals, lanes=how.lanes).run()
        pool.close()  # the evaluation needs the memory of the workers
        if signals.requested:
            return None
        where = choose_devices(how.devices, 1)[0]
        for (family, name), one in wanted.items():
            found.setdefault(family, {})[name] = _evaluated(one, store, settings, where)
    return found


def _request(how: How, changes: Changes) -> Request:
    return Request(
        trial=0, epochs=how.epochs, until="end", seeds=2, on="train", tta="crops", test=False, changes=changes
    )


def _evaluated(fits: FinalFits, store: Store, settings: Settings, where: str) -> list[FinalFit]:
    record, found = fits.record, []
    for job in fits.records():
        folder = settings.job_folder(record.name, record.uid, job.uid)
        work = partial(finish, store, record, job, folder, where, views=None, validated=fits.request.validated)
        found.append(store.patiently(work))
    return found


def by_views(fits: Sequence[FinalFit]) -> dict[str, Any]:
    """Returns the validation figures of fits of one variant, by seed and as a mean."""
    values = {VIEW_NAMES[tta]: [fit.validated[tta].scores.accuracy for fit in fits] for tta in EVERY}
    return {
        "changes": fits[0].changes,
        "parameters": fits[0].parameters,
        "epochs": fits[0].epochs,
        "by_seed": values,
        "mean": {name: mean(some) for name, some in values.items()},
        "seconds": [round(fit.seconds, 1) for fit in fits],
        "images_per_second": [round(sum(row.images_per_second for row in fit.rows) / len(fit.rows)) for fit in fits],
    }


def best_of(families: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> tuple[str, str, Tta]:
    """Returns the family, its variant and the kind of views with the highest mean on validation."""
    by_name = {name: tta for tta, name in VIEW_NAMES.items()}
    ranked = [
        (value, family, name, view)
        for family, variants in families.items()
        for name, one in variants.items()
        for view, value in one["mean"].items()
    ]
    _, family, name, view = max(ranked, key=lambda entry: entry[0])
    return family, name, by_name[view]


def retrained(how: How, family: str, changes: Changes, tta: Tta) -> dict[str, Any] | None:
    """Trains the chosen variant on training and validation images, and opens test for each fit."""
    fits = fer_tune.retrain(
        family, trial=0, seeds=how.seeds, tta="crops", epochs=how.final_epochs, until="end",
        changes=changes, lanes=how.lanes, devices=how.devices, engine=how.engine, wandb="disabled", observer=Lines(),
    )  # fmt: skip
    if fits is None:
        return None
    values = {VIEW_NAMES[one]: [fit.scores(one).scores.accuracy for fit in fits] for one in EVERY}
    chosen = values[VIEW_NAMES[tta]]
    return {
        "family": family,
        "changes": changes,
        "epochs": fits[0].epochs,
        "images": fits[0].images,
        "parameters": fits[0].parameters,
        "test_images": fits[0].tested.images if fits[0].tested else 0,
        "chosen_on_validation": VIEW_NAMES[tta],
        "accuracy": mean(chosen),
        "deviation": deviation(chosen),
        "by_seed": values,
        "mean": {name: mean(some) for name, some in values.items()},
        "seconds": [round(fit.seconds, 1) for fit in fits],
        "ledger": [opening.line for opening in fits[-1].ledger],
    }


def assembled(how: How) -> dict[str, Any] | None:
    """Chooses and trains an ensemble, and opens test for it."""
    fit = fer_tune.ensemble(
        how.families, size=how.size, epochs=how.final_epochs, tta="crops", lanes=how.lanes, devices=how.devices,
        engine=how.engine, wandb="disabled", observer=Lines(),
    )  # fmt: skip
    if fit is None or fit.tested is None:
        return None
    choice = fit.chosen.choice

    def figures(some: Mapping[Tta, TestScores]) -> dict[str, Any]:
        return {VIEW_NAMES[tta]: one.figures() for tta, one in some.items()}

    return {
        "networks": len(fit.fits),
        "members": [{**vars(one), "changes": dict(one.changes)} for one in fit.chosen.members],
        "candidates": len(fit.chosen.candidates),
        "validation": {"ensemble": choice.honest, "single": choice.single_honest},
        "test": figures(fit.tested.views),
        "test_of_single": figures(fit.tested.beside),
        "test_images": fit.tested.images,
        "ledger": [opening.line for opening in fit.tested.ledger],
    }


def measure(how: How, record: dict[str, Any], out: Path, parts: Sequence[str]) -> None:
    """Measures the parts, and writes the record after each."""

    def write(part: str, found: Any, began: float) -> None:
        record[part] = found
        record.setdefault("seconds", {})[part] = round(time.monotonic() - began, 1)
        out.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
        print(json.dumps({part: found}), flush=True)

    began, parts = time.monotonic(), [part for part in parts if part not in record]
    if not parts or not studies(how):
        return
    if "views" in parts:
        fits = views(how)
        if fits is None:
            return
        found = {family: {name: by_views(some) for name, some in of.items()} for family, of in fits.items()}
        write("views", found, began)
    family, name, tta = best_of(record["views"]) if "views" in record else (how.families[0], "recipe", "none")
    if "retrain" in parts:
        began = time.monotonic()
        if (done := retrained(how, family, how.changes(family)[name], tta)) is None:
            return
        write("retrain", done, began)
    if "ensemble" in parts:
        began = time.monotonic()
        if (together := assembled(how)) is not None:
            write("ensemble", together, began)


def main() -> None:
    """Measures, prints each part, and writes the record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True)
    parser.add_argument("--families", default="resnet,vgg")
    parser.add_argument("--variant", action="append", default=[], help="KEY=VALUE,KEY=VALUE; repeatable")
    parser.add_argument("--set", action="append", default=[], dest="base", help="KEY=VALUE, for every training")
    parser.add_argument("--epochs", type=int, default=60, help="of the part views")
    parser.add_argument("--final-epochs", type=int, default=100)
    parser.add_argument("--seeds", type=int, default=3, help="of the part retrain")
    parser.add_argument("--size", type=int, default=8, help="networks of the ensemble")
    parser.add_argument("--parts", default="views,retrain,ensemble")
    parser.add_argument("--devices")
    parser.add_argument("--lanes", type=int, default=4)
    parser.add_argument("--engine", default="local", choices=["local", "inline"])
    parser.add_argument("--minutes", type=float)
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    how = How(
        given.data, tuple(given.families.split(",")), tuple(given.variant), tuple(given.base), given.epochs,
        given.final_epochs, given.seeds, given.size, given.devices, given.lanes, given.engine,
    )  # fmt: skip
    if given.minutes:
        signal.signal(signal.SIGALRM, lambda number, frame: os.kill(os.getpid(), signal.SIGINT))
        signal.setitimer(signal.ITIMER_REAL, 60 * given.minutes)
    record: dict[str, Any] = json.loads(given.out.read_text(encoding="utf-8")) if given.out.exists() else {}
    words = [word.replace(given.data, "FILE").replace(str(given.out), given.out.name) for word in sys.argv[1:]]
    record |= {
        "benchmark": "winner", "command": "python -m benchmarks.winner " + shlex.join(words), "device": device(),
        "versions": versions(), "commit": commit(), "date": today(), "families": how.families, "base": how.base,
    }  # fmt: skip
    measure(how, record, given.out, given.parts.split(","))


if __name__ == "__main__":
    main()
