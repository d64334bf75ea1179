"""The sweeps that come with fer-tune, by name: `fer-tune run resnet` needs no file."""

from __future__ import annotations

from pathlib import Path

from fer_tune.errors import SweepError
from fer_tune.files import replace_text, writing

FOLDER = Path(__file__).parent.parent / "shipped"
"""In a checkout, this is a link to `sweeps/`. In a wheel, it is a folder."""

LOCAL = Path("sweeps")
"""Where `fer-tune init --all` puts copies that can be changed."""


def names() -> list[str]:
    """Returns the names of the sweeps, in alphabetical order."""
    return sorted(path.stem for path in FOLDER.glob("*.yaml"))


def named(name: str) -> Path | None:
    """Returns the file of a sweep by its name, or None if there is no such sweep.

    A file in `sweeps/` in the working folder comes before one in the package.
    """
    if name in local_names():
        return LOCAL / f"{name}.yaml"
    return FOLDER / f"{name}.yaml" if name in names() else None


def local_names() -> list[str]:
    """Returns the names of the sweeps in `sweeps/` in the working folder, in alphabetical order."""
    return sorted(path.stem for path in LOCAL.glob("*.yaml") if path.is_file())


def copy_all(folder: Path = LOCAL) -> list[Path]:
    """Copies all sweeps to a folder, and returns the copies.

    Raises:
        SweepError: one of the files exists.
        StorageError: the folder cannot be written.
    """
    copies = {folder / f"{name}.yaml": (FOLDER / f"{name}.yaml").read_text(encoding="utf-8") for name in names()}
    there = [path for path in copies if path.exists()]
    if there:
        raise SweepError(
            f"{', '.join(map(str, there))}: cannot be overwritten.",
            "Move what is there away, or run this in another folder.",
        )
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    for path, text in copies.items():
        replace_text(path, text)
    return list(copies)
