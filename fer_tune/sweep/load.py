"""Reads sweep files. An error has everything that is wrong with a file."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from pathlib import Path

from fer_tune.errors import FerTuneError, SweepError
from fer_tune.models import FAMILIES, family_files
from fer_tune.sweep import shipped
from fer_tune.sweep.catalogue import catalogue, describe_value
from fer_tune.sweep.error_messages import nearest, unknown, validated
from fer_tune.sweep.extends import inherit
from fer_tune.sweep.from_wandb import convert, family_of
from fer_tune.sweep.overrides import override
from fer_tune.sweep.params import ParamsReader
from fer_tune.sweep.schema import STUDY_NAME, Budget, Start, Sweep, SweepKeys, SweepLimits
from fer_tune.sweep.sections import (
    check_cmaes,
    check_crop,
    check_schedule,
    check_side,
    read_images,
    read_pruner,
    read_sampler,
    read_schedule,
    read_search,
    read_split,
)
from fer_tune.sweep.space import Space
from fer_tune.sweep.start import StartReader
from fer_tune.sweep.weights import read_weights
from fer_tune.sweep.yaml_nodes import LONGEST_TEXT, Node, Problems, dump, parse

_HINT = "`fer-tune init FAMILY` prints a sweep with all keys and their values."


def load_sweep(path: Path, overrides: Sequence[str] = ()) -> Sweep:
    """Reads a sweep.

    Args:
        path: the YAML file.
        overrides: `key=value` as given to `--set`, see `overrides.override`.

    Raises:
        SweepError: the file cannot be read or is not a valid sweep. `problems` has all that is
            wrong.
    """
    return loads_sweep(_read(path), path, overrides)


def loads_sweep(text: str, path: Path, overrides: Sequence[str] = ()) -> Sweep:
    """Reads a sweep from `text`. `path` names it in errors, and gives the study its default name.

    Raises:
        SweepError: as `load_sweep`.
    """
    problems = Problems()
    root = parse(text, problems)
    if not isinstance(root.value, dict):
        if not problems:
            problems.add(root, "", f"a sweep must be a mapping that names a family, not {describe_value(root.plain())}")
        raise _error(path, problems)
    inherited = inherit(root, path, _read, problems)
    if problems and inherited is not None and "family" not in root.entries:
        raise _error(path, problems)  # what it would have inherited is not missing
    changed = override(root, overrides, problems, path.parent) | (inherited or set())
    from_file = _read_family(root, path.parent, problems)
    from_file = read_weights(root, path.parent, problems) or from_file
    sweep = _sweep(root, path, text, changed, problems)
    if sweep is None or len(problems):
        raise _error(path, problems)
    if overrides or inherited is not None or from_file:
        heading = "".join(f"# --set {line!r}\n" for line in overrides)
        whole = "" if inherited is None else " and what it extends"
        sweep = replace(sweep, text=f"# {path.name!r}{whole} with\n{heading}{dump(sweep.plain())}")
    return sweep


def load_sweeps(paths: Sequence[Path], overrides: Sequence[str] = ()) -> list[Sweep]:
    """Reads files, and the sweeps in folders, in the order of `find_sweeps`.

    Raises:
        SweepError: a sweep is not valid, or two sweeps describe the same study. The message has all
            problems of all.
    """
    sweeps: dict[str, Sweep] = {}
    problems: list[str] = []
    files = find_sweeps(paths)
    for path in files:
        try:
            sweep = load_sweep(path, overrides)
        except SweepError as error:
            if len(files) == 1:
                raise
            problems.extend([f"{path}: {problem}" for problem in error.problems] or [error.message])
            continue
        if sweep.study in sweeps:
            problems.append(f"{path}: the study {sweep.study} is also described by {sweeps[sweep.study].path}")
        sweeps[sweep.study] = sweep
    if problems:
        raise SweepError(f"These {len(files)} sweeps cannot be used together:", _HINT, tuple(problems))
    return list(sweeps.values())


@dataclass(frozen=True)
class Converted:
    """A sweep that was converted from another program's.

    Attributes:
        text: the YAML.
        problems: what is not valid in it.
    """

    text: str
    problems: tuple[str, ...]


def convert_wandb(path: Path, family: str | None = None) -> Converted:
    """Returns a sweep that searches what a W&B sweep searches.

    Args:
        family: the network; None is what the file says, else resnet.

    Raises:
        SweepError: the file is not a W&B sweep, or there is no such family.
    """
    if not _exists(path):
        raise SweepError(f"{path}: this file does not exist.", "Name a W&B sweep: a YAML file with `parameters`.")
    text = _read(path)
    family = family or family_of(text) or "resnet"
    if family not in FAMILIES:
        near = nearest(family, FAMILIES.alternatives(family))
        raise SweepError(f"{family!r} is not a family{near}.", f"Families: {', '.join(FAMILIES)}, or torchvision/NAME.")
    converted = convert(text, path, family)
    try:
        loads_sweep(converted, Path("converted.yaml"))
    except SweepError as error:
        return Converted(converted, error.problems)
    return Converted(converted, ())


def _read_family(root: Node, folder: Path, problems: Problems) -> bool:
    """Reads a family in a file, as `./mynet.py:MyNet` names it. Returns whether there is one."""
    given = root.entries.get("family")
    if given is None or not family_files.is_written(given.value):
        return False
    try:
        given.value = family_files.register(str(given.value), folder)
    except FerTuneError as error:
        problems.add(given, "family", f"{error.message} {error.hint}".strip())
        root.entries.pop("family")
    return True


def find_sweeps(paths: Sequence[Path]) -> list[Path]:
    """Returns the files, and the `*.yaml` and `*.yml` files in the folders by name, each once.

    A path that does not exist may be the name of a sweep in `sweeps/`, or of one that comes with
    fer-tune. So may a folder without sweeps, such as one of images.

    Raises:
        SweepError: a path does not exist, or a folder has no sweep.
    """
    found: dict[Path, None] = {}
    for given in paths:
        path = given if _exists(given) else shipped.named(str(given))
        if path is None:
            raise _missing(given)
        if not path.is_dir():
            found[path] = None
        elif inside := sorted(file for file in path.iterdir() if file.suffix in (".yaml", ".yml") and file.is_file()):
            found.update(dict.fromkeys(inside))
        elif named := shipped.named(str(given)):
            found[named] = None
        else:
            raise SweepError(f"{path}: this folder has no sweep (*.yaml).", "`fer-tune init FAMILY` prints one.")
    return list(found)


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:  # the name is too long, or a folder is not accessible
        return False


def _read(path: Path) -> str:
    try:
        with path.open("rb") as file:
            content = file.read(4 * LONGEST_TEXT + 1)  # `parse` refuses longer files
        return content.decode("utf-8-sig", errors="strict" if len(content) <= 4 * LONGEST_TEXT else "replace")
    except (FileNotFoundError, NotADirectoryError):
        raise _missing(path) from None
    except IsADirectoryError:
        raise SweepError(f"{path} is a folder, not a sweep.", "Name one of its files.") from None
    except UnicodeDecodeError as error:
        raise SweepError(f"{path}: byte {error.start} is not UTF-8 text.", "Save the file as UTF-8.") from None
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        raise SweepError(f"{path}: cannot be read: {error}.", "Check the path and its permissions.") from error


def _missing(path: Path) -> SweepError:
    try:
        beside = [file.name for file in path.parent.iterdir() if file.suffix in (".yaml", ".yml")]
    except OSError:
        beside = []
    named = list(dict.fromkeys([*shipped.local_names(), *shipped.names()]))
    is_name = path.name == str(path)
    close = get_close_matches(path.name, [*beside, *(named if is_name else [])], 1, 0.4)
    hints = [f"Did you mean {path.parent / close[0]}?"] if close else []
    hint = " ".join([*hints, *([f"These need no path: {', '.join(named)}."] if is_name or not close else [])])
    return SweepError(f"{path}: this file does not exist.", hint)


def _error(path: Path, problems: Problems) -> SweepError:
    count = len(problems)
    message = f"{path}: {count} problem{'s' if count != 1 else ''} in this sweep:"
    return SweepError(message, problems.hint or _HINT, _once(problems))


def _once(problems: Iterable[str]) -> tuple[str, ...]:
    """Returns the problems, each list of allowed names only where it comes first."""
    seen, found = set[str](), []
    for problem in problems:
        said, _, names = problem.partition("; allowed: ")
        found.append(said if names in seen else problem)
        seen.add(names)
    return tuple(found)


def _sweep(root: Node, path: Path, text: str, changed: set[str], problems: Problems) -> Sweep | None:
    header = validated(SweepKeys, root, "", problems)
    images = read_images(root.entries.get("data"), problems)
    split = read_split(root.entries.get("split"), problems)
    budget = validated(Budget, root.entries["budget"], "budget", problems) if "budget" in root.entries else Budget()
    sampler = read_sampler(root.entries.get("sampler"), problems)
    search = read_search(root.entries.get("search"), problems)
    schedule = read_schedule(root.entries.get("schedule"), problems)
    default = "none" if search is not None and search.strategy == "promote" else "median"
    pruner = read_pruner(root.entries.get("pruner"), "pruner", budget or Budget(), problems, default)
    study = _study(root, path, problems)
    space, start, notes = _space(root, changed, problems)
    if header is not None and images is not None:
        check_side(root, FAMILIES.get(header.family), images, problems)
        check_crop(root, space, FAMILIES.get(header.family), images, problems)
    if sampler is not None and sampler.name == "cmaes":
        check_cmaes(root.entries["sampler"], space, problems)
    if search is not None and search.prior is not None and search.prior.study is None and not start:
        notes += ("`start` has no configurations, so the search has no prior",)
    if schedule is not None and budget is not None:
        check_schedule(root, schedule, budget, problems)
    if header is None or images is None or split is None or budget is None:
        return None
    if sampler is None or pruner is None or search is None or schedule is None:
        return None
    return Sweep(
        study=study,
        family=header.family,
        data=images.path,
        split=split,
        objective=header.objective,
        sampler=sampler,
        pruner=pruner,
        budget=budget,
        seed=header.seed,
        patience=header.patience,
        retries=header.retries,
        lanes=header.lanes,
        space=space,
        start=start,
        path=path,
        text=text,
        notes=notes,
        limits=SweepLimits(**header.model_dump(include=set(SweepLimits.model_fields))),
        side=images.side,
        channels=images.channels,
        search=search,
        schedule=schedule,
        objective_of=header.objective_of,
    )


def _study(root: Node, path: Path, problems: Problems) -> str:
    given = root.entries.get("study")
    if given is not None and given.value is not None:
        if isinstance(given.value, str) and not re.fullmatch(STUDY_NAME, given.value):
            problems.add(given, "study", f"{describe_value(given.value)!r} {_NAMING}")
        return str(given.value)
    if not re.fullmatch(STUDY_NAME, path.stem):
        problems.add(root, "study", f"is missing, and the file's name {path.stem[:64]!r} {_NAMING}")
    return path.stem


_NAMING = "is not a valid study name: use 1 to 64 of A-Z a-z 0-9 . _ - and no dot at the beginning or end"


def _space(root: Node, changed: set[str], problems: Problems) -> tuple[Space, tuple[Start, ...], tuple[str, ...]]:
    """Reads `params` and `start` for the family, or for the one whose name is nearest."""
    family = root.entries.get("family")
    if family is None or not isinstance(family.value, str):
        return {}, (), ()
    known = (
        family.value
        if family.value in FAMILIES
        else next(iter(get_close_matches(family.value, list(FAMILIES), 1)), None)
    )
    if family.value not in FAMILIES:
        problems.add(family, "family", unknown("family", family.value, FAMILIES.alternatives(family.value)))
    if known is None:
        return {}, (), ()
    params_reader = ParamsReader(catalogue(known), problems, changed)
    params = root.entries.get("params", Node({}, 1, "line 1"))
    if params.value is not None and not isinstance(params.value, dict):
        problems.add(params, "params", f"must be a mapping of hyperparameters, not {describe_value(params.plain())}")
    space = params_reader.space(params)
    start_reader = StartReader(params_reader, space)
    start = start_reader.read(root.entries.get("start", Node(None, 1, "line 1")))
    return space, start, tuple(start_reader.notes)
