"""Two small networks with weights of other images, as a family in a file.

EfficientNet-Lite (https://github.com/tensorflow/tpu, models/official/efficientnet/lite) has learned
ImageNet. dlib's face network (http://dlib.net/face_recognition.py.html) has learned who is on three
million photographs. Both expect larger images. So a face is enlarged first, by bicubic
interpolation.

See `__main__.py` for the weights.
"""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional

FOLDER = "OTHER_WEIGHTS"
"""The environment variable that names the folder with the weights."""

Name = Literal["lite0", "lite2", "face"]

LITE = {"lite0": (1.0, 1.0), "lite2": (1.1, 1.2)}
"""By how much a network is wider and deeper than lite0."""

STAGES = (
    (1, 3, 1, 1, 16), (2, 3, 2, 6, 24), (2, 5, 2, 6, 40), (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112), (4, 5, 2, 6, 192), (1, 3, 1, 6, 320),
)  # fmt: skip
"""The stages of lite0: blocks, kernel, stride, expansion, channels. All sizes have the same number
of blocks in the first and in the last stage, and the same layers at both ends."""


class Pretrained(nn.Module):
    """A network whose weights were learned on other images: float [N, 1, 48, 48] to logits [N, C].

    Args:
        side: of the enlarged face.
        start: `new` draws all weights, `file` takes those of the file.
    """

    halvings = 0

    def __init__(
        self,
        spec: Any,
        network: Name = "lite0",
        side: int = 192,
        start: Literal["new", "file"] = "new",
        head_dropout: float = 0.3,
    ) -> None:
        super().__init__()
        self._name, self._side, self._start = network, side, start
        self.body = FaceNetwork(spec.channels) if network == "face" else Lite(spec.channels, *LITE[network])
        self.dropout = nn.Dropout(head_dropout)
        self.last = nn.Linear(self.body.features, len(spec.classes))

    def forward(self, x: Tensor) -> Tensor:
        x = functional.interpolate(x * self.body.deviation, size=(self._side, self._side), mode="bicubic")
        x = x.to(self.last.weight.dtype).contiguous(memory_format=torch.channels_last)
        logits: Tensor = self.last(self.dropout(self.body(x)))
        return logits

    @torch.no_grad()
    def initialise(self) -> None:
        """Draws all weights. If `start` says so, takes those of the file for all layers but the
        last."""
        for layer in self.body.modules():
            if isinstance(layer, nn.Conv2d):
                drawn = torch.empty(layer.weight.shape)
                layer.weight.copy_(nn.init.kaiming_normal_(drawn, mode="fan_out", nonlinearity="relu"))
            elif isinstance(layer, nn.BatchNorm2d):
                layer.weight.fill_(1)
                layer.bias.zero_()
        self.last.weight.copy_(torch.empty(self.last.weight.shape).normal_(std=0.01))
        self.last.bias.zero_()
        if self._start == "file":
            take(self.body, load_file(Path(os.environ[FOLDER]) / f"{self._name}.safetensors"))


def take(body: nn.Module, values: dict[str, Tensor]) -> None:
    """Copies weights and statistics into a network. A first convolution of three colours is summed
    over them, as in a network of torchvision that starts from weights."""
    for name, tensor in body.state_dict(keep_vars=True).items():
        if name.endswith("num_batches_tracked"):
            continue
        value = values[name]
        tensor.copy_(value if value.shape == tensor.shape else value.sum(1, keepdim=True))


