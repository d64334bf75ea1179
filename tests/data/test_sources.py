"""Every shape of source gives the same faces; every defect gives an error that says where it is."""

import io
import os
import stat
import struct
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fer_tune.data import containers, sources
from fer_tune.data import images as image_files
from fer_tune.data.dataset import Dataset
from fer_tune.data.fer2013 import EMOTIONS, SIDE
from fer_tune.data.load import load_faces
from fer_tune.data.sources import Reading, identity, read_source
from fer_tune.data.spec import DataSpec
from fer_tune.errors import DataError
from fer_tune.settings import Settings
from tests.data.making import arrays, csv_text, encoded, write_tree, write_zip
from tests.data.making import tree as tree_files

IMAGES, LABELS = arrays()
CSV = csv_text(IMAGES, LABELS).encode()


def in_order_of_paths() -> tuple[list[int], np.ndarray]:
    order = sorted(range(len(LABELS)), key=lambda index: EMOTIONS[LABELS[index]])
    return LABELS[order].tolist(), IMAGES[order]


@pytest.mark.parametrize("prefix", ["train/", "", "fer2013/train/", "download/"])
@pytest.mark.parametrize("packed", [False, True])
def test_a_tree_and_a_zip_of_it_are_labelled_by_name(tmp_path: Path, prefix: str, packed: bool):
    files = tree_files(IMAGES, LABELS, prefix)
    source = write_zip(tmp_path / "faces.zip", files) if packed else write_tree(tmp_path / "faces", files)
    faces = read_source(source)
    labels, images = in_order_of_paths()
    assert faces.labels.tolist() == labels
    assert (faces.images == images).all()
    assert faces.usage is not None
    assert set(faces.usage.tolist()) == {0}
    assert faces.notes == ()
    assert faces.names[0] == f"{prefix}angry/Training_0000.png"


def test_a_zip_and_the_folder_it_came_from_have_one_signature(tmp_path: Path):
    files = tree_files(IMAGES, LABELS, "train/")
    folder = read_source(write_tree(tmp_path / "faces", files))
    assert read_source(write_zip(tmp_path / "faces.zip", files)).signature == folder.signature


@pytest.mark.parametrize("name", ["train.csv", "deep/er/train.csv"])
def test_a_csv_alone_in_a_folder_and_in_a_zip(tmp_path: Path, name: str):
    write_tree(tmp_path / "folder", {name: CSV})
    zipped = write_zip(tmp_path / "kaggle.zip", {name: CSV})
    signatures = {read_source(path).signature for path in (tmp_path / "folder" / name, tmp_path / "folder", zipped)}
    assert len(signatures) == 1
    faces = read_source(zipped)
    assert (faces.images == IMAGES).all()
    assert faces.names[:2] == ["row 1", "row 2"]


def test_a_zip_in_a_folder(tmp_path: Path):
    (tmp_path / "data").mkdir()
    write_zip(tmp_path / "data" / "archive.zip", {"train.csv": CSV})
    assert (read_source(tmp_path / "data").labels == LABELS).all()


def test_a_file_is_what_its_content_says(tmp_path: Path):
    write_zip(tmp_path / "misnamed.csv", {"train.csv": CSV})
    (tmp_path / "misnamed.zip").write_bytes(CSV)
    assert read_source(tmp_path / "misnamed.csv").signature == read_source(tmp_path / "misnamed.zip").signature


def test_the_competitions_download_prefers_the_file_with_usage_and_says_so(tmp_path: Path):
    usage = csv_text(IMAGES, LABELS, [0, 1, 2] * 7).encode()
    others = {"train.csv": CSV, "test.csv": b"pixels\n1 2 3\n", "example_submission.csv": b"id,emotion\n"}
    faces = read_source(write_zip(tmp_path / "all.zip", {**others, "icml_face_data.csv": usage}))
    assert faces.usage is not None
    assert faces.notes == (
        "read icml_face_data.csv; also there and not read: train.csv (give its path to read another)",
    )


