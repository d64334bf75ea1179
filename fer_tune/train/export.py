"""A trained network as files, and the predictor that reads them back.

A model folder holds `model.safetensors` (float32 weights; nothing in it can run) and `config.json`:
what is needed to build the network and prepare its input, the class names, and where the model came
from.
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
from fer_tune.data.spec import DataSpec
from fer_tune.errors import DataError, StorageError
from fer_tune.files import replace_file, replace_text
from fer_tune.job import Job, Tta
from fer_tune.models import FAMILIES
from fer_tune.train.config import configurations
from fer_tune.train.inputs import DeviceData
from fer_tune.train.views import views

FORMAT = 2
"""Version of `config.json` and the weights beside it. Counts up when an older version would misread
them."""
CALIBRATION = "calibration.json"
"""File of a calibrated model: the temperature, and how it was found."""
BATCH = 512
"""Images predicted at once."""


def save_model(folder: Path, job: Job, state: Mapping[str, Tensor], data: DeviceData) -> None:
    """Writes a model folder. Each file appears whole or not at all.

    Args:
        state: the network's state dict, float32 on the CPU.
        data: the images that the network was fitted to.
    """
    spec = data.spec
    _, shape, config = configurations(job.family, job.params)
    description = {
        "format": FORMAT,
        "family": job.family,
        "family_config": shape.model_dump(),
        "train_config": config.model_dump(),
        "classes": list(spec.classes),
        "input": {
            "height": spec.side,
            "width": spec.side,
            "channels": spec.channels,
            "mean": data.mean,
            "std": data.std,
        },
        "origin": {
            "study": job.study,
            "job": job.uid,
            "fit": job.fit,
            "epochs": job.schedule,
            "seed": job.seed,
            "data_signature": job.data.signature,
            "split_hash": job.data.split_hash,
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
        spec: what the images are that it takes.
        temperature: divides the logits, so that the probabilities mean what they say.
    """

    def __init__(
        self, model: nn.Module, description: Mapping[str, Any], device: torch.device, temperature: float = 1.0
    ) -> None:
        self.model = model.eval().to(device)
        self.description = description
        self.spec = _spec(description)
        self.device = device
        self.temperature = temperature

    @classmethod
    def load(cls, folder: Path, device: str = "cpu") -> Predictor:
        """Reads a model folder.

        Raises:
            DataError: it is missing, or of another format.
            StorageError: its files are torn or do not belong together.
        """
        description = _read_description(folder)
        family = FAMILIES[description["family"]]
        model = family.build(family.config(**description["family_config"]), _spec(description))
        try:
            model.load_state_dict(load_file(folder / "model.safetensors"))
        except (OSError, SafetensorError, RuntimeError) as error:
            raise StorageError(
                f"{folder / 'model.safetensors'} cannot be read: {str(error).splitlines()[0]}",
                "The file is damaged or of another network. Run `fer-tune retrain` again.",
            ) from error
        return cls(model, description, torch.device(device), _temperature(folder))

    @torch.no_grad()
    def predict(self, images: np.ndarray[Any, np.dtype[np.uint8]], tta: Tta = "none") -> np.ndarray[Any, Any]:
        """Returns probabilities, float32 [N, classes], of uint8 images [N, S, S] or [N, S, S, 3].

        Args:
            tta: the views of an image whose probabilities are averaged.
        """
        parts = [np.zeros((0, len(self.spec.classes)), np.float32)]
        side, channels = self.spec.side, self.spec.channels
        for start in range(0, len(images), BATCH):
            part = np.array(images[start : start + BATCH]).reshape(-1, side, side, channels)
            x = torch.from_numpy(part).to(self.device).permute(0, 3, 1, 2).contiguous()
            x = (x.float() / 255 - self.description["input"]["mean"]) / self.description["input"]["std"]
            seen = [functional.softmax(self.model(view) / self.temperature, dim=1) for view in views(x, tta, side)]
            parts.append(torch.stack(seen).mean(0).cpu().numpy())
        return np.concatenate(parts)


def _temperature(folder: Path) -> float:
    """Returns the temperature of a calibrated model, or 1."""
    path = folder / CALIBRATION
    try:
        return float(json.loads(path.read_text(encoding="utf-8"))["temperature"])
    except FileNotFoundError:
        return 1.0
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise StorageError(f"{path} is damaged: it has no temperature.", "Run `fer-tune retrain` again.") from error


def _spec(description: Mapping[str, Any]) -> DataSpec:
    return DataSpec(tuple(description["classes"]), description["input"]["height"], description["input"]["channels"])


def _read_description(folder: Path) -> dict[str, Any]:
    path = folder / "config.json"
    hint = "Give the folder that `fer-tune retrain` printed. It holds model.safetensors and config.json."
    try:
        description = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError) as error:
        raise DataError(f"{folder} is not a model folder: config.json is missing.", hint) from error
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise StorageError(f"{path} is damaged: it is not JSON.", "Run `fer-tune retrain` again.") from error
    if not isinstance(description, dict) or description.get("format") != FORMAT:
        raise DataError(
            f"{path} is not of format {FORMAT}.",
            "A model of another version of fer-tune must be trained again: `fer-tune retrain`.",
        )
    if description.get("family") not in FAMILIES:
        raise DataError(f"{path} names an unknown family {description.get('family')!r}.", hint)
    return description
