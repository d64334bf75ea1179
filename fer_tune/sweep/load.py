"""From a sweep's file to a `Sweep`, or to everything that is wrong with it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from difflib import get_close_matches
from pathlib import Path
from typing import TypeVar

from fer_tune.data.policy import SplitPolicy
from fer_tune.errors import SweepError
from fer_tune.models import FAMILIES, Family
from fer_tune.sweep.catalogue import catalogue, describe_value
from fer_tune.sweep.error_messages import unknown, validated
from fer_tune.sweep.overrides import override
from fer_tune.sweep.params import ParamsReader
from fer_tune.sweep.schema import (
    PRUNERS,
    SAMPLERS,
    STUDY_NAME,
    Budget,
    Header,
    Images,
    Limits,
    PrunerSpec,
    SamplerSpec,
    Section,
    Start,
    Sweep,
)
from fer_tune.sweep.space import Choice, Fixed, Range, Space
from fer_tune.sweep.yaml_nodes import LONGEST_TEXT, Node, Problems, dump, parse

S = TypeVar("S", bound=Section)

_HINT = "`fer-tune init FAMILY` prints a sweep with all that it may say."


def load_sweep(path: Path, overrides: Sequence[str] = ()) -> Sweep:
    """Reads a sweep.

    Args:
        path: the YAML file.
        overrides: `key=value` as given to `--set`, see `overrides.override`.

    Raises:
        SweepError: the file cannot be read or is no valid sweep; `problems` has all that is wrong with it.
    """
    return loads_sweep(_read(path), path, overrides)


def loads_sweep(text: str, path: Path, overrides: Sequence[str] = ()) -> Sweep:
    """Reads a sweep from `text`; `path` names it in errors and gives the study's default name.

    Raises:
        SweepError: as `load_sweep`.
    """
    problems = Problems()
    root = parse(text, problems)
    if not isinstance(root.value, dict):
        if not problems:
            problems.add(root, "", f"a sweep is a mapping that names a family, not {describe_value(root.plain())}")
        raise _error(path, problems)
    changed = override(root, overrides, problems)
    sweep = _sweep(root, path, text, changed, problems)
    if sweep is None or len(problems):
        raise _error(path, problems)
    if overrides:
        heading = "".join(f"# --set {line!r}\n" for line in overrides)
        sweep = replace(sweep, text=f"# {path.name!r} with\n{heading}{dump(sweep.plain())}")
    return sweep


def load_sweeps(paths: Sequence[Path], overrides: Sequence[str] = ()) -> list[Sweep]:
    """Reads the sweeps that files and folders hold, in `find_sweeps`'s order.

    Raises:
        SweepError: one of them is not valid, or two describe the same study; names all that is wrong with all of them.
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
            problems.append(f"{path}: study {sweep.study} is also that of {sweeps[sweep.study].path}")
        sweeps[sweep.study] = sweep
    if problems:
        raise SweepError(f"These {len(files)} sweeps cannot be used together:", _HINT, tuple(problems))
    return list(sweeps.values())


def find_sweeps(paths: Sequence[Path]) -> list[Path]:
    """Files as they are, folders as the `*.yaml` and `*.yml` in them by name; none twice.

    Raises:
        SweepError: a path does not exist, or a folder has no sweep.
    """
    found: dict[Path, None] = {}
    for path in paths:
        if not _there(path):
            raise _absent(path)
        if path.is_dir():
            inside = sorted(file for file in path.iterdir() if file.suffix in (".yaml", ".yml") and file.is_file())
            if not inside:
                raise SweepError(f"{path}: no sweep (*.yaml) in this folder.", "`fer-tune init FAMILY` prints one.")
            found.update(dict.fromkeys(inside))
        else:
            found[path] = None
    return list(found)