def test_usage_from_the_names_of_files(tmp_path: Path):
    files = tree_files(IMAGES, LABELS, "train/")
    files |= tree_files(IMAGES, LABELS, "test/", "PublicTest_") | tree_files(IMAGES, LABELS, "test/", "PrivateTest_")
    usage = read_source(write_tree(tmp_path, files)).usage
    assert usage is not None
    assert np.bincount(usage).tolist() == [21, 21, 21]


def test_usage_in_some_names_only_is_not_used_and_said(tmp_path: Path):
    files = tree_files(IMAGES, LABELS) | tree_files(IMAGES, LABELS, stem="other")
    faces = read_source(write_tree(tmp_path, files))
    assert faces.usage is None
    assert faces.notes == ("Usage is in the names of 21 of 42 files only, and therefore not used",)


def test_synonyms_and_capitals(tmp_path: Path):
    words = ["Anger", "disgusted", "FEARFUL", "happiness", "Sadness", "surprised", "Calm"]
    files = {f"{word}/x.png": encoded(IMAGES[index]) for index, word in enumerate(words)}
    faces = read_source(write_tree(tmp_path, files))
    assert {name.split("/")[0]: label for name, label in zip(faces.names, faces.labels.tolist(), strict=True)} == {
        word: label for label, word in enumerate(words)
    }


def test_colours_and_sizes_are_converted_and_said(tmp_path: Path):
    files = tree_files(IMAGES, LABELS)
    colour = np.zeros((96, 128, 3), np.uint8)
    colour[:, 16:112] = (255, 0, 0)  # the middle square is red: 76 of 255 in grey
    files |= {"happy/Training_a.png": encoded(colour), "happy/Training_b.bmp": encoded(colour, "BMP")}
    deep = io.BytesIO()
    Image.fromarray(np.full((48, 48), 32768, np.uint16)).save(deep, "PNG")
    files["sad/Training_c.png"] = deep.getvalue()
    files["readme.txt"] = b"hello"
    faces = read_source(write_tree(tmp_path, files))
    by_name = dict(zip(faces.names, faces.images, strict=True))
    assert (by_name["happy/Training_a.png"][:, 3:-3] == 76).all()
    assert abs(int(by_name["sad/Training_c.png"].mean()) - 127) <= 1
    assert faces.notes == (
        "2 images of another size (most often 128×96) cut to a square and resized to 48×48",
        "3 images converted to grey (from I;16, RGB)",
        "1 file was passed over: not an image (such as readme.txt)",
    )


def test_a_picture_is_turned_upright(tmp_path: Path):
    half = np.zeros((48, 48, 3), np.uint8)
    half[:24] = 255
    exif = Image.Exif()
    exif[0x0112] = 3  # upside down
    stream = io.BytesIO()
    Image.fromarray(half).save(stream, "PNG", exif=exif)
    faces = read_source(write_tree(tmp_path, tree_files(IMAGES, LABELS) | {"sad/zz.png": stream.getvalue()}))
    upright = faces.images[faces.names.index("sad/zz.png")]
    assert upright[:24].max() == 0
    assert upright[24:].min() == 255


def test_hidden_files_and_what_macos_adds_are_nothing(tmp_path: Path):
    files = tree_files(IMAGES, LABELS, "train/")
    rubbish = {"__MACOSX/train/angry/._x.png": b"?", "train/.DS_Store": b"?", "train/angry/._y.png": b"?"}
    assert len(read_source(write_zip(tmp_path / "mac.zip", files | rubbish))) == len(LABELS)
    assert len(read_source(write_tree(tmp_path / "mac", files | rubbish))) == len(LABELS)


def test_a_loop_of_links_ends(tmp_path: Path):
    write_tree(tmp_path / "faces", tree_files(IMAGES, LABELS, "train/"))
    (tmp_path / "faces" / "train" / "angry" / "nowhere").symlink_to(tmp_path / "gone")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "faces").symlink_to(tmp_path / "faces")
    assert len(read_source(tmp_path / "other")) == len(LABELS)
    identity(tmp_path / "other")


# What is wrong is said with file and row or entry, and leaves nothing behind.


