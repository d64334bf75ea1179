"""Words and paths; the cache behind them."""

import json
import os
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from fer_tune.data import cache
from fer_tune.data.dataset import Dataset
from fer_tune.data.fer2013 import EMOTIONS
from fer_tune.data.load import load_faces
from fer_tune.data.sources import identity
from fer_tune.data.spec import FER2013, DataSpec
from fer_tune.errors import DataError, StorageError
from fer_tune.files import draft_folder
from fer_tune.settings import Settings
from tests.data.making import arrays, csv_text, tree, write_tree, write_zip

IMAGES, LABELS = arrays()
CSV = csv_text(IMAGES, LABELS).encode()


@pytest.fixture
def train_csv(tmp_path: Path) -> Path:
    path = tmp_path / "train.csv"
    path.write_bytes(CSV)
    return path


def no_reading(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> Dataset:
        raise AssertionError("the source was read again")

    monkeypatch.setattr("fer_tune.data.sources.read_source", refuse)


def test_a_source_is_read_once_and_mapped_ever_after(train_csv: Path, settings: Settings, monkeypatch):
    first = load_faces(str(train_csv), settings)
    no_reading(monkeypatch)
    second = load_faces(str(train_csv), settings)
    assert isinstance(first.images, np.memmap)
    assert not second.images.flags.writeable
    assert (second.images == IMAGES).all()
    assert (second.signature, second.names, second.notes) == (first.signature, first.names, first.notes)
    assert second.usage is None


def test_usage_notes_and_names_survive_the_cache(tmp_path: Path, settings: Settings):
    files = {f"train/{name}": data for name, data in tree(IMAGES, LABELS).items()} | {"train/a.txt": b""}
    write_tree(tmp_path / "t", files)
    for _ in range(2):
        faces = load_faces(str(tmp_path / "t"), settings)
        assert faces.usage is not None
        assert faces.notes == ("1 file was passed over: not an image (such as train/a.txt)",)
        assert faces.names[0] == "train/angry/Training_0000.png"


def test_content_is_the_key_not_the_path(train_csv: Path, settings: Settings, tmp_path: Path):
    load_faces(str(train_csv), settings)
    load_faces(str(write_zip(tmp_path / "x.zip", {"fer.csv": CSV})), settings)
    assert len(list((settings.cache / "faces").iterdir())) == 1


def test_a_changed_file_is_read_anew_even_with_its_old_time_and_size(train_csv: Path, settings: Settings):
    before, status = load_faces(str(train_csv), settings), train_csv.stat()
    train_csv.write_bytes(CSV.replace(b"\n6,", b"\n5,", 1))
    os.utime(train_csv, ns=(status.st_atime_ns, status.st_mtime_ns))
    after = load_faces(str(train_csv), settings)
    assert after.signature != before.signature
    assert (before.labels == LABELS).all()


def test_a_changed_image_in_a_folder_is_noticed(tmp_path: Path, settings: Settings):
    files = tree(IMAGES, LABELS, "train/")
    root = write_tree(tmp_path / "t", files)
    before = load_faces(str(root), settings)
    names = sorted(files)
    (root / names[0]).write_bytes(files[names[1]])
    assert load_faces(str(root), settings).signature != before.signature


def cached(settings: Settings) -> Path:
    return next(path for path in (settings.cache / "faces").iterdir())


@pytest.mark.parametrize(
    "damage",
    [
        lambda folder: os.truncate(folder / "images.npy", 1000),
        lambda folder: os.truncate(folder / "labels.npy", 0),
        lambda folder: (folder / "labels.npy").unlink(),
        lambda folder: (folder / "meta.json").write_text('{"format": 1'),
        lambda folder: (folder / "meta.json").write_text("[]"),
        lambda folder: (folder / "meta.json").unlink(),
        lambda folder: (folder / "images.npy").write_bytes(bytes((folder / "images.npy").stat().st_size)),
        lambda folder: [path.unlink() for path in folder.iterdir()],
    ],
)
def test_a_damaged_cache_is_recognised_and_built_anew(train_csv: Path, settings: Settings, damage):
    faces = load_faces(str(train_csv), settings)
    folder = cached(settings)
    damage(folder)
    with pytest.raises(DataError):
        cache.read(folder, faces.signature)
    said: list[str] = []
    again = load_faces(str(train_csv), settings, said.append)
    assert (again.images == IMAGES).all()
    assert "the data set is read again" in said[0]
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]