def _there(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:  # a name too long for any file, a folder that may not be entered
        return False


def _read(path: Path) -> str:
    try:
        with path.open("rb") as file:
            content = file.read(4 * LONGEST_TEXT + 1)  # `parse` refuses what is longer
        return content.decode("utf-8-sig", errors="strict" if len(content) <= 4 * LONGEST_TEXT else "replace")
    except (FileNotFoundError, NotADirectoryError):
        raise _absent(path) from None
    except IsADirectoryError:
        raise SweepError(f"{path}: is a folder, not a sweep.", "Name one of its files.") from None
    except UnicodeDecodeError as error:
        raise SweepError(f"{path}: byte {error.start} is not UTF-8 text.", "A sweep is a YAML file in UTF-8.") from None
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        raise SweepError(f"{path}: cannot be read: {error}.", "Check the path and its permissions.") from error


def _absent(path: Path) -> SweepError:
    try:
        beside = [file.name for file in path.parent.iterdir() if file.suffix in (".yaml", ".yml")]
    except OSError:
        beside = []
    close = get_close_matches(path.name, [*beside], 1, 0.4)
    hint = (
        f"Did you mean {path.parent / close[0]}?" if close else "`fer-tune init FAMILY` prints a sweep to start from."
    )
    return SweepError(f"{path}: there is no such sweep.", hint)


def _error(path: Path, problems: Problems) -> SweepError:
    count = len(problems)
    message = f"{path}: {count} problem{'s' if count != 1 else ''} in this sweep:"
    return SweepError(message, _HINT, tuple(problems))


def _sweep(root: Node, path: Path, text: str, changed: set[str], problems: Problems) -> Sweep | None:
    header = validated(Header, root, "", problems)
    images = _images(root.entries.get("data"), problems)
    split = _split(root.entries.get("split"), problems)
    budget = validated(Budget, root.entries["budget"], "budget", problems) if "budget" in root.entries else Budget()
    sampler = _sampler(root.entries.get("sampler"), problems)
    pruner = _pruner(root.entries.get("pruner"), "pruner", budget or Budget(), problems)
    study = _study(root, path, problems)
    space, start, notes = _space(root, changed, problems)
    if header is not None and images is not None:
        _check_side(root, FAMILIES.get(header.family), images, problems)
    if sampler is not None and sampler.name == "cmaes":
        _check_cmaes(root.entries["sampler"], space, problems)
    if header is None or images is None or split is None or budget is None or sampler is None or pruner is None:
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
        space=space,
        start=start,
        path=path,
        text=text,
        notes=notes,
        limits=Limits(**header.model_dump(include=set(Limits.model_fields))),
        side=images.side,
        channels=images.channels,
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
    """Checks `params` and `start` against the family, or the nearest one if its name is misspelt."""
    family = root.entries.get("family")
    if family is None or not isinstance(family.value, str):
        return {}, (), ()
    known = family.value if family.value in FAMILIES else next(iter(get_close_matches(family.value, FAMILIES, 1)), None)
    if family.value not in FAMILIES:
        problems.add(family, "family", unknown("family", family.value, FAMILIES))
    if known is None:
        return {}, (), ()
    reader = ParamsReader(catalogue(known), problems, changed)
    params = root.entries.get("params", Node({}, 1, "line 1"))
    if params.value is not None and not isinstance(params.value, dict):
        problems.add(params, "params", f"must be a mapping of hyperparameters, not {describe_value(params.plain())}")
    space = reader.space(params)
    start = reader.start(root.entries.get("start", Node(None, 1, "line 1")), space)
    return space, start, tuple(reader.notes)


def _images(node: Node | None, problems: Problems) -> Images | None:
    """Reads `data`: a path, or a mapping with `path`, `side` and `channels`."""
    if node is None or node.value is None:
        return Images()
    if not isinstance(node.value, dict):
        node = Node({"path": node}, node.line, node.origin)
    return validated(Images, node, "data", problems)


def _check_side(root: Node, family: Family | None, images: Images, problems: Problems) -> None:
    """Refuses images that are too small for the poolings of the family."""
    if family is not None and images.side < family.smallest_side:
        what = f"must be at least {family.smallest_side} for {family.name}, which halves the images"
        problems.add(root.at(("data", "side")), "data.side", f"{what} {family.halvings} times, not {images.side}")


def _split(node: Node | None, problems: Problems) -> SplitPolicy | None:
    if node is None or node.value is None:
        return SplitPolicy()
    if isinstance(node.value, str):
        node = Node({"policy": node}, node.line, node.origin)
    return validated(SplitPolicy, node, "split", problems)


def _sampler(node: Node | None, problems: Problems) -> SamplerSpec | None:
    chosen = _named(node, "sampler", "tpe", SAMPLERS, problems)
    if chosen is None:
        return None
    name, options = chosen
    return SamplerSpec(name, options.seed, options.model_dump(exclude={"seed"}))


def _pruner(node: Node | None, path: str, budget: Budget, problems: Problems) -> PrunerSpec | None:
    chosen = _named(node, path, "median", PRUNERS, problems)
    if chosen is None or node is None:
        return None if chosen is None else PrunerSpec(chosen[0], chosen[1].model_dump())
    name, options = chosen[0], chosen[1].model_dump()
    if name == "hyperband" and options["max_resource"] is None:  # not Optuna's auto, which waits for a whole trial
        options["max_resource"] = max(budget.epochs, options["min_resource"])
    if name == "patient":
        wrapped = node.entries.get("wrapped_pruner")
        alone = wrapped is None or wrapped.value in (None, "none")
        options["wrapped_pruner"] = None if alone else _pruner(wrapped, f"{path}.wrapped_pruner", budget, problems)
    return PrunerSpec(name, options)


def _named(
    node: Node | None, path: str, default: str, table: Mapping[str, type[S]], problems: Problems
) -> tuple[str, S] | None:
    """A sampler or pruner, given as a word or as a mapping with `name` and options."""
    if node is None or node.value is None:
        return default, table[default]()
    name = node.entries.get("name") if isinstance(node.value, dict) else node
    if name is None:
        problems.add(node, f"{path}.name", f"is missing; allowed: {', '.join(table)}")
        return None
    if not isinstance(name.value, str) or name.value not in table:
        word = describe_value(name.plain())
        problems.add(name, path if name is node else f"{path}.name", f"{word}: {unknown('name', word, table)}")
        return None
    if name is node:
        return name.value, table[name.value]()
    options = validated(table[name.value], node, path, problems, leave_out="name")
    return None if options is None else (name.value, options)


def _check_cmaes(node: Node, space: Space, problems: Problems) -> None:
    searched = [parameter for parameter in space.values() if not isinstance(parameter.domain, Fixed)]
    choices = [parameter.name for parameter in searched if isinstance(parameter.domain, Choice)]
    conditional = [parameter.key for parameter in space.values() if parameter.when]
    advice = "fix these, or take tpe"
    if choices:
        problems.add(
            node, "sampler", f"cmaes moves through numbers only, not through choices ({_some(choices)}): {advice}"
        )
    if conditional:
        problems.add(
            node, "sampler", f"cmaes needs every parameter in every trial; conditional: {_some(conditional)}: {advice}"
        )
    if sum(isinstance(parameter.domain, Range) for parameter in searched) < 2 and not choices:
        problems.add(node, "sampler", "cmaes needs at least two ranges to search: add some, or take tpe")


def _some(names: list[str]) -> str:
    return ", ".join(names[:6]) + (", …" if len(names) > 6 else "")