def refuse(path: Path, message: str, settings: Settings) -> None:
    with pytest.raises(DataError, match=message) as caught:
        load_faces(str(path), settings)
    assert path.name in caught.value.message
    assert not list(settings.cache.rglob("*")) if settings.cache.exists() else True


def test_nothing_there(tmp_path: Path, settings: Settings):
    refuse(tmp_path / "gone.csv", "gone.csv: .*No such file", settings)
    with pytest.raises(DataError, match="null"):
        load_faces("a\0b", settings)
    with pytest.raises(DataError) as caught:
        load_faces("fer2014", settings)
    assert "fer2013" in caught.value.hint


def test_an_empty_file_a_text_and_a_packed_one(tmp_path: Path, settings: Settings):
    for name, data, message in [
        ("empty.csv", b"", "no column 'emotion'"),
        ("note.txt", b"hello\n", "no column 'emotion'"),
        ("fer2013.tar.gz", b"\x1f\x8b\x08\x00rest", "a gzip file"),
        ("headonly.csv", b"emotion,pixels\n", "no images in it"),
    ]:
        (tmp_path / name).write_bytes(data)
        refuse(tmp_path / name, message, settings)


def test_a_folder_without_images(tmp_path: Path, settings: Settings):
    (tmp_path / "empty").mkdir()
    refuse(tmp_path / "empty", "no images and no CSV", settings)
    (tmp_path / "hollow" / "train" / "angry").mkdir(parents=True)
    refuse(tmp_path / "hollow", "has folders but no images", settings)
    write_zip(tmp_path / "void.zip", {})
    refuse(tmp_path / "void.zip", "no images and no CSV", settings)


def test_a_csv_without_the_columns_in_a_zip_is_named(tmp_path: Path, settings: Settings):
    refuse(write_zip(tmp_path / "a.zip", {"test.csv": b"pixels\n1"}), "entry test.csv: no column 'emotion'", settings)


def test_a_bad_row_in_a_zip_is_named(tmp_path: Path, settings: Settings):
    bad = CSV.replace(b"\n6,", b"\n8,", 1)
    refuse(write_zip(tmp_path / "a.zip", {"train.csv": bad}), "entry train.csv, row 19: emotion '8'", settings)


def test_a_kind_of_data_set_is_added_by_its_finder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """The images that it reads may be of any size, and an earlier finder goes first."""
    images, labels = arrays(classes=3, side=32)

    def find(container: containers.Container, reading: Reading) -> list[sources.Candidate]:
        def read() -> Dataset:
            return Dataset.of(images, labels, classes=("a", "b", "c"))

        return [sources.Candidate(name, read) for name in container.files if name.endswith(".raw")]

    monkeypatch.setattr(sources, "FINDERS", (find, *sources.FINDERS))
    faces = read_source(write_tree(tmp_path / "faces", {"all.raw": b"", "train.csv": CSV}))
    assert faces.spec == DataSpec(("a", "b", "c"), 48, 1)
    assert "also there and not read: train.csv" in faces.notes[0]


def test_an_empty_class(tmp_path: Path, settings: Settings):
    (tmp_path / "a.csv").write_text(csv_text(IMAGES[LABELS != 1], LABELS[LABELS != 1]))
    refuse(tmp_path / "a.csv", "no image of disgust", settings)
    with pytest.raises(DataError) as caught:
        read_source(tmp_path / "a.csv")
    assert caught.value.hint == "Every class needs images: angry, disgust, fear, happy, sad, surprise, neutral."
    files = {name: data for name, data in tree_files(IMAGES, LABELS, "train/").items() if "fear" not in name}
    write_tree(tmp_path / "t", files)
    (tmp_path / "t" / "train" / "fear").mkdir()
    refuse(tmp_path / "t", r"train/fear: the folder has no images", settings)
    refuse(
        write_zip(tmp_path / "b.zip", {**files, "train/fear/": b""}), "train/fear: the folder has no images", settings
    )


