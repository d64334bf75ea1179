"""Reads the section `params`: each hyperparameter's range, choices or value, and its conditions."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from math import isclose

from fer_tune.job import Value
from fer_tune.sweep.catalogue import Catalogue, Hyperparameter, describe_value
from fer_tune.sweep.conditions import (
    Draft,
    When,
    check_alternatives,
    check_conditions,
    in_dependency_order,
    without_impossible,
)
from fer_tune.sweep.error_messages import nearest, unknown
from fer_tune.sweep.space import Choice, Domain, Fixed, Parameter, Range, Space, key_of, show
from fer_tune.sweep.wandb_words import DOMAIN, wandb_word
from fer_tune.sweep.yaml_nodes import Node, Problems, join

MOST_ALTERNATIVES = 32
MOST_STEPS = 1_000_000

KEYS = {"choices": {"choices"}, "value": {"value"}, "low": {"low", "high", "log", "step", "off"}}
"""The keys of each kind of domain, by the key that must be there."""


@dataclass
class ParamsReader:
    """Reads hyperparameters, and adds to `problems` what is wrong with them.

    Attributes:
        catalogue: the hyperparameters that may be named.
        changed: hyperparameters that the command line overrides, or that such overrides make
            narrower.
        broken: hyperparameters whose description is wrong. Nothing is said about those that depend
            on them.
    """

    catalogue: Catalogue
    problems: Problems
    changed: set[str]
    broken: set[str] = field(default_factory=set)

    def space(self, params: Node) -> Space:
        """Returns the space that `params` describes, as far as it is valid."""
        drafts = list(self._drafts(params))
        order = in_dependency_order(drafts, self.problems)
        drafts = without_impossible(drafts, order, self.changed, self.broken)
        check_conditions(drafts, self.broken, self.catalogue, self.problems)
        check_alternatives(drafts, self.broken, self.problems)
        return {parameter.key: parameter for parameter in map(_parameter, drafts)}

    def value(self, name: str, node: Node, path: str) -> Value | None:
        """Returns the value of a hyperparameter as its configuration has it, or None if it is not
        valid.
        """
        hyper = self.catalogue[name]
        try:
            return hyper.check(node.plain())
        except ValueError as error:
            self.problems.add(node, path, f"{error}{nearest(node.plain(), map(show, hyper.choices))}")
            return None

    def _drafts(self, params: Node) -> Iterator[Draft]:
        for name, node in params.entries.items():
            path = join("params", name)
            if name not in self.catalogue:
                self.problems.add(node, path, unknown("hyperparameter", name, self.catalogue))
                continue
            found = len(self.problems)
            listed = isinstance(node.value, list)
            parts = node.value if isinstance(node.value, list) else [node]
            if listed and not 1 <= len(parts) <= MOST_ALTERNATIVES:
                self.problems.add(node, path, f"a list holds 1 to {MOST_ALTERNATIVES} alternatives")
                parts = []
            for index, part in enumerate(parts):
                here = f"{path}[{index}]" if listed else path
                if listed and not isinstance(part.value, dict):
                    self.problems.add(
                        part, here, "a list holds alternatives, each with `when`; a category is {choices: [...]}"
                    )
                    break
                domain = self._domain(self.catalogue[name], part, here)
                when = self._when(part.entries["when"], f"{here}.when") if "when" in part.entries else {}
                if domain is not None:
                    yield Draft(name, domain, when, listed, part, here)
            if len(self.problems) > found:
                self.broken.add(name)

    def _domain(self, hyper: Hyperparameter, node: Node, path: str) -> Domain | None:
        entries = {key: value for key, value in node.entries.items() if key != "when"}
        if not isinstance(node.value, dict):
            value = self.value(hyper.name, node, path)
            return None if value is None else Fixed(value)
        known = {key for keys in KEYS.values() for key in keys}
        foreign = False
        for key in entries.keys() - known:
            word = wandb_word(DOMAIN, key, self.problems)
            foreign = foreign or bool(word)
            self.problems.add(entries[key], join(path, key), word or unknown("key", key, sorted({*known, "when"})))
        if foreign:  # more about the same mistake would not help
            return None
        kind = next((kind for kind, keys in KEYS.items() if keys & entries.keys()), None)
        if kind is None or entries.keys() & known - KEYS[kind]:
            self.problems.add(
                node,
                path,
                "must have either low and high (with log, step or off), or choices, or value, and only one of them",
            )
            return None
        if kind == "value":
            value = self.value(hyper.name, entries["value"], join(path, "value"))
            return None if value is None else Fixed(value)
        return self._choice(hyper, entries["choices"], path) if kind == "choices" else self._range(hyper, node, path)

    def _choice(self, hyper: Hyperparameter, node: Node, path: str) -> Choice | None:
        path = join(path, "choices")
        if not isinstance(node.value, list) or not node.value:
            self.problems.add(node, path, f"must be a list of values, each {hyper.allowed}")
            return None
        values = [self.value(hyper.name, item, f"{path}[{index}]") for index, item in enumerate(node.value)]
        valid = tuple(value for value in values if value is not None)
        if len(set(valid)) < len(valid):
            twice = next(value for value in valid if valid.count(value) > 1)
            self.problems.add(node, path, f"{show(twice)} is given twice")
            return None
        return Choice(valid) if len(valid) == len(values) else None

    def _range(self, hyper: Hyperparameter, node: Node, path: str) -> Range | None:
        entries = node.entries
        if not hyper.numeric:
            self.problems.add(node, path, f"is {hyper.allowed}: write {{choices: [...]}} instead of a range")
            return None
        if missing := {"low", "high"} - entries.keys():
            self.problems.add(node, path, f"a range needs {' and '.join(sorted(missing))} too")
            return None
        low = self.value(hyper.name, entries["low"], join(path, "low"))
        high = self.value(hyper.name, entries["high"], join(path, "high"))
        log = entries["log"].value if "log" in entries else False
        step = entries["step"].value if "step" in entries else None
        off = entries["off"].value if "off" in entries else 0.0
        if not isinstance(log, bool):
            self.problems.add(entries["log"], join(path, "log"), f"must be true or false, not {describe_value(log)}")
            return None
        if not isinstance(low, int | float) or not isinstance(high, int | float):
            return None
        if wrong := _range_problem(hyper, low, high, log, step) or _off_problem(off):
            self.problems.add(node, path, wrong)
            return None
        step = hyper.type(step) if isinstance(step, int | float) else None
        return Range(low, high, log, step, hyper.type is int, off)  # type: ignore[arg-type]  # checked to be numbers

    def _when(self, node: Node, path: str) -> When:
        if not isinstance(node.value, dict) or not node.value:
            self.problems.add(node, path, "must name hyperparameters and their values, such as {optimizer: sgd}")
            return {}
        when: When = {}
        for name, given in node.value.items():
            if name not in self.catalogue:
                self.problems.add(given, join(path, name), unknown("hyperparameter", name, self.catalogue))
                continue
            items = given.value if isinstance(given.value, list) else [given]
            if not items:
                self.problems.add(given, join(path, name), "must name at least one value")
            values = [self.value(name, item, join(path, name)) for item in items]
            when[name] = tuple(dict.fromkeys(value for value in values if value is not None))
        return when


def _parameter(draft: Draft) -> Parameter:
    key = key_of(draft.name, draft.when) if draft.listed and draft.when else draft.name
    return Parameter(key, draft.name, draft.domain, draft.when)


def _range_problem(hyper: Hyperparameter, low: float, high: float, log: bool, step: object) -> str:
    """Returns what is wrong with the limits of a range, or an empty text."""
    if low >= high:
        return f"low {show(low)} must be below high {show(high)}"
    if log and low <= 0:
        return f"a logarithmic range must start above 0, not at {show(low)}"
    if log and step is not None:
        return "a range has log or step, not both"
    return "" if step is None else _step_problem(hyper, low, high, step)


def _off_problem(off: object) -> str:
    """Returns what is wrong with the share of draws that are `low`, or an empty text."""
    if isinstance(off, bool) or not isinstance(off, int | float) or not 0 <= off < 1:
        return f"off must be a number from 0 to below 1, not {describe_value(off)}: the share of draws that are low"
    return ""


def _step_problem(hyper: Hyperparameter, low: float, high: float, step: object) -> str:
    whole = hyper.type is int
    if isinstance(step, bool) or not isinstance(step, int if whole else int | float) or step <= 0:
        return f"step must be a {'whole ' if whole else ''}number above 0, not {describe_value(step)}"
    steps = (high - low) / step
    if steps > MOST_STEPS:
        return f"step {show(step)} makes more than {MOST_STEPS} values: leave it out"
    if not isclose(steps, round(steps), rel_tol=1e-9, abs_tol=1e-9) or round(steps) < 1:
        reach = low + max(1, int(steps)) * step
        return f"step {show(step)} does not lead from {show(low)} to {show(high)}; nearest high: {reach:g}"
    return ""
