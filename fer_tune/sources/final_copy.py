"""The copy of a final fit in a folder that the user named.

The folder is checked before the training, so that no test image is opened for a fit that cannot be
copied.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Collection, Sequence
from pathlib import Path

from fer_tune.errors import SettingsError, StorageError
from fer_tune.files import DRAFT, draft_folder, remove_drafts, writing
from fer_tune.settings import Settings
from fer_tune.sources.final import FinalFits
from fer_tune.sources.final_result import FinalFit, nearest_to_median

STORAGE = "storage"
"""Folder beside the copy that records the fits, if the user's storage folder cannot be written."""

CONFIG = "config.json"
"""The file that names the job of a model. A folder without it is not a model."""


class NotCopiedError(StorageError):
    """The fits are trained and evaluated, but the model cannot be copied.

    Attributes:
        fits: their results, by seed.
    """

    def __init__(self, message: str, hint: str, fits: Sequence[FinalFit]) -> None:
        super().__init__(message, hint)
        self.fits = tuple(fits)


def check_place(out: Path) -> None:
    """Checks that a folder can be made, or can be written if it exists. Changes nothing.

    Raises:
        SettingsError: it is a file, or is below one.
        StorageError: it cannot be written.
    """
    place = out.absolute()
    with writing(out):  # a name may be too long
        while not _is_there(place):
            place = place.parent
    if not place.is_dir():
        raise SettingsError(f"The model cannot be copied to {out}: {place} is not a folder.", "Name a folder.")
    if not os.access(place, os.R_OK | os.W_OK | os.X_OK):  # its content is read too
        raise StorageError(
            f"The model cannot be copied to {out}: {place} cannot be written.", "Choose a folder that can be written."
        )


def refuse_others(out: Path, known: Collection[str] = ()) -> None:
    """Raises SettingsError if a folder has something else in it than these files and folders."""
    if others := sorted(_names(out) - set(known)):
        raise SettingsError(
            f"{out} is not empty (it has {others[0][:80]}), and the files of the model would be mixed with others.",
            "Name a new or an empty folder.",
        )


class Copy:
    """A folder that gets a copy of a final fit.

    A copy that an equal request left there is replaced as a whole.

    Args:
        out: the folder, which may not exist yet.
        fits: those of which one is copied.
        settings: the storage folder that records the fits.

    Raises:
        SettingsError: the folder has other files in it.
    """

    def __init__(self, out: Path, fits: FinalFits, settings: Settings) -> None:
        self._out = out
        self._stays = {STORAGE} if settings.root == out / STORAGE else set[str]()
        self._earlier = _earlier_copy(out, fits, settings)
        refuse_others(out, self._stays | self._earlier)

    def write(self, fits: Sequence[FinalFit]) -> None:
        """Copies the files of the fit to keep: the one that is nearest the median.

        Raises:
            NotCopiedError: a file cannot be written, or something else was put into the folder
                during the training.
        """
        kept = nearest_to_median(fits).folder
        try:
            self._out.mkdir(parents=True, exist_ok=True)
            refuse_others(self._out, self._stays | self._earlier)
            self._replace(kept)
        except (OSError, SettingsError) as error:
            reason = error.message if isinstance(error, SettingsError) else f"{error.strerror or error}."
            raise NotCopiedError(
                f"The model cannot be copied to {self._out}: {reason}",
                f"The fits are complete and recorded. Copy {kept} yourself.",
                fits,
            ) from error

    def _replace(self, source: Path) -> None:
        """Puts copies of files in place of those in the folder.

        They are copied under another name first and then renamed, `config.json` last. So a folder
        that has one is never half a model, or half of another one.
        """
        remove_drafts(self._out, below=False)
        with draft_folder(self._out / "model") as draft:
            new, former = draft / "new", draft / "former"
            shutil.copytree(source, new)
            former.mkdir()
            for name in sorted(_names(self._out) - self._stays, key=lambda name: name != CONFIG):
                (self._out / name).rename(former / name)
            for name in sorted(_names(new), key=lambda name: name == CONFIG):
                (new / name).rename(self._out / name)


def _earlier_copy(out: Path, fits: FinalFits, settings: Settings) -> set[str]:
    """Returns the files of the fit whose copy the folder has, if an equal request trained it."""
    try:
        uid = str(json.loads((out / CONFIG).read_bytes())["origin"]["job"])
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return set()
    if not fits.repeat(uid):
        return set()
    return _names(settings.job_folder(fits.record.name, fits.record.uid, uid))


def _is_there(path: Path) -> bool:
    """Returns whether a file, a folder or a link has this name.

    Raises:
        OSError: nothing can have it, or that cannot be known.
    """
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    return True


def _names(folder: Path) -> set[str]:
    """Returns what is in a folder, without drafts. One that does not exist is empty."""
    try:
        names = os.listdir(folder)
    except FileNotFoundError:
        return set()
    return {name for name in names if not (name.startswith(".") and name.endswith(DRAFT))}
