"""Reads `extends: resnet.yaml`: a sweep inherits the keys of another one.

`budget`, `data`, `split` and `params` are inherited key by key. What the sweep says itself comes
first, and `null` takes a hyperparameter away, so that it has its default. Every other key is
inherited as a whole. The name of the study is not inherited. Errors name the file and the line
where a value was written.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from fer_tune.errors import SweepError
from fer_tune.sweep import shipped
from fer_tune.sweep.catalogue import describe_value
from fer_tune.sweep.yaml_nodes import Node, Problems, parse

KEY = "extends"

BY_KEY = ("budget", "data", "split", "params")
"""Sections that are inherited key by key."""

OWN = ("study", KEY)
"""Keys that are not inherited."""

DEEPEST = 8
"""Sweeps that may extend one another."""


def inherit(root: Node, path: Path, read: Callable[[Path], str], problems: Problems) -> set[str] | None:
    """Adds to a sweep what it inherits.

    Args:
        root: the sweep. It is changed.
        path: its file. Other files are named relative to its folder.
        read: returns the text of a file, or raises SweepError.

    Returns:
        None if the sweep extends no other. Else the hyperparameters that it changes, if it inherits
        `start`: configurations that do not fit them are left out, as with `--set`.
    """
    params = root.entries.get("params")
    own = set() if params is None or "start" in root.entries else set(params.entries)
    return own if _inherit(root, path, read, problems, [path.resolve()]) else None


def _inherit(root: Node, path: Path, read: Callable[[Path], str], problems: Problems, chain: list[Path]) -> bool:
    given = root.entries.get(KEY)
    if given is None or given.value is None:
        return False
    if not isinstance(given.value, str):
        problems.add(given, KEY, f"must name a sweep, such as resnet.yaml, not {describe_value(given.plain())}")
        return True
    beside = path.parent / given.value
    file = beside if beside.is_file() else shipped.named(Path(given.value).stem) or beside
    parent = _parent(given, file, read, problems, chain)
    if parent is not None:
        _inherit(parent, file, read, problems, [*chain, file.resolve()])
        _merge(root, parent)
    return True


def _parent(given: Node, file: Path, read: Callable[[Path], str], problems: Problems, chain: list[Path]) -> Node | None:
    """Returns the sweep that another one extends, or None if it cannot be read."""
    if file.resolve() in chain or len(chain) == DEEPEST:
        wrong = "extends itself" if file.resolve() in chain else f"is one of more than {DEEPEST} in a row"
        problems.add(given, KEY, f"{given.value} {wrong}")
        return None
    try:
        parent = parse(read(file), problems, file=str(given.value))
    except SweepError as error:
        problems.add(given, KEY, f"{error.message} {error.hint}".strip())
        return None
    if not isinstance(parent.value, dict):
        problems.add(given, KEY, f"{given.value} is not a mapping, and so not a sweep")
        return None
    return parent


def _merge(root: Node, parent: Node) -> None:
    assert isinstance(root.value, dict)
    for key, inherited in parent.entries.items():
        own = root.value.get(key)
        if key in OWN:
            continue
        if own is None:
            root.value[key] = inherited
        elif key in BY_KEY and isinstance(own.value, dict) and isinstance(inherited.value, dict):
            own.value = {**inherited.value, **own.value}
    params = root.value.get("params")
    if params is not None and isinstance(params.value, dict):
        params.value = {name: node for name, node in params.value.items() if node.value is not None}
