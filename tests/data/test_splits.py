"""Splits, and what training can open of them."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as trying
from hypothesis import strategies as st
from pydantic import ValidationError

from fer_tune.data import duplicates, splits
from fer_tune.data.access import open_final, open_search
from fer_tune.data.dataset import Dataset
from fer_tune.data.policy import SplitPolicy
from fer_tune.data.spec import FER2013
from fer_tune.data.splits import Split, make_split, reference, store_split
from fer_tune.errors import DataError
from fer_tune.settings import Settings
from tests.data.making import arrays

COUNTS = (140, 20, 150, 260, 170, 110, 180)


def faces_with_copies(usage: bool = False) -> Dataset:
    """Returns random images in FER2013's proportions, with pairs of copies and a group of 12."""
    random = np.random.RandomState(0)
    labels = random.permutation(np.repeat(np.arange(7), COUNTS))
    images = random.randint(0, 256, (len(labels), 48, 48)).astype(np.uint8)
    copied = np.concatenate([random.choice(len(labels), 150, replace=False), np.full(11, 5)])
    order = random.permutation(len(labels) + len(copied))
    images, labels = np.concatenate([images, images[copied]])[order], np.concatenate([labels, labels[copied]])[order]
    return Dataset.of(
        images, labels, random.choice(3, len(labels), p=[0.8, 0.1, 0.1]).astype(np.int8) if usage else None
    )


FACES = faces_with_copies()
GROUP = duplicates.find_groups(FACES.images).near


def complete(split: Split, faces: Dataset) -> bool:
    together = np.concatenate([split.train, split.val, split.test])
    return bool((np.sort(together) == np.arange(len(faces))).all())


def shared(group: np.ndarray, first: np.ndarray, second: np.ndarray) -> int:
    return int(np.isin(group[first], group[second]).sum())


def test_70_15_15_by_class_with_copies_on_one_side():
    split = make_split(FACES, SplitPolicy())
    assert complete(split, FACES)
    for part, share in ((split.train, 0.7), (split.val, 0.15), (split.test, 0.15)):
        assert part.dtype == np.int64
        assert (np.diff(part) > 0).all()
        assert len(part) == pytest.approx(share * len(FACES), abs=7)
        expected = share * np.bincount(FACES.labels)
        assert np.abs(np.bincount(FACES.labels[part]) - expected).max() <= 1.5
    assert shared(GROUP, split.val, split.train) == 0
    assert shared(GROUP, split.test, split.train) == 0
    assert shared(GROUP, split.test, split.val) == 0


@given(seed=st.integers(0, 2**32 - 1), val=st.floats(0.1, 0.3), test=st.floats(0.1, 0.3))
@trying(max_examples=25, deadline=None)
def test_any_policy_divides_and_leaks_nothing(seed: int, val: float, test: float):
    groups = duplicates.Groups(GROUP, GROUP)
    split = make_split(FACES, SplitPolicy(seed=seed, val=val, test=test), groups)
    assert complete(split, FACES)
    assert shared(GROUP, split.val, split.train) + shared(GROUP, split.test, np.union1d(split.train, split.val)) == 0
    assert len(split.val) == pytest.approx(val * len(FACES), abs=7)


def test_a_seed_means_the_same_split_everywhere():
    split = make_split(FACES, SplitPolicy())
    assert split.hash == make_split(FACES, SplitPolicy()).hash
    assert split.hash == "1bc7bbe65507b0dfc9df9910efb98b8fa56d839dcb3270a63a8eee81c7e4535b"
    assert split.hash != make_split(FACES, SplitPolicy(seed=43)).hash


def test_the_plain_split_is_scikit_learns():
    from sklearn.model_selection import train_test_split

    split = make_split(FACES, SplitPolicy(group_duplicates=False))
    train, rest = train_test_split(np.arange(len(FACES)), test_size=0.3, stratify=FACES.labels, random_state=42)
    val, test = train_test_split(rest, test_size=0.5, stratify=FACES.labels[rest], random_state=42)
    assert split.train.tolist() == sorted(train)
    assert split.val.tolist() == sorted(val)
    assert split.test.tolist() == sorted(test)
    assert shared(GROUP, split.val, split.train) > 0


def test_the_plain_split_of_the_training_images_has_the_known_sizes():
    labels = np.repeat(np.arange(7), [3995, 436, 4097, 7215, 4830, 3171, 4965])
    faces = Dataset(np.empty((28_709, 0, 0), np.uint8), labels, None, [], "x", "x", FER2013)
    split = make_split(faces, SplitPolicy(group_duplicates=False))
    assert (len(split.train), len(split.val), len(split.test)) == (20_096, 4_306, 4_307)


def test_usage_is_followed():
    faces = faces_with_copies(usage=True)
    assert faces.usage is not None
    split = make_split(faces, SplitPolicy(policy="usage", group_duplicates=False))
    for code, part in enumerate((split.train, split.val, split.test)):
        assert part.tolist() == np.flatnonzero(faces.usage == code).tolist()


def test_usage_with_groups_leaves_out_of_training_what_has_a_copy_later():
    faces = faces_with_copies(usage=True)
    assert faces.usage is not None
    plain = make_split(faces, SplitPolicy(policy="usage", group_duplicates=False))
    split = make_split(faces, SplitPolicy(policy="usage"))
    assert split.test.tolist() == plain.test.tolist()
    assert set(split.train) < set(plain.train)
    assert set(split.val) <= set(plain.val)
    later = GROUP[np.concatenate([plain.val, plain.test])]
    assert [index for index in plain.train if GROUP[index] not in later] == split.train.tolist()
    assert shared(GROUP, split.val, split.train) + shared(GROUP, split.test, np.union1d(split.train, split.val)) == 0


