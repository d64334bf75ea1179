import pytest
import torch

from fer_tune.train import augment as module
from fer_tune.train.augment import augment, mix

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
