"""Reads YAML text as data that remembers its lines.

Values are read as in YAML 1.2 (its core schema), not as in PyYAML's 1.1: `1e-3` is a number, `on`
and `no` are words, and `010` is ten. Only plain data types are read, and tags of other types are
refused. Anchors, aliases and merge keys (`<<`) work. The number of values is bounded, however often
aliases repeat them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from math import isfinite
from typing import Any

import yaml

from fer_tune.job import Value

LONGEST_TEXT = 256 * 1024
MOST_VALUES = 20_000
DEEPEST = 24
DEEPEST_IN_C = 2000
"""Text that could be nested deeper is not given to libyaml, which has no limit but its stack."""

_TAG = "tag:yaml.org,2002:"
_CORE: tuple[tuple[str, str, list[str | None]], ...] = (
    ("bool", r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    ("int", r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+", list("-+0123456789")),
    (
        "float",
        r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)",
        list("-+.0123456789"),
    ),
    ("merge", r"<<", ["<"]),
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
)
"""Tag, pattern and first characters of each type; see YAML 1.2.2, section 10.3.2.

The first match counts.
"""


class _Loader(yaml.SafeLoader):
    yaml_implicit_resolvers: dict[Any, Any] = {}  # noqa: RUF012  # PyYAML's own form


class _Dumper(yaml.SafeDumper):
    yaml_implicit_resolvers: dict[Any, Any] = {}  # noqa: RUF012

    def ignore_aliases(self, data: Any) -> bool:
        return True


_own: dict[str, Any] = {"yaml_implicit_resolvers": {}}
_Fast: Any = type("_Fast", (yaml.CSafeLoader,), _own) if yaml.__with_libyaml__ else None
"""The same loader with libyaml's parser, if PyYAML was built with libyaml."""

_SIMPLE = re.compile(r'[\n "-=@-{}~]*')
"""Text that both loaders read alike: ASCII without tabs and without ``? ! | >``."""

for _name, _pattern, _first in _CORE:
    for _class in filter(None, (_Loader, _Dumper, _Fast)):
        _class.add_implicit_resolver(f"{_TAG}{_name}", re.compile(rf"^(?:{_pattern})$"), _first)


@dataclass
class Node:
    """A value, and where it was written.

    Attributes:
        value: a scalar, a list of nodes, or a mapping of text to nodes.
        line: counted from 1. The line of a mapping's entry is that of its key. 0 is the command
            line.
        origin: the place as errors name it: `line 12` or `--set lr=1`.
    """

    value: Value | list[Node] | dict[str, Node] | None
    line: int
    origin: str

    def plain(self) -> Any:
        """Returns the value without its lines."""
        if isinstance(self.value, dict):
            return {key: node.plain() for key, node in self.value.items()}
        if isinstance(self.value, list):
            return [node.plain() for node in self.value]
        return self.value

    @property
    def entries(self) -> dict[str, Node]:
        """Returns the entries of a mapping. Other values have none."""
        return self.value if isinstance(self.value, dict) else {}

    def at(self, location: tuple[str | int, ...]) -> Node:
        """Returns the deepest node on the way to `location`."""
        node = self
        for step in location:
            if isinstance(node.value, dict) and step in node.value:
                node = node.value[str(step)]
            elif isinstance(node.value, list) and isinstance(step, int) and step < len(node.value):
                node = node.value[step]
            else:
                break
        return node


@dataclass
class Problems:
    """Collects what is wrong with a sweep, so that one error can name everything.

    Attributes:
        hint: what to do about them; empty for the usual hint.
    """

    found: dict[str, int] = field(default_factory=dict)
    hint: str = ""

    def add(self, node: Node, path: str, message: str) -> None:
        """Adds a problem of `node`, whose dotted path is `path`. The same problem is added once."""
        text = f"{node.origin}: {path}: {message}" if path else f"{node.origin}: {message}"
        self.found.setdefault(text, node.line)

    def __iter__(self) -> Iterator[str]:
        """Yields the problems in the order of the file. Those of the command line come first."""
        return iter(sorted(self.found, key=lambda text: self.found[text]))

    def __len__(self) -> int:
        return len(self.found)


def parse(text: str, problems: Problems, origin: str = "", file: str = "") -> Node:
    """Returns one YAML document, as far as it is valid. What is wrong is added to `problems`.

    Args:
        text: the document.
        origin: what errors name instead of a line.
        file: what errors name in front of a line.
    """
    top = Node(None, 0 if origin else 1, origin or _place(file, 1))
    if len(text) > LONGEST_TEXT:
        problems.add(top, "", f"a sweep may have at most {LONGEST_TEXT // 1024} KiB of text")
        return top
    try:
        composed = _composed(text)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        if mark is not None and not origin:
            top = Node(None, mark.line + 1, _place(file, mark.line + 1))
        why = ", ".join(part for part in (error.context, error.problem) if part)
        if "'\\t'" in why:
            why = "this line begins with a tab, and YAML takes only spaces there"
        problems.add(top, "", f"not YAML: {why}")
        return top
    except RecursionError:
        problems.add(top, "", f"nested more than {DEEPEST} deep")
        return top
    except (yaml.YAMLError, ValueError, OverflowError) as error:
        # ValueError and OverflowError are escapes beyond Unicode.
        problems.add(top, "", f"not YAML: {str(error).splitlines()[0]}")
        return top
    return top if composed is None else _Reader(problems, origin, file).read(composed, "", 0)