def test_an_image_in_no_class(tmp_path: Path, settings: Settings):
    files = tree_files(IMAGES, LABELS, "train/")
    for index, name in enumerate(["x.png", "train/x.png", "TEST/x.png"]):
        root = write_tree(tmp_path / str(index), {**files, name: encoded(IMAGES[0])})
        refuse(root, "not in a class's folder|names a part of a data set", settings)


def test_a_single_class(tmp_path: Path, settings: Settings):
    root = write_tree(tmp_path / "one", {f"train/cat/{index}.png": encoded(IMAGES[index]) for index in range(3)})
    refuse(root, r"has only one class \(cat\)", settings)
    for _ in range(2):  # read, then from the cache
        dataset = load_faces(str(root), settings, complete=False)
        assert (dataset.spec.classes, len(dataset)) == (("cat",), 3)
    with pytest.raises(DataError, match=r"has only one class \(cat\)") as caught:
        load_faces(str(root), settings)
    assert "2 to 256 are possible" in caught.value.message


def test_an_unreadable_image_of_a_single_class_is_named(tmp_path: Path, settings: Settings):
    refuse(write_tree(tmp_path, {"cat/1.png": encoded(IMAGES[0]), "cat/2.png": b"no image"}), "2.png", settings)


def test_a_table_to_be_judged_may_lack_classes(tmp_path: Path, settings: Settings):
    (tmp_path / "a.csv").write_text(csv_text(IMAGES[LABELS == 3], LABELS[LABELS == 3]))
    refuse(tmp_path / "a.csv", "no image of angry", settings)
    assert load_faces(str(tmp_path / "a.csv"), settings, complete=False).counts["happy"] == (LABELS == 3).sum()


def test_a_class_that_is_empty_in_one_part(tmp_path: Path, settings: Settings):
    root = write_tree(tmp_path / "pets", tree_files(*arrays(classes=3), "train/", classes=PETS))
    (root / "test" / "cat").mkdir(parents=True)
    refuse(root, "test/cat: the folder has no images", settings)


PETS = ("cat", "dog", "Parrot")
FER_PLUS = ("neutral", "happiness", "surprise", "sadness", "anger", "disgust", "fear", "contempt")


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("classes", [PETS, FER_PLUS], ids=["three", "eight"])
def test_other_classes_are_named_by_their_folders_in_alphabetical_order(tmp_path: Path, classes, packed: bool):
    images, labels = arrays(classes=len(classes))
    files = tree_files(images, labels, "train/", classes=classes)
    source = write_zip(tmp_path / "faces.zip", files) if packed else write_tree(tmp_path / "faces", files)
    dataset = read_source(source)
    assert dataset.spec == DataSpec(tuple(sorted(classes, key=str.lower)), 48, 1)
    named = [dataset.spec.classes[label] for label in dataset.labels]
    assert named == [name.split("/")[1] for name in dataset.names]
    assert set(dataset.counts.values()) == {3}


def test_class_names_decide_the_signature(tmp_path: Path):
    images, labels = arrays(classes=3)
    others = [tree_files(images, labels, classes=classes) for classes in (("a", "b", "c"), ("a", "b", "d"))]
    first, second = (read_source(write_tree(tmp_path / str(i), files)) for i, files in enumerate(others))
    assert (first.images == second.images).all()
    assert first.signature != second.signature


def test_the_case_of_a_folder_makes_no_other_class(tmp_path: Path):
    images, labels = arrays(classes=3)
    files = tree_files(images, labels, "train/", classes=PETS)
    files |= tree_files(images, labels, "test/", classes=("Cat", "DOG", "parrot"))
    assert read_source(write_tree(tmp_path, files)).counts == {"Cat": 6, "DOG": 6, "parrot": 6}


def test_some_of_the_seven_emotions_are_a_data_set_of_their_own_and_said(tmp_path: Path):
    files = {name: data for name, data in tree_files(IMAGES, LABELS, "train/").items() if "fear" not in name}
    dataset = read_source(write_tree(tmp_path, files))
    assert dataset.spec.classes == ("angry", "disgust", "happy", "neutral", "sad", "surprise")
    assert dataset.notes == ("6 of FER2013's 7 classes: no images of fear",)


