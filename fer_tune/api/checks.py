"""Checks what a search needs, and trains nothing: sweeps, families, images, the installation."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from fer_tune.api.arguments import Paths, as_paths, as_words
from fer_tune.settings import Settings

if TYPE_CHECKING:
    from fer_tune.data.audit import Audit
    from fer_tune.doctor import Finding
    from fer_tune.sweep import Sweep
    from fer_tune.train.conformance import Checked


def check(sweeps: Paths, changes: str | Sequence[str] = ()) -> list[Sweep]:
    """Reads sweep files, and the sweep files in folders.

    A name such as `resnet` is the sweep of that name in `sweeps/`, or else the one that comes with
    fer-tune.

    Args:
        changes: `key=value`, as `--set` takes them.

    Raises:
        SweepError: a file is not a valid sweep. `problems` has all that is wrong.
    """
    from fer_tune.sweep import load_sweeps

    return load_sweeps(as_paths(sweeps), as_words(changes))


def check_family(family: str) -> list[Checked]:
    """Returns what the trainer expects of a family, and whether it is so. It takes some seconds.

    A family in a file is copied into the storage folder, where models that use it find it.

    Args:
        family: a name, or a file and a class such as `./mynet.py:MyNet`.

    Raises:
        TrainingError: there is no such family, or its file cannot be imported.
        StorageError: the storage folder cannot be written.
    """
    from fer_tune.models import FAMILIES, family_files
    from fer_tune.train.conformance import conformance

    if family_files.is_written(family):
        family = family_files.register(family, Path())
        family_files.keep(family, Settings.from_environment())
    return list(conformance(FAMILIES[family]))


def audit_data(
    source: str, *, side: int = 48, channels: int = 1, note: Callable[[str], None] = lambda text: None
) -> Audit:
    """Counts the classes, blank images and copies of a data set, and what a plain random split
    would leak.

    Args:
        source: `fer2013`, `demo`, or a path.
        side, channels: what the images are resized and converted to first.
        note: is called with a sentence now and then while files are read.
    """
    from fer_tune.data.audit import audit
    from fer_tune.data.load import load_faces

    settings = Settings.from_environment()
    return audit(load_faces(source, settings, note, side=side, channels=channels), settings)


def diagnose(*, storage: str | None = None) -> dict[str, list[Finding]]:
    """Examines the environment, the devices and the storage, and changes nothing.

    Takes some ten seconds.
    """
    from fer_tune.doctor import examine

    return examine(Settings.from_environment(storage))
