from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fer_tune.data import demo
from fer_tune.data.demo.__main__ import contact_sheet
from fer_tune.data.demo.actions import UNITS, Parameters, parameters
from fer_tune.data.demo.face import draw
from fer_tune.data.fer2013 import EMOTIONS


@pytest.fixture(scope="module")
def small():
    return demo.demo_faces(seed=3, scale=0.2)


def test_the_same_seed_draws_the_same_faces_and_another_draws_others(small):
    assert demo.demo_faces(seed=3, scale=0.2).signature == small.signature
    assert demo.demo_faces(seed=4, scale=0.2).signature != small.signature


def test_the_demo_set_is_the_same_on_every_machine():
    """Drawn without sines and exponentials, which processors round differently."""
    expected = "287ac0bd3e58814ee5cfd845b47ec9678b5c92abf03920f415a72e821ad1cf47"
    assert demo.demo_faces(scale=0.02).signature == expected


def test_the_classes_are_as_unequal_as_in_fer2013():
    assert sum(demo.COUNTS.values()) == 2873
    counts = demo.demo_faces(scale=0.3).counts
    assert counts["happy"] == max(counts.values())
    assert counts["disgust"] == min(counts.values())
    assert 10 <= counts["disgust"] <= 24
    assert all(count > 80 for name, count in counts.items() if name != "disgust")


def test_pictures_are_neither_blank_nor_saturated(small):
    assert small.images.dtype == np.uint8
    assert small.images.shape[1:] == (48, 48)
    assert small.images.reshape(len(small), -1).std(axis=1).min() > 5
    assert ((small.images == 0) | (small.images == 255)).mean() < 0.2


def calm(emotion: str, **changes: float) -> Parameters:
    """One face with nothing random about it."""
    random = np.random.RandomState(0)
    values = parameters(np.array([EMOTIONS.index(emotion)]), random)
    average = parameters(np.full(400, EMOTIONS.index(emotion)), random)
    still = {"noise", "blur", "glasses", "hand", "beard", "fringe", "hair_long"}
    assert set(changes) <= set(values)
    return {
        name: np.array([changes.get(name, 0.0 if name in still else float(np.median(average[name])))])
        for name in values
    }


def drawn(emotion: str, **changes: float) -> np.ndarray:
    return draw(calm(emotion, **changes), np.random.RandomState(0))[0].astype(float)


UPPER, LOWER = slice(0, 24), slice(28, 48)


@pytest.mark.parametrize("unit", UNITS)
def test_every_action_unit_moves_the_face(unit: str):
    base = {"part": 0.5} if unit == "teeth" else {}
    still, moved = drawn("neutral", **{unit: 0.0} | base), drawn("neutral", **{unit: 1.0} | base)
    assert np.abs(moved - still).max() > 15


@pytest.mark.parametrize(("unit", "where", "elsewhere"), [
    ("inner_brow", UPPER, LOWER), ("outer_brow", UPPER, LOWER), ("lid_raise", UPPER, LOWER),
    ("smile", LOWER, UPPER), ("corner_down", LOWER, UPPER), ("stretch", LOWER, UPPER),
])  # fmt: skip
def test_a_unit_moves_its_part_of_the_face(unit: str, where: slice, elsewhere: slice):
    change = np.abs(drawn("neutral", **{unit: 1.0}) - drawn("neutral", **{unit: 0.0}))
    assert change[where].sum() > 20 * change[elsewhere].sum()


def test_the_expressions_differ():
    faces = {name: drawn(name, yaw=0, roll=0) for name in EMOTIONS}
    for first in EMOTIONS:
        for second in EMOTIONS:
            if first < second:
                assert np.abs(faces[first] - faces[second]).max() > 40, (first, second)


def test_some_labels_are_wrong_as_people_confuse_them():
    emotion = np.arange(7000) % 7
    labels = demo.mislabelled(emotion, np.random.RandomState(0))
    assert 0.03 < (labels != emotion).mean() < 0.07
    for label, name in enumerate(EMOTIONS):
        wrong = {EMOTIONS[other] for other in labels[emotion == label]} - {name}
        assert wrong == set(demo.CONFUSED[name].split())


def test_the_contact_sheet_is_a_picture(tmp_path: Path):
    contact_sheet(tmp_path / "sheet.png", columns=3)
    with Image.open(tmp_path / "sheet.png") as sheet:
        assert sheet.size == (3 * 96, 7 * (96 + 16))
