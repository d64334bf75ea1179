"""The families by name: those of this package, torchvision's networks, and those of plug-ins."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path

from fer_tune.errors import TrainingError
from fer_tune.models import family_files, start_weights, torchvision_network
from fer_tune.models.family import Family
from fer_tune.settings import Settings

GROUP = "fer_tune.families"
"""The group of entry points in which a package names its families. Each is a `Family`."""


class UnknownFamilyError(TrainingError, KeyError):
    """There is no family of this name."""

    __str__ = TrainingError.__str__


class Families(Mapping[str, Family]):
    """Families by name.

    It iterates over the families of this package and of plug-ins. It also has an item for each
    network of torchvision, whose names begin with `torchvision/`.
    """

    def __init__(self, own: Iterable[Family]) -> None:
        self._own = {family.name: family for family in own}

    def __getitem__(self, name: str) -> Family:
        if name in self._own:
            return self._own[name]
        if torchvision_network.is_one(name):
            return torchvision_network.family(name)
        if name in _plugins():
            return _load(_plugins()[name])
        if family_files.NAMED.fullmatch(name):
            return family_files.family(name)
        raise UnknownFamilyError(
            f"{name[:64]!r} is not a family.", f"Families: {', '.join(self)}, or torchvision/NAME."
        )

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and (
            name in self._own or name in _plugins() or torchvision_network.is_one(name) or family_files.is_known(name)
        )

    def __iter__(self) -> Iterator[str]:
        yield from self._own
        yield from (name for name in _plugins() if name not in self._own)

    def __len__(self) -> int:
        return len(list(iter(self)))

    def alternatives(self, name: object) -> list[str]:
        """Returns the names that a user may have meant by one that is not valid."""
        if isinstance(name, str) and name.startswith(start_weights.PREFIX):
            return torchvision_network.names()
        return [*self, f"{start_weights.PREFIX}NAME"]


def keep(name: str, settings: Settings) -> None:
    """Copies what a family needs into the storage folder: its file, or the weights it starts from.

    Raises:
        StorageError: the folder cannot be written.
    """
    family_files.keep(name, settings)
    start_weights.keep(name, settings)


def kept_files(name: str, settings: Settings) -> list[Path]:
    """Returns the files in the storage folder that `keep` made for a family."""
    found = []
    if named := family_files.NAMED.fullmatch(name):
        found.append(settings.families / f"{named['digest']}.py")
    if start_weights.NAMED.fullmatch(name):
        found.append(start_weights.copy_of(name, settings))
    return [path for path in found if path.is_file()]


@cache
def _plugins() -> dict[str, EntryPoint]:
    return {point.name: point for point in entry_points(group=GROUP)}


@cache
def _load(point: EntryPoint) -> Family:
    """Returns a plug-in's family.

    Raises:
        TrainingError: the plug-in cannot be imported, or offers something else.
    """
    where = f"The family {point.name} of the plug-in {point.value}"
    try:
        family = point.load()
    except Exception as error:  # a plug-in may raise anything
        raise TrainingError(f"{where} cannot be imported: {error}.", "Repair or remove its package.") from error
    if not isinstance(family, Family) or family.name != point.name:
        raise TrainingError(
            f"{where} must be a fer_tune.models.Family with the name {point.name}.",
            "docs/add-a-family.md shows one.",
        )
    return family
