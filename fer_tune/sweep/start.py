"""Reads the section `start`: the configurations to try first."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from fer_tune.job import Value
from fer_tune.sweep.error_messages import unknown
from fer_tune.sweep.params import ParamsReader
from fer_tune.sweep.schema import Start
from fer_tune.sweep.space import Fixed, Space, misplaced, name_of, same, show
from fer_tune.sweep.yaml_nodes import Node, join

LONGEST_NAME = 100


@dataclass
class StartReader:
    """Reads start configurations, and adds what is wrong with them to the problems of `params`.

    Attributes:
        space: what `params` read.
        notes: which configurations were left out, because an override excludes them.
    """

    params: ParamsReader
    space: Space
    notes: list[str] = field(default_factory=list)

    def read(self, start: Node) -> tuple[Start, ...]:
        """Returns the configurations in the file's order."""
        if start.value is None:
            return ()
        if not isinstance(start.value, list):
            self.params.problems.add(start, "start", "must be a list of configurations")
            return ()
        entries = [self._entry(node, f"start[{index}]") for index, node in enumerate(start.value)]
        return tuple(entry for entry in entries if entry is not None)

    def _entry(self, node: Node, path: str) -> Start | None:
        problems = self.params.problems
        if not isinstance(node.value, dict):
            problems.add(node, path, "must be a mapping of hyperparameters to values")
            return None
        label = self._label(node.value.get("name"), path)
        values = self._values(node, path)
        fixed = {p.name: p.domain.value for p in self.space.values() if isinstance(p.domain, Fixed) and not p.when}
        for name in values.keys() - self.params.broken:
            wrong = self._misplaced(name, values[name], fixed | values)
            if wrong and self._excluded_by_override(name):
                self.notes.append(f"{label or path} is left out of the start, because its {name} {wrong}")
                return None
            if wrong:
                problems.add(node.entries[name], join(path, name), wrong)
        searched = {parameter.name for parameter in self.space.values()} - fixed.keys()
        return Start(label, {name: value for name, value in values.items() if name in searched})

    def _label(self, node: Node | None, path: str) -> str | None:
        if node is None or node.value is None:
            return None
        label = node.value
        if isinstance(label, str) and 0 < len(label) <= LONGEST_NAME and label.isprintable():
            return label
        self.params.problems.add(node, f"{path}.name", f"must be a line of text, at most {LONGEST_NAME} characters")
        return None

    def _values(self, node: Node, path: str) -> dict[str, Value]:
        values: dict[str, Value] = {}
        for name, item in node.entries.items():
            if name == "name":
                continue
            if name not in self.params.catalogue:
                self.params.problems.add(item, join(path, name), unknown("hyperparameter", name, self.params.catalogue))
            elif (value := self.params.value(name, item, join(path, name))) is not None:
                values[name] = value
        return values

    def _misplaced(self, name: str, value: Value, params: dict[str, Value]) -> str:
        """Returns why a start value cannot be drawn from the space, or an empty text if it can."""
        if all(parameter.name != name for parameter in self.space.values()):
            default = self.params.catalogue[name].default
            stays = f"is {show(value)}, but it is not in params and stays {show(default)}"
            return "" if same(default, value) else stays
        return misplaced(self.space, name, value, params)

    def _excluded_by_override(self, name: str) -> bool:
        """Returns whether an override can be why a start value is out of place."""
        related = {name} | {n for parameter in self.space.values() if parameter.name == name for n in parameter.when}
        return bool(related & self.params.changed)


def entry(name: str, params: Mapping[str, Value], space: Mapping[str, Any]) -> dict[str, Value]:
    """Returns a trial as an entry of `start:`.

    Args:
        space: the search space as a study keeps it. What it fixes is left out.
    """
    searched = {name_of(key) for key, written in space.items() if isinstance(written, dict) and "value" not in written}
    return {"name": name} | {key: value for key, value in params.items() if key in searched}