def test_a_damaged_index_is_built_anew(train_csv: Path, settings: Settings):
    load_faces(str(train_csv), settings)
    record = next((settings.cache / "sources").iterdir())
    for text in ("", "[]", "{}", record.read_text().replace("row 1", 'row 1", "row 1')):
        record.write_text(text)
        assert len(load_faces(str(train_csv), settings)) == len(LABELS)


def test_a_cache_of_another_signature_is_refused(train_csv: Path, settings: Settings):
    load_faces(str(train_csv), settings)
    with pytest.raises(DataError, match="another data set"):
        cache.read(cached(settings), "0" * 64)


def test_a_pickle_in_the_cache_is_never_opened(train_csv: Path, settings: Settings):
    faces = load_faces(str(train_csv), settings)
    np.save(cached(settings) / "labels.npy", np.array([print], object), allow_pickle=True)
    with pytest.raises(DataError):
        cache.read(cached(settings), faces.signature)


def test_nothing_half_written_when_the_disk_refuses(train_csv: Path, settings: Settings, monkeypatch):
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "save", full)
    with pytest.raises(StorageError, match="No space left"):
        load_faces(str(train_csv), settings)
    assert [path for path in settings.cache.rglob("*") if path.is_file()] == []


def test_a_process_that_was_quicker_keeps_its_copy(settings: Settings, monkeypatch):
    """A worker may be opening it: its files are neither removed nor replaced."""
    dataset = Dataset.of(IMAGES, LABELS)
    folder, save, quicker = cache.folder(settings, dataset.signature), np.save, []

    def overtaken(*arguments: object, **options: object) -> None:
        save(*arguments, **options)
        if not quicker:
            quicker.append(True)
            cache.keep(dataset, settings)
            quicker.append((folder / "images.npy").stat().st_ino)

    monkeypatch.setattr(np, "save", overtaken)
    assert cache.keep(dataset, settings) == folder
    assert (folder / "images.npy").stat().st_ino == quicker[-1]
    assert (cache.read(folder, dataset.signature).labels == LABELS).all()
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]


def test_two_first_runs_at_once_never_miss_the_cache(settings: Settings):
    """Once the cache can be opened, it always can, however many others are writing it."""
    dataset = Dataset.of(IMAGES, LABELS)
    folder = cache.folder(settings, dataset.signature)
    failures: list[Exception] = []

    def keep_and_open() -> None:
        try:
            for _ in range(5):
                cache.keep(dataset, settings)
                cache.read(folder, dataset.signature)
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=keep_and_open) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []


def test_a_cache_from_before_specs_is_fer2013s(settings: Settings):
    dataset = Dataset.of(IMAGES, LABELS)
    meta = cache.keep(dataset, settings) / "meta.json"
    before = json.loads(meta.read_text()) | {"format": 1}
    del before["spec"]
    meta.write_text(json.dumps(before))
    assert cache.read(meta.parent, dataset.signature).spec == FER2013
    assert cache.keep(dataset, settings) == meta.parent
    assert json.loads(meta.read_text())["format"] == 1, "a sound copy is not written again"


