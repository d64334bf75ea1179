import numpy as np
import pytest

from fer_tune.data import duplicates
from fer_tune.data.dataset import Dataset
from fer_tune.data.demo import demo_faces
from fer_tune.data.duplicates import find_groups, groups_of, is_blank
from fer_tune.settings import Settings
from tests.data.making import arrays


def brute_force(images: np.ndarray) -> np.ndarray:
    """Smallest member of each group, from all correlations."""
    flat = images.reshape(len(images), -1).astype(float)
    blank = flat.std(axis=1) < 1
    flat[blank] = 0
    with np.errstate(invalid="ignore", divide="ignore"):
        near = np.nan_to_num(np.corrcoef(flat)) > 0.98
    near |= np.outer(blank, blank) | np.eye(len(images), dtype=bool)
    group = np.arange(len(images))
    for _ in range(len(images)):
        lower = np.array([group[row].min() for row in near])
        if (lower == group).all():
            break
        group = lower
    return group


def test_groups_are_those_of_all_pairs_compared():
    images = demo_faces(seed=1, scale=0.15).images
    random = np.random.RandomState(0)
    copies = [images[:9], images[20:40] * 0.9 + random.normal(0, 3, (20, 48, 48)) + 8]
    blanks = [np.zeros((3, 48, 48)), np.full((2, 48, 48), 200), (random.uniform(size=(1, 48, 48)) < 0.01) * 2 + 90]
    everything = np.concatenate([images, *copies, *blanks]).clip(0, 255).astype(np.uint8)
    everything = everything[random.permutation(len(everything))]
    groups = find_groups(everything)
    assert (groups.near == brute_force(everything)).all()
    assert len(everything) - len(np.unique(groups.exact)) >= 9 + 2 + 1
    assert len(np.unique(groups.near[is_blank(everything)])) == 1


@pytest.mark.parametrize(("side", "channels"), [(32, 1), (64, 3), (45, 3), (9, 1)])
def test_other_sides_and_colours_are_compared_as_well(side: int, channels: int):
    """Some pairs are just above the threshold and some just below it."""
    random = np.random.RandomState(0)
    images, _ = arrays(classes=3, each=8, side=side, channels=channels)
    noise = random.normal(0, 1, images.shape) * random.choice([4, 14, 15, 25], len(images)).reshape(
        -1, *[1] * images[0].ndim
    )
    everything = np.concatenate([images, images + noise, np.full_like(images[:2], 7)]).clip(0, 255).astype(np.uint8)
    everything = everything[random.permutation(len(everything))]
    near = find_groups(everything).near
    assert (near == brute_force(everything)).all()
    assert len(images) + 1 <= len(np.unique(near)) < len(everything) - 1


@pytest.mark.parametrize(("correlation", "joined"), [(0.985, True), (0.9805, True), (0.9795, False), (0.97, False)])
def test_the_threshold(correlation: float, joined: bool):
    """Two images of large contrast with a chosen correlation, built from orthogonal patterns."""
    grid = np.indices((48, 48)) // 4 % 2
    first = grid[0] * 2.0 - 1
    second = correlation * first + np.sqrt(1 - correlation**2) * (grid[1] * 2 - 1)
    images = np.stack([128 + 90 * first, 128 + 90 * second]).round().astype(np.uint8)
    assert (find_groups(images).near.tolist() == [0, 0]) is joined


def test_the_chain_of_near_copies_is_one_group():
    random = np.random.RandomState(0)
    steps = random.normal(0, 5, (8, 48, 48)).cumsum(axis=0)
    chain = (128 + 40 * random.normal(size=(48, 48)) + steps).clip(0, 255).astype(np.uint8)
    flat = chain.reshape(8, -1).astype(float)
    assert np.corrcoef(flat)[0, -1] < 0.98
    assert set(find_groups(chain).near.tolist()) == {0}


def test_tiles_do_not_matter(monkeypatch: pytest.MonkeyPatch):
    images = demo_faces(seed=1, scale=0.1).images
    whole = find_groups(images)
    monkeypatch.setattr(duplicates, "TILE", 37)
    monkeypatch.setattr(duplicates, "VALUES", 29 * 48 * 48)
    assert (find_groups(images).near == whole.near).all()


@pytest.mark.parametrize("count", [0, 1, 2])
def test_hardly_any_images(count: int):
    images = arrays()[0][:count]
    assert find_groups(images).near.tolist() == list(range(count))
    assert find_groups(np.zeros((count, 48, 48), np.uint8)).near.tolist() == [0] * count


def test_the_search_is_paid_once(settings: Settings, monkeypatch: pytest.MonkeyPatch):
    images, labels = arrays()
    faces = Dataset.of(np.concatenate([images, images[:4]]), np.concatenate([labels, labels[:4]]))
    first = groups_of(faces, settings)
    with monkeypatch.context() as patched:
        patched.setattr(duplicates, "find_groups", None)
        assert (groups_of(faces, settings).near == first.near).all()
    kept = next(settings.cache.rglob("groups*.npz"))
    kept.write_bytes(kept.read_bytes()[:50])
    assert (groups_of(faces, settings).near == first.near).all()


def test_the_real_images(real_data: str, settings: Settings):
    from fer_tune.data.load import load_faces

    faces = load_faces(real_data, settings)
    if len(faces) != 28_709:
        pytest.skip("not the 28,709 training images")
    groups = find_groups(faces.images)
    assert len(faces) - len(np.unique(groups.exact)) == 1225
    assert 1380 <= len(faces) - len(np.unique(groups.near)) <= 1400
    assert is_blank(faces.images).sum() == 12
