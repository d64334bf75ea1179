"""Weights that a network of torchvision starts from: `weights: FILE` of a sweep.

The family of such a sweep is called `torchvision/resnet18@` and the beginning of the SHA-256 of the
tensors in the file. A run copies them into `weights/` of the storage folder. Workers and later
commands read the copy. So a study keeps its weights when the file changes, and its name says which
ones they are. A trained model holds all its weights, and needs the copy no more.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from fer_tune.data.spec import DataSpec
from fer_tune.errors import StorageError, TrainingError
from fer_tune.files import replace_file
from fer_tune.models.family_files import without_digest
from fer_tune.settings import Settings

if TYPE_CHECKING:
    from torch import Tensor

PREFIX = "torchvision/"
"""How the names of torchvision's networks begin."""

NAMED = re.compile(r"(?P<network>torchvision/\w+)@(?P<digest>[0-9a-f]{16})")
"""How a family with weights is called in a study."""

MODEL = "model.safetensors"
"""The weights in a folder of a model that fer-tune trained."""

_given: dict[str, Mapping[str, Tensor]] = {}
"""What this process has read of the users' files, by digest, until a run keeps it."""


def register(family: str, written: str, folder: Path, spec: DataSpec) -> str:
    """Reads the weights that a sweep names, and returns the name of the family with them.

    Args:
        family: `torchvision/resnet18`.
        written: a file of torch.save or safetensors, or the folder of a trained model.
        folder: of the sweep. Else the path is relative to the working folder.
        spec: what the images are.

    Raises:
        TrainingError: the family takes no weights, or the file cannot be read or does not fit.
    """
    if NAMED.fullmatch(family):
        raise TrainingError(f"The family {family} has weights already.", "Leave out the part after @.")
    if not family.startswith(PREFIX):
        raise TrainingError(
            f"Only torchvision's networks start from weights, not {without_digest(family)}.", "Leave `weights` out."
        )
    from fer_tune.models.checkpoint_file import digest, read_tensors
    from fer_tune.models.torchvision_layers import refuse_other_weights

    path = next((one for one in (folder / written, Path(written)) if one.exists()), Path(written))
    tensors = read_tensors(path / MODEL if path.is_dir() else path)
    refuse_other_weights(family, spec, tensors, path)
    found = digest(tensors)
    _given[found] = tensors
    return f"{family}@{found}"


def stand_in(family: str) -> str:
    """Returns a name for a network of torchvision with weights that are not read. Other families
    keep theirs."""
    return f"{family}@{'0' * 16}" if re.fullmatch(rf"{PREFIX}\w+", family) else family


def keep(name: str, settings: Settings) -> None:
    """Copies the weights of a family into the storage folder, if it has some.

    Raises:
        StorageError: the folder cannot be written.
    """
    named = NAMED.fullmatch(name)
    if named is None or named["digest"] not in _given:
        return
    path = copy_of(name, settings)
    if not path.is_file():
        from safetensors.torch import save

        content = save({key: tensor.contiguous().clone() for key, tensor in _given[named["digest"]].items()})
        path.parent.mkdir(parents=True, exist_ok=True)
        replace_file(path, lambda stream: stream.write(content))


def is_here(name: str) -> bool:
    """Returns whether the weights of a family can be read. A family without weights needs none."""
    named = NAMED.fullmatch(name)
    return named is None or named["digest"] in _given or copy_of(name).is_file()


def copy_of(name: str, settings: Settings | None = None) -> Path:
    """Returns the place of the weights of a family in the storage folder."""
    return (settings or Settings.from_environment()).weights / f"{name.rpartition('@')[2]}.safetensors"


@lru_cache(maxsize=2)
def load(name: str) -> Mapping[str, Tensor]:
    """Returns the tensors of a family with weights, float32 on the CPU.

    Raises:
        TrainingError: they are not in this storage folder.
        StorageError: the copy in the storage folder was changed.
    """
    from fer_tune.models.checkpoint_file import digest, read_tensors

    wanted = name.rpartition("@")[2]
    if wanted in _given:
        return _given[wanted]
    path = copy_of(name)
    if not path.is_file():
        raise TrainingError(
            f"The weights of {name} are not in this storage folder: {path} is missing.",
            "Run the sweep with `weights: FILE` here once, or copy the file from the other storage folder.",
        )
    tensors = read_tensors(path)
    if digest(tensors) != wanted:
        raise StorageError(f"{path} was changed.", "Restore it, or remove it and run the sweep again.")
    return tensors
