"""Reads `key=value` from the command line: changes to a sweep, and to the hyperparameters of a
trial.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from fer_tune.errors import FerTuneError, SettingsError
from fer_tune.job import Value
from fer_tune.models import FAMILIES, family_files, start_weights
from fer_tune.sweep.catalogue import Catalogue, catalogue
from fer_tune.sweep.error_messages import nearest, unknown
from fer_tune.sweep.schema import SweepKeys
from fer_tune.sweep.sections import wrong_crop
from fer_tune.sweep.space import show
from fer_tune.sweep.yaml_nodes import Node, Problems, parse

LITERAL = ("study", "family", "weights", "data", "data.path")
"""Keys whose value is taken as text, because a path may hold a colon. `null` removes them."""


WORDS = {"data": "path", "schedule": "name"}
"""What a section means that is a word and not a mapping, if another key of it is changed."""


def override(root: Node, assignments: Sequence[str], problems: Problems, folder: Path = Path()) -> set[str]:
    """Writes `key=value` assignments into the tree of a sweep, and returns the hyperparameters that
    changed.

    A key is a dotted path (`budget.trials`, `params.lr.low`, `start.0.lr`) or starts with a
    hyperparameter (`lr` is `params.lr`). A value is YAML. `null` removes an entry; a hyperparameter
    then has its default.

    Args:
        folder: of the sweep, where the file of a family may be.
    """
    changed: set[str] = set()
    for assignment in assignments:
        key, sign, text = assignment.partition("=")
        value = _value(key, text, origin(assignment), problems)
        steps = key.strip().split(".")
        known = _known(root, folder)
        if not sign:
            problems.add(value, "", "must be key=value, such as lr=0.01 or budget.trials=20")
            continue
        if steps[0] in known and not _is_about_the_search(steps, value):
            steps = ["params", *steps]
        elif steps[0] not in SweepKeys.model_fields:
            problems.add(value, steps[0], unknown("key", steps[0], [*SweepKeys.model_fields, *known]))
            continue
        word = root.entries.get(steps[0])
        if steps[0] in WORDS and len(steps) == 2 and word is not None and isinstance(word.value, str):
            root.entries[steps[0]] = Node({WORDS[steps[0]]: word}, word.line, word.origin)
        if steps[0] == "params" and len(steps) == 2 and value.value is None and steps[1] in known:
            value.value = known[steps[1]].default
        if _write(root, steps, value, problems) and steps[0] == "params":
            changed.update(steps[1:2] or known)
    return changed


def _is_about_the_search(steps: Sequence[str], value: Node) -> bool:
    """Returns whether a key means `schedule` of the sweep, and not the hyperparameter of that name.

    No value is valid for both.
    """
    if steps[0] != "schedule":
        return False
    return steps[1:2] == ["slots"] or "deterministic" in str(value.plain()) or value.plain() == "asynchronous"


def read_changes(
    family: str, changes: Sequence[str] | Mapping[str, object], side: int | None = None
) -> dict[str, Value]:
    """Returns hyperparameters of a family by name, checked as a sweep checks them.

    Args:
        changes: `lr=0.01` as given to `--set`, or a mapping of names to values. `null` or None is
            the default.
        side: of the images, which a crop must fit; None if it is not known.

    Raises:
        SettingsError: a name or a value is not valid. The message names all of them.
    """
    problems = Problems()
    given: list[tuple[str, Node]] = []
    if isinstance(changes, Mapping):
        given = [(name, Node(value, 0, "changes")) for name, value in changes.items()]  # type: ignore[arg-type]
    else:
        for assignment in changes:
            key, sign, text = assignment.partition("=")
            value = _value(key, text, origin(assignment), problems)
            if sign:
                given.append((key.strip().removeprefix("params."), value))
            else:
                problems.add(value, "", "must be key=value, such as lr=0.01")
    known = catalogue(family)
    read = {name: _checked(known, name, value, problems) for name, value in given}
    if side is not None:
        _check_crop(family, side, read, dict(given), problems)
    if len(problems):
        lines = "\n".join(f"  {problem}" for problem in problems)
        raise SettingsError(f"These changes cannot be made to a trial of {family}:\n{lines}", _HINT)
    return {name: value for name, value in read.items() if value is not None}


_HINT = "`fer-tune init FAMILY` lists the hyperparameters of a family and their values."


def _checked(known: Catalogue, name: str, node: Node, problems: Problems) -> Value | None:
    if name not in known:
        problems.add(node, name, unknown("hyperparameter", name, known))
        return None
    if node.value is None:
        return known[name].default
    try:
        return known[name].check(node.plain())
    except ValueError as error:
        problems.add(node, name, f"{error}{nearest(node.plain(), map(show, known[name].choices))}")
        return None


def _check_crop(
    family: str, side: int, read: Mapping[str, Value | None], given: Mapping[str, Node], problems: Problems
) -> None:
    """Adds a crop that does not fit the images, or is too small for the family, to `problems`.

    Values that the trial has and `read` has not are not known here. The worker checks them.
    """
    crop = read.get("crop")
    changed = FAMILIES[family].with_values({name: [value] for name, value in read.items() if value is not None})
    if isinstance(crop, int) and (what := wrong_crop([crop], [crop], changed, side)):
        problems.add(given["crop"], "crop", f"{what}, not {crop}")


def origin(assignment: str) -> str:
    """Returns how errors name a change as their place."""
    return f"--set {assignment}" if len(assignment) <= 60 else f"--set {assignment[:57]}..."


def _value(key: str, text: str, origin: str, problems: Problems) -> Node:
    literal = key in LITERAL and text != "null"
    return Node(text, 0, origin) if literal else parse(text, problems, origin)


def _known(root: Node, folder: Path) -> Catalogue:
    """Returns the hyperparameters of the sweep's family, or of all families while the family is not
    valid.
    """
    family, weights = root.entries.get("family"), root.entries.get("weights")
    named = "" if family is None else str(family.value)
    if family_files.is_written(named):
        with suppress(FerTuneError):  # it is reported when the whole sweep is read
            named = family_files.register(named, folder)
    if weights is not None and weights.value is not None:
        named = start_weights.stand_in(named)
    names = [named] if named in FAMILIES else list(FAMILIES)
    return {key: hyper for name in names for key, hyper in catalogue(name).items()}


def _write(root: Node, steps: list[str], value: Node, problems: Problems) -> bool:
    """Writes `value` at the path `steps`, and returns whether there was such a place."""
    node = root
    for position, step in enumerate(steps):
        last = position == len(steps) - 1
        if isinstance(node.value, list) and step.isdecimal() and int(step) < len(node.value):
            if last:
                node.value[int(step)] = value
            node = node.value[int(step)]
        elif isinstance(node.value, list):
            there = f"has the entries 0 to {len(node.value) - 1}" if node.value else "has no entries"
            problems.add(value, ".".join(steps[:position]), f"{there}; {step} is not one of them")
            return False
        else:
            entries = node.value = node.value if isinstance(node.value, dict) else {}
            if last and value.value is None:
                entries.pop(step, None)
            elif last:
                entries[step] = value
            else:
                node = entries.setdefault(step, Node({}, 0, value.origin))
    return True
