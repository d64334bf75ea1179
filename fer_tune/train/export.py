"""A trained network as files, and the predictor that reads them back.

A model folder holds `model.safetensors` (float32 weights: nothing in it can run) and `config.json` (all that is
needed to build the network and prepare its input, and where it came from).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor, nn
from torch.nn import functional

from fer_tune import __version__
from fer_tune.data.fer2013 import EMOTIONS
from fer_tune.errors import DataError, StorageError
from fer_tune.files import replace_file, replace_text
from fer_tune.job import Job
from fer_tune.models import FAMILIES
from fer_tune.train.config import configurations

FORMAT = 2
"""Version of `config.json` and the weights beside it; raised when another version would misunderstand them."""
BATCH = 512


def save_model(folder: Path, spec: Job, state: Mapping[str, Tensor], mean: float, std: float) -> None:
    """Writes a model folder; each file appears whole or not at all.

    Args:
        state: the network's state dict, float32 on the CPU.
        mean, std: of the pixels in 0..1 that the network was fitted on.
    """
    _, shape, config = configurations(spec.family, spec.params)
    description = {
        "format": FORMAT,
        "family": spec.family,
        "family_config": shape.model_dump(),
        "train_config": config.model_dump(),
        "classes": list(EMOTIONS),
        "input": {"height": 48, "width": 48, "channels": 1, "mean": mean, "std": std},
        "origin": {
            "study": spec.study,
            "job": spec.uid,
            "fit": spec.fit,
            "epochs": spec.schedule,
            "seed": spec.seed,
            "data_signature": spec.data.signature,
            "split_hash": spec.data.split_hash,
        },
        "versions": {"fer_tune": __version__, "torch": torch.__version__},
    }
    weights = save(dict(state))
    replace_file(folder / "model.safetensors", lambda file: file.write(weights))
    replace_text(folder / "config.json", json.dumps(description, indent=2) + "\n")


class Predictor:
    """A trained network in evaluation mode.

    Attributes:
        description: the content of `config.json`.
    """

    def __init__(self, model: nn.Module, description: Mapping[str, Any], device: torch.device) -> None:
        self.model = model.eval().to(device)
        self.description = description
        self.device = device

    @classmethod
    def load(cls, folder: Path, device: str = "cpu") -> Predictor:
        """Reads a model folder.

        Raises:
            DataError: there is none, or it is of a newer format.
            StorageError: its files are torn or do not belong together.
        """
        description = _read_description(folder)
        family = FAMILIES[description["family"]]
        model = family.build(family.config(**description["family_config"]))
        try:
            model.load_state_dict(load_file(folder / "model.safetensors"))
        except (OSError, SafetensorError, RuntimeError) as error:
            raise StorageError(
                f"{folder / 'model.safetensors'} cannot be read: {str(error).splitlines()[0]}",
                "The file is torn or of another network; run `fer-tune retrain` again.",
            ) from error
        return cls(model, description, torch.device(device))

    @torch.no_grad()
    def predict(self, images: np.ndarray[Any, np.dtype[np.uint8]], flip: bool = False) -> np.ndarray[Any, Any]:
        """Probabilities, float32 [N, 7], of uint8 faces [N, 48, 48].

        Args:
            flip: average the probabilities of each face and its mirror image.
        """
        parts = []
        for start in range(0, len(images), BATCH):
            x = torch.from_numpy(np.array(images[start : start + BATCH])).to(self.device).unsqueeze(1)
            x = (x.float() / 255 - self.description["input"]["mean"]) / self.description["input"]["std"]
            probabilities = functional.softmax(self.model(x), dim=1)
            if flip:
                probabilities = (probabilities + functional.softmax(self.model(x.flip(3)), dim=1)) / 2
            parts.append(probabilities.cpu())
        return torch.cat(parts).numpy() if parts else np.zeros((0, 7), np.float32)


def _read_description(folder: Path) -> dict[str, Any]:
    path = folder / "config.json"
    hint = "Give the folder that `fer-tune retrain` printed; it holds model.safetensors and config.json."
    try:
        description = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError) as error:
        raise DataError(f"{folder} holds no model: config.json is missing.", hint) from error
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise StorageError(f"{path} is torn: it is not JSON.", "Run `fer-tune retrain` again.") from error
    if not isinstance(description, dict) or description.get("format") != FORMAT:
        raise DataError(
            f"{path} is not of format {FORMAT}.",
            "A model of another version of fer-tune must be trained again: `fer-tune retrain`.",
        )
    if description.get("family") not in FAMILIES:
        raise DataError(f"{path} names an unknown family {description.get('family')!r}.", hint)
    return description
