import json

import numpy as np
import pytest

from fer_tune.data.audit import audit
from fer_tune.data.dataset import Dataset
from fer_tune.data.demo import demo_faces
from fer_tune.data.load import load_faces
from fer_tune.settings import Settings
from tests.data.making import arrays


def test_everything_is_counted(settings: Settings):
    images, labels = arrays(each=20)
    copies = images[[0, 0, 20, 41]]
    near = (images[[60]] * 0.95 + 3).astype(np.uint8)
    blanks = np.zeros((2, 48, 48), np.uint8)
    faces = Dataset.of(
        np.concatenate([images, copies, near, blanks]),
        np.concatenate([labels, [0, 0, 2, 2], [3], [0, 1]]),
        np.concatenate([np.zeros(140), [1, 2, 0, 0, 0, 0, 0]]).astype(np.int8),
    )
    found = audit(faces, settings)
    assert (found.images, found.height, found.width, found.blank) == (147, 48, 48, 2)
    assert found.classes == {
        "angry": 23,
        "disgust": 21,
        "fear": 22,
        "happy": 21,
        "sad": 20,
        "surprise": 20,
        "neutral": 20,
    }
    assert found.usage is not None
    assert (found.usage["PublicTest"]["angry"], found.usage["PrivateTest"]["angry"]) == (1, 1)
    assert (found.exact_groups, found.exact_redundant) == (4, 5)
    assert (found.near_groups, found.near_redundant) == (5, 6)
    assert (found.conflicting_groups, found.conflicting_images) == (1, 2)
    assert found.conflicts[0].names == ["image 20", "image 142"]
    assert found.conflicts[0].classes == {"disgust": 1, "fear": 1}
    assert [(group.kind, group.images) for group in found.doubtful] == [
        ("blank", {"image 145": "angry", "image 146": "disgust"}),
        ("conflict", {"image 20": "disgust", "image 142": "fear"}),
        ("copy", {"image 0": "angry", "image 140": "angry", "image 141": "angry"}),
        ("copy", {"image 41": "fear", "image 143": "fear"}),
        ("near copy", {"image 60": "happy", "image 144": "happy"}),
    ]
    assert found.leak is not None
    assert found.leak.val == 22
    assert json.loads(json.dumps(found.as_dict()))["leak"]["val"] == 22


def test_without_usage_and_too_small_to_split():
    images, labels = arrays(each=1)
    found = audit(Dataset.of(images, labels))
    assert found.usage is None
    assert found.leak is None


def test_the_demo_has_what_fer2013_has():
    found = audit(demo_faces(scale=0.5))
    assert found.near_redundant > found.exact_redundant > 0
    assert found.leak is not None
    assert 0 < found.leak.fraction < 0.1


def test_the_real_images(real_data: str, settings: Settings):
    found = audit(load_faces(real_data, settings), settings)
    if found.images != 28_709:
        pytest.skip("not the 28,709 training images")
    assert (found.exact_redundant, found.blank) == (1225, 12)
    assert found.leak is not None
    assert 0.06 < found.leak.fraction < 0.07