@pytest.mark.parametrize(("side", "channels"), [(32, 1), (64, 3)])
def test_files_are_read_with_the_side_and_channels_that_are_asked_for(tmp_path: Path, side: int, channels: int):
    images, labels = arrays(classes=3, side=40, channels=3)
    root = write_tree(tmp_path / "letters", tree_files(images, labels, classes=("a", "b", "c")))
    dataset = read_source(root, Reading(side, channels))
    assert dataset.spec == DataSpec(("a", "b", "c"), side, channels)
    assert dataset.images.shape == (9, *dataset.spec.shape)
    expected = Image.fromarray(images[0]).convert("RGB" if channels == 3 else "L").resize((side, side), 1)
    assert (dataset.images[0] == np.asarray(expected)).all()
    assert dataset.notes[0].startswith("9 images of another size (most often 40×40)")


def test_colour_images_keep_their_colours(tmp_path: Path):
    images, labels = arrays(classes=3, channels=3)
    dataset = read_source(write_tree(tmp_path, tree_files(images, labels, classes=("a", "b", "c"))), Reading(48, 3))
    assert (dataset.images == images).all()
    assert dataset.notes == ()


@pytest.mark.parametrize("data", [b"", b"not an image", encoded(IMAGES[0])[:700], encoded(IMAGES[0], "JPEG")[:300]])
def test_an_unreadable_image(tmp_path: Path, settings: Settings, data: bytes):
    files = tree_files(IMAGES, LABELS, "train/") | {"train/sad/broken.png": data}
    refuse(write_tree(tmp_path / "tree", files), "train/sad/broken.png: not a readable image", settings)
    refuse(write_zip(tmp_path / "a.zip", files), "entry train/sad/broken.png: not a readable image", settings)


def test_all_unreadable_images_are_named_at_once(tmp_path: Path, settings: Settings):
    files = tree_files(IMAGES, LABELS) | {f"sad/broken{number:02}.png": b"" for number in range(22)}
    root = write_tree(tmp_path / "tree", files)
    with pytest.raises(DataError) as caught:
        load_faces(str(root), settings)
    first, *lines = caught.value.message.splitlines()
    assert first.endswith("tree: 22 images cannot be read:")
    assert lines[0].endswith("sad/broken00.png: not a readable image of JPEG, PNG, BMP or WEBP")
    assert lines[-1] == "  and 2 more"


