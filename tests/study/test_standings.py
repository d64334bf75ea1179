"""Standings of a study that was run on paper: errors, ties, and the rule of one standard error."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from fer_tune.data.dataset import Dataset
from fer_tune.data.policy import SplitPolicy
from fer_tune.data.spec import DataRef
from fer_tune.data.splits import reference, store_split
from fer_tune.errors import StudyError
from fer_tune.selection.paired import mcnemar
from fer_tune.selection.race import Place, Race
from fer_tune.selection.statistics import standard_error
from fer_tune.settings import Settings
from fer_tune.store import Store
from fer_tune.study.confirmations import Confirmations
from fer_tune.study.standings import Standings, best, standings
from tests.studies import make_study, uid_of


@pytest.fixture
def kept(settings: Settings, demo: Dataset) -> DataRef:
    """Returns the tiny faces in the cache, with 21 validation images."""
    return reference(demo, store_split(demo, SplitPolicy(), settings), settings)


def add_logits(store: Store, number: int, wrong: list[int], labels: np.ndarray) -> None:
    """Gives a trial predictions that are right but for some images."""
    logits = np.eye(7)[labels]
    logits[wrong] = np.roll(logits[wrong], 1, axis=1)
    path: Path = store.root / "artifacts" / f"{number}.npy"
    path.parent.mkdir(parents=True, exist_ok=True)
    np.save(path, logits.astype(np.float16))
    store.artifacts.add("tiny", uid_of(number), "val_logits", path)


def labels_of(data: DataRef) -> np.ndarray:
    from fer_tune.data.access import open_search

    opened = open_search(data)
    return opened.labels[opened.val]


def read(store: Store, **how: object) -> Standings:
    return standings(store, "tiny", **how)  # type: ignore[arg-type]


def test_trials_are_compared_image_by_image(settings: Settings, kept: DataRef) -> None:
    curves = tuple(("complete", [value]) for value in (0.9, 0.8, 0.5))
    with make_study(settings, curves, data=kept) as store:
        labels = labels_of(kept)
        add_logits(store, 0, [0, 1], labels)
        add_logits(store, 1, [0, 1, 2, 3], labels)
        add_logits(store, 2, list(range(2, 13)), labels)
        first, second, third = read(store).ranked
    assert first.error == standard_error(0.9, 21)
    assert (second.paired, second.p, second.behind) == (True, mcnemar(2, 0), pytest.approx(0.1))
    assert third.p == mcnemar(11, 2)
    assert (first.tied, second.tied, third.tied) == (True, True, False)


def test_without_stored_predictions_the_values_count_as_independent(settings: Settings) -> None:
    with make_study(settings) as store:
        found = read(store)
    assert [one.trial.number for one in found.ranked] == [1, 0, 4]
    assert [one.paired for one in found.ranked] == [False] * 3
    assert found.ranked[1].behind_error == pytest.approx(np.hypot(standard_error(0.6, 21), standard_error(0.5, 21)))
    assert [one.trial.number for one in found.ties] == [1, 0, 4]


@pytest.mark.parametrize("damage", [b"", b"no numbers", None])
def test_damaged_predictions_count_as_missing(settings: Settings, kept: DataRef, damage: bytes | None) -> None:
    curves = (("complete", [0.9]), ("complete", [0.8]))
    with make_study(settings, curves, data=kept) as store:
        labels = labels_of(kept)
        for number in range(2):
            add_logits(store, number, [number], labels)
        file = store.root / "artifacts" / "1.npy"
        np.save(file, np.zeros((3, 7))) if damage is None else file.write_bytes(damage)
        assert [one.paired for one in read(store).ranked] == [True, False]


def test_one_se_takes_the_cheapest_that_is_not_clearly_worse(settings: Settings) -> None:
    with make_study(settings) as store:
        found = read(store, rule="one_se")
        assert found.chosen is not None
        assert found.chosen.trial.number == 1, "equal costs: the leader"
        for numbers, chosen in (({0: 100, 1: 900, 4: 50}, 4), ({0: 900, 1: 900, 4: 50}, 4), ({0: 90, 1: 100}, 0)):
            sized = tuple(
                replace(one, trial=replace(one.trial, attrs={"parameters": numbers.get(one.trial.number)}))
                for one in found.ranked
            )
            other = replace(found, ranked=sized)
            assert other.chosen is not None
            assert other.chosen.trial.number == chosen
            assert replace(other, rule="max").chosen == sized[0]
        far = replace(found, ranked=tuple(replace(one, behind_error=0.01) for one in sized))
        assert far.chosen is not None
        assert far.chosen.trial.number == 1


def test_a_study_of_nothing_has_no_leader(settings: Settings) -> None:
    with make_study(settings, ()) as store:
        assert (read(store).ranked, read(store).chosen, best(store, "tiny")) == ((), None, [])
        with pytest.raises(StudyError, match="no study nonesuch"):
            standings(store, "nonesuch")


@pytest.mark.parametrize(("last", "cut_off"), [(0.61, 2), (0.6, None), (0.4, None)])
def test_a_pruned_trial_that_was_better_than_the_leader_is_named(
    settings: Settings, last: float, cut_off: int | None
) -> None:
    curves = (("complete", [0.3, 0.6]), ("pruned", [0.1]), ("time", [0.3, last]))
    with make_study(settings, curves) as store:
        found = read(store)
    assert (found.cut_off.trial.number if found.cut_off else None) == cut_off
    assert [one.trial.number for one in found.ranked] == [0]


@pytest.mark.parametrize(
    ("state", "said"),
    [
        ("time", "was pruned at 61.00 %, better than all complete trials, in epoch 2 of 3 (time)."),
        (
            "paused",
            "is paused at 61.00 %, better than all complete trials, in epoch 2 of 3. "
            "A run continues it when it is among the best of its rung.",
        ),
    ],
)
def test_what_an_unfinished_trial_reached_is_said(settings: Settings, state: str, said: str) -> None:
    with make_study(settings, (("complete", [0.3]), (state, [0.3, 0.61]))) as store:
        found = read(store).cut_off
    assert found is not None
    assert found.sentence() == f"Trial 1 {said} fer-tune retrain tiny --trial 1 trains it to the end."


def test_without_a_complete_trial_no_pruned_one_is_better(settings: Settings) -> None:
    with make_study(settings, (("time", [0.3]),)) as store:
        assert read(store).cut_off is None


def test_a_confirmed_trial_is_behind_only_if_the_race_says_so(settings: Settings) -> None:
    """The race divides its level by its looks, so a p below 5 % alone decides nothing."""
    with make_study(settings) as store:
        found = read(store)
    places = [Place(one.trial.number, (0.6, 0.5), 0.55, 0.1, None, 0.1, 0.05, 0.03) for one in found.ranked]
    places[-1] = replace(places[-1], behind_after=2)
    ranked = tuple(replace(one, p=0.03, confirmed=place) for one, place in zip(found.ranked, places, strict=True))
    assert [one.tied for one in ranked] == [True, True, False]
    race = Race(tuple(places), (), 3, None)
    confirmed = replace(found, ranked=ranked, confirmations=Confirmations(race, {}, 3, 8))
    assert tuple(one.trial.number for one in confirmed.ties) == race.ties == (1, 0)
    assert [one.tied for one in (replace(one, confirmed=None) for one in ranked)] == [False] * 3
