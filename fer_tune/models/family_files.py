"""Families in files of the user's own: `family: ./mynet.py:MyNet`.

The file is run when a sweep names it. A run copies it into `families/` of the storage folder. The
family is then called `mynet.py:MyNet@` and the beginning of the file's SHA-256. Workers and later
commands read the copy. So a study keeps its network when the file changes, and a name in a database
or in a model can only name a file that was run here before.
"""

from __future__ import annotations

import hashlib
import inspect
import re
import sys
from dataclasses import replace
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_origin, get_type_hints

from pydantic import Field, create_model

from fer_tune.errors import StorageError, TrainingError
from fer_tune.files import replace_text
from fer_tune.models.family import Family, FamilyConfig
from fer_tune.settings import Settings

if TYPE_CHECKING:
    from torch import nn

    from fer_tune.data.spec import DataSpec

WRITTEN = re.compile(r"(?P<file>.+\.py):(?P<what>[A-Za-z_]\w*)")
"""How a sweep names a family in a file."""

NAMED = re.compile(r"(?P<file>[\w.-]+\.py):(?P<what>[A-Za-z_]\w*)@(?P<digest>[0-9a-f]{16})")
"""How such a family is called in a study."""

LONGEST_NAME = 64
"""Letters of a family's name that the database keeps."""

HALVINGS = 3
"""How often a plain network is expected to halve its images, if it does not say `halvings`."""

_sources: dict[str, str] = {}
_families: dict[str, Family] = {}


def is_written(name: object) -> bool:
    """Returns whether a sweep names a family in a file so."""
    return isinstance(name, str) and WRITTEN.fullmatch(name) is not None


def is_known(name: str) -> bool:
    """Returns whether this is the name of a family in a file that was read here."""
    found = NAMED.fullmatch(name)
    return found is not None and (name in _sources or _copy(found["digest"]).is_file())


def register(written: str, folder: Path) -> str:
    """Reads the file that a sweep names, and returns the name of the family.

    Args:
        written: `./mynet.py:MyNet`.
        folder: of the sweep. Else the path is relative to the working folder.

    Raises:
        TrainingError: the file cannot be read or imported, or has no such family.
    """
    found = WRITTEN.fullmatch(written)
    assert found is not None
    path = folder / found["file"] if (folder / found["file"]).is_file() else Path(found["file"])
    try:
        source = path.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or error
        raise TrainingError(
            f"The family's file {path} cannot be read: {why}.",
            "Name it relative to the sweep or to the working folder.",
        ) from error
    name = f"{path.name}:{found['what']}@{_digest(source)}"
    if NAMED.fullmatch(name) is None or len(name) > LONGEST_NAME:
        raise TrainingError(
            f"{path.name}:{found['what']} is too long a name, or has unusual letters.",
            f"Use letters, digits, `_`, `-` and `.`, and at most {LONGEST_NAME - 17} of them.",
        )
    _sources[name] = source
    family(name)
    return name


def keep(name: str, settings: Settings) -> None:
    """Copies the file of a family into the storage folder, if the family is one of a file.

    Raises:
        StorageError: the folder cannot be written.
    """
    if name in _sources and (found := NAMED.fullmatch(name)) is not None:
        path = _copy(found["digest"], settings)
        if not path.is_file():
            path.parent.mkdir(parents=True, exist_ok=True)
            replace_text(path, _sources[name])


def family(name: str) -> Family:
    """Returns a family by its name in a study.

    Raises:
        TrainingError: its file is not in this storage folder, or has no such family.
        StorageError: the copy in the storage folder was changed.
    """
    if name not in _families:
        found = NAMED.fullmatch(name)
        assert found is not None
        source = _sources.get(name)
        if source is None:
            path = _copy(found["digest"])
            try:
                source = path.read_text(encoding="utf-8")
            except (OSError, ValueError) as error:
                raise TrainingError(
                    f"The family {name} is in a file that was never run here.",
                    f"`fer-tune check --family {found['file']}:{found['what']}` reads the file.",
                ) from error
            if _digest(source) != found["digest"]:
                raise StorageError(f"{path} was changed.", "Restore it, or remove it and run the sweep again.")
        _families[name] = _made(name, found["what"], source)
    return _families[name]


