"""Notes and pictures: each trial that ended has them once, and a note that the user wrote stays."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import optuna
import pytest
from optuna_dashboard import get_note, save_note

from fer_tune.dashboard.storage import add_note, add_picture, trials_without_note
from fer_tune.dashboard.writer import NoteWriter
from fer_tune.data.access import open_search
from fer_tune.data.dataset import Dataset
from fer_tune.data.policy import SplitPolicy
from fer_tune.data.spec import DataRef
from fer_tune.data.splits import reference, store_split
from fer_tune.settings import Settings
from fer_tune.store import Store
from fer_tune.study import Study
from fer_tune.study.storage import optuna_storage
from fer_tune.sweep.load import loads_sweep
from tests.studies import CURVES, SWEEP, add_trial, make_study, uid_of


def load(store: Store) -> optuna.Study:
    return optuna.load_study(study_name="tiny", storage=optuna_storage(store))


def note_of(study: optuna.Study, number: int) -> str:
    attrs = study._storage.get_study_system_attrs(study._study_id)
    trial_id = study.get_trials(deepcopy=False)[number]._trial_id
    return "".join(attrs.get(f"dashboard:{trial_id}:note_str:{piece}", "") for piece in range(9))


def pictures_of(study: optuna.Study, number: int) -> dict[str, Any]:
    trial_id = study.get_trials(deepcopy=False)[number]._trial_id
    attrs = study._storage.get_study_system_attrs(study._study_id)
    kept = [json.loads(value) for key, value in attrs.items() if key.startswith(f"dashboard:artifacts:{trial_id}:")]
    return {one["filename"]: one["artifact_id"] for one in kept}


def test_each_trial_that_ended_gets_a_note_once(settings: Settings) -> None:
    with make_study(settings) as store:
        assert trials_without_note(store, "tiny") == [0, 1, 2, 3, 4]
        writer = NoteWriter(store, settings, "tiny")
        assert writer.catch_up() == 5
        assert writer.catch_up() == 0
        study = load(store)
        assert "budget: {trials: 20, epochs: 3}" in get_note(study)
        assert note_of(study, 0).startswith("**complete** at 50.00 %, best epoch 2 of 3 (by hand)")
        assert note_of(study, 1).startswith(
            "**complete** at 60.00 % (+10.00 over the best of start), best epoch 3 of 3"
        )
        assert "Reason: `RuntimeError: made to fail`" in note_of(study, 3)
        assert pictures_of(study, 3) == {}  # it has no epoch
        [(name, artifact)] = pictures_of(study, 1).items()
        assert name == "learning curves.svg"
        ElementTree.parse(settings.pictures / artifact)


def lines_of(settings: Settings, store: Store, number: int) -> list[str]:
    """Returns the tooltips of a trial's learning curves that are about the baseline."""
    file = settings.pictures / pictures_of(load(store), number)["learning curves.svg"]
    titles = [node.text or "" for node in ElementTree.parse(file).iter("{http://www.w3.org/2000/svg}title")]
    return [title for title in titles if title.startswith("best of start")]


def test_learning_curves_have_a_line_at_the_best_of_start(settings: Settings) -> None:
    with make_study(settings) as store:
        NoteWriter(store, settings, "tiny").catch_up()
        assert [lines_of(settings, store, number) for number in (0, 1, 2)] == [["best of start: 50.00 %"]] * 3


def test_the_line_rises_when_another_start_configuration_is_better(settings: Settings) -> None:
    sweep = SWEEP + "  - {name: another, lr: 2e-3, width: 16}\n"
    with make_study(settings, curves=(), sweep=sweep) as store:
        data = DataRef(settings.cache / "faces", "d" * 64, settings.cache / "split.npz", "5" * 64)
        study = Study.open(loads_sweep(sweep, Path("tiny.yaml")), store, data)
        writer = NoteWriter(store, settings, "tiny")
        for number, (state, values) in enumerate(CURVES[:3]):
            add_trial(store, study, state, values)
            writer.write(number)
        drawn = [lines_of(settings, store, number) for number in range(3)]
        assert drawn == [["best of start: 50.00 %"], ["best of start: 60.00 %"], ["best of start: 60.00 %"]]


def test_notes_and_pictures_are_written_to_every_kind_of_database(settings: Settings, database_url: str) -> None:
    settings = replace(settings, url=database_url)
    with make_study(settings) as store:
        assert NoteWriter(store, settings, "tiny").catch_up() == 5
        assert trials_without_note(store, "tiny") == []
        add_picture(store, "tiny", 0, "ab-0000-cd", "x.png")
        assert note_of(load(store), 1).startswith("**complete**")
        assert pictures_of(load(store), 0).keys() == {"learning curves.svg", "x.png"}


