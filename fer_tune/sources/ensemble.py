"""A run of an ensemble: chosen on validation, its members trained again, tested once."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from fer_tune.errors import TrainingError
from fer_tune.job import Tta
from fer_tune.jobs.limits import Limits
from fer_tune.jobs.observers import Observer
from fer_tune.pool.devices import choose_devices
from fer_tune.pool.port import TrainerFactory, load_trainer
from fer_tune.settings import Settings
from fer_tune.sources.evaluate import PREDICTIONS, VIEW_NAMES, Tested, open_test
from fer_tune.sources.final_result import FinalFit, finish
from fer_tune.sources.member_fits import MemberFits
from fer_tune.sources.members import Chosen, Key, choose_members, key_of
from fer_tune.sources.results_folder import METRICS, read_metrics
from fer_tune.sources.run import observers_of, recorded_limits
from fer_tune.sources.together import Together
from fer_tune.sources.wiring import Wiring, wired
from fer_tune.sources.workers import RunOptions
from fer_tune.store import Store
from fer_tune.store.openings import Openings

Network = tuple[Key, int]
"""Names a network of an ensemble: its configuration, and its place among its seeds."""

PURPOSE = "ensemble"
"""The purpose of an opening, as the ledger records it."""

TEST_FIGURES = ("test", "test_of_single", "test_images", "test_openings", "test_ledger")
"""What `metrics.json` has of an ensemble that was tested."""


@dataclass(frozen=True)
class EnsembleFit:
    """A trained ensemble.

    Attributes:
        id: the same for the same members, best single one and schedule.
        folder: holds `ensemble.json`, a folder for each member, `metrics.json` and, if test was
            opened, `predictions.npz`.
        chosen: the members, and figures on validation.
        fits: the trained networks, in the order of `chosen.members`.
        tested: scores of the ensemble on test, and beside them those of the best single trial; None
            if test was not opened.
    """

    id: str
    folder: Path
    chosen: Chosen
    fits: tuple[FinalFit, ...]
    tested: Tested | None


def run_ensemble(
    studies: Sequence[str],
    settings: Settings,
    options: RunOptions | None = None,
    *,
    size: int = 8,
    epochs: int | None = None,
    tta: Tta = "none",
    test: bool = True,
    observer: Observer | None = None,
    trainer: TrainerFactory = load_trainer,
) -> EnsembleFit | None:
    """Chooses an ensemble on stored validation predictions, trains its members, and tests it once.

    The members are trained on training and validation images, on all devices. A run that was killed
    is continued by the same call. A network that `retrain` trained in the same way is not trained
    again.

    Args:
        studies: whose complete trials and fits on training images may be members. They must have
            the same split.
        size: number of networks. A configuration that is chosen twice is trained under two seeds.
        epochs: length of the schedules; None leaves that to the studies.
        tta: `crops` evaluates ten crops of each test image too.
        test: whether to open test.

    Returns:
        The ensemble, or None if Ctrl-C or SIGTERM interrupted the run.

    Raises:
        StudyError: a study does not exist, has another split, or has no stored predictions.
        DataError: a study's images are neither in the cache nor where the sweep named them.
        TrainingError: the training of a member failed.
    """
    with wired(settings, options, observers_of(settings, observer), trainer) as run:
        store = run.store
        run.keep_images(*(store.studies.get(name) for name in dict.fromkeys(studies)))  # the choice needs labels
        chosen = choose_members(store, studies, size)
        sources = MemberFits.of(store, settings, chosen, epochs=epochs, mirrored=run.mirrored, held=run.held)
        run.begin()
        if any(source.wanted() for source in sources):
            _train(sources, run)
            run.end_workers()
        if run.signals.requested:
            return None
        device = choose_devices(run.options.devices, 1)[0]
        fits = _finished(sources, store, settings, device)
        id, views = chosen.identity(epochs), _views(tta) if test else None
        fit = _assembled(store, settings, chosen, fits, id)
        return _tested(fit, store, views, device)
    return None


def _views(tta: Tta) -> tuple[Tta, ...]:
    return ("none", "flip", "crops") if tta == "crops" else ("none", "flip")


def _train(sources: Sequence[MemberFits], run: Wiring) -> None:
    """Trains the networks of all studies side by side."""
    limits = Limits(retries=max(recorded_limits(source.record).retries for source in sources))
    outcome = run.train(Together(sources), limits, sum(len(source.jobs) for source in sources))
    run.observers.study_closed(outcome)
    if outcome.reason == "interrupted" or run.pool is None:
        return
    for source in sources[1:]:  # so that mirrors copy the fits of the other studies too
        run.observers.study_opened(source.plan, source.counts(), run.pool.workers)
        run.observers.study_closed(source.outcome(outcome.reason))


def _finished(sources: Sequence[MemberFits], store: Store, settings: Settings, device: str) -> dict[Network, FinalFit]:
    """Calibrates the trained networks, and returns them by configuration and place.

    Those that were finished before, by `retrain` or by an ensemble, are left as they are.
    """
    found: dict[Network, FinalFit] = {}
    for source in sources:
        record, fits = source.record, dict[str, FinalFit]()
        for job in source.records():
            folder = settings.job_folder(record.name, record.uid, job.uid)
            fits[job.uid] = store.patiently(partial(finish, store, record, job, folder, device, views=None, keep=True))
        found |= {network: fits[uid] for network, uid in source.by_network.items() if uid in fits}
    return found


def _assembled(store: Store, settings: Settings, chosen: Chosen, fits: dict[Network, FinalFit], id: str) -> EnsembleFit:
    """Writes the folder of the ensemble.

    Raises:
        TrainingError: a network was not trained.
    """
    from fer_tune.train.ensemble import save_ensemble

    wanted = [(key, place) for key, (_, count) in chosen.networks.items() for place in range(count)]
    if missing := [network for network in wanted if network not in fits]:
        count = f"{len(missing)} of {len(wanted)}"
        raise TrainingError(f"Some networks were not trained: {count}.", "`fer-tune ensemble` trains them again.")
    members = tuple(fits[key_of(one), place] for one in chosen.members for place in range(one.weight))
    folder = settings.artifacts / "ensembles" / id
    save_ensemble(
        folder, [(fit.folder, 1) for fit in members], {"id": id, "chosen": [vars(one) for one in chosen.members]}
    )
    single = fits[key_of(chosen.single), 0]
    return EnsembleFit(id, folder, chosen, (*members, single), None)


def _tested(fit: EnsembleFit, store: Store, views: tuple[Tta, ...] | None, device: str) -> EnsembleFit:
    """Opens test once for the ensemble and its best member, and writes the figures."""
    from fer_tune.train.ensemble import Ensemble
    from fer_tune.train.export import Predictor

    *members, single = fit.fits
    tested = None
    if views is not None:
        first = fit.chosen.candidates[0].record
        tested = open_test(
            Ensemble.load(fit.folder, device),
            first.data_ref(store.root),
            Openings(store.root),
            id=fit.id,
            purpose=PURPOSE,
            name=fit.id,
            study=", ".join(dict.fromkeys(one.study for one in fit.chosen.members)),
            views=views,
            database=store.ledger.of_split(first.split.hash),
            predictions=fit.folder / PREDICTIONS,
            beside=Predictor.load(single.folder, device),
        )
    done = EnsembleFit(fit.id, fit.folder, fit.chosen, tuple(members), tested)
    _write(done)
    return done


def _write(fit: EnsembleFit) -> None:
    from fer_tune.files import replace_text

    choice = fit.chosen.choice
    content = {
        "ensemble": fit.id,
        "members": [vars(one) for one in fit.chosen.members],
        "single": vars(fit.chosen.single),
        "candidates": len(fit.chosen.candidates),
        "validation": {
            "ensemble": choice.honest,
            "ensemble_chosen_on": choice.accuracy,
            "single": choice.single_honest,
            "single_chosen_on": choice.single_accuracy,
        },
    }
    if fit.tested is None:
        content |= _test_figures(fit)
    else:
        views, beside = (
            {VIEW_NAMES[tta]: scores.figures() for tta, scores in some.items()}
            for some in (fit.tested.views, fit.tested.beside)
        )
        content |= {
            "test": views,
            "test_of_single": beside,
            "test_images": fit.tested.images,
            "test_openings": len(fit.tested.ledger),
            "test_ledger": [opening.line for opening in fit.tested.ledger],
        }
    replace_text(fit.folder / METRICS, json.dumps(content, indent=2) + "\n")


def _test_figures(fit: EnsembleFit) -> dict[str, Any]:
    """Returns the figures on test that an earlier call wrote for this ensemble, if any."""
    known = read_metrics(fit.folder)
    return {name: known[name] for name in TEST_FIGURES if name in known and known.get("ensemble") == fit.id}
