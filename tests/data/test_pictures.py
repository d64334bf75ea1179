"""Images to predict: files, folders, patterns, CSV files, and photographs with a face in them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fer_tune.data import faces
from fer_tune.data.demo import demo_faces
from fer_tune.data.faces import Remark, read_face
from fer_tune.data.pictures import read_pictures
from fer_tune.errors import DataError, MissingExtraError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Returns a folder with two images, one of them in a folder of its own, and a text."""
    root = tmp_path / "faces"
    (root / "more").mkdir(parents=True)
    for place, path in enumerate((root / "a.png", root / "more" / "b.png")):
        Image.fromarray(np.full((48, 48), 40 * place, np.uint8)).save(path)
    (root / "notes.txt").write_text("no image")
    return root


def csv_file(path: Path, *rows: str, head: str = "pixels") -> Path:
    path.write_text("\n".join((head, *rows)) + "\n")
    return path


PIXELS = " ".join(["7"] * 2304)


def test_folders_and_patterns_are_expanded_each_file_once(folder: Path) -> None:
    found = read_pictures([folder, folder / "a.png", folder / "*.png"], 48, 1)
    assert [Path(name).name for name in found.names] == ["a.png", "b.png"]
    assert found.images.shape == (2, 48, 48)
    assert found.images[1, 0, 0] == 40
    assert read_pictures([folder / "**" / "*.png"], 32, 3).images.shape == (2, 32, 32, 3)


def test_the_competition_s_file_has_pixels_only(tmp_path: Path) -> None:
    found = read_pictures([csv_file(tmp_path / "test.csv", f'"{PIXELS}"', PIXELS)], 48, 1)
    assert found.names == ("0", "1")
    assert (found.images == 7).all()
    named = csv_file(tmp_path / "named.csv", f"x9,{PIXELS}", head="id, pixels")
    assert read_pictures([named], 48, 1).names == ("x9",)
    assert read_pictures([named], 64, 3).images.shape == (1, 64, 64, 3)


@pytest.mark.parametrize(
    ("rows", "head", "said"),
    [
        ([PIXELS[:-4]], "pixels", "row 1: not 2,304 pixel values"),
        ([PIXELS, PIXELS.replace("7", "256", 1)], "pixels", "row 2: a pixel value is above 255"),
        ([PIXELS.replace("7", "-1", 1)], "pixels", "row 1: not 2,304 pixel values"),
        ([PIXELS], "emotion", "no column 'pixels'"),
        ([f"1,2,{PIXELS}"], "id,pixels", "row 1: 3 fields instead of 2"),
        ([], "pixels", "it has no row"),
        ([PIXELS, f'"{PIXELS}'], "pixels", "row 2: unexpected end of data"),
        ([f'"{PIXELS}"7'], "pixels", "row 1: .* expected after"),
        ([PIXELS, '"' + "7 " * 70_000], "pixels", "row 2: field larger than field limit"),
    ],
)
def test_a_wrong_file_is_said_with_its_row(tmp_path: Path, rows: list[str], head: str, said: str) -> None:
    with pytest.raises(DataError, match=said):
        read_pictures([csv_file(tmp_path / "test.csv", *rows, head=head)], 48, 1)


def test_rows_of_several_files_without_an_id_are_numbered_through(tmp_path: Path) -> None:
    files = [csv_file(tmp_path / name, *[PIXELS] * 2) for name in ("b.csv", "A.CSV")]
    named = csv_file(tmp_path / "named.csv", f"x9,{PIXELS}", head="id,pixels")
    found = read_pictures([files[0], named, files[1]], 48, 1)
    assert found.names == ("0", "1", "x9", "2", "3")
    numbering = "rows without an id are numbered through these files, in this order"
    assert found.notes[0] == f"{numbering}: {files[0]}, {files[1]}"
    assert not [note for one in files for note in read_pictures([one, named], 48, 1).notes if numbering in note]


def test_a_pattern_finds_files_by_their_ending_in_any_case(tmp_path: Path) -> None:
    csv_file(tmp_path / "TEST.CSV", PIXELS)
    assert read_pictures([tmp_path / "TE*.CSV"], 48, 1).names == ("0",)
    with pytest.raises(DataError) as caught:
        read_pictures([tmp_path / "TE*.txt"], 48, 1)
    assert "jpg, png, bmp, webp and csv" in caught.value.hint


