"""Makes sweep files: from a family, from those that come with fer-tune, and from a W&B sweep."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fer_tune.sweep.load import Converted


def template(family: str, weights: str | None = None) -> str:
    """Returns the text of a commented sweep of a family, which can be run as it is.

    Args:
        family: a name, or a file and a class such as `./mynet.py:MyNet`.
        weights: a file that a network of torchvision starts from, or a model's folder.

    Raises:
        SweepError: there is no such family.
        TrainingError: a file cannot be read or imported, has no such family, or does not fit it.
    """
    from fer_tune.sweep.templates import template as write

    return write(family, weights)


def copy_sweeps() -> list[Path]:
    """Copies the sweeps that come with fer-tune into `sweeps/`, and returns the copies.

    Raises:
        SweepError: one of the files exists.
        StorageError: the folder cannot be written.
    """
    from fer_tune.sweep.shipped import copy_all

    return copy_all()


def convert_sweep(file: str | os.PathLike[str], family: str | None = None) -> Converted:
    """Returns a sweep that searches what a W&B sweep searches.

    Args:
        file: the W&B sweep, a YAML file.
        family: the network. None is what the file says, else resnet.

    Raises:
        SweepError: the file is not a W&B sweep, or there is no such family.
    """
    from fer_tune.sweep.load import convert_wandb

    return convert_wandb(Path(file), family)
