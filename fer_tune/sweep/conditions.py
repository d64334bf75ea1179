"""Checks the conditions between hyperparameters, and puts each behind those that it needs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from graphlib import CycleError, TopologicalSorter
from itertools import combinations

from fer_tune.job import Value
from fer_tune.sweep.catalogue import Catalogue
from fer_tune.sweep.space import Domain, Range, show
from fer_tune.sweep.yaml_nodes import Node, Problems

When = dict[str, tuple[Value, ...]]


@dataclass(frozen=True)
class Draft:
    """A hyperparameter, or one of its alternatives, as it was read and before it is checked against
    the others.

    Attributes:
        listed: whether it is one of several alternatives in a list.
        node, path: where it was written.
    """

    name: str
    domain: Domain
    when: When
    listed: bool
    node: Node
    path: str


def in_dependency_order(drafts: Sequence[Draft], problems: Problems) -> list[str]:
    """Returns the names so that each comes after those that its conditions name, otherwise in the
    file's order.

    Conditions that form a circle are a problem. The names are then in the file's order.
    """
    names = list(dict.fromkeys(draft.name for draft in drafts))
    needs: dict[str, set[str]] = {name: set() for name in names}
    for draft in drafts:
        needs[draft.name].update(other for other in draft.when if other in needs and other != draft.name)
    sorter = TopologicalSorter(needs)
    try:
        sorter.prepare()
    except CycleError as error:
        cycle: list[str] = error.args[1]
        first = next(draft for draft in drafts if draft.name in cycle)
        problems.add(first.node, first.path, f"the conditions form a circle: {' → '.join(cycle)}")
        return names
    ready: list[str] = []
    order: list[str] = []
    while sorter.is_active():
        ready.extend(sorter.get_ready())
        first_in_file = min(ready, key=names.index)
        ready.remove(first_in_file)
        sorter.done(first_in_file)
        order.append(first_in_file)
    return order


def without_impossible(
    drafts: Sequence[Draft], order: Sequence[str], changed: set[str], broken: set[str]
) -> list[Draft]:
    """Returns the drafts in `order`, without what the command line made impossible.

    `--set optimizer=sgd` on a sweep with alternatives for adam means those of sgd. So the values
    that a changed hyperparameter no longer takes are removed from the conditions, and a draft whose
    condition can never hold is left out. A hyperparameter that lost a draft counts as changed, too:
    those that depend on it come later in `order` and see what is left of it.

    Args:
        changed: is added to.
        broken: hyperparameters that are kept as they are, because they are refused anyway.
    """
    kept: list[Draft] = []
    for draft in (draft for name in order for draft in drafts if draft.name == name):
        when = {
            other: tuple(value for value in values if other not in changed - broken or _takes(kept, other, value))
            if other != draft.name
            else values
            for other, values in draft.when.items()
        }
        if draft.name in broken or all(when.values()):
            kept.append(replace(draft, when=when))
        else:
            changed.add(draft.name)
    return kept


def check_conditions(drafts: Sequence[Draft], broken: set[str], catalogue: Catalogue, problems: Problems) -> None:
    """Adds the conditions that can never hold to `problems`."""
    for draft in drafts:
        for name in draft.when.keys() - broken:
            for wrong in _wrong_condition(draft, name, drafts, catalogue):
                problems.add(draft.node.at(("when", name)), f"{draft.path}.when.{name}", wrong)


def _wrong_condition(draft: Draft, name: str, drafts: Sequence[Draft], catalogue: Catalogue) -> list[str]:
    domains = [other.domain for other in drafts if other.name == name]
    if name == draft.name:
        return ["a hyperparameter cannot depend on itself"]
    if not domains:
        default = show(catalogue[name].default)
        return [f"{name} is not in params, so it is always {default}: search it, or leave this out"]
    if any(isinstance(domain, Range) and not domain.integer and domain.step is None for domain in domains):
        return [f"{name} is a range; a condition needs a category or a fixed value"]
    takes = ", ".join(str(domain) for domain in domains)
    never = [value for value in draft.when[name] if not _takes(drafts, name, value)]
    return [f"{name} is never {show(value)} here, only {takes}" for value in never]


def check_alternatives(drafts: Sequence[Draft], broken: set[str], problems: Problems) -> None:
    """Adds alternatives of one hyperparameter that can hold at the same time to `problems`."""
    for one, other in combinations([draft for draft in drafts if draft.listed], 2):
        if one.name == other.name and one.name not in broken and not _exclusive(one.when, other.when):
            problems.add(
                other.node,
                other.path,
                f"can hold at the same time as {one.path}: alternatives need `when` with different values of one name",
            )


def _takes(drafts: Sequence[Draft], name: str, value: Value) -> bool:
    return any(draft.domain.contains(value) for draft in drafts if draft.name == name)


def _exclusive(one: When, other: When) -> bool:
    return any(not set(one[name]) & set(other[name]) for name in one.keys() & other.keys())
