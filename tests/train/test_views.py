"""The views of test-time augmentation."""

from __future__ import annotations

import pytest
import torch

from fer_tune.train.views import views

IMAGES = torch.arange(2 * 48 * 48).reshape(2, 1, 48, 48).float()


def test_an_image_and_its_mirror_image() -> None:
    [plain] = views(IMAGES, "none", 48)
    assert torch.equal(plain, IMAGES)
    first, second = views(IMAGES, "flip", 48)
    assert torch.equal(first, IMAGES)
    assert torch.equal(second, IMAGES.flip(3))


def test_ten_crops_are_the_middle_and_the_corners() -> None:
    found = list(views(IMAGES, "crops", 44))
    assert len(found) == 10
    assert torch.equal(found[0], IMAGES[:, :, 2:46, 2:46])
    assert torch.equal(found[1], found[0].flip(3))
    corners = [(0, 0), (0, 4), (4, 0), (4, 4)]
    for place, (top, left) in enumerate(corners, start=1):
        assert torch.equal(found[2 * place], IMAGES[:, :, top : top + 44, left : left + 44])
    [middle] = views(IMAGES, "none", 44)
    assert torch.equal(middle, found[0])


@pytest.mark.parametrize("side", [16, 48, 64])
def test_whole_images_are_shifted_with_their_edges_repeated(side: int) -> None:
    images = torch.rand(2, 3, side, side)
    found = list(views(images, "crops", side))
    assert {view.shape for view in found} == {images.shape}
    assert torch.equal(found[0], images)
    shift = max(1, round(side / 24))
    assert torch.equal(found[2][:, :, shift:, shift:], images[:, :, :-shift, :-shift])
    assert torch.equal(found[2][:, :, 0, 0], images[:, :, 0, 0])