@pytest.mark.parametrize("ending", ["gif", "tiff"])
def test_an_image_of_another_format_says_which_are_read(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"face.{ending}"
    Image.new("L", (48, 48)).save(path)
    with pytest.raises(DataError, match="not a readable image of JPEG, PNG, BMP or WEBP"):
        read_pictures([path], 48, 1)


def test_what_is_missing_is_said(tmp_path: Path, folder: Path) -> None:
    (tmp_path / "empty").mkdir()
    for given, said in (
        (tmp_path / "nobody.png", "there is no such file"),
        (tmp_path / "nobody.csv", "there is no such file"),
        (tmp_path / "empty", "this folder has no image"),
        (tmp_path / "*.jpg", "no image matches this pattern"),
        (folder / "notes.txt", "not a readable image"),
    ):
        with pytest.raises(DataError, match=said):
            read_pictures([given], 48, 1)
    with pytest.raises(DataError, match="no image to predict"):
        read_pictures([], 48, 1)


@pytest.fixture
def photograph(tmp_path: Path) -> tuple[Path, np.ndarray]:
    """Returns a photograph with a drawn face at its lower right, and the face."""
    face = demo_faces(seed=1, scale=0.05).images[0]
    large = Image.fromarray(np.asarray(face)).resize((160, 160), Image.Resampling.BICUBIC)
    canvas = Image.new("L", (600, 400), 200)
    canvas.paste(large, (400, 200))
    path = tmp_path / "photograph.png"
    canvas.save(path)
    return path, np.asarray(face)


def test_a_photograph_is_cropped_to_its_face(photograph: tuple[Path, np.ndarray]) -> None:
    pytest.importorskip("cv2")
    path, face = photograph
    cropped, note = read_face(path, 48, 1)
    middle, _ = read_face(path, 48, 1, "off")
    assert note is None
    likeness = [np.corrcoef(image.ravel(), face.ravel())[0, 1] for image in (cropped, middle)]
    assert likeness[0] > likeness[1] + 0.2
    Image.new("L", (600, 400), 200).save(path)
    assert read_face(path, 48, 1)[1] is Remark.NO_FACE
    assert "does not look like a face: none was found" in read_pictures([path], 48, 1).notes[0]


def test_without_a_detector_a_photograph_is_cut_to_its_middle_with_a_note(
    photograph: tuple[Path, np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    path, _ = photograph
    monkeypatch.setattr(faces, "_detector", lambda: None)
    middle, note = read_face(path, 48, 1)
    assert note is Remark.NOT_SEARCHED
    assert (middle == read_face(path, 48, 1, "off")[0]).all()
    with pytest.raises(MissingExtraError, match="detection of faces"):
        read_face(path, 48, 1, "on")
    found = read_pictures([path], 48, 1)
    assert found.notes == (f"{path}: {Remark.NOT_SEARCHED.of(1)}",)
    assert "pip install 'fer-tune[faces]'" in found.notes[0]


def test_an_unreadable_file_is_named_and_skipped(folder: Path) -> None:
    (folder / "more" / "torn.png").write_bytes((folder / "a.png").read_bytes()[:40])
    (folder / "words.jpg").write_text("no image")
    found = read_pictures([folder], 48, 1)
    assert [Path(name).name for name in found.names] == ["a.png", "b.png"]
    skipped = [note for note in found.notes if note.startswith("skipped: ")]
    assert [("torn.png" in note, "words.jpg" in note) for note in skipped] == [(True, False), (False, True)]
    assert all("not a readable image" in note for note in skipped)
    with pytest.raises(DataError, match=r"words\.jpg: not a readable image"):
        read_pictures([folder / "words.jpg"], 48, 1)
    with pytest.raises(DataError, match="no such file"):
        read_pictures([folder, folder / "nobody.png"], 48, 1)


def test_what_does_not_look_like_a_cropped_face_is_said(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    for name, shape in (("strip", (20, 90)), ("face", (48, 48)), ("portrait", (64, 48))):
        Image.fromarray(random.integers(0, 255, shape, np.uint8)).save(tmp_path / f"{name}.png")
    for place in range(5):
        Image.fromarray(np.full((48, 48), 50 * place, np.uint8)).save(tmp_path / f"grey-{place}.png")
    notes = read_pictures([tmp_path], 48, 1).notes
    assert len(notes) == 2
    assert notes[0].startswith(f"{tmp_path / 'strip.png'}: does not look like a cropped face: it is far from square")
    assert "grey-2.png and 2 more: do not look like cropped faces: their pixels hardly differ" in notes[1]
    ids = read_pictures([csv_file(tmp_path / "test.csv", PIXELS)], 48, 1).notes
    assert ids == ("0: does not look like a cropped face: its pixels hardly differ",)


def test_an_image_of_a_face_is_left_as_it_is(folder: Path) -> None:
    assert read_face(folder / "a.png", 48, 1)[1] is None
