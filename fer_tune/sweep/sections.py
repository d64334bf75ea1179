"""Reads the sections `data`, `split`, `sampler`, `pruner`, `search` and `schedule` of a sweep."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeVar

from fer_tune.data.policy import SplitPolicy
from fer_tune.job import Value
from fer_tune.models import Family
from fer_tune.sweep.catalogue import catalogue, describe_value
from fer_tune.sweep.error_messages import unknown, validated
from fer_tune.sweep.samplers_and_pruners import KNOW_OFF
from fer_tune.sweep.schema import (
    PRUNERS,
    SAMPLERS,
    Budget,
    Images,
    PrunerSpec,
    SamplerSpec,
    ScheduleSpec,
    SearchSpec,
    Section,
)
from fer_tune.sweep.search_spec import OF_RUNGS
from fer_tune.sweep.space import Choice, Fixed, Range, Space
from fer_tune.sweep.yaml_nodes import Node, Problems

S = TypeVar("S", bound=Section)


def read_images(node: Node | None, problems: Problems) -> Images | None:
    """Reads `data`: a path, or a mapping with `path`, `side` and `channels`."""
    if node is None or node.value is None:
        return Images()
    if not isinstance(node.value, dict):
        node = Node({"path": node}, node.line, node.origin)
    return validated(Images, node, "data", problems)


def with_space(family: Family, space: Space) -> Family:
    """Returns a family with the halvings of the networks that a space can draw."""
    possible: dict[str, set[Value]] = {}
    for parameter in space.values():
        if isinstance(parameter.domain, Range):
            continue  # only a hyperparameter with choices decides about halvings
        values = possible.setdefault(parameter.name, set())
        values.update(_values(parameter.domain))
        if parameter.when:  # where it is not active, it has its default
            values.add(catalogue(family.name)[parameter.name].default)
    return family.with_values(possible)


def check_side(root: Node, family: Family | None, images: Images, problems: Problems) -> None:
    """Adds images that are too small for the poolings of the family, or that it cannot divide into
    patches, to `problems`."""
    if family is None:
        return
    if images.side % family.multiple:
        what = f"must be a multiple of {family.multiple} for {family.name}, not {images.side}"
        problems.add(root.at(("data", "side")), "data.side", what)
    elif images.side < family.smallest_side:
        least = f"must be at least {family.smallest_side} for {family.name}, which halves the images"
        problems.add(root.at(("data", "side")), "data.side", f"{least} {family.halvings} times, not {images.side}")


def check_crop(root: Node, space: Space, family: Family | None, images: Images, problems: Problems) -> None:
    """Adds crops that do not fit the images, or are too small for the family, to `problems`."""
    for parameter in space.values():
        if parameter.name != "crop":
            continue
        domain = parameter.domain
        values = [domain.low, domain.high] if isinstance(domain, Range) else _values(domain)
        if what := wrong_crop([int(value) for value in values], _steps(domain), family, images.side):
            problems.add(root.at(("params", "crop")), "params.crop", what)


def wrong_crop(sizes: Sequence[int], steps: Sequence[int], family: Family | None, side: int) -> str:
    """Returns what crops must be instead, or nothing if they fit the images and the family.

    Args:
        sizes: the smallest and the largest, or all. 0 means the whole image.
        steps: sizes and distances that must be multiples of the family's number.
        side: of the images.
    """
    crops = [size for size in sizes if size]
    least = max(1, family.smallest_side if family else 1)
    if crops and not (least <= min(crops) and max(crops) < side):
        return f"must be 0, or {least} to {side - 1}"
    if family is not None and any(step % family.multiple for step in steps):
        return f"must be a multiple of {family.multiple} for {family.name}"
    return ""


def _steps(domain: Fixed | Range | Choice) -> list[int]:
    """Returns sizes of crops that are multiples of a number only if all sizes of the domain are."""
    if isinstance(domain, Range):
        return [int(domain.low), int(domain.step or 1)]
    return [int(value) for value in _values(domain)]


def _values(domain: Fixed | Choice) -> Sequence[Value]:
    return [domain.value] if isinstance(domain, Fixed) else domain.choices


def read_split(node: Node | None, problems: Problems) -> SplitPolicy | None:
    """Reads `split`: the name of a policy, or a mapping."""
    if node is None or node.value is None:
        return SplitPolicy()
    if isinstance(node.value, str):
        node = Node({"policy": node}, node.line, node.origin)
    return validated(SplitPolicy, node, "split", problems)


def read_sampler(node: Node | None, problems: Problems) -> SamplerSpec | None:
    """Reads `sampler`: a name, or a mapping with `name` and options."""
    chosen = _named(node, "sampler", "tpe", SAMPLERS, problems)
    if chosen is None:
        return None
    name, options = chosen
    return SamplerSpec(name, options.seed, options.model_dump(exclude={"seed"}))


def read_search(node: Node | None, problems: Problems) -> SearchSpec | None:
    """Reads `search`: a strategy, or a mapping with `strategy` and options."""
    if node is None or node.value is None:
        return SearchSpec()
    if isinstance(node.value, str):
        node = Node({"strategy": node}, node.line, node.origin)
    return validated(SearchSpec, node, "search", problems)


def check_search(root: Node, search: SearchSpec, problems: Problems) -> None:
    """Adds options that would do nothing, and rungs that are given twice, to `problems`.

    A sweep that a study keeps has all options, so only those that differ from their defaults count.
    """
    default = SearchSpec()
    if search.strategy != "promote":
        for name in (name for name in OF_RUNGS if getattr(search, name) != getattr(default, name)):
            problems.add(root.at(("search", name)), f"search.{name}", "needs strategy: promote, which has rungs")
    elif search.rungs is not None and search.first is not None:
        later = min(("first", "rungs"), key=lambda name: root.at(("search", name)).line)  # 0 is the command line
        problems.add(root.at(("search", later)), f"search.{later}", "give either rungs or first, not both")


def read_schedule(node: Node | None, problems: Problems) -> ScheduleSpec | None:
    """Reads `schedule`: a name, or a mapping with `name` and options."""
    if node is None or node.value is None:
        return ScheduleSpec()
    if isinstance(node.value, str):
        node = Node({"name": node}, node.line, node.origin)
    return validated(ScheduleSpec, node, "schedule", problems)


def check_schedule(root: Node, schedule: ScheduleSpec, budget: Budget, problems: Problems) -> None:
    """Adds what cannot be decided in rounds to `problems`."""
    if schedule.name == "deterministic" and budget.patience is not None:
        why = "ends a study by what has been measured until then, so it does not go with schedule: deterministic"
        problems.add(root.at(("budget", "patience")), "budget.patience", why)


def read_pruner(
    node: Node | None, path: str, budget: Budget, problems: Problems, default: str = "median"
) -> PrunerSpec | None:
    """Reads `pruner`: a name, or a mapping with `name` and options."""
    chosen = _named(node, path, default, PRUNERS, problems)
    if chosen is None or node is None:
        return None if chosen is None else PrunerSpec(chosen[0], chosen[1].model_dump())
    name, options = chosen[0], chosen[1].model_dump()
    # Optuna's default waits for a complete trial
    if name == "hyperband" and options["max_resource"] is None:
        options["max_resource"] = max(budget.epochs, options["min_resource"])
    if name == "patient":
        wrapped = node.entries.get("wrapped_pruner")
        alone = wrapped is None or wrapped.value in (None, "none")
        options["wrapped_pruner"] = None if alone else read_pruner(wrapped, f"{path}.wrapped_pruner", budget, problems)
    return PrunerSpec(name, options)


def _named(
    node: Node | None, path: str, default: str, table: Mapping[str, type[S]], problems: Problems
) -> tuple[str, S] | None:
    """Returns the name and the options of a sampler or pruner."""
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


def check_cmaes(node: Node, space: Space, problems: Problems) -> None:
    """Adds what CMA-ES cannot search to `problems`."""
    searched = [parameter for parameter in space.values() if not isinstance(parameter.domain, Fixed)]
    choices = [parameter.name for parameter in searched if isinstance(parameter.domain, Choice)]
    conditional = [parameter.key for parameter in space.values() if parameter.when]
    advice = "fix these, or use tpe"
    if choices:
        problems.add(node, "sampler", f"cmaes searches numbers only, not choices ({_some(choices)}): {advice}")
    if conditional:
        problems.add(
            node, "sampler", f"cmaes needs every parameter in every trial; conditional: {_some(conditional)}: {advice}"
        )
    if sum(isinstance(parameter.domain, Range) for parameter in searched) < 2 and not choices:
        problems.add(node, "sampler", "cmaes needs at least two ranges to search: add some, or use tpe")


def without_off(sampler: SamplerSpec, space: Space) -> tuple[str, ...]:
    """Returns in words for which ranges the sampler does not know `off`. Empty if it knows it for
    all."""
    names = list(dict.fromkeys(p.name for p in space.values() if isinstance(p.domain, Range) and p.domain.off))
    if not names or sampler.name in KNOW_OFF:
        return ()
    others = " and ".join(KNOW_OFF)
    return (f"sampler: {sampler.name} ignores off ({_some(names)}) and draws evenly; {others} use it",)


def _some(names: list[str]) -> str:
    return ", ".join(names[:6]) + (", …" if len(names) > 6 else "")