def test_a_note_of_the_user_stays(settings: Settings) -> None:
    with make_study(settings) as store:
        study = load(store)
        save_note(study, "mine")
        assert add_note(store, "tiny", 0, "also mine")
        NoteWriter(store, settings, "tiny").catch_up()
        assert get_note(study) == "mine"
        assert note_of(study, 0) == "also mine"
        assert note_of(study, 1).startswith("**complete**")


@pytest.mark.parametrize("length", [0, 2045, 2046, 6000])
def test_a_note_of_any_length_comes_back(settings: Settings, length: int) -> None:
    with make_study(settings, curves=()) as store:
        note = ('a"b\\c\n|é' * 1000)[:length]
        assert add_note(store, "tiny", None, note)
        assert get_note(load(store)) == note
        save_note(load(store), "shorter")
        assert get_note(load(store)) == "shorter"


def test_a_confusion_matrix_is_counted_from_the_logits(settings: Settings, demo: Dataset) -> None:
    data = reference(demo, store_split(demo, SplitPolicy(), settings), settings)
    faces = open_search(data)
    truth = faces.labels[faces.val]
    logits = np.eye(7, dtype=np.float16)[(truth + (np.arange(len(truth)) == 0)) % 7]  # the first one is mistaken
    file = settings.artifacts / "tiny" / "val_logits.npy"
    file.parent.mkdir(parents=True)
    with make_study(settings, data=data) as store:
        for number, array in enumerate((logits, logits[1:])):  # the second belongs to another split
            np.save(file.with_name(f"{number}.npy"), array)
            store.artifacts.add("tiny", uid_of(number), "val_logits", file.with_name(f"{number}.npy"))
        writer = NoteWriter(store, settings, "tiny")
        writer.catch_up()
        study = load(store)
        assert "confusion matrix.svg" not in pictures_of(study, 1)
        matrix = writer._confusion(uid_of(0))
        assert matrix is not None
        assert np.trace(matrix) == len(truth) - 1
        assert np.sum(matrix, axis=1).tolist() == np.bincount(truth, minlength=7).tolist()
        drawn = ElementTree.parse(settings.pictures / pictures_of(study, 0)["confusion matrix.svg"])
        text = [node.text for node in drawn.iter("{http://www.w3.org/2000/svg}text")]
        assert [text.count(name) for name in ("angry", "neutral")] == [2, 2]


def test_a_picture_that_was_deleted_is_not_added_again(settings: Settings) -> None:
    with make_study(settings) as store:
        study = load(store)
        add_picture(store, "tiny", 0, "ab-0000-cd", "x.png")
        trial_id = study.get_trials(deepcopy=False)[0]._trial_id
        key = f"dashboard:artifacts:{trial_id}:ab-0000-cd"
        study._storage.set_study_system_attr(study._study_id, key, json.dumps(None))  # as the dashboard deletes
        add_picture(store, "tiny", 0, "ab-0000-cd", "x.png")
        assert json.loads(study._storage.get_study_system_attrs(study._study_id)[key]) is None


def test_a_note_has_the_classes_of_the_data(settings: Settings) -> None:
    images = np.random.default_rng(0).integers(0, 255, (60, 32, 32, 3), np.uint8)
    dataset = Dataset.of(images, np.repeat(np.arange(3), 20), classes=("calm", "a|b`c", "unsure"))
    data = reference(dataset, store_split(dataset, SplitPolicy(), settings), settings)
    with make_study(settings, data=data) as store:
        NoteWriter(store, settings, "tiny").catch_up()
        note = note_of(load(store), 1)
    assert [line for line in note.splitlines() if line.startswith(("| calm", "| a/b'c", "| unsure"))] == [
        "| calm | 60.0 % |",
        "| a/b'c | 10.0 % |",
        "| unsure | – |",
    ]


def test_a_picture_that_a_killed_process_left_half_written_is_removed(settings: Settings, tmp_path: Path) -> None:
    picture = tmp_path / "confusion.png"
    picture.write_bytes(b"a picture")
    with make_study(settings) as store:
        settings.pictures.mkdir(parents=True, exist_ok=True)
        half = settings.pictures / f".{store.studies.get('tiny').uid}-0000-cd.abc.draft"
        half.write_bytes(b"half a")
        NoteWriter(store, settings, "tiny").add_final_fit(1, picture)
        assert not half.exists()
        assert [path.read_bytes() for path in settings.pictures.glob("*-cd")] == [b"a picture"]
