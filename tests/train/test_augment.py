import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from fer_tune.data.spec import FER2013
from fer_tune.models.layers import HAS_TRITON
from fer_tune.train import augment as module
from fer_tune.train import inputs as faces_module
from fer_tune.train.augment import augment, draw_blend, draw_changes, mix
from fer_tune.train.config import TrainConfig
from fer_tune.train.inputs import DeviceData, Inputs
from fer_tune.train.sampling import frequency_weights

FACES = torch.rand(64, 1, 48, 48, generator=torch.Generator().manual_seed(0)) * 0.5 + 0.25
LABELS = torch.arange(64) % 7


def test_strength_zero_is_exactly_no_augmentation():
    assert torch.equal(augment(FACES, 0.0), FACES)
    mixed = mix(FACES, LABELS, 0.0, 0.0)
    assert torch.equal(mixed.images, FACES)
    assert torch.equal(mixed.share, torch.ones(64))


def test_change_grows_with_strength():
    changes = []
    for strength in (0.05, 0.3, 1.0):
        torch.manual_seed(0)
        smooth = torch.nn.functional.avg_pool2d(FACES, 9, 1, 4)
        changes.append(float((augment(smooth, strength) - smooth).abs().mean()))
    assert changes == sorted(changes)
    assert changes[0] * 2 < changes[2]


def test_values_stay_pixels():
    torch.manual_seed(0)
    out = augment(FACES, 1.0)
    assert out.shape == FACES.shape
    assert 0 <= out.min() <= out.max() <= 1