def test_usage_that_is_not_there():
    with pytest.raises(DataError, match="does not say which images are Training, PublicTest, PrivateTest"):
        make_split(FACES, SplitPolicy(policy="usage"))
    images, labels = arrays()
    faces = Dataset.of(images, labels, np.zeros(len(labels), np.int8))
    with pytest.raises(DataError, match="has no PublicTest images"):
        make_split(faces, SplitPolicy(policy="usage"))


@pytest.mark.parametrize("group_duplicates", [True, False])
def test_a_class_that_is_too_small(group_duplicates: bool):
    images, labels = arrays(each=20)
    keep = np.flatnonzero((labels != 1) | (np.cumsum(labels == 1) <= 1))
    with pytest.raises(DataError, match=r"split|disgust"):
        make_split(Dataset.of(images[keep], labels[keep]), SplitPolicy(group_duplicates=group_duplicates))


def test_a_class_of_copies_only():
    images, labels = arrays(each=20)
    images[labels == 1] = images[labels == 1][0]
    with pytest.raises(DataError, match="too few different 'disgust' images"):
        make_split(Dataset.of(images, labels), SplitPolicy())


@pytest.mark.parametrize(
    "values", [{"val": 0.5, "test": 0.5}, {"val": 0}, {"test": 1}, {"seed": -1}, {"policy": "random"}, {"folds": 5}]
)
def test_policies_that_make_no_sense(values: dict[str, object]):
    with pytest.raises(ValidationError):
        SplitPolicy.model_validate(values)


# Stored splits


def test_a_split_is_stored_once(settings: Settings, monkeypatch: pytest.MonkeyPatch):
    stored = store_split(FACES, SplitPolicy(), settings)
    split = make_split(FACES, SplitPolicy())
    assert stored.hash == split.hash
    assert stored.counts == {"train": len(split.train), "val": len(split.val), "test": len(split.test)}
    assert stored.path.parent == settings.cache / "splits"
    monkeypatch.setattr(splits, "make_split", None)
    assert store_split(FACES, SplitPolicy(), settings) == stored


def test_a_truncated_split_is_made_anew(settings: Settings):
    stored = store_split(FACES, SplitPolicy(), settings)
    whole = stored.path.read_bytes()
    stored.path.write_bytes(whole[:-100])
    assert store_split(FACES, SplitPolicy(), settings) == stored
    assert len(open_search(reference(FACES, stored, settings)).train) == stored.counts["train"]
    record = next((settings.cache / "splits").glob("*.json"))
    for text in ("", "[]", "{}"):
        record.write_text(text)
        assert store_split(FACES, SplitPolicy(), settings) == stored


def test_policies_and_data_sets_have_their_own_splits(settings: Settings):
    images, labels = arrays(each=20)
    hashes = {
        store_split(faces, SplitPolicy(seed=seed), settings).hash
        for faces in (FACES, Dataset.of(images, labels))
        for seed in (1, 2)
    }
    assert len(hashes) == 4


def test_a_search_is_given_no_test_images(settings: Settings):
    stored = store_split(FACES, SplitPolicy(), settings)
    data = open_search(reference(FACES, stored, settings))
    split = make_split(FACES, SplitPolicy())
    assert data.train.tolist() == split.train.tolist()
    assert data.val.tolist() == split.val.tolist()
    assert {field.name for field in dataclasses.fields(data)} == {"images", "labels", "spec", "train", "val"}
    assert isinstance(data.images, np.memmap)
    assert (data.images[data.train[3]] == FACES.images[split.train[3]]).all()


def test_a_search_does_not_even_read_them(settings: Settings, monkeypatch: pytest.MonkeyPatch):
    stored = store_split(FACES, SplitPolicy(), settings)
    ref = reference(FACES, stored, settings)
    read: list[str] = []
    original = np.lib.npyio.NpzFile.__getitem__
    monkeypatch.setattr(
        np.lib.npyio.NpzFile, "__getitem__", lambda self, key: (read.append(key), original(self, key))[1]
    )
    open_search(ref)
    assert "train" in read
    assert "test" not in read


def test_the_final_fit_has_train_and_val_together_and_test(settings: Settings):
    stored = store_split(FACES, SplitPolicy(), settings)
    data = open_final(reference(FACES, stored, settings))
    split = make_split(FACES, SplitPolicy())
    assert data.train_val.tolist() == sorted([*split.train, *split.val])
    assert data.test.tolist() == split.test.tolist()


def test_another_or_a_damaged_split_is_refused(settings: Settings):
    stored = store_split(FACES, SplitPolicy(), settings)
    other = store_split(FACES, SplitPolicy(seed=1), settings)
    ref = reference(FACES, stored, settings)
    for opening in (open_search, open_final):
        with pytest.raises(DataError, match="is not the split"):
            opening(dataclasses.replace(ref, split=other.path))
        with pytest.raises(DataError, match=r"another data set|cannot be read"):
            opening(dataclasses.replace(ref, signature="0" * 64))
        with pytest.raises(DataError, match="cannot be read"):
            opening(dataclasses.replace(ref, split=settings.root / "gone.npz"))
    with np.load(stored.path) as file:
        arrays_ = dict(file)
    arrays_["train"] = arrays_["train"][1:]
    np.savez(stored.path, **arrays_)
    with pytest.raises(DataError, match="is not the split"):
        open_search(ref)
    stored.path.write_bytes(b"PK")
    with pytest.raises(DataError, match="cannot be read"):
        open_search(ref)
