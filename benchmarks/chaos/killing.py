"""Kills each scenario before each of its operations, does it again, and compares.

Several processes share the tries. A try has a storage folder of its own.
"""

from __future__ import annotations

import gc
import json
import os
import shutil
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from importlib import import_module
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any

from fer_tune.settings import Settings

if TYPE_CHECKING:
    from alembic.config import Config

from .operations import FAILED, KILLED, answer, attempt
from .scenarios import SCENARIOS, Scenario, look, settings_of
from .subject import write_faces

Say = Callable[[str], object]

Bases = dict[Callable[[Settings], object], Path]
"""The storage folder that each base left; see `Scenario`."""

AT_ONCE = 2
"""Processes that try at the same time."""
IMAGES = 105
"""Images that a scenario trains and tests on."""
MOST_MISSED = 0.05
"""The most of the operations that runs may end without."""


@dataclass
class Killed:
    """What was found of one scenario.

    Attributes:
        operations: by kind, how many an undisturbed run has.
        killed: before how many of them a run was killed.
        missed: how many of them a run did not have. Some depend on the time that an epoch takes.
        problems: what was wrong afterwards, by number of the operation.
    """

    name: str
    operations: dict[str, int] = field(default_factory=dict)
    killed: int = 0
    missed: int = 0
    seconds: float = 0.0
    problems: dict[int, list[str]] = field(default_factory=dict)

    @property
    def passed(self) -> bool:
        """Whether every try ended like the undisturbed run, and few runs ended before a kill."""
        return not self.problems and self.killed > 0 and self.missed <= MOST_MISSED * (self.killed + self.missed)


NEEDED = (
    "fer_tune.dashboard.observer",
    "fer_tune.data.csvfile",
    "fer_tune.data.images",
    "fer_tune.data.load",
    "fer_tune.data.splits",
    "fer_tune.data.tree",
    "fer_tune.mirror.mlflow_tracker",
    "fer_tune.mirror.supervisor",
    "fer_tune.mirror.tensorboard_tracker",
    "fer_tune.mirror.wandb_tracker.offline",
    "fer_tune.report.confusion",
    "fer_tune.sources.search",
    "fer_tune.store.migrations",
    "fer_tune.study.samplers",
    "fer_tune.study.study",
    "fer_tune.train.export",
    "fer_tune.train.loop",
    "matplotlib.backends.backend_agg",
    "matplotlib.figure",
    "scipy.optimize",
    "scipy.sparse.csgraph",
    "wandb.apis",
    "wandb.sdk",
)
"""Modules that the work imports on its way."""


def preload() -> None:
    """Imports what the children need, so that each of them need not. Each uses one thread."""
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ[name] = "1"
    for name in NEEDED:
        import_module(name)
    import torch

    torch.set_num_threads(1)
    _read_migrations_once()


def _read_migrations_once() -> None:
    """Lets children find the scripts of all migrations read already.

    Alembic imports them again for each database that is opened, which is a third of a try.
    """
    from alembic.script import ScriptDirectory
    from optuna.storages import RDBStorage

    read, known = ScriptDirectory.from_config, dict[str | None, ScriptDirectory]()

    def from_config(config: Config) -> ScriptDirectory:
        place = config.get_main_option("script_location")
        if place not in known:
            known[place] = read(config)
        return known[place]

    ScriptDirectory.from_config = staticmethod(from_config)  # type: ignore[method-assign]
    RDBStorage("sqlite://")
    gc.collect()
    gc.freeze()
    gc.disable()  # a collection in a child, which does not last long, would copy all these objects


def kill_all(
    folder: Path, seed: int, share: float = 1.0, names: Sequence[str] = (), say: Say = lambda text: None
) -> list[Killed]:
    """Kills scenarios before their operations.

    Args:
        share: of the operations; a seed draws them.
        names: of scenarios; empty means all.
    """
    preload()
    chosen = [one for one in SCENARIOS if not names or one.name in names]
    bases: Bases = {}
    return [
        kill_scenario(one, folder / one.name.replace(" ", "-"), seed, share, bases=bases, say=say) for one in chosen
    ]


def kill_a_tenth(folder: Path, seed: int, say: Say) -> list[Killed]:
    """Kills the small forms of the scenarios before a tenth of their operations."""
    preload()
    small = [replace(one, work=one.small) for one in SCENARIOS if one.small is not None]
    bases: Bases = {}
    return [kill_scenario(one, folder / one.name.replace(" ", "-"), seed, 0.1, bases=bases, say=say) for one in small]


