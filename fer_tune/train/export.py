"""A trained network as files, and the predictor that reads them back.

A model folder holds `model.safetensors` (float32 weights; nothing in it can run) and `config.json`:
what is needed to build the network and prepare its input, the class names, and where the model came
from.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn
from torch.nn import functional

from fer_tune import __version__
from fer_tune.data.spec import DataSpec
from fer_tune.errors import DataError, StorageError
from fer_tune.files import replace_file, replace_text
from fer_tune.job import Job, Tta
from fer_tune.train.config import configurations
from fer_tune.train.inputs import DeviceData
from fer_tune.train.model_config import FORMAT, ModelConfig, read_config
from fer_tune.train.views import views

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
            "crop": config.crop,
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
        side: of what the network sees of them: the whole, or crops.
        mean, std: of the pixels in 0..1 that the network was fitted to.
        temperature: divides the logits, so that the probabilities mean what they say.
    """

    def __init__(self, model: nn.Module, config: ModelConfig, device: torch.device, temperature: float = 1.0) -> None:
        self.model = model.eval().to(device)
        self.description: Mapping[str, Any] = config.everything
        self.spec = config.spec
        self.side = config.seen.side
        self.device = device
        self.temperature = temperature
        self.mean, self.std = config.input.mean, config.input.std

    @classmethod
    def load(cls, folder: Path, device: str = "cpu") -> Predictor:
        """Reads a model folder.

        Raises:
            DataError: it is missing, or of another format.
            StorageError: its files are torn or do not belong together.
        """
        config = read_config(folder)
        family, shape = config.network()
        weights = _read_weights(folder / "model.safetensors", partial(family.build, shape, config.seen))
        model = family.build(shape, config.seen)
        model.load_state_dict(weights)  # a counter of BatchNorm that is missing becomes 0
        return cls(model, config, torch.device(device), _temperature(folder))

    @torch.no_grad()
    def predict(self, images: np.ndarray[Any, np.dtype[np.uint8]], tta: Tta = "none") -> np.ndarray[Any, Any]:
        """Returns probabilities, float32 [N, classes], of uint8 images [N, S, S] or [N, S, S, 3].

        Args:
            tta: the views of an image whose probabilities are averaged.

        Raises:
            DataError: the images have another type or shape.
        """
        _refuse_others(images, self.spec)
        parts = [np.zeros((0, len(self.spec.classes)), np.float32)]
        side, channels = self.spec.side, self.spec.channels
        for start in range(0, len(images), BATCH):
            part = np.array(images[start : start + BATCH]).reshape(-1, side, side, channels)
            x = torch.from_numpy(part).to(self.device).permute(0, 3, 1, 2).contiguous()
            x = (x.float() / 255 - self.mean) / self.std
            seen = [functional.softmax(self.model(view) / self.temperature, dim=1) for view in views(x, tta, self.side)]
            parts.append(torch.stack(seen).mean(0).cpu().numpy())
        return np.concatenate(parts)


def _refuse_others(images: np.ndarray[Any, Any], spec: DataSpec) -> None:
    """Raises DataError unless the images are of a type and shape that the model takes."""
    side = spec.side
    shapes = [(side, side, spec.channels), *([(side, side)] if spec.channels == 1 else [])]
    given = np.asarray(images)
    if given.dtype != np.uint8 or given.shape[1:] not in shapes:
        wanted = ", ".join(map(str, ("N", *shapes[-1])))
        raise DataError(
            f"The model takes uint8 images of shape ({wanted}), and got {given.dtype} of shape {given.shape}.",
            "`fer_tune.predict` reads image files and makes them fit.",
        )


def _temperature(folder: Path) -> float:
    """Returns the temperature of a calibrated model, or 1.

    Raises:
        StorageError: its file is damaged.
    """
    path = folder / CALIBRATION
    try:
        found = float(json.loads(path.read_text(encoding="utf-8"))["temperature"])
        if not (math.isfinite(found) and found > 0):
            raise ValueError
        return found
    except FileNotFoundError:
        return 1.0
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise StorageError(f"{path} is damaged: it has no temperature.", "Run `fer-tune retrain` again.") from error


def _compare(expected: Mapping[str, tuple[int, ...]], found: Mapping[str, tuple[int, ...]]) -> None:
    """Raises ValueError if a weight is missing, is unknown, or has another shape."""
    for name in sorted(expected.keys() | found.keys()):
        counter = name.endswith("num_batches_tracked") and name not in found  # training leaves it out
        if expected.get(name) != found.get(name) and not counter:
            raise ValueError(f"{name} has shape {found.get(name)}, and its network needs {expected.get(name)}")


def _read_weights(path: Path, build: Callable[[], nn.Module]) -> dict[str, Tensor]:
    """Reads weights that fit a network.

    It builds the network without memory first, and compares the shapes. So a damaged configuration
    cannot ask for more memory than the file of weights has bytes.

    Raises:
        StorageError: the file cannot be read, or is of another network.
    """
    try:
        if not path.is_file():
            raise OSError("it is missing, or it is not a regular file")
        with torch.device("meta"):
            expected = {name: tuple(value.shape) for name, value in build().state_dict().items()}
        with safe_open(path, "pt") as file:
            found = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118 - no mapping
            _compare(expected, found)
            weights = {name: file.get_tensor(name) for name in found}
        if not all(bool(value.isfinite().all()) for value in weights.values()):
            raise ValueError("a weight is not a finite number")
    except (OSError, SafetensorError, RuntimeError, ValueError, TypeError, OverflowError) as error:
        raise StorageError(
            f"{path} cannot be read: {(str(error) or type(error).__name__).splitlines()[0]}",
            "The file is damaged or of another network. Run `fer-tune retrain` again.",
        ) from error
    return weights
