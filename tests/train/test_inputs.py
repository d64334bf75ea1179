from dataclasses import replace

import numpy as np
import pytest
import torch

from fer_tune.data.access import open_search
from fer_tune.data.spec import DataRef
from fer_tune.train.config import TrainConfig
from fer_tune.train.inputs import DeviceData, Inputs, middle, random_crops
from fer_tune.train.sampling import frequency_weights


@pytest.mark.parametrize("fit", ["train", "train+val"])
def test_inputs_are_normalised_by_the_fitted_pixels(tiny_data: DataRef, fit: str):
    faces = DeviceData.load(open_search(tiny_data), fit, torch.device("cpu"))
    pixels = faces.images.double() / 255
    assert faces.mean == pytest.approx(float(pixels.mean()), abs=1e-9)
    assert faces.std == pytest.approx(float(pixels.std()), abs=1e-9)
    inputs = faces.normalised(faces.images)
    assert abs(float(inputs.mean())) < 1e-3
    assert float(inputs.std()) == pytest.approx(1, abs=1e-3)


def test_crops_are_at_random_places_within_the_images():
    rows, columns = torch.meshgrid(torch.arange(12), torch.arange(12), indexing="ij")
    image = torch.stack((rows, columns), dim=2).expand(200, 12, 12, 2)
    torch.manual_seed(0)
    crops = random_crops(image, 9)
    assert crops.shape == (200, 9, 9, 2)
    corners = {tuple(corner) for corner in crops[:, 0, 0].tolist()}
    assert corners == {(top, left) for top in range(4) for left in range(4)}
    assert torch.equal(crops - crops[:, :1, :1], (image - image[:, :1, :1])[:, :9, :9])
    assert middle(image, 9)[0, 0, 0].tolist() == [1, 1]
    assert middle(image, 12) is image


@pytest.mark.parametrize("mixing", [{}, {"mixup": 1.0}, {"cutmix": 1.0}])
def test_an_epoch_of_crops_shows_the_same_faces(few_data: DataRef, mixing: dict[str, float]):
    faces = DeviceData.load(open_search(few_data), "train", torch.device("cpu"))
    inputs, weights = Inputs(faces, 40), frequency_weights(faces.labels, 0.0, 7)
    assert inputs.images.shape[1:3] == inputs.held.shape[1:3] == (40, 40)
    assert inputs.spec.side == 40
    assert torch.equal(inputs.held, faces.held[:, 4:44, 4:44])
    torch.manual_seed(3)
    inputs.draw_epoch(TrainConfig(**mixing), weights)
    assert bool(inputs.images.isfinite().all())
    if not mixing:
        whole = faces.normalised(faces.images[inputs.first]).permute(0, 2, 3, 1)
        found = [
            any(torch.allclose(crop, image[top : top + 40, left : left + 40]) for top in range(9) for left in range(9))
            for crop, image in zip(inputs.images[:20], whole[:20], strict=True)
        ]
        assert all(found)
    else:
        assert float(inputs.share.min()) < 1


def test_whole_images_draw_no_more_random_numbers_than_before(few_data: DataRef):
    faces = DeviceData.load(open_search(few_data), "train", torch.device("cpu"))
    weights = frequency_weights(faces.labels, 0.0, 7)
    following = []
    for crop in (0, 40):
        torch.manual_seed(3)
        Inputs(faces, crop).draw_epoch(TrainConfig(augment=0.3), weights)
        following.append(float(torch.rand(1)))
    torch.manual_seed(3)
    Inputs(faces).draw_epoch(TrainConfig(augment=0.3), weights)
    assert float(torch.rand(1)) == following[0] != following[1]


@pytest.mark.parametrize("fit", ["train", "train+val"])
def test_test_images_change_nothing_of_what_a_job_loads(tiny_data: DataRef, fit: str):
    data = open_search(tiny_data)
    test = np.setdiff1d(np.arange(len(data.labels)), np.concatenate([data.train, data.val]))
    images, labels = np.array(data.images), np.array(data.labels)
    images[test], labels[test] = 255 - images[test], (labels[test] + 1) % len(data.spec.classes)
    changed = replace(data, images=images, labels=labels)
    one, other = (DeviceData.load(some, fit, torch.device("cpu")) for some in (data, changed))
    assert len(test) > 0
    for name in ("images", "labels", "held", "held_labels"):
        assert torch.equal(getattr(one, name), getattr(other, name)), name
    assert (one.mean, one.std) == (other.mean, other.std)