def kill_scenario(scenario: Scenario, folder: Path, seed: int, share: float, *, bases: Bases, say: Say) -> Killed:
    """Kills one scenario before its operations, or before a share of them."""
    began = time.monotonic()
    folder.mkdir(parents=True, exist_ok=True)
    write_faces(folder, IMAGES)
    prepared = _prepare(scenario, folder, bases)
    calm = folder / "calm"
    shutil.copytree(prepared, calm)
    names = folder / "operations"
    if attempt(lambda: scenario.work(settings_of(calm)), folder / "calm.log", names=names) != 0:
        raise RuntimeError(f"{scenario.name} failed undisturbed; see {folder / 'calm.log'}")
    kinds = names.read_text(encoding="utf-8").splitlines()
    expected = answer(lambda: look(settings_of(calm), scenario.mirrored), folder / "look.log")
    result = Killed(scenario.name, dict(Counter(kinds)))
    points = _points(len(kinds), f"{scenario.name}/{seed}", share)
    for point, problems in _share_out(points, lambda point: _try(scenario, folder, prepared, point, expected), folder):
        if problems is None:
            result.missed += 1
            continue
        result.killed += 1
        if problems:
            result.problems[point] = problems
            say(f"  before operation {point} ({kinds[point - 1]}): {'; '.join(problems)[:400]}")
    result.seconds = round(time.monotonic() - began, 1)
    outcome = "all ended like the undisturbed one" if not result.problems else f"{len(result.problems)} differ"
    outcome += f"; {result.missed} were not reached" if result.missed else ""
    say(f"{scenario.name}: killed before {result.killed} of {len(kinds)} operations in {result.seconds} s; {outcome}")
    if result.passed:
        shutil.rmtree(folder)
    return result


def _prepare(scenario: Scenario, folder: Path, bases: Bases) -> Path:
    """Does what comes before, once for all scenarios with the same base. Returns the storage folder
    that each try begins with."""
    if scenario.base not in bases:
        place = folder.with_name(f"before-{folder.name}")
        prepared = bases[scenario.base] = place / "storage"
        prepared.mkdir(parents=True)
        write_faces(place, IMAGES)
        if attempt(lambda: scenario.base(settings_of(prepared)), place / "base.log") != 0:
            raise RuntimeError(f"{scenario.name} cannot be prepared; see {place / 'base.log'}")
    return bases[scenario.base]


def _points(count: int, seed: str, share: float) -> list[int]:
    points = list(range(1, count + 1))
    if share < 1.0:
        points = Random(seed).sample(points, max(1, round(share * count)))
    return points


def _try(scenario: Scenario, folder: Path, prepared: Path, point: int, expected: Any) -> list[str] | None:
    """Kills once, does the work again, and returns what differs from the undisturbed result.

    Returns None if the run ended before the operation.
    """
    root, log = folder / f"try-{point}", folder / f"try-{point}.log"
    shutil.copytree(prepared, root)
    settings = settings_of(root)
    code = attempt(lambda: scenario.work(settings), log, target=point)
    if code == FAILED:
        return [f"it failed before it was killed; see {log}"]
    if code == 0:
        return None
    if code != KILLED:
        return [f"it ended with {code} and was not killed"]
    if attempt(lambda: scenario.work(settings), log) != 0:
        return [f"the second run failed; see {log}"]
    try:
        found = answer(lambda: look(settings, scenario.mirrored), log)
    except RuntimeError as error:
        return [str(error)]
    problems = [f"{text}" for text in found["wrong"] if text not in expected["wrong"]]
    problems += _differences(expected, found)
    if not problems:
        shutil.rmtree(root)
        log.unlink()
    return problems


def _differences(expected: Any, found: Any) -> list[str]:
    told = []
    for name in expected["studies"].keys() | found["studies"].keys():
        before, after = expected["studies"].get(name), found["studies"].get(name)
        if before is None or after is None:
            told.append(f"the study {name} is {'there' if after else 'missing'}")
            continue
        told += [f"{part} of {name} differ: {after[part]!s:.300}" for part in before if before[part] != after[part]]
    if expected["mirrored"] != found["mirrored"]:
        told.append("wandb has other rows")
    return told


def _share_out(
    points: Sequence[int], work: Callable[[int], list[str] | None], folder: Path
) -> list[tuple[int, list[str] | None]]:
    """Calls `work` for each point, in several processes. Returns the results by point."""
    children = []
    for place in range(AT_ONCE):
        out = folder / f"results-{place}.jsonl"
        child = os.fork()
        if child == 0:
            code = 1
            try:
                with out.open("w", encoding="utf-8") as stream:
                    for point in points[place::AT_ONCE]:
                        stream.write(json.dumps([point, work(point)]) + "\n")
                        stream.flush()
                code = 0
            finally:
                os._exit(code)
        children.append((child, out))
    results: list[tuple[int, list[str] | None]] = []
    for child, out in children:
        if os.waitpid(child, 0)[1] != 0:
            raise RuntimeError(f"a process of {folder.name} failed")
        results += [tuple(json.loads(line)) for line in out.read_text(encoding="utf-8").splitlines()]
    return sorted(results)