def _composed(text: str) -> yaml.Node | None:
    """Returns PyYAML's graph of a document, or None if it is empty.

    libyaml is ten times as fast. What it refuses, PyYAML's own loader reads again, because its
    errors say more.
    """
    if _Fast is not None and _SIMPLE.fullmatch(text) and _depth(text) < DEEPEST_IN_C:
        with suppress(yaml.YAMLError):
            return _graph(_Fast, text)
    return _graph(_Loader, text)


def _graph(kind: Any, text: str) -> yaml.Node | None:
    loader = kind(text)
    try:
        composed: yaml.Node | None = loader.get_single_node()
        return composed
    finally:
        loader.dispose()


def _depth(text: str) -> int:
    """Returns how deep a document can be nested at most: a level needs a column or a bracket."""
    return max(map(len, text.split("\n"))) + text.count("[") + text.count("{")


def _place(file: str, line: int) -> str:
    """Returns how errors name a line."""
    return f"{file} line {line}" if file else f"line {line}"


class _Reader:
    """Turns PyYAML's graph into a tree of bounded size."""

    def __init__(self, problems: Problems, origin: str, file: str) -> None:
        self.problems = problems
        self.origin = origin
        self.file = file
        self.count = 0

    def read(self, source: yaml.Node, path: str, depth: int, line: int | None = None) -> Node:
        line = 0 if self.origin else line or source.start_mark.line + 1
        node = Node(None, line, self.origin or _place(self.file, line))
        self.count += 1
        if self.count > MOST_VALUES or depth > DEEPEST:
            limit = f"nested more than {DEEPEST} deep" if depth > DEEPEST else f"more than {MOST_VALUES} values"
            self.problems.add(Node(None, line, node.origin), "", f"{limit} (an alias counts as what it repeats)")
            self.count = MOST_VALUES + 1  # so that nothing more is read
            return node
        if source.tag.removeprefix(_TAG) not in ("bool", "int", "float", "null", "str", "merge", "seq", "map"):
            self.problems.add(node, path, f"the tag {source.tag.replace(_TAG, '!!')} is not allowed in a sweep")
        elif isinstance(source, yaml.MappingNode):
            node.value = {}
            self._fill(node.value, source, path, depth)
        elif isinstance(source, yaml.SequenceNode):
            node.value = []
            for index, item in enumerate(source.value):
                if self.count > MOST_VALUES:
                    break
                node.value.append(self.read(item, f"{path}[{index}]", depth + 1))
        else:
            self._scalar(node, source, path)
        return node

    def _fill(self, entries: dict[str, Node], source: yaml.MappingNode, path: str, depth: int) -> None:
        merged: dict[str, Node] = {}
        for key_node, value_node in source.value:
            if self.count > MOST_VALUES:
                return
            line = key_node.start_mark.line + 1
            here = Node(None, 0 if self.origin else line, self.origin or _place(self.file, line))
            if not isinstance(key_node, yaml.ScalarNode):
                self.problems.add(here, path, "a key must be a word")
            elif key_node.tag == f"{_TAG}merge":
                for name, node in self._merge(value_node, path, depth).items():
                    merged.setdefault(name, node)
            elif key_node.value in entries:
                before = entries[key_node.value].origin
                self.problems.add(here, join(path, key_node.value), f"given twice, first in {before}")
            else:
                name = str(key_node.value)
                entries[name] = self.read(value_node, join(path, name), depth + 1, line)
        for name, node in merged.items():
            entries.setdefault(name, node)

    def _merge(self, source: yaml.Node, path: str, depth: int) -> dict[str, Node]:
        node = self.read(source, join(path, "<<"), depth + 1)
        merged: dict[str, Node] = {}
        for part in node.value if isinstance(node.value, list) else [node]:
            if not isinstance(part.value, dict):
                self.problems.add(part, join(path, "<<"), "must name a mapping, or a list of them")
            for name, entry in part.entries.items():
                merged.setdefault(name, entry)
        return merged

    def _scalar(self, node: Node, source: yaml.Node, path: str) -> None:
        kind, text = source.tag.removeprefix(_TAG), source.value
        try:
            if kind == "bool":
                node.value = {"true": True, "false": False}[text.lower()]
            elif kind == "int" and len(text) <= 18:
                node.value = int(text, 0 if text[1:2] in ("o", "x") else 10)
            elif kind in ("int", "float"):
                node.value = float(re.sub(r"\.(?=inf|nan)", "", text.lower()))
                if not isfinite(node.value):
                    # A key that needs a number refuses it, and says what is allowed.
                    node.value = text
            elif kind != "null":
                node.value = text
        except (ValueError, KeyError):
            self.problems.add(node, path, f"{text[:40]!r} is not a valid {kind}")


def join(path: str, name: str) -> str:
    """Returns the dotted path of an entry."""
    return f"{path}.{name}" if path else name


def dump(plain: Any, flow: bool | None = None, width: float = 120) -> str:
    """Returns plain data as YAML text that `parse` reads as the same data.

    Args:
        flow: whether everything is in braces. None puts only the innermost level in braces.
        width: longer lines are folded.
    """
    text: str = yaml.dump(
        plain, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=width, default_flow_style=flow
    )
    return text