class Same(nn.Conv2d):
    """A convolution without bias, padded as TensorFlow does: more at the right and the bottom."""

    def __init__(self, into: int, out: int, kernel: int, stride: int = 1, groups: int = 1) -> None:
        super().__init__(into, out, kernel, stride, groups=groups, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        kernel, stride, side = self.kernel_size[0], self.stride[0], x.shape[-1]
        padding = max((-(-side // stride) - 1) * stride + kernel - side, 0)
        if padding % 2:
            x, padding = functional.pad(x, (padding // 2, padding - padding // 2) * 2), 0
        return functional.conv2d(x, self.weight, None, stride, padding // 2, 1, self.groups)


class Lite(nn.Module):
    """EfficientNet-Lite without its last layer: [N, channels, side, side] to [N, 1280]. Layers
    have the names of the published files."""

    deviation = 0.5
    """Of the published normalisation, (x - 127) / 128, relative to that of faces."""
    features = 1280

    def __init__(self, channels: int, width: float, depth: float) -> None:
        super().__init__()
        self._conv_stem, self._bn0 = Same(channels, 32, 3, 2), _norm(32)
        blocks, into = list[LiteBlock](), 32
        for stage, (repeats, kernel, stride, expansion, out) in enumerate(STAGES):
            ends = stage in (0, len(STAGES) - 1)
            for block in range(repeats if ends else math.ceil(repeats * depth)):
                blocks.append(LiteBlock(kernel, 1 if block else stride, expansion, into, _rounded(out * width)))
                into = _rounded(out * width)
        self._blocks = nn.ModuleList(blocks)
        self._conv_head, self._bn1 = Same(into, 1280, 1), _norm(1280)

    def forward(self, x: Tensor) -> Tensor:
        x = functional.relu6(self._bn0(self._conv_stem(x)))
        for block in self._blocks:
            x = block(x)
        features: Tensor = functional.relu6(self._bn1(self._conv_head(x)))
        return features.mean((2, 3))


class LiteBlock(nn.Module):
    """An inverted residual block without squeeze-and-excitation."""

    def __init__(self, kernel: int, stride: int, expansion: int, into: int, out: int) -> None:
        super().__init__()
        inner = into * expansion
        self._expands, self._adds = expansion > 1, stride == 1 and into == out
        if self._expands:
            self._expand_conv, self._bn0 = Same(into, inner, 1), _norm(inner)
        self._depthwise_conv, self._bn1 = Same(inner, inner, kernel, stride, inner), _norm(inner)
        self._project_conv, self._bn2 = Same(inner, out, 1), _norm(out)

    def forward(self, x: Tensor) -> Tensor:
        y = functional.relu6(self._bn0(self._expand_conv(x))) if self._expands else x
        y = functional.relu6(self._bn1(self._depthwise_conv(y)))
        y = self._bn2(self._project_conv(y))
        added: Tensor = x + y if self._adds else y
        return added


def _norm(channels: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(channels, eps=1e-3)


def _rounded(channels: float) -> int:
    """Returns the nearest multiple of 8, or the next one if that is more than a tenth too small."""
    nearest = max(8, int(channels + 4) // 8 * 8)
    return nearest + 8 if nearest < 0.9 * channels else nearest


class FaceNetwork(nn.Module):
    """dlib's residual network of 29 layers without its last block and layer: [N, channels, side,
    side] to [N, 256]. Where dlib scales and shifts each channel, this has a BatchNorm."""

    deviation = 0.255
    """Of faces in 0..1. dlib divides by 256, and nothing more."""
    features = 256

    STAGES = ((3, 32), (4, 64), (3, 128), (3, 256))
    """Blocks and channels. Each stage but the first begins with half the side."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.stem, self.norm = nn.Conv2d(channels, 32, 7, 2, bias=False), nn.BatchNorm2d(32)
        blocks, into = list[FaceBlock](), 32
        for stage, (repeats, out) in enumerate(self.STAGES):
            for block in range(repeats):
                blocks.append(FaceBlock(into, out, halves=stage > 0 and block == 0))
                into = out
        self.blocks = nn.ModuleList(blocks)

    def forward(self, x: Tensor) -> Tensor:
        x = functional.max_pool2d(functional.relu(self.norm(self.stem(x))), 3, 2)
        for block in self.blocks:
            x = block(x)
        return x.mean((2, 3))


class FaceBlock(nn.Module):
    """A residual block. The shorter of two sums' sides and channels are filled up with zeros."""

    def __init__(self, into: int, out: int, halves: bool) -> None:
        super().__init__()
        self._halves, self._more = halves, out - into
        stride, padding = (2, 0) if halves else (1, 1)
        self.conv1, self.norm1 = nn.Conv2d(into, out, 3, stride, padding, bias=False), nn.BatchNorm2d(out)
        self.conv2, self.norm2 = nn.Conv2d(out, out, 3, 1, 1, bias=False), nn.BatchNorm2d(out)

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm2(self.conv2(functional.relu(self.norm1(self.conv1(x)))))
        if self._halves:
            x = functional.avg_pool2d(x, 2)
            longer = max(x.shape[-1], y.shape[-1])
            y = functional.pad(y, (0, longer - y.shape[-1]) * 2)
            x = functional.pad(x, (*(0, longer - x.shape[-1]) * 2, 0, self._more))
        return functional.relu(x + y)
