"""`config.json` of a model folder: read as strictly as if somebody else had written it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from fer_tune.data.spec import DataSpec
from fer_tune.errors import DataError, FerTuneError, StorageError
from fer_tune.models import FAMILIES, Family, FamilyConfig, family_files

FILE = "config.json"

FORMAT = 2
"""Version of `config.json` and the weights beside it. Counts up when an older version would misread
them."""

LARGEST = 1 << 20
"""Bytes of a `config.json`, at most."""

MODEL_FOLDER = "Give the folder that `fer-tune retrain` printed. It holds model.safetensors and config.json."
AGAIN = "The file is damaged. Run `fer-tune retrain` again."

Finite = Annotated[float, Field(allow_inf_nan=False)]


class Input(BaseModel):
    """What the network takes: the size of an image, and how its pixels are normalised."""

    model_config = ConfigDict(strict=True, frozen=True)

    height: Annotated[int, Field(ge=1, le=1024)]
    width: int
    channels: Literal[1, 3]
    mean: Finite
    std: Annotated[Finite, Field(gt=0)]
    crop: Annotated[int, Field(ge=0)] = 0


class ModelConfig(BaseModel):
    """The parts of `config.json` that decide what the model predicts. Others are for people."""

    model_config = ConfigDict(strict=True, frozen=True, arbitrary_types_allowed=True)

    family: str
    family_config: dict[str, Any]
    classes: Annotated[list[Annotated[str, Field(max_length=200)]], Field(min_length=2, max_length=1000)]
    input: Input
    everything: dict[str, Any] = Field(default_factory=dict)

    @property
    def spec(self) -> DataSpec:
        """What the images are that the network takes."""
        return DataSpec(tuple(self.classes), self.input.height, self.input.channels)

    @property
    def seen(self) -> DataSpec:
        """What the network sees of an image: the whole, or crops of it."""
        return replace(self.spec, side=self.input.crop or self.input.height)

    def network(self) -> tuple[Family, FamilyConfig]:
        """Returns the family and its hyperparameters."""
        family = FAMILIES[self.family]
        return family, family.config.model_validate(self.family_config)


def read_config(folder: Path) -> ModelConfig:
    """Reads the configuration of a model folder.

    Raises:
        DataError: it is missing, is of another format, or is not valid.
        StorageError: it is damaged.
    """
    path = folder / FILE
    values = _read_json(path)
    if not isinstance(values, dict) or values.get("format") != FORMAT:
        raise DataError(
            f"{path} is not of format {FORMAT}.",
            "A model of another version of fer-tune must be trained again: `fer-tune retrain`.",
        )
    named = str(values.get("family"))[:80]
    if named not in FAMILIES:
        if (of_file := family_files.NAMED.fullmatch(named)) is not None:
            raise DataError(
                f"{path} needs the family {named}, whose file was never run in this storage folder.",
                f"`fer-tune check --family PATH/{of_file['file']}:{of_file['what']}` runs it, if it was not changed.",
            )
        raise DataError(f"{path} names an unknown family {named!r}.", MODEL_FOLDER)
    try:
        config = ModelConfig.model_validate({**values, "everything": values})
        family, shape = config.network()
        family.with_config(shape).check(config.seen.side)
    except ValidationError as error:
        raise DataError(f"{path} is not valid: {_first(error)}.", AGAIN) from error
    except FerTuneError as error:
        raise DataError(f"{path} is not valid: {error.message}", AGAIN) from error
    if config.input.width != config.input.height:
        raise DataError(f"{path} is not valid: input.width must equal input.height.", AGAIN)
    if config.input.crop >= config.input.height:
        raise DataError(f"{path} is not valid: input.crop must be below input.height.", AGAIN)
    return config


def _read_json(path: Path) -> Any:
    try:
        if path.exists() and not path.is_file():
            raise DataError(f"{path} is not a regular file.", MODEL_FOLDER)
        with path.open("rb") as stream:
            content = stream.read(LARGEST + 1)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise DataError(f"{path.parent} is not a model folder: {FILE} is missing.", MODEL_FOLDER) from error
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}.", MODEL_FOLDER) from error
    if len(content) > LARGEST:
        raise DataError(f"{path} is larger than {LARGEST >> 20} MiB.", MODEL_FOLDER)
    try:
        return json.loads(content)
    except (ValueError, RecursionError) as error:  # not JSON, not UTF-8, a number of 10,000 digits, or too deep
        raise StorageError(f"{path} is damaged: it is not JSON.", AGAIN) from error


def _first(error: ValidationError) -> str:
    first = error.errors(include_url=False, include_input=False)[0]
    said = first["msg"].removeprefix("Value error, ").replace("Input should be", "must be")
    return f"{'.'.join(map(str, first['loc']))[:80]} {said.removesuffix(' or instance of Input')}"