def test_an_image_too_large(tmp_path: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(image_files, "LARGEST_SIDE", 60)
    files = tree_files(IMAGES, LABELS) | {"sad/wide.png": encoded(np.zeros((4, 61), np.uint8))}
    refuse(write_tree(tmp_path / "a", files), "sad/wide.png: 61×4 pixels", settings)
    monkeypatch.setattr(image_files, "LARGEST_FILE", 50)
    refuse(write_tree(tmp_path / "b", files), "too large for an image", settings)


@pytest.mark.parametrize("keep", [0.1, 0.5, 0.9, 0.999])
def test_a_truncated_zip(tmp_path: Path, settings: Settings, keep: float):
    whole = write_zip(tmp_path / "whole.zip", tree_files(IMAGES, LABELS, "train/")).read_bytes()
    (tmp_path / "cut.zip").write_bytes(whole[: int(len(whole) * keep)])
    refuse(tmp_path / "cut.zip", "truncated or damaged", settings)


def test_a_zip_with_a_damaged_entry(tmp_path: Path, settings: Settings):
    for name, files in [("tree.zip", tree_files(IMAGES, LABELS)), ("csv.zip", {"train.csv": CSV})]:
        data = bytearray(write_zip(tmp_path / name, files).read_bytes())
        for place in range(300, 700):
            data[place] ^= 0xFF
        (tmp_path / name).write_bytes(bytes(data))
        refuse(tmp_path / name, "truncated or damaged|not a readable image", settings)


@pytest.mark.parametrize("name", ["good.png", "../evil.png"])
def test_a_zip_is_closed_also_if_it_is_refused(tmp_path: Path, settings: Settings, name: str):
    archive = write_zip(tmp_path / "a.zip", tree_files(IMAGES, LABELS, "train/") | {name: b"no image"})
    with pytest.raises(DataError) as caught:
        load_faces(str(archive), settings)
    opened = [os.path.realpath(f"/proc/self/fd/{number}") for number in os.listdir("/proc/self/fd")]
    assert str(archive.resolve()) not in opened, caught.value  # which still holds the frames that had it open


@pytest.mark.parametrize(
    "name", ["../evil.png", "/etc/evil.png", "train/../../evil.png", "C:/evil.png", "a\\..\\b.png"]
)
def test_an_entry_that_leaves_its_folder(tmp_path: Path, settings: Settings, name: str):
    archive = write_zip(tmp_path / "a.zip", tree_files(IMAGES, LABELS, "train/") | {name: encoded(IMAGES[0])})
    refuse(archive, "evil.png' leaves its folder|b.png' leaves its folder", settings)
    assert not list(tmp_path.rglob("evil.png"))


def test_a_link_and_a_password_in_a_zip(tmp_path: Path, settings: Settings):
    link = zipfile.ZipInfo("train/sad/link.png")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(write_zip(tmp_path / "a.zip", tree_files(IMAGES, LABELS, "train/")), "a") as archive:
        archive.writestr(link, "/etc/passwd")
    refuse(tmp_path / "a.zip", "train/sad/link.png' is a link", settings)
    data = bytearray(write_zip(tmp_path / "b.zip", {"train.csv": CSV}).read_bytes())
    directory = data.index(b"PK\x01\x02")
    data[directory + 8] |= 1
    (tmp_path / "b.zip").write_bytes(bytes(data))
    refuse(tmp_path / "b.zip", "needs a password", settings)


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_compression_whose_size_nothing_bounds(tmp_path: Path, settings: Settings, method: int):
    """466 bytes of bzip2 can inflate to gigabytes, whatever size the directory declares."""
    refuse(
        write_zip(tmp_path / "a.zip", {"train.csv": CSV}, method), "train.csv' is compressed by (bzip2|lzma)", settings
    )


def test_a_name_of_too_many_folders(tmp_path: Path, settings: Settings):
    archive = write_zip(tmp_path / "a.zip", tree_files(IMAGES, LABELS) | {"a/" * 32_000 + "x.png": b""})
    refuse(archive, "more than 32 folders", settings)


def test_an_entry_whose_own_header_is_cut_off_or_misnamed(tmp_path: Path, settings: Settings):
    data = bytearray(write_zip(tmp_path / "a.zip", {"träin.csv": CSV}).read_bytes())
    data[30] = 0xFF  # the name's first byte: no UTF-8
    (tmp_path / "a.zip").write_bytes(bytes(data))
    refuse(tmp_path / "a.zip", "truncated or damaged", settings)
    whole = write_zip(tmp_path / "b.zip", {"train.csv": CSV}).read_bytes()
    directory = whole.index(b"PK\x01\x02")
    data = bytearray(whole)
    struct.pack_into("<I", data, directory + 42, len(whole) - 10)  # where its header lies
    (tmp_path / "b.zip").write_bytes(bytes(data))
    refuse(tmp_path / "b.zip", "truncated or damaged", settings)


def test_names_that_are_no_text_are_shown_all_the_same(tmp_path: Path, settings: Settings):
    """Neither an escape sequence nor an invalid byte reaches the terminal."""
    root = write_tree(tmp_path / "faces", tree_files(IMAGES, LABELS))
    (root / os.fsdecode(b"caf\xe9\x1b[2J.txt")).write_bytes(b"")
    faces = load_faces(str(root), settings)
    assert faces.notes == (r"1 file was passed over: not an image (such as caf\udce9\x1b[2J.txt)",)
    other = root.rename(tmp_path / os.fsdecode(b"\xe9"))
    assert load_faces(str(other), settings).source.encode().endswith(rb"\udce9")
    with pytest.raises(DataError) as caught:
        load_faces(str(other / "gone"), settings)
    assert str(caught.value).encode()


def test_two_entries_of_one_name(tmp_path: Path, settings: Settings):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("train.csv", CSV)
        with pytest.warns(UserWarning, match="Duplicate name"):
            archive.writestr("train.csv", CSV)
    refuse(tmp_path / "a.zip", "two entries have the same name", settings)


def test_a_zip_that_inflates_without_measure(tmp_path: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch):
    bomb = write_zip(tmp_path / "a.zip", {"train.csv": b"emotion,pixels\n" + b"0" * (80 << 20)})
    refuse(bomb, r"inflates [\d,]+ times", settings)
    monkeypatch.setattr(containers, "MAX_BYTES", 1 << 20)
    refuse(bomb, "inflates to 0.1 GiB", settings)
    monkeypatch.setattr(containers, "MAX_ENTRIES", 20)
    refuse(write_zip(tmp_path / "b.zip", tree_files(IMAGES, LABELS)), "21 entries, more than the limit of 20", settings)


def test_a_zip_that_understates_its_size(tmp_path: Path, settings: Settings):
    """The declared size is what is read: the rest never inflates, and the checksum fails."""
    data = bytearray(write_zip(tmp_path / "a.zip", {"train.csv": CSV}).read_bytes())
    directory = data.index(b"PK\x01\x02")
    struct.pack_into("<I", data, directory + 24, 1000)
    (tmp_path / "a.zip").write_bytes(bytes(data))
    refuse(tmp_path / "a.zip", "entry train.csv", settings)


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_no_flipped_byte_of_a_zip_is_a_traceback(tmp_path: Path):
    whole = write_zip(tmp_path / "a.zip", tree_files(IMAGES[::3], LABELS[::3])).read_bytes()
    random = np.random.RandomState(0)
    for place in [*random.randint(0, len(whole), 60), *range(len(whole) - 120, len(whole))]:
        data = bytearray(whole)
        data[place] ^= 1 << random.randint(8)
        (tmp_path / "b.zip").write_bytes(bytes(data))
        try:
            faces = read_source(tmp_path / "b.zip")
        except DataError:
            continue
        assert faces.images.shape == (len(faces), SIDE, SIDE)
        assert len(faces) == 7 or "no images of" in "".join(faces.notes)


def test_the_real_zip(real_data: str, settings: Settings):
    faces = load_faces(real_data, settings)
    assert len(faces) == 28_709
    assert list(faces.counts.values()) == [3995, 436, 4097, 7215, 4830, 3171, 4965]
    assert faces.notes == ()


def test_an_image_of_too_many_pixels_is_not_decoded(tmp_path: Path) -> None:
    """Only its header is read: the rest of the file is missing."""
    Image.new("L", (10, 10)).save(tmp_path / "small.png")
    content = bytearray((tmp_path / "small.png").read_bytes())
    content[16:24] = struct.pack(">II", 8000, 8000)
    content[29:33] = struct.pack(">I", zlib.crc32(content[12:29]))
    (tmp_path / "large.png").write_bytes(content)
    with pytest.raises(DataError, match=r"8000×8000 pixels, more than 16 million"):
        image_files.read_image(tmp_path / "large.png", 48, 1)


def test_a_large_photograph_is_decoded_at_a_fraction_of_its_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    half = np.zeros((900, 1200), np.uint8)
    half[:, 600:] = 200
    Image.fromarray(half).save(tmp_path / "photo.jpg")
    expected = image_files.read_image(tmp_path / "photo.jpg", 48, 1)
    monkeypatch.setattr(image_files, "LARGEST_AREA", 500_000)
    found = image_files.read_image(tmp_path / "photo.jpg", 48, 1)
    assert np.abs(found.astype(int) - expected).max() <= 8
    monkeypatch.setattr(image_files, "LARGEST_AREA", 10_000)
    with pytest.raises(DataError, match="1200×900"):
        image_files.read_image(tmp_path / "photo.jpg", 48, 1)
