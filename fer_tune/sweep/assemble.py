"""Puts a sweep together: reads the sections of its file, and checks them against one another."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from pathlib import Path

from fer_tune.data.policy import SplitPolicy
from fer_tune.models import FAMILIES, family_files
from fer_tune.sweep.catalogue import catalogue, describe_value
from fer_tune.sweep.error_messages import unknown, validated
from fer_tune.sweep.params import ParamsReader
from fer_tune.sweep.rung_levels import unreached
from fer_tune.sweep.schema import (
    STUDY_NAME,
    Budget,
    Images,
    PrunerSpec,
    SamplerSpec,
    ScheduleSpec,
    SearchSpec,
    Start,
    Sweep,
    SweepKeys,
    SweepLimits,
)
from fer_tune.sweep.sections import (
    check_cmaes,
    check_crop,
    check_schedule,
    check_search,
    check_side,
    read_images,
    read_pruner,
    read_sampler,
    read_schedule,
    read_search,
    read_split,
    with_space,
    without_off,
)
from fer_tune.sweep.space import Space
from fer_tune.sweep.start import StartReader
from fer_tune.sweep.yaml_nodes import Node, Problems


@dataclass(frozen=True)
class _Sections:
    """The sections of a file, all but `params` and `start`. One that is not valid is None."""

    keys: SweepKeys | None
    images: Images | None
    split: SplitPolicy | None
    budget: Budget | None
    sampler: SamplerSpec | None
    pruner: PrunerSpec | None
    search: SearchSpec | None
    schedule: ScheduleSpec | None


@dataclass(frozen=True)
class _Tried:
    """What the trials of a study try: the sections `params` and `start`."""

    space: Space = field(default_factory=dict)
    start: tuple[Start, ...] = ()
    notes: tuple[str, ...] = ()


def assemble(root: Node, path: Path, text: str, changed: set[str], problems: Problems) -> Sweep | None:
    """Returns the sweep of a file, or None if a section of it is not valid.

    Args:
        root: the whole file.
        path, text: see `Sweep`.
        changed: see `ParamsReader`.
        problems: gets all that is wrong with the file.
    """
    sections = _sections(root, problems)
    study = _study(root, path, problems)
    tried = _tried(root, changed, problems)
    _check(root, sections, tried, problems)
    sweep = _sweep(sections, tried, study, path, text)
    if sweep is None:
        return None
    return replace(sweep, prior_origin=root.at(("search", "prior", "study")).origin)


def _sections(root: Node, problems: Problems) -> _Sections:
    given = root.entries
    keys = validated(SweepKeys, root, "", problems)
    images = read_images(given.get("data"), problems)
    split = read_split(given.get("split"), problems)
    budget = validated(Budget, given["budget"], "budget", problems) if "budget" in given else Budget()
    sampler = read_sampler(given.get("sampler"), problems)
    search = read_search(given.get("search"), problems)
    schedule = read_schedule(given.get("schedule"), problems)
    default = "none" if search is not None and search.strategy == "promote" else "median"
    pruner = read_pruner(given.get("pruner"), "pruner", budget or Budget(), problems, default)
    return _Sections(keys, images, split, budget, sampler, pruner, search, schedule)


def _study(root: Node, path: Path, problems: Problems) -> str:
    """Returns the name of the study: the given one, or the file's."""
    given = root.entries.get("study")
    if given is not None and given.value is not None:
        if isinstance(given.value, str) and not re.fullmatch(STUDY_NAME, given.value):
            problems.add(given, "study", f"{describe_value(given.value)!r} {_NAMING}")
        return str(given.value)
    if not re.fullmatch(STUDY_NAME, path.stem):
        problems.add(root, "study", f"is missing, and the file's name {path.stem[:64]!r} {_NAMING}")
    return path.stem


_NAMING = "is not a valid study name: use 1 to 64 of A-Z a-z 0-9 . _ - and no dot at the beginning or end"


def _tried(root: Node, changed: set[str], problems: Problems) -> _Tried:
    """Reads `params` and `start` for the family, or for the one whose name is nearest."""
    family = root.entries.get("family")
    if family is None or not isinstance(family.value, str):
        return _Tried()
    if family_files.is_written(family.value):  # its file has a problem, which is already known
        return _Tried()
    known: str | None = family.value
    if family.value not in FAMILIES:
        problems.add(family, "family", unknown("family", family.value, FAMILIES.alternatives(family.value)))
        known = next(iter(get_close_matches(family.value, list(FAMILIES), 1)), None)
    if known is None:
        return _Tried()
    params_reader = ParamsReader(catalogue(known), problems, changed)
    params = root.entries.get("params", Node({}, 1, "line 1"))
    if params.value is not None and not isinstance(params.value, dict):
        problems.add(params, "params", f"must be a mapping of hyperparameters, not {describe_value(params.plain())}")
    space = params_reader.space(params)
    start_reader = StartReader(params_reader, space)
    start = start_reader.read(root.entries.get("start", Node(None, 1, "line 1")))
    return _Tried(space, start, tuple(start_reader.notes))


def _check(root: Node, sections: _Sections, tried: _Tried, problems: Problems) -> None:
    """Adds what is wrong only with two sections together to `problems`."""
    if sections.keys is not None and sections.images is not None:
        family = FAMILIES.get(sections.keys.family)
        if family is not None:
            family = with_space(family, tried.space)
        check_side(root, family, sections.images, problems)
        check_crop(root, tried.space, family, sections.images, problems)
    if sections.sampler is not None and sections.sampler.name == "cmaes":
        check_cmaes(root.entries["sampler"], tried.space, problems)
    if sections.search is not None:
        check_search(root, sections.search, problems)
    if sections.schedule is not None and sections.budget is not None:
        check_schedule(root, sections.schedule, sections.budget, problems)


def _sweep(sections: _Sections, tried: _Tried, study: str, path: Path, text: str) -> Sweep | None:
    keys, images, split, budget = sections.keys, sections.images, sections.split, sections.budget
    if keys is None or images is None or split is None or budget is None:
        return None
    sampler, pruner, search, schedule = sections.sampler, sections.pruner, sections.search, sections.schedule
    if sampler is None or pruner is None or search is None or schedule is None:
        return None
    notes = tried.notes + unreached(search, budget.epochs) + without_off(sampler, tried.space)
    if search.prior is not None and search.prior.study is None and not tried.start:
        notes += ("`start` has no configurations, so the search has no prior",)
    return Sweep(
        study=study,
        family=keys.family,
        data=images.path,
        split=split,
        objective=keys.objective,
        sampler=sampler,
        pruner=pruner,
        budget=budget,
        seed=keys.seed,
        patience=keys.patience,
        retries=keys.retries,
        lanes=keys.lanes,
        space=tried.space,
        start=tried.start,
        path=path,
        text=text,
        notes=notes,
        limits=SweepLimits(**keys.model_dump(include=set(SweepLimits.model_fields))),
        side=images.side,
        channels=images.channels,
        search=search,
        schedule=schedule,
        objective_of=keys.objective_of,
    )
