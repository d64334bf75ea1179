"""Crops a photograph to its largest face.

The detector is OpenCV's cascade of Haar features, whose file comes in OpenCV's wheel. It belongs to
the extra `faces`. Without it, a photograph is cut to its middle square.
"""

from __future__ import annotations

from enum import Enum
from functools import cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
from PIL import Image, ImageOps

from fer_tune.data.containers import printable
from fer_tune.data.dataset import Images
from fer_tune.data.images import LARGEST_SIDE, read_image
from fer_tune.errors import DataError, MissingExtraError

Faces = Literal["auto", "on", "off"]
"""Whether photographs are cropped to a face: where a detector is installed, always, or never."""

PHOTOGRAPH = 2.0
"""An image is a photograph if its shorter side has more than this many sides of the model's."""

FILLED = 0.6
"""A face that fills more of the shorter side than this needs no crop."""

MARGIN = 1.2
"""Side of the crop over side of the detected face: FER2013's faces have hair and chin."""

NARROW = 0.6
"""Shorter side over longer side of an image, below which it does not look like a cropped face."""

WORKING = 640
"""Longer side of the image in which faces are looked for. Larger ones are made smaller first."""

SMALLEST = 1 / 12
"""Smallest face that is looked for, as a share of the shorter side."""

_CASCADE = "haarcascade_frontalface_alt2.xml"


class Remark(Enum):
    """Why an image may be no cropped face: said of one image, and of several."""

    NOT_SQUARE = (
        "does not look like a cropped face: it is far from square, so it was cut to its middle square",
        "do not look like cropped faces: they are far from square, so they were cut to their middle squares",
    )
    NOT_SEARCHED = (
        "does not look like a cropped face, so it was cut to its middle square; "
        "pip install 'fer-tune[faces]' finds the face in a photograph",
        "do not look like cropped faces, so they were cut to their middle squares; "
        "pip install 'fer-tune[faces]' finds the faces in photographs",
    )
    NO_FACE = (
        "does not look like a face: none was found, so it was cut to its middle square",
        "do not look like faces: none were found, so they were cut to their middle squares",
    )
    FLAT = (
        "does not look like a cropped face: its pixels hardly differ",
        "do not look like cropped faces: their pixels hardly differ",
    )

    def of(self, images: int) -> str:
        """Returns what is said of so many images."""
        one, several = self.value
        return one if images == 1 else several


def read_face(path: Path, side: int, channels: int, faces: Faces = "auto") -> tuple[Images, Remark | None]:
    """Reads one file as an image of a data set, and says if it does not look like a cropped face.

    Args:
        side, channels: of the result: uint8 [S, S], or [S, S, 3] in colour.
        faces: `auto` looks for a face if a detector is installed. `on` needs one.

    Raises:
        DataError: the file does not exist, or is not a readable image.
        MissingExtraError: `faces` is `on`, and the detector is not installed.
    """
    whole = read_image(path, side, channels)  # refuses what is not an image
    size = _size(path)
    if faces == "off" or min(size) <= PHOTOGRAPH * side:
        return whole, Remark.NOT_SQUARE if min(size) < NARROW * max(size) else None
    detector = _detector()
    if detector is None:
        if faces == "on":
            raise MissingExtraError("The detection of faces", "faces")
        return whole, Remark.NOT_SEARCHED
    upright = _upright(path)
    box = largest_face(upright, detector)
    if box is None:
        return whole, Remark.NO_FACE
    if box[2] > FILLED * min(upright.size):
        return whole, None
    crop = upright.crop(_around(box, upright.size))
    mode = "L" if channels == 1 else "RGB"
    return np.asarray(ImageOps.fit(crop.convert(mode), (side, side), Image.Resampling.LANCZOS)), None


def largest_face(image: Image.Image, detector: Any) -> tuple[float, float, float] | None:
    """Returns left, top and side of the largest face in an image, in pixels, or None."""
    scale = min(1.0, WORKING / max(image.size))
    small = image.convert("L").resize([max(1, round(edge * scale)) for edge in image.size])
    least = max(20, int(SMALLEST * min(small.size)))
    found = detector.detectMultiScale(np.asarray(small), 1.1, 4, minSize=(least, least))
    if not len(found):
        return None
    left, top, wide, _ = max(np.asarray(found).tolist(), key=lambda box: box[2])
    return left / scale, top / scale, wide / scale


def _around(box: tuple[float, float, float], size: tuple[int, int]) -> tuple[int, int, int, int]:
    """Returns a square around a face, within the image: left, top, right, bottom."""
    left, top, wide = box
    edge = min(MARGIN * wide, *size)
    x = min(max(0.0, left + wide / 2 - edge / 2), size[0] - edge)
    y = min(max(0.0, top + wide / 2 - edge / 2), size[1] - edge)
    return round(x), round(y), round(x + edge), round(y + edge)


def _size(path: Path) -> tuple[int, int]:
    with Image.open(path) as image:
        return image.size


def _upright(path: Path) -> Image.Image:
    with Image.open(path) as image:
        if max(image.size) > LARGEST_SIDE:
            raise DataError(f"{printable(str(path))}: more than {LARGEST_SIDE} pixels along a side")
        return ImageOps.exif_transpose(image).convert("RGB")


@cache
def _detector() -> Any | None:
    """Returns OpenCV's detector, or None without OpenCV."""
    try:
        import cv2
    except ImportError:
        return None
    detector = cv2.CascadeClassifier(str(Path(cv2.data.haarcascades) / _CASCADE))
    return None if detector.empty() else detector
