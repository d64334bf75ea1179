"""A model or an ensemble as one ONNX file, for programs without torch."""

from __future__ import annotations

import io
import json
import logging
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from fer_tune.errors import MissingExtraError, StorageError
from fer_tune.files import probe_file, replace_file
from fer_tune.train.ensemble import Ensemble
from fer_tune.train.export import Predictor
from fer_tune.train.views import views

CHECKED = 500
"""Images on which the file is compared with torch."""

CLOSE = 1e-3
"""The largest difference of a probability that is accepted."""


class _Whole(nn.Module):
    """Probabilities [N, classes] of uint8 images [N, C, S, S]: normalisation, networks, mean."""

    def __init__(self, model: Predictor | Ensemble) -> None:
        super().__init__()
        members = model.members if isinstance(model, Ensemble) else [model]
        weights = model.weights if isinstance(model, Ensemble) else [1.0]
        self.networks = nn.ModuleList(member.model for member in members)
        self.inputs = [(member.mean, member.std, member.temperature, member.side) for member in members]
        self.shares = [weight / sum(weights) for weight in weights]

    def forward(self, images: Tensor) -> Tensor:
        """Returns probabilities, float32 [N, classes]."""
        pixels = images.float() / 255
        found = []
        for network, (mean, std, temperature, side), share in zip(self.networks, self.inputs, self.shares, strict=True):
            [middle] = views((pixels - mean) / std, "none", side)
            logits = network(middle)
            found.append(share * torch.softmax(logits / temperature, dim=1))
        return torch.stack(found).sum(0)


def export_onnx(model: Predictor | Ensemble, target: Path) -> float:
    """Writes an ONNX file, and returns the largest difference of a probability from torch's.

    The input `images` is uint8 [N, C, S, S], with any N; the normalisation is inside. The output
    `probabilities` is float32 [N, classes]. The entry `classes` of the metadata is a JSON list of
    their names.

    Raises:
        MissingExtraError: the packages of the extra `onnx` are not installed.
        StorageError: the file cannot be written, or ONNX Runtime computes something else from it.
    """
    try:
        import onnx
        import onnxruntime
        import onnxscript  # noqa: F401 - torch's exporter needs it
    except ImportError as error:
        raise MissingExtraError("The export to ONNX", "onnx") from error
    probe_file(target)
    whole = _Whole(model).eval()
    images = _images(model, CHECKED)
    content = _converted(whole, torch.from_numpy(images[:2]))
    proto = onnx.load_from_string(content)
    onnx.helper.set_model_props(proto, {"classes": json.dumps(model.spec.classes)})
    content = proto.SerializeToString()
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    [found] = session.run(["probabilities"], {"images": images})
    with torch.no_grad():
        expected = whole(torch.from_numpy(images)).numpy()
    difference = float(np.abs(found - expected).max())
    if not difference <= CLOSE:
        raise StorageError(
            f"ONNX Runtime computes other probabilities than torch: they differ by up to {difference:.4f}.",
            "Other versions of onnx, onnxscript and onnxruntime may agree.",
        )
    replace_file(target, lambda stream: stream.write(content))
    return difference


def _images(model: Predictor | Ensemble, count: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """Returns smooth random images, which are more like faces than noise is."""
    spec = model.spec
    random = np.random.default_rng(0)
    coarse = random.integers(0, 256, (count, spec.channels, 6, 6)).astype(np.float32)
    smooth = nn.functional.interpolate(torch.from_numpy(coarse), size=spec.side, mode="bilinear")
    return smooth.round().clamp(0, 255).byte().numpy()


def _converted(whole: nn.Module, example: Tensor) -> bytes:
    """Returns the bytes of the ONNX file."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")  # the exporter's own parts are being renamed
            program = torch.onnx.export(
                whole,
                (example,),
                dynamo=True,
                input_names=["images"],
                output_names=["probabilities"],
                dynamic_shapes=({0: torch.export.Dim("images", min=1)},),
                verbose=False,
            )
    finally:
        logger.setLevel(level)
    assert program is not None
    stream = io.BytesIO()
    stream.write(program.model_proto.SerializeToString())
    return stream.getvalue()