def _only(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    for other in ("FLIP", "ROTATION", "SHIFT", "SCALE", "BRIGHTNESS", "CONTRAST", "ERASING"):
        if other != name:
            monkeypatch.setattr(module, other, 0.0)


@pytest.mark.parametrize("name", ["FLIP", "ROTATION", "SHIFT", "SCALE", "BRIGHTNESS", "CONTRAST", "ERASING"])
def test_each_part_takes_effect_by_itself(monkeypatch, name):
    _only(monkeypatch, name)
    torch.manual_seed(0)
    changed = (augment(FACES, 1.0) - FACES).abs().amax((1, 2, 3)) > 0.02
    assert 0.2 < changed.float().mean() <= 1


def test_a_flip_is_a_mirror_image(monkeypatch):
    _only(monkeypatch, "FLIP")
    torch.manual_seed(0)
    out = augment(FACES, 0.25)
    mirrored = torch.isclose(out, FACES.flip(3), atol=1e-4).flatten(1).all(1)
    same = torch.isclose(out, FACES, atol=1e-4).flatten(1).all(1)
    assert (mirrored ^ same).all()
    assert 16 < mirrored.sum() < 48


def test_shift_moves_at_most_its_fraction(monkeypatch):
    _only(monkeypatch, "SHIFT")
    dot = torch.zeros(200, 1, 48, 48)
    dot[:, :, 23:25, 23:25] = 1
    torch.manual_seed(0)
    out = augment(dot, 0.5)
    columns = (out.sum((1, 2)) * torch.arange(48)).sum(1) / out.sum((1, 2, 3))
    moved = (columns - 23.5).abs()
    assert moved.max() <= 0.5 * module.SHIFT * 48 + 0.1
    assert moved.max() > 0.4 * module.SHIFT * 48


def test_mixup_blends_with_the_neighbour():
    torch.manual_seed(0)
    mixed = mix(FACES, LABELS, 1.0, 0.0)
    share = mixed.share[:, None, None, None]
    assert torch.allclose(mixed.images, share * FACES + (1 - share) * FACES.roll(1, 0))
    assert torch.equal(mixed.first, LABELS)
    assert torch.equal(mixed.second, LABELS.roll(1))
    assert 0.5 <= mixed.share.min() < 0.6
    assert 0.9 < mixed.share.max() <= 1


def test_cutmix_cuts_the_area_it_says():
    torch.manual_seed(0)
    mixed = mix(torch.zeros_like(FACES), LABELS, 0.0, 1.0)
    assert torch.equal(mixed.images, torch.zeros_like(FACES))
    sources = torch.arange(64).float()[:, None, None, None].expand(64, 1, 48, 48)
    mixed = mix(sources, LABELS, 0.0, 1.0)
    own = (mixed.images == sources).float().mean((1, 2, 3))
    assert torch.allclose(own, mixed.share)
    assert mixed.share.min() >= 0.48


def test_probabilities_choose_how_many_are_mixed():
    torch.manual_seed(0)
    faces, labels = torch.rand(4000, 1, 4, 4), torch.zeros(4000, dtype=torch.int64)
    mixed = mix(faces, labels, 0.3, 0.2)
    touched = (mixed.images != faces).flatten(1).any(1).float().mean()
    assert 0.4 < touched < 0.52


def test_nothing_drawn_changes_nothing():
    """Returns the kernel's inputs at strength 0 without mixing. It uses up no random number."""
    torch.manual_seed(0)
    changes, blend = draw_changes(FACES, 0.0), draw_blend(FACES, 0.0, 0.0)
    unused = torch.rand(3)
    torch.manual_seed(0)
    assert torch.equal(unused, torch.rand(3))
    assert torch.allclose(changes.apply(FACES), FACES, atol=1e-5)
    assert torch.equal(blend.apply(FACES), FACES)
    assert torch.equal(blend.share, torch.ones(64))


def test_rectangles_lie_inside_and_have_the_edges_they_should():
    torch.manual_seed(0)
    images = torch.zeros(2000, 1, 48, 24)
    top, left, high, wide = draw_changes(images, 1.0).erased.unbind(1)
    assert 0.45 < (high > 0).float().mean() < 0.55, "as many as ERASING says"
    top, left, high, wide = (numbers[high > 0] for numbers in (top, left, high, wide))
    for start, length, edge in ((top, high, 48), (left, wide, 24)):
        assert torch.equal(start, start.floor())
        assert start.min() == 0
        assert (start + length).max() == edge
        assert length.min() == round(0.1 * edge)
        assert length.max() == round(0.45 * edge)


def _difference(device: str, dtype: torch.dtype, config: TrainConfig, count: int, chunk: int) -> float:
    """Returns the largest difference between an epoch of the kernel and one of torch."""
    generator = torch.Generator().manual_seed(1)
    images = torch.randint(0, 256, (count, 1, 48, 48), dtype=torch.uint8, generator=generator).to(device)
    labels = (torch.arange(count) % 3).to(device)
    held = torch.zeros(0, 48, 48, 1, dtype=dtype, device=device)
    faces = DeviceData(images, labels, held, labels[:0], 0.5, 0.25, FER2013, dtype)
    found = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(faces_module, "CHUNK", {device: chunk})
        for kernel in (True, False):
            patch.setattr(faces_module, "fused", lambda x, kernel=kernel: kernel)
            inputs = Inputs(faces, config.crop)
            inputs.images.fill_(torch.nan)
            torch.manual_seed(0)
            inputs.draw_epoch(config, frequency_weights(labels, 0.0, 7))
            found.append(inputs)
    fused, plain = found
    assert torch.equal(fused.first, plain.first)
    assert torch.equal(fused.second[fused.share < 1], plain.second[plain.share < 1])
    images_differ = (fused.images.float() - plain.images.float()).abs().max()
    return max(float(images_differ), float((fused.share - plain.share).abs().max()))


@pytest.mark.gpu
@pytest.mark.parametrize("strength", [0.0, 0.3, 1.0])
@pytest.mark.parametrize(("mixup", "cutmix"), [(0.0, 0.0), (1.0, 0.0), (0.0, 1.0), (0.4, 0.3)])
@pytest.mark.parametrize("crop", [0, 44])
def test_kernel_agrees_with_the_operations(strength, mixup, cutmix, crop):
    config = TrainConfig(augment=strength, mixup=mixup, cutmix=cutmix, crop=crop)
    assert _difference("cuda", torch.float32, config, 500, 300) < 1e-3
    assert _difference("cuda", torch.bfloat16, config, 500, 300) < 0.02, "its last digit"


@pytest.mark.slow  # the tests for a GPU show the same
@pytest.mark.skipif(not HAS_TRITON, reason="needs Triton")
def test_interpreted_kernel_agrees_with_the_operations():
    """In a process of its own.

    Triton decides when it is imported whether kernels are interpreted.
    """
    code = """if True:
        import torch
        from tests.train.test_augment import _difference
        from fer_tune.train.config import TrainConfig
        for strength, mixup, cutmix, crop in ((0, 0, 0, 0), (0.7, 0.4, 0.5, 0), (0.7, 0.4, 0.5, 40)):
            config = TrainConfig(augment=strength, mixup=mixup, cutmix=cutmix, crop=crop)
            print(_difference("cpu", torch.float32, config, 5, 3))
    """
    command = [sys.executable, "-c", code]
    root, environment = Path(__file__).parents[2], os.environ | {"TRITON_INTERPRET": "1"}
    done = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    differences = [float(line) for line in done.stdout.split()]
    assert len(differences) == 3
    assert max(differences) < 1e-3
