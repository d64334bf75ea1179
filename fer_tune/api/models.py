"""Uses a model that a final fit or an ensemble left: predicts, evaluates, exports."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args

from fer_tune.api.arguments import Paths, as_path, as_paths, one_of
from fer_tune.settings import Settings

if TYPE_CHECKING:
    from fer_tune.job import Tta
    from fer_tune.sources.assess import Assessment
    from fer_tune.sources.predict import Prediction
    from fer_tune.sources.protocols import Protocols
    from fer_tune.train.ensemble import Ensemble
    from fer_tune.train.export import Predictor


def load_model(folder: str | os.PathLike[str], device: str = "cpu") -> Predictor | Ensemble:
    """Loads the model that `retrain` left in a folder, or the ensemble that `ensemble` left.

    Raises:
        DataError: the folder has no model, or one of a newer version.
        StorageError: the files of the model are damaged.
    """
    from fer_tune.train.ensemble import load_any

    return load_any(Path(folder), device)


def predict(
    folder: str | os.PathLike[str],
    images: Paths,
    *,
    tta: Tta = "none",
    faces: Literal["auto", "on", "off"] = "auto",
    submission: str | os.PathLike[str] | None = None,
    sheet: str | os.PathLike[str] | None = None,
    note: Callable[[str], object] = lambda text: None,
) -> list[Prediction]:
    """Returns what a model or an ensemble says of each image.

    An image file that is not readable is skipped with a note. Notes also name images that do not
    look like a cropped face.

    Args:
        folder: what `retrain` or `ensemble` left.
        images: files, folders, patterns such as `*.png`, or CSV files with a column `pixels`. Rows
            without an `id` are numbered from 0, through all CSV files.
        tta: `flip` averages over each image and its mirror image, `crops` over ten crops of it.
        faces: whether photographs are cropped to the face: `auto` if the extra `faces` is
            installed, `on`, or `off`.
        submission: a CSV file to write, with `id` and `emotion`, as the competition takes it.
        sheet: a PNG file to write, with all images and their classes. It has room for 800.
        note: is called with a sentence about images that were changed, skipped or look wrong.

    Raises:
        SettingsError: `tta` or `faces` is not valid, or a file to write is an image to predict or
            is in the model's folder.
        DataError: something does not exist, no image is readable, the ids of a submission are not
            distinct, or there are too many images for a sheet.
        StorageError: a file cannot be written. This is checked before the images are read.
        MissingExtraError: `faces` is `on`, and the extra `faces` is not installed.
    """
    from fer_tune.job import Tta
    from fer_tune.sources.predict import predict_images

    one_of(get_args(Tta), tta=tta)
    one_of(("auto", "on", "off"), faces=faces)
    files = {"submission": submission, "sheet": sheet}
    targets = {name: None if file is None else as_path(file, name) for name, file in files.items()}
    return predict_images(Path(folder), as_paths(images), tta=tta, faces=faces, note=note, **targets)


def evaluate(
    folder: str | os.PathLike[str],
    source: str,
    *,
    usage: str | None = None,
    device: str | None = None,
    out: str | os.PathLike[str] | None = None,
    note: Callable[[str], None] = lambda text: None,
) -> Assessment:
    """Evaluates a model or an ensemble on a labelled source, plain, with flips and with ten crops.

    If the source is the data set that the model was made from, only the test images of its split
    are used. Each evaluation is recorded in the ledger of the storage folder.

    Args:
        folder: what `retrain` or `ensemble` left.
        source: `fer2013`, `demo`, or a path.
        usage: a part of the competition, such as `PrivateTest`. None is the whole source.
        device: `cpu` or `cuda:N`. None is a GPU if there is one.
        out: a folder for the figures and the predictions. It must not be a model's own, nor have
            results of another model, source or part.
        note: is called with a sentence now and then while files are read.

    Returns:
        The figures. If they could not be written after all, `unsaved` says why.

    Raises:
        SettingsError: `out` is not a folder, or has a model or other results in it.
        DataError: the source cannot be read, has a class that the model does not know, or has no
            images of the part, or the model's split is not in this storage folder.
        StorageError: `out` cannot be written. No image was opened then.
    """
    from fer_tune.sources.assess import assess

    target = None if out is None else Path(out)
    return assess(Path(folder), source, Settings.from_environment(), usage=usage, device=device, out=target, note=note)


def protocols(
    folder: str | os.PathLike[str],
    source: str,
    *,
    device: str | None = None,
    note: Callable[[str], None] = lambda text: None,
) -> Protocols:
    """Evaluates a model or an ensemble under the protocols that people use on FER2013.

    These are the test images of its own split, PublicTest and PrivateTest, each with and without
    copies of training images. Protocols that need another training are named, and published figures
    are restated in the protocol that their code used. Each evaluation is recorded in the ledger.

    Args:
        folder, source, device, note: as in `evaluate`. PublicTest and PrivateTest need a file with
            a Usage column.

    Raises:
        DataError: the source cannot be read, or no protocol fits the model and the source.
    """
    from fer_tune.sources.protocols import under_protocols

    return under_protocols(Path(folder), source, Settings.from_environment(), device=device, note=note)


def export(folder: str | os.PathLike[str], onnx: str | os.PathLike[str]) -> float:
    """Writes a model or an ensemble as an ONNX file, and compares it with torch in ONNX Runtime.

    The input `images` is uint8 [N, channels, side, side], with any N; the normalisation is inside.
    The output `probabilities` is float32 [N, classes].

    Args:
        folder: what `retrain` or `ensemble` left.
        onnx: the file to write. In the model's folder its name must end in `.onnx`.

    Returns:
        The largest difference of a probability from torch's.

    Raises:
        SettingsError: `onnx` could be a file of the model.
        MissingExtraError: the packages of the extra `onnx` are not installed.
        StorageError: the file cannot be written, or ONNX Runtime computes something else from it.
    """
    from fer_tune.sources.results_folder import refuse_model_file
    from fer_tune.train.onnx import export_onnx

    target = as_path(onnx, "onnx")
    refuse_model_file(target, Path(folder), but=".onnx")
    return export_onnx(load_model(folder), target)