@pytest.mark.parametrize(("side", "channels"), [(32, 1), (64, 3), (48, 3)])
def test_images_are_resized_and_converted(train_csv: Path, settings: Settings, side: int, channels: int):
    usual = load_faces(str(train_csv), settings)
    other = load_faces(str(train_csv), settings, side=side, channels=channels)
    assert other.spec == DataSpec(EMOTIONS, side, channels)
    assert other.images.shape == (len(LABELS), *other.spec.shape)
    assert other.signature != usual.signature
    assert f"to {side}×{side}×{channels}" in other.notes[-1]
    again = load_faces(str(train_csv), settings, side=side, channels=channels)
    assert (again.spec, again.signature, again.notes) == (other.spec, other.signature, other.notes)
    assert load_faces(str(train_csv), settings).signature == usual.signature


@pytest.mark.parametrize(("side", "channels"), [(7, 1), (513, 1), (48, 2), (48, 4)])
def test_a_size_that_no_network_takes_is_refused(train_csv: Path, settings: Settings, side: int, channels: int):
    with pytest.raises(DataError, match=r"must be .* \(got"):
        load_faces(str(train_csv), settings, side=side, channels=channels)


def test_the_full_training_set_is_found_again_in_under_100_ms(tmp_path: Path, settings: Settings):
    random = np.random.RandomState(0)
    images = random.randint(0, 256, (28_709, 48, 48), np.uint8)
    source = tmp_path / "fer2013.zip"
    source.write_bytes(b"stands for the real one")
    names = [f"train/happy/Training_{index}.jpg" for index in range(len(images))]
    faces = Dataset.of(images, np.arange(len(images)) % 7, np.zeros(len(images), np.int8), names=names)
    cache.remember(identity(source), faces, settings)
    times = []
    for _ in range(5):
        start = time.perf_counter()
        load_faces(str(source), settings)
        times.append(time.perf_counter() - start)
    assert min(times) < 0.1


def test_demo(settings: Settings):
    assert load_faces("demo", settings).source == "demo"


# fer2013 is what FER_TUNE_DATA names, else what is in storage/data/


def test_fer2013_is_what_the_environment_names(train_csv: Path, settings: Settings):
    named = Settings(settings.root, settings.url, str(train_csv))
    settings.data.mkdir(parents=True)
    (settings.data / "other.csv").write_text("nonsense")
    assert (load_faces("fer2013", named).labels == LABELS).all()


@pytest.mark.parametrize("name", ["train.csv", "archive.zip", "tree"])
def test_fer2013_is_whatever_lies_in_the_data_folder(settings: Settings, name: str):
    settings.data.mkdir(parents=True)
    if name == "train.csv":
        (settings.data / name).write_bytes(CSV)
    elif name == "archive.zip":
        write_zip(settings.data / name, tree(IMAGES, LABELS, "train/"))
    else:
        write_tree(settings.data, tree(IMAGES, LABELS, "train/"))
    assert len(load_faces("fer2013", settings)) == len(LABELS)


@pytest.mark.parametrize("make", [lambda data: None, lambda data: data.mkdir(parents=True)])
def test_no_fer2013_says_where_to_get_it_and_what_works_without(settings: Settings, make):
    make(settings.data)
    with pytest.raises(DataError, match="FER2013 was not found") as caught:
        load_faces("fer2013", settings)
    for word in ("kaggle.com", str(settings.data), "--data demo"):
        assert word in caught.value.hint


def test_what_a_killed_process_left_is_removed_and_what_another_one_writes_is_not(train_csv: Path, settings: Settings):
    faces = settings.cache / "faces"
    faces.mkdir(parents=True)
    (faces / ".old.abcd1234.draft").mkdir()
    with draft_folder(faces / "new") as written:
        load_faces(str(train_csv), settings)
        assert [path for path in faces.iterdir() if path.name.startswith(".")] == [written]


def test_what_the_environment_names_must_exist(settings: Settings, tmp_path: Path):
    with pytest.raises(DataError, match=r"FER_TUNE_DATA names .*gone"):
        load_faces("fer2013", Settings(settings.root, settings.url, str(tmp_path / "gone")))
