"""Small data sets in every shape that the package reads."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import numpy as np
from PIL import Image

from fer_tune.data.dataset import Images, Indices
from fer_tune.data.fer2013 import EMOTIONS, USAGES


def arrays(
    each: int = 3, seed: int = 0, *, classes: int = 7, side: int = 48, channels: int = 1
) -> tuple[Images, Indices]:
    """Returns random images, `each` of every class: uint8 [N, S, S(, 3)], and int64 [N]."""
    random = np.random.RandomState(seed)
    labels = np.repeat(np.arange(classes), each)
    shape = (len(labels), side, side) if channels == 1 else (len(labels), side, side, channels)
    return random.randint(0, 256, shape).astype(np.uint8), labels


def pixels(image: Images) -> str:
    return " ".join(map(str, image.ravel().tolist()))


def csv_text(images: Images, labels: Indices, usage: list[int] | None = None, header: str | None = None) -> str:
    """`emotion,pixels` or `emotion,pixels,Usage`."""
    if usage is None:
        rows = [f"{label},{pixels(image)}" for image, label in zip(images, labels, strict=True)]
        return "\n".join([header or "emotion,pixels", *rows, ""])
    rows = [f"{label},{pixels(image)},{USAGES[code]}" for image, label, code in zip(images, labels, usage, strict=True)]
    return "\n".join([header or "emotion,pixels,Usage", *rows, ""])


def encoded(image: Images, form: str = "PNG") -> bytes:
    stream = io.BytesIO()
    Image.fromarray(image).save(stream, form)
    return stream.getvalue()


def tree(
    images: Images,
    labels: Indices,
    prefix: str = "",
    stem: str = "Training_",
    classes: tuple[str, ...] = EMOTIONS,
) -> dict[str, bytes]:
    """Returns paths and contents of a folder tree with lossless images."""
    return {
        f"{prefix}{classes[label]}/{stem}{index:04}.png": encoded(image)
        for index, (image, label) in enumerate(zip(images, labels, strict=True))
    }


def write_tree(root: Path, files: dict[str, bytes]) -> Path:
    for name, data in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(data)
    return root


def write_zip(path: Path, files: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return path