def _digest(source: str) -> str:
    return hashlib.sha256(source.encode()).hexdigest()[:16]


def _copy(digest: str, settings: Settings | None = None) -> Path:
    return (settings or Settings.from_environment()).families / f"{digest}.py"


def _made(name: str, what: str, source: str) -> Family:
    """Returns what a file offers, as a family.

    Raises:
        TrainingError: the file fails, or has nothing of this name that is a network.
    """
    offered = _offered(name, what, source)
    if isinstance(offered, Family):
        return replace(offered, name=name)
    if inspect.isclass(offered) and hasattr(offered, "forward"):
        return _of_network(name, offered)
    raise TrainingError(
        f"{what} in {name.partition(':')[0]} must be a fer_tune.models.Family or a subclass of torch.nn.Module.",
        "docs/add-a-family.md shows both.",
    )


def _offered(name: str, what: str, source: str) -> Any:
    module_name = f"fer_tune_family_{_digest(source)}"
    spec = spec_from_file_location(module_name, name.partition(":")[0])
    assert spec is not None
    module = module_from_spec(spec)
    sys.modules[module_name] = module  # classes look up their annotations there
    try:
        exec(compile(source, name.partition(":")[0], "exec"), module.__dict__)
    except Exception as error:  # the file may raise anything
        del sys.modules[module_name]
        why = f"{type(error).__name__}: {error}"
        raise TrainingError(
            f"The family {without_digest(name)} cannot be imported: {why}.", "Mend its file."
        ) from error
    if not hasattr(module, what):
        del sys.modules[module_name]
        there = [key for key, one in vars(module).items() if inspect.isclass(one) and one.__module__ == module_name]
        hint = f"It has: {', '.join(there)}." if there else "Define a subclass of torch.nn.Module there."
        raise TrainingError(f"{name.partition(':')[0]} has no {what}.", hint)
    return getattr(module, what)


def without_digest(name: str) -> str:
    """Returns a family's name as its user wrote it, without the digest of its file."""
    return name.partition("@")[0]


def _of_network(name: str, network: Any) -> Family:
    """Returns a plain torch network as a family.

    Its `__init__` takes a DataSpec, then hyperparameters with a type and a default.

    Raises:
        TrainingError: a hyperparameter has no type or no default, or another kind of type.
    """
    hints = get_type_hints(network.__init__)
    _, _, *params = inspect.signature(network.__init__).parameters.values()
    fields: dict[str, Any] = {one.name: (hints.get(one.name), _field(name, hints.get(one.name), one)) for one in params}
    about = network.__doc__ or name
    config = create_model("NetworkConfig", __base__=FamilyConfig, __doc__=about, **fields)

    def build(values: FamilyConfig, spec: DataSpec) -> nn.Module:
        """Returns the network: float [N, channels, side, side] to logits [N, classes]."""
        made: nn.Module = network(spec, **values.model_dump())
        return made

    return Family(name, config, build, getattr(network, "halvings", HALVINGS))


def _field(name: str, kind: Any, param: inspect.Parameter) -> Any:
    """Returns a hyperparameter's default with bounds that are wide enough to search."""
    default = param.default
    if default is inspect.Parameter.empty or not (kind in (int, float, bool) or get_origin(kind) is Literal):
        raise TrainingError(
            f"{param.name} of {without_digest(name)} must have a default, and be an int, a float, a bool or a Literal.",
            "Write `width: int = 32`, for example.",
        )
    if kind is int:
        return Field(default, ge=min(1, default), le=max(1024, 8 * default))
    if kind is float:
        return Field(default, ge=min(0.0, default), le=max(1.0, 8 * default))
    return Field(default)
