"""Says what a run would do: which study, which devices, which first trials. Writes nothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from fer_tune.job import Value
from fer_tune.pool.engines import engine
from fer_tune.settings import Settings

if TYPE_CHECKING:
    from fer_tune.sources.workers import RunOptions
    from fer_tune.study import Counts
    from fer_tune.sweep.schema import Sweep

DRAWN = 3
"""Configurations that are drawn as examples."""


@dataclass(frozen=True)
class Preview:
    """What a run of one sweep would do.

    Attributes:
        database: its URL, without a password.
        devices: one for each worker.
        counts: the trials of the study that would be continued. None if it would be a new one.
        first: name and hyperparameters of the `start:` configurations.
        examples: configurations drawn at random, as the search draws its first ones.
        missing: why the images are not there; empty if they are.
        notes: what the user should know of the sweep and of its prior.
    """

    sweep: Sweep
    database: str
    devices: tuple[str, ...]
    counts: Counts | None
    first: tuple[tuple[str | None, dict[str, Value]], ...]
    examples: tuple[dict[str, Value], ...]
    missing: str = ""
    notes: tuple[str, ...] = ()


def preview_sweeps(sweeps: Sequence[Sweep], settings: Settings, options: RunOptions) -> list[Preview]:
    """Returns what a run of these sweeps would do.

    Raises:
        SettingsError: a device does not exist.
        StudyError: a study was made by another sweep, or a prior's study is not there.
        StorageError: the database cannot be read.
    """
    from fer_tune.data.load import missing
    from fer_tune.store.connection import parse_url, shown

    url = parse_url(settings.url)
    devices = tuple(engine(options.engine).devices(options.devices, options.workers))
    previews = []
    for sweep in sweeps:
        notes = list(sweep.notes)
        counts = _counts(sweep, settings, notes.append)
        first = tuple((start.name, _searched(sweep, start.params)) for start in sweep.start)
        why_missing = missing(sweep.data, settings)
        previews.append(Preview(sweep, shown(url), devices, counts, first, _examples(sweep), why_missing, tuple(notes)))
    return previews


def _counts(sweep: Sweep, settings: Settings, note: Callable[[str], object]) -> Counts | None:
    from fer_tune.store.connection import parse_url
    from fer_tune.store.reading import open_reader
    from fer_tune.study import counts
    from fer_tune.study.create_or_resume import refuse_other_sweep
    from fer_tune.study.priors import absent_prior, prior_centres

    url, prior = parse_url(settings.url), sweep.search.prior
    if url.get_backend_name() == "sqlite" and not Path(url.database or "").exists():
        if prior is not None and prior.study is not None:
            raise absent_prior(sweep)
        return None
    with open_reader(settings) as store:
        prior_centres(sweep, store, note)  # it refuses a prior that is not there
        record = store.studies.find(sweep.study)
        if record is None or not store.jobs.of(sweep.study):
            return None
        refuse_other_sweep(record, sweep)
        return counts(store, sweep.study)


def _searched(sweep: Sweep, params: Mapping[str, Value]) -> dict[str, Value]:
    """Returns the hyperparameters that the sweep searches."""
    from fer_tune.sweep.space import Fixed

    searched = {one.name for one in sweep.space.values() if not isinstance(one.domain, Fixed)}
    return {name: value for name, value in params.items() if name in searched}


def _examples(sweep: Sweep) -> tuple[dict[str, Value], ...]:
    import numpy as np

    from fer_tune.study.configurations import Cube
    from fer_tune.study.samplers import begins_with_off
    from fer_tune.sweep.space import even, named

    cube = Cube(sweep.space if begins_with_off(sweep) else even(sweep.space))
    if not cube.parameters:
        return ()
    points = cube.draw(DRAWN, np.random.default_rng(sweep.seed))
    return tuple(named(cube.configuration(point)) for point in points)
