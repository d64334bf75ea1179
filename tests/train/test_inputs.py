import pytest
import torch

from fer_tune.data.access import open_search
from fer_tune.data.spec import DataRef
from fer_tune.train.inputs import DeviceData


@pytest.mark.parametrize("fit", ["train", "train+val"])
def test_inputs_are_normalised_by_the_fitted_pixels(tiny_data: DataRef, fit: str):
    faces = DeviceData.load(open_search(tiny_data), fit, torch.device("cpu"))
    pixels = faces.images.double() / 255
    assert faces.mean == pytest.approx(float(pixels.mean()), abs=1e-9)
    assert faces.std == pytest.approx(float(pixels.std()), abs=1e-9)
    inputs = faces.normalised(faces.images)
    assert abs(float(inputs.mean())) < 1e-3
    assert float(inputs.std()) == pytest.approx(1, abs=1e-3)
