"""The sections `params` and `start`: checked against the family's catalogue and made a `Space`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from graphlib import CycleError, TopologicalSorter
from itertools import combinations
from math import isclose

from fer_tune.job import Value
from fer_tune.sweep.catalogue import Catalogue, Hyperparameter, describe_value
from fer_tune.sweep.error_messages import nearest, unknown
from fer_tune.sweep.schema import Start
from fer_tune.sweep.space import Choice, Domain, Fixed, Parameter, Range, Space, key_of, same, show
from fer_tune.sweep.yaml_nodes import Node, Problems, join

MOST_ALTERNATIVES = 32
MOST_STEPS = 1_000_000

When = dict[str, tuple[Value, ...]]


@dataclass(frozen=True)
class Draft:
    """A parameter as read, not yet checked against the others.

    `listed` marks one of several alternatives; `node` and `path` say where it was written.
    """

    name: str
    domain: Domain
    when: When
    listed: bool
    node: Node
    path: str


@dataclass
class ParamsReader:
    """Reads `params`, then `start`.

    Attributes:
        catalogue: what may be named.
        problems: is added to.
        changed: hyperparameters that the command line overrides. What they make impossible is left out, not refused:
            `--set optimizer=sgd` on a sweep with alternatives for adam means sgd's.
        broken: hyperparameters whose description is wrong, so that nothing more is said about who depends on them.
        notes: what was left out on behalf of `changed`.
    """

    catalogue: Catalogue
    problems: Problems
    changed: set[str]
    broken: set[str] = field(default_factory=set)
    notes: list[str] = field(default_factory=list)

    def space(self, params: Node) -> Space:
        """The space that `params` describes, as far as it is valid."""
        drafts = self._narrowed(list(self._drafts(params)))
        for draft in drafts:
            self._check_conditions(draft, drafts)
        self._check_exclusion(drafts)
        return {parameter.key: parameter for parameter in self._ordered(drafts)}

    def start(self, start: Node, space: Space) -> tuple[Start, ...]:
        """The configurations to try first."""
        if start.value is None:
            return ()
        if not isinstance(start.value, list):
            self.problems.add(start, "start", "must be a list of configurations")
            return ()
        entries = [self._entry(node, f"start[{index}]", space) for index, node in enumerate(start.value)]
        return tuple(entry for entry in entries if entry is not None)

    # reading one hyperparameter

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
        kinds = {"choices": {"choices"}, "value": {"value"}, "low": {"low", "high", "log", "step"}}
        if not isinstance(node.value, dict):
            value = self._value(hyper, node, path)
            return None if value is None else Fixed(value)
        known = {key for keys in kinds.values() for key in keys}
        for key in entries.keys() - known:
            self.problems.add(entries[key], join(path, key), unknown("key", key, sorted({*known, "when"})))
        kind = next((kind for kind, keys in kinds.items() if keys & entries.keys()), None)
        if kind is None or entries.keys() & known - kinds[kind]:
            self.problems.add(
                node,
                path,
                "must have either low and high (with log or step), or choices, or value: and only one of them",
            )
            return None
        if kind == "value":
            value = self._value(hyper, entries["value"], join(path, "value"))
            return None if value is None else Fixed(value)
        return self._choice(hyper, entries["choices"], path) if kind == "choices" else self._range(hyper, node, path)

    def _choice(self, hyper: Hyperparameter, node: Node, path: str) -> Choice | None:
        path = join(path, "choices")
        if not isinstance(node.value, list) or not node.value:
            self.problems.add(node, path, f"must be a list of values, each {hyper.allowed}")
            return None
        values = [self._value(hyper, item, f"{path}[{index}]") for index, item in enumerate(node.value)]
        valid = tuple(value for value in values if value is not None)
        if len(set(valid)) < len(valid):
            twice = next(value for value in valid if valid.count(value) > 1)
            self.problems.add(node, path, f"{show(twice)} is given twice")
            return None
        return Choice(valid) if len(valid) == len(values) else None

    def _range(self, hyper: Hyperparameter, node: Node, path: str) -> Range | None:
        entries = node.entries
        if not hyper.numeric:
            self.problems.add(node, path, f"is {hyper.allowed}: no range, but {{choices: [...]}}")
            return None
        if missing := {"low", "high"} - entries.keys():
            self.problems.add(node, path, f"a range needs {' and '.join(sorted(missing))} too")
            return None
        low = self._value(hyper, entries["low"], join(path, "low"))
        high = self._value(hyper, entries["high"], join(path, "high"))
        log = entries["log"].value if "log" in entries else False
        step = entries["step"].value if "step" in entries else None
        if not isinstance(log, bool):
            self.problems.add(entries["log"], join(path, "log"), f"must be true or false, not {describe_value(log)}")
            return None
        if not isinstance(low, int | float) or not isinstance(high, int | float):
            return None
        if wrong := _range_problem(hyper, low, high, log, step):
            self.problems.add(node, path, wrong)
            return None
        step = hyper.type(step) if isinstance(step, int | float) else None
        return Range(low, high, log, step, hyper.type is int)  # type: ignore[arg-type]  # numeric, so the step is a number

    def _value(self, hyper: Hyperparameter, node: Node, path: str) -> Value | None:
        try:
            return hyper.check(node.plain())
        except ValueError as error:
            self.problems.add(node, path, f"{error}{nearest(node.plain(), map(show, hyper.choices))}")
            return None

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
            values = [self._value(self.catalogue[name], item, join(path, name)) for item in items]
            when[name] = tuple(dict.fromkeys(value for value in values if value is not None))
        return when

    # checking the hyperparameters against one another

    def _narrowed(self, drafts: list[Draft]) -> list[Draft]:
        """Takes out what the command line's overrides made impossible."""
        changed = self.changed - self.broken
        while True:
            domains = {name: [draft.domain for draft in drafts if draft.name == name] for name in changed}
            narrowed = [
                replace(
                    draft,
                    when={
                        name: tuple(value for value in values if _possible(value, domains.get(name)))
                        for name, values in draft.when.items()
                    },
                )
                for draft in drafts
            ]
            kept = [draft for draft in narrowed if draft.name in self.broken or all(draft.when.values())]
            if len(kept) == len(drafts):
                self.changed |= changed
                return kept
            changed |= {draft.name for draft in drafts} - {draft.name for draft in kept}
            drafts = kept

    def _check_conditions(self, draft: Draft, drafts: list[Draft]) -> None:
        for name, values in draft.when.items():
            path = f"{draft.path}.when.{name}"
            node = draft.node.at(("when", name))
            domains = [other.domain for other in drafts if other.name == name]
            if name in self.broken:
                continue
            if name == draft.name:
                self.problems.add(node, path, "a hyperparameter cannot depend on itself")
            elif not domains:
                default = show(self.catalogue[name].default)
                self.problems.add(
                    node, path, f"{name} is not in params, so it is always {default}: search it, or leave this out"
                )
            elif any(isinstance(d, Range) and not d.integer and d.step is None for d in domains):
                self.problems.add(node, path, f"{name} is a range; a condition needs a category or a fixed value")
            else:
                for value in values:
                    if not _possible(value, domains):
                        takes = ", ".join(str(domain) for domain in domains)
                        self.problems.add(node, path, f"{name} is never {show(value)} here, only {takes}")

    def _check_exclusion(self, drafts: list[Draft]) -> None:
        for one, other in combinations([draft for draft in drafts if draft.listed], 2):
            if one.name == other.name and one.name not in self.broken and not _exclusive(one.when, other.when):
                self.problems.add(
                    other.node,
                    other.path,
                    f"can hold at once with {one.path}: alternatives need `when` with different values of one name",
                )

    def _ordered(self, drafts: list[Draft]) -> Iterator[Parameter]:
        """Parameters in the file's order, but each behind those it depends on."""
        names = dict.fromkeys(draft.name for draft in drafts)
        waits = {
            name: {n for d in drafts if d.name == name for n in d.when if n in names and n != name} for name in names
        }
        try:
            tuple(TopologicalSorter(waits).static_order())
        except CycleError as error:
            cycle: list[str] = error.args[1]
            first = next(draft for draft in drafts if draft.name in cycle)
            self.problems.add(first.node, first.path, f"conditions go round in a circle: {' → '.join(cycle)}")
            return
        placed: dict[str, None] = {}
        while len(placed) < len(names):
            placed[next(name for name in names if name not in placed and waits[name] <= placed.keys())] = None
        for name in placed:
            for draft in (draft for draft in drafts if draft.name == name):
                key = key_of(name, draft.when) if draft.listed and draft.when else name
                yield Parameter(key, name, draft.domain, draft.when)

    # start configurations

    def _entry(self, node: Node, path: str, space: Space) -> Start | None:
        if not isinstance(node.value, dict):
            self.problems.add(node, path, "must be a mapping of hyperparameters to values")
            return None
        label = node.value["name"].value if "name" in node.value else None
        if label is not None and not (isinstance(label, str) and 0 < len(label) <= 100 and label.isprintable()):
            self.problems.add(node.value["name"], f"{path}.name", "must be a line of text, at most 100 characters")
        values: dict[str, Value] = {}
        for name, item in node.value.items():
            if name not in self.catalogue and name != "name":
                self.problems.add(item, join(path, name), unknown("hyperparameter", name, self.catalogue))
            elif name != "name" and (value := self._value(self.catalogue[name], item, join(path, name))) is not None:
                values[name] = value
        fixed = {p.name: p.domain.value for p in space.values() if isinstance(p.domain, Fixed) and not p.when}
        for name in values.keys() - self.broken:
            wrong = self._misplaced(name, values[name], fixed | values, space)
            if wrong and self._excused(name, space):
                self.notes.append(f"{label or path} is left out of the start, since its {name} {wrong}")
                return None
            if wrong:
                self.problems.add(node.value[name], join(path, name), wrong)
        searched = {parameter.name for parameter in space.values()}
        return Start(
            label if isinstance(label, str) else None,
            {name: value for name, value in values.items() if name in searched and name not in fixed},
        )

    def _misplaced(self, name: str, value: Value, params: dict[str, Value], space: Space) -> str:
        """Why a start value cannot be drawn from the space; empty if it can."""
        alternatives = [parameter for parameter in space.values() if parameter.name == name]
        if not alternatives:
            default = self.catalogue[name].default
            return (
                "" if same(default, value) else f"is {show(value)}, but it is not in params and stays {show(default)}"
            )
        active = next((parameter for parameter in alternatives if parameter.active(params)), None)
        if active is not None:
            return "" if active.domain.contains(value) else f"is {show(value)}, but params allows {active.domain}"
        needs = " or ".join(parameter.condition for parameter in alternatives)
        return f"applies only where {needs}: this configuration must say so, or leave {name} out"

    def _excused(self, name: str, space: Space) -> bool:
        """Whether an override can be why a start value is out of place."""
        related = {name} | {n for parameter in space.values() if parameter.name == name for n in parameter.when}
        return bool(related & self.changed)


def _range_problem(hyper: Hyperparameter, low: float, high: float, log: bool, step: object) -> str:
    """What is wrong with the limits of a range, or nothing."""
    if low >= high:
        return f"low {show(low)} must be below high {show(high)}"
    if log and low <= 0:
        return f"a logarithmic range must start above 0, not at {show(low)}"
    if log and step is not None:
        return "a range has log or step, not both"
    return "" if step is None else _step_problem(hyper, low, high, step)


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


def _possible(value: Value, domains: list[Domain] | None) -> bool:
    return domains is None or any(domain.contains(value) for domain in domains)


def _exclusive(one: When, other: When) -> bool:
    return any(not set(one[name]) & set(other[name]) for name in one.keys() & other.keys())
