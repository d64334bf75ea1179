"""Reads sweep files. An error has everything that is wrong with a file."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from pathlib import Path

from fer_tune.errors import FerTuneError, SweepError
from fer_tune.models import FAMILIES, family_files
from fer_tune.sweep import shipped
from fer_tune.sweep.assemble import assemble
from fer_tune.sweep.catalogue import describe_value
from fer_tune.sweep.error_messages import nearest
from fer_tune.sweep.extends import inherit
from fer_tune.sweep.from_wandb import convert, family_of
from fer_tune.sweep.overrides import override
from fer_tune.sweep.schema import Sweep
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
    sweep = assemble(root, path, text, changed, problems)
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
