import copy
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from fer_tune.models import layers
from fer_tune.models.blocks import BlurredConv2d, ResidualBlock
from fer_tune.models.layers import (
    AntialiasedPool,
    BiasReLUPool,
    Dropout,
    Flatten,
    GreyConv2d,
    GreySequential,
    Norm,
    NormReLU,
    NormReLUPool,
    write_dropout,
)

DEVICE = "cpu" if os.environ.get("TRITON_INTERPRET") == "1" else "cuda"
"""Where kernels run: on a GPU, or interpreted (see below)."""


@pytest.fixture(autouse=True)
def interpreted(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a CPU, too, where kernels are interpreted."""
    if DEVICE == "cpu":
        monkeypatch.setattr(layers, "fused", lambda x: layers.HAS_TRITON)


@pytest.mark.slow  # the tests for a GPU show the same
@pytest.mark.skipif(not layers.HAS_TRITON, reason="needs Triton")
def test_interpreted_kernels_agree_with_the_operations():
    """Some tests for a GPU, in a process of their own.

    Triton decides at its import whether it interprets.

    Only in float32: the interpreter multiplies no matrices of bfloat16.
    """
    chosen = [
        "test_kernels_agree_with_the_operations_and_their_gradients[0.4-True-8]",
        "test_kernels_agree_with_the_operations_and_their_gradients[None-False-64]",
        "test_plain_norm_agrees_with_torchs_and_its_gradients[dtype0-0.0001-edges0-8]",
        "test_plain_norm_agrees_with_torchs_and_its_gradients[dtype0-0.0001-edges1-100]",
        "test_a_frozen_norm_passes_gradients_on_and_keeps_its_statistics",
        "test_dropout_kernel_has_the_factors_of_the_operations[shape1]",
        "test_dropout_kernel_reads_the_present_rate",
        "test_pool_kernel_agrees_with_the_operations_and_their_gradients[edges2-8]",
        "test_pool_kernel_agrees_with_the_operations_and_their_gradients[edges2-100]",
        "test_pooled_kernels_agree_with_the_operations_and_their_gradients[False-0.4-64]",
        "test_pooled_kernels_agree_with_the_operations_and_their_gradients[False-None-8]",
        "test_pooled_kernels_agree_with_the_operations_and_their_gradients[True-0.4-8]",
        "test_grey_convolution_agrees_with_torchs_and_its_gradients[dtype0-1e-05-layer5-edges5]",
        "test_grey_convolution_agrees_with_torchs_and_its_gradients[dtype0-1e-05-layer6-edges6]",
        "test_grey_kernels_agree_with_the_operations_and_their_gradients[True-0.4-32-edges1]",
        "test_grey_kernels_agree_with_the_operations_and_their_gradients[True-None-100-edges1]",
        "test_grey_kernels_agree_with_the_operations_and_their_gradients[False-0.4-8-edges1]",
        "test_grey_kernels_take_other_kernels_than_3x3[5]",
    ]
    command = [sys.executable, "-m", "pytest", "-q", "-m", "gpu", "-p", "no:cacheprovider"]
    command += [f"{Path(__file__)}::{name}" for name in chosen]
    root, environment = Path(__file__).parents[2], os.environ | {"TRITON_INTERPRET": "1"}
    done = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, check=False)
    assert f"{len(chosen)} passed" in done.stdout, done.stdout


def test_norm_relu_is_batchnorm_sum_relu_and_channel_dropout():
    torch.manual_seed(0)
    norm, plain = NormReLU(8, lambda rate: rate), nn.BatchNorm2d(8)
    x, residual = torch.randn(6, 8, 5, 5), torch.randn(6, 8, 5, 5)
    write_dropout(norm, 0.0)
    expected = torch.relu(plain(x) + residual)
    assert torch.allclose(norm(x, residual), expected, atol=1e-6)
    assert torch.allclose(norm.running_var, plain.running_var)
    write_dropout(norm, 0.5)
    out = norm(x, residual)
    dropped = out.amax((2, 3)) == 0
    assert 0 < dropped.sum() < 48
    assert torch.allclose(out[~dropped], 2 * torch.relu(plain(x) + residual)[~dropped], atol=1e-4)
    assert torch.allclose(norm.eval()(x), torch.relu(plain.eval()(x)), atol=1e-2)


@pytest.mark.gpu
@pytest.mark.parametrize("channels", [8, 64, 200])
@pytest.mark.parametrize("residual", [False, True])
@pytest.mark.parametrize("rate", [None, 0.0, 0.4])
def test_kernels_agree_with_the_operations_and_their_gradients(monkeypatch, channels, residual, rate):
    """In float32, where both must agree closely, values, gradients and running statistics."""
    found = []
    for kernels in (True, False):
        monkeypatch.setattr(layers, "HAS_TRITON", kernels)
        torch.manual_seed(0)
        norm = NormReLU(channels, None if rate is None else lambda rate: rate).to(DEVICE)
        with torch.no_grad():
            norm.weight.uniform_(0.5, 1.5)
            norm.bias.uniform_(-0.5, 0.5)
        if rate is not None:
            write_dropout(norm, rate)
        shape = (7, channels, 11, 9)
        x = (torch.randn(shape, device=DEVICE) * 2 + 3).contiguous(memory_format=torch.channels_last).requires_grad_()
        other = torch.randn(shape, device=DEVICE).contiguous(memory_format=torch.channels_last).requires_grad_()
        out = norm(x, other if residual else None)
        (out * torch.randn(shape, device=DEVICE)).sum().backward()
        results = [out, x.grad, norm.weight.grad, norm.bias.grad, norm.running_mean, norm.running_var]
        results.append(norm.eval()(x, other if residual else None))
        found.append([*results, other.grad] if residual else results)
    for fused, plain in zip(*found, strict=True):
        assert torch.allclose(fused, plain, atol=2e-4, rtol=1e-4)


RATES = (0.0, 0.1, 0.2, 0.3, 1 / 3, 0.4, 0.45, 0.5, 0.55, 0.6, 0.7, 0.8, 0.85, 0.9)


@pytest.mark.gpu
@pytest.mark.parametrize("shape", [(64, 512), (5, 7), (3, 1024), (1, 1)])
def test_dropout_kernel_has_the_factors_of_the_operations(monkeypatch, shape):
    """Bit by bit, from the same random numbers. One of them is the share that is kept."""
    layer = Dropout(lambda rate: rate).to(DEVICE)
    for rate in RATES:
        write_dropout(layer, rate)
        torch.manual_seed(0)
        drawn = torch.rand(shape, device=DEVICE)
        drawn[0, 0] = 1 - layer.rate
        found = []
        for kernels in (True, False):
            monkeypatch.setattr(layers, "HAS_TRITON", kernels)
            with monkeypatch.context() as patched:
                patched.setattr(torch, "rand", lambda *size, device, drawn=drawn: drawn.clone())
                found.append(layer.mask(*shape))
        assert found[0].dtype == torch.float32
        assert torch.equal(*found)


@pytest.mark.gpu
def test_dropout_kernel_reads_the_present_rate(monkeypatch):
    """The same random numbers are drawn with and without the kernel, layer after layer."""
    found = []
    for kernels in (True, False):
        monkeypatch.setattr(layers, "HAS_TRITON", kernels)
        torch.manual_seed(0)
        layer = Dropout(lambda rate: rate).to(DEVICE)
        masks = []
        for rate in (0.0, 0.3, 0.6):
            write_dropout(layer, rate)
            x = torch.ones(9, 100, 3, 2, device=DEVICE, requires_grad=True)
            out = layer(x)
            out.sum().backward()
            masks += [out, x.grad]
        found.append([*masks, torch.rand(3, device=DEVICE)])
        assert torch.equal(masks[0], torch.ones_like(masks[0]))
        assert layer.eval().mask(9, 100) is None
    assert all(torch.equal(fused, plain) for fused, plain in zip(*found, strict=True))


@pytest.mark.gpu
@pytest.mark.parametrize("channels", [8, 64, 100, 512])
@pytest.mark.parametrize("edges", [(11, 9), (3, 2), (24, 24)])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-4), (torch.bfloat16, 2e-2)])
def test_plain_norm_agrees_with_torchs_and_its_gradients(dtype, tolerance, edges, channels):
    """Compares with torch in float64; relative to the largest value, as sums of many cancel."""
    torch.manual_seed(0)
    norm, exact = Norm(channels).to(DEVICE), nn.BatchNorm2d(channels).to(DEVICE).double()
    for tensor in norm.parameters():
        nn.init.uniform_(tensor, -0.5, 1.5)
    exact.load_state_dict(norm.state_dict())
    x = (torch.randn((7, channels, *edges), device=DEVICE) * 2 + 3).to(dtype, memory_format=torch.channels_last)
    gradient = torch.randn(x.shape, device=DEVICE).to(dtype)
    found = []
    for layer, image, down in ((norm, x, gradient), (exact, x.double(), gradient.double())):
        image.requires_grad_()
        out = layer(image)
        out.backward(down)
        statistics = [layer.running_mean, layer.running_var]
        results = [out, image.grad, *(parameter.grad for parameter in layer.parameters()), *statistics]
        with torch.no_grad():
            found.append([*results, layer.eval()(image)])
    assert found[0][0].dtype == found[0][1].dtype == found[0][-1].dtype == dtype
    assert found[0][0].is_contiguous(memory_format=torch.channels_last)
    for fused, plain in zip(*found, strict=True):
        assert (fused.double() - plain).abs().max() <= tolerance * plain.abs().max().clamp(min=1)


@pytest.mark.gpu
def test_a_frozen_norm_passes_gradients_on_and_keeps_its_statistics():
    """It is in evaluation while others learn."""
    torch.manual_seed(0)
    norm, plain = Norm(8).to(DEVICE), nn.BatchNorm2d(8).to(DEVICE)
    norm(torch.randn(7, 8, 5, 5, device=DEVICE) * 2 + 3)
    plain.load_state_dict(norm.state_dict())
    found = []
    for layer in (norm, plain):
        layer.eval().requires_grad_(False)
        before = copy.deepcopy(layer.state_dict())
        x = torch.linspace(-3, 5, 7 * 8 * 25, device=DEVICE).view(7, 8, 5, 5).requires_grad_()
        out = layer(x)
        out.square().sum().backward()
        assert all(torch.equal(tensor, before[name]) for name, tensor in layer.state_dict().items())
        found.append((out, x.grad))
    for fused, expected in zip(*found, strict=True):
        assert torch.allclose(fused, expected, atol=1e-5)


@pytest.mark.gpu
def test_parameters_of_a_frozen_norm_in_training_get_no_gradients():
    norm = Norm(8).to(DEVICE).requires_grad_(False)
    x = torch.randn(7, 8, 5, 5, device=DEVICE, requires_grad=True)
    (norm(x) * torch.randn_like(x)).sum().backward()
    assert x.grad.abs().sum() > 0
    assert norm.weight.grad is norm.bias.grad is None


@pytest.mark.parametrize("gated", [False, True])
def test_weights_of_a_residual_block_have_the_names_of_its_layers(gated):
    """Models and checkpoints are read by these names, in this order."""
    block = ResidualBlock(8, 16, lambda rate: rate, halves=True, antialiased=False, squeeze_excitation=gated)
    norm = list(nn.BatchNorm2d(16).state_dict())
    expected = ["conv1.weight", *(f"bn1.{name}" for name in norm), "conv2.weight", *(f"bn2.{name}" for name in norm)]
    expected += ["shortcut.0.weight", *(f"shortcut.1.{name}" for name in norm)]
    expected += [f"gate.gate.{place}.{name}" for place in (0, 2) for name in ("weight", "bias")] if gated else []
    assert list(block.state_dict()) == expected


def test_plain_norm_is_torchs_on_a_cpu():
    torch.manual_seed(0)
    norm, plain = Norm(8), nn.BatchNorm2d(8)
    x = torch.randn(6, 8, 5, 5)
    for mode in (True, False):
        assert torch.equal(norm.train(mode)(x), plain.train(mode)(x))
    assert all(torch.equal(a, b) for a, b in zip(norm.buffers(), plain.buffers(), strict=True))


def test_antialiased_pool_hardly_notices_a_shift_by_one_pixel():
    torch.manual_seed(0)
    x = torch.rand(2, 3, 24, 24)
    jump, drift = (
        (pool(x) - pool(x.roll(1, 3)))[..., 1:-1].abs().mean() for pool in (nn.MaxPool2d(2), AntialiasedPool())
    )
    assert drift < 0.75 * jump
    assert torch.equal(AntialiasedPool()(torch.ones(1, 1, 48, 48)), torch.ones(1, 1, 24, 24))


@pytest.mark.gpu
@pytest.mark.parametrize("channels", [8, 64, 100])
@pytest.mark.parametrize("edges", [(48, 48), (12, 9), (3, 2)])
def test_pool_kernel_agrees_with_the_operations_and_their_gradients(monkeypatch, channels, edges):
    """Ties, which there are many of after a ReLU, included."""
    found = []
    for kernels in (True, False):
        monkeypatch.setattr(layers, "HAS_TRITON", kernels)
        torch.manual_seed(0)
        x = torch.randn((5, channels, *edges), device=DEVICE).relu().mul(4).round()
        x = x.contiguous(memory_format=torch.channels_last).requires_grad_()
        out = AntialiasedPool()(x)
        (out * torch.randn_like(out)).sum().backward()
        found.append((out, x.grad))
    for fused, plain in zip(*found, strict=True):
        assert torch.allclose(fused, plain, atol=1e-5)


PARTS = [NormReLU(8), NormReLUPool(8), BiasReLUPool(8, 9, lambda rate: 0.0), Norm(8), AntialiasedPool()]


@pytest.mark.gpu
@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("layer", PARTS, ids=lambda layer: type(layer).__name__)
def test_kernels_leave_not_a_number_where_the_operations_do(monkeypatch, layer, training):
    """A network with such weights must show it in its loss. ReLU and maxima could hide it."""
    x = torch.randn(3, 8, 6, 4)
    x[0, 1, 0, 0] = x[0, 2, 1, 1] = x[1, 3, 4, 3] = torch.nan
    x = x.to(DEVICE).contiguous(memory_format=torch.channels_last)
    found = []
    for kernels in (True, False):
        monkeypatch.setattr(layers, "HAS_TRITON", kernels)
        found.append(copy.deepcopy(layer).to(DEVICE).train(training)(x).isnan())
    assert found[1].any()
    assert torch.equal(*found)


@pytest.mark.gpu
@pytest.mark.parametrize("normed", [False, True])
def test_grey_kernels_leave_not_a_number_where_the_operations_do(monkeypatch, normed):
    found = []
    for kernels in (True, False):
        monkeypatch.setattr(layers, "HAS_TRITON", kernels)
        stage = _grey_stage(8, None, normed).eval()
        with torch.no_grad():
            stage[0].weight[3] = torch.nan
        found.append(stage(torch.randn((2, 1, 6, 4), device=DEVICE)).isnan())
    assert found[1].any()
    assert torch.equal(*found)


def test_flatten_copies_nothing_of_a_map_in_channels_last():
    x = torch.randn(2, 3, 4, 5).contiguous(memory_format=torch.channels_last)
    out = Flatten()(x)
    assert out.data_ptr() == x.data_ptr()
    assert torch.equal(out.view(2, 4, 5, 3).permute(0, 3, 1, 2), x)
    assert torch.equal(Flatten()(x.contiguous()), out)


@pytest.mark.parametrize("kernel_size", [1, 3])
def test_blurred_convolution_is_the_convolution_of_means(kernel_size):
    torch.manual_seed(0)
    layer = BlurredConv2d(3, 5, kernel_size)
    x = torch.randn(2, 3, 12, 12)
    everywhere = torch.nn.functional.conv2d(torch.nn.functional.avg_pool2d(x, 2, stride=1), layer.weight)
    first = kernel_size // 2  # outputs whose windows reach beyond the border are left out
    expected = everywhere[..., first::2, first::2]
    found = layer(x)[..., first : first + expected.shape[2], first : first + expected.shape[3]]
    assert layer(x).shape == (2, 5, 6, 6)
    assert torch.allclose(found, expected, atol=1e-5)


def test_pooled_norm_and_pooled_relu_are_their_parts_one_after_another():
    torch.manual_seed(0)
    x = torch.randn(4, 8, 6, 6)
    norm, whole = NormReLUPool(8, lambda rate: rate), NormReLU(8)
    write_dropout(norm, 0.0)
    assert torch.allclose(norm(x), nn.functional.max_pool2d(whole(x), 2), atol=1e-6)
    relu = BiasReLUPool(8, 4, lambda rate: rate)
    assert 0 < relu.bias.abs().max() <= 0.5
    write_dropout(relu, 0.0)
    assert torch.equal(relu(x), nn.functional.max_pool2d((x + relu.bias[:, None, None]).relu(), 2))
    for layer in (norm, relu):
        write_dropout(layer, 0.5)
        assert 0 < (layer(x).amax((2, 3)) == 0).sum() < 32


@pytest.mark.gpu
@pytest.mark.parametrize("channels", [8, 64, 200])
@pytest.mark.parametrize("rate", [None, 0.4])
@pytest.mark.parametrize("normed", [False, True])
def test_pooled_kernels_agree_with_the_operations_and_their_gradients(monkeypatch, channels, rate, normed):
    """A negative scale, which turns the order of a window's pixels around, included."""
    found = []
    for kernels in (True, False):
        monkeypatch.setattr(layers, "HAS_TRITON", kernels)
        torch.manual_seed(0)
        rate_of = None if rate is None else (lambda rate: rate)
        layer = NormReLUPool(channels, rate_of) if normed else BiasReLUPool(channels, 9, lambda rate: rate or 0.0)
        layer = layer.to(DEVICE)
        for parameter in layer.parameters():
            nn.init.uniform_(parameter, -0.5, 1.5)
        write_dropout(layer, rate)
        x = torch.randn((7, channels, 12, 8), device=DEVICE) * 2 + 1
        x = x.contiguous(memory_format=torch.channels_last).requires_grad_()
        out = layer(x)
        (out * torch.randn(out.shape, device=DEVICE)).sum().backward()
        results = [out, x.grad, *(parameter.grad for parameter in layer.parameters())]
        results += [layer.running_mean, layer.running_var] if normed else []
        found.append([*results, layer.eval()(x)])
    for fused, plain in zip(*found, strict=True):
        assert torch.allclose(fused.float(), plain.float(), atol=2e-4, rtol=1e-4)


@pytest.mark.gpu
@pytest.mark.parametrize(
    ("layer", "edges"),
    [
        (GreyConv2d(32), (48, 48)),
        (GreyConv2d(8), (48, 48)),
        (GreyConv2d(200), (11, 7)),
        (GreyConv2d(24, 7, stride=2), (48, 48)),
        (GreyConv2d(64, 7, stride=2), (11, 7)),
        (GreyConv2d(12), (5, 3)),
        (GreyConv2d(12, 7, stride=2), (5, 3)),
    ],
)
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.bfloat16, 1e-2)])
def test_grey_convolution_agrees_with_torchs_and_its_gradients(monkeypatch, layer, edges, dtype, tolerance):
    """Compares with torch in float64; relative to the largest value, as sums of many cancel."""
    torch.manual_seed(0)
    layer = copy.deepcopy(layer).to(DEVICE).to(dtype)
    exact = copy.deepcopy(layer).double()
    x = torch.randn((5, 1, *edges), device=DEVICE).to(dtype, memory_format=torch.channels_last)
    out = layer(x)
    gradient = torch.randn(out.shape, device=DEVICE).to(dtype)
    out.backward(gradient)
    assert out.dtype == layer.weight.grad.dtype == dtype
    assert out.is_contiguous(memory_format=torch.channels_last)
    monkeypatch.setattr(layers, "HAS_TRITON", False)
    expected = exact(x.double())
    expected.backward(gradient.double())
    pairs = [(out, expected), *((p.grad, q.grad) for p, q in zip(layer.parameters(), exact.parameters(), strict=True))]
    for found, value in pairs:
        assert (found.double() - value).abs().max() <= tolerance * value.abs().max()


@pytest.mark.gpu
def test_grey_convolution_sums_its_gradient_in_the_same_order_each_time():
    torch.manual_seed(0)
    layer = GreyConv2d(32).to(DEVICE)
    x, gradient = torch.randn(64, 1, 48, 48, device=DEVICE), torch.randn(64, 32, 48, 48, device=DEVICE)
    first, second = (torch.autograd.grad(layer(x), layer.weight, gradient)[0] for _ in range(2))
    assert torch.equal(first, second)


def test_grey_convolution_is_torchs_layer_for_one_channel():
    torch.manual_seed(0)
    layer, plain = GreyConv2d(8, 7, stride=2), nn.Conv2d(1, 8, 7, stride=2, padding=3, bias=False)
    plain.load_state_dict(layer.state_dict())
    x = torch.randn(2, 1, 11, 7, requires_grad=True)
    assert torch.equal(layer(x), plain(x))


def _grey_stage(channels, rate, normed, kernel=3):
    """Returns a first stage with weights drawn from seed 0, also for scales and biases."""
    torch.manual_seed(0)
    rate_of = None if rate is None else (lambda rate: rate)
    pool = NormReLUPool(channels, rate_of) if normed else BiasReLUPool(channels, 9, lambda rate: rate or 0.0)
    stage = GreySequential(GreyConv2d(channels, kernel), pool).to(DEVICE)
    for parameter in pool.parameters():
        nn.init.uniform_(parameter, -0.5, 1.5)
    write_dropout(stage, rate)
    return stage


def _results(stage, x):
    """Returns values, gradients, running statistics, and values in evaluation."""
    out = stage(x)
    (out * torch.randn(out.shape, device=DEVICE)).sum().backward()
    results = [out, *(parameter.grad for parameter in stage.parameters())]
    results += [buffer.clone() for buffer in stage.buffers() if buffer.dim()]
    return [*results, stage.eval()(x)]


def _written_maps(monkeypatch):
    """Returns a list that grows with each map that a first convolution writes."""
    written, forward = [], GreyConv2d.forward

    def noted(self, x):
        written.append(x.shape)
        return forward(self, x)

    monkeypatch.setattr(GreyConv2d, "forward", noted)
    return written


@pytest.mark.gpu
@pytest.mark.parametrize("edges", [(48, 48), (6, 10), (2, 4)])
@pytest.mark.parametrize("channels", [8, 32, 100, 200])
@pytest.mark.parametrize("rate", [None, 0.4])
@pytest.mark.parametrize("normed", [False, True])
def test_grey_kernels_agree_with_the_operations_and_their_gradients(monkeypatch, edges, channels, rate, normed):
    """Float32 against torch in float64, relative to the largest value, as sums of many cancel.

    Torch's own float32 may be TF32, which takes another pixel of a window for the largest.
    """
    found, written = [], _written_maps(monkeypatch)
    for kernels in (True, False):
        monkeypatch.setattr(layers, "HAS_TRITON", kernels)
        stage = _grey_stage(channels, rate, normed)
        x = torch.randn((5, 1, *edges), device=DEVICE) * 2 + 1
        found.append(_results(stage, x) if kernels else _results(stage.double(), x.double()))
        assert len(written) == (0 if kernels else 2)
    for fused, plain in zip(*found, strict=True):
        assert (fused - plain).abs().max() <= 1e-4 * plain.abs().max().clamp(min=1)


@pytest.mark.gpu
@pytest.mark.parametrize("kernel", [1, 5])
def test_grey_kernels_take_other_kernels_than_3x3(monkeypatch, kernel):
    found = []
    for kernels in (True, False):
        monkeypatch.setattr(layers, "HAS_TRITON", kernels)
        stage = _grey_stage(12, 0.4, True, kernel)
        x = torch.randn((5, 1, 6, 10), device=DEVICE)
        found.append(_results(stage, x) if kernels else _results(stage.double(), x.double()))
    for fused, plain in zip(*found, strict=True):
        assert (fused - plain).abs().max() <= 1e-4 * plain.abs().max().clamp(min=1)


@pytest.mark.gpu
@pytest.mark.parametrize("channels", [32, 64, 100])
@pytest.mark.parametrize("normed", [False, True])
def test_grey_kernels_agree_with_the_kernels_of_their_parts_in_bfloat16(channels, normed):
    """They round the map and its gradient alike. Tensor cores may add in another order."""
    found = []
    for whole in (True, False):
        stage = _grey_stage(channels, 0.4, normed)
        for tensor in (stage[0].weight, *(() if normed else (stage[1].bias,))):
            tensor.data = tensor.data.bfloat16()
        x = torch.randn((64, 1, 48, 48), device=DEVICE).bfloat16()
        found.append(_results(stage if whole else nn.Sequential(*stage), x))
    for fused, parts in zip(*found, strict=True):
        assert fused.dtype == parts.dtype
        difference = (fused.double() - parts.double()).norm() / parts.double().norm()
        assert difference <= 1e-2


@pytest.mark.gpu
@pytest.mark.parametrize("normed", [False, True])
def test_grey_kernels_sum_in_the_same_order_each_time(normed):
    found = []
    for _ in range(2):
        stage = _grey_stage(32, 0.4, normed)
        found.append(_results(stage, torch.randn((8, 1, 48, 48), device=DEVICE)))
    assert all(torch.equal(first, second) for first, second in zip(*found, strict=True))


@pytest.mark.gpu
@pytest.mark.parametrize("reason", ["odd edge", "stride", "gradient of the image", "frozen"])
def test_grey_kernels_leave_to_the_parts_what_they_cannot_do(monkeypatch, reason):
    written = _written_maps(monkeypatch)
    stage = _grey_stage(8, None, True)
    x = torch.randn((3, 1, 12, 9 if reason == "odd edge" else 8), device=DEVICE)
    x.requires_grad_(reason == "gradient of the image")
    if reason == "stride":
        stage[0] = GreyConv2d(8, stride=2).to(DEVICE)
    stage[0].weight.requires_grad_(reason != "frozen")
    stage(x).sum().backward()
    assert len(written) == (reason != "frozen")
    assert (x.grad is not None) == (reason == "gradient of the image")
    assert (stage[0].weight.grad is None) == (reason == "frozen")
    assert stage[1].weight.grad.abs().sum() > 0


@pytest.mark.parametrize("normed", [False, True])
def test_a_grey_sequence_is_its_layers_one_after_another(normed):
    torch.manual_seed(0)
    pool = NormReLUPool(8, lambda rate: rate) if normed else BiasReLUPool(8, 9, lambda rate: rate)
    layers_in_a_row = [GreyConv2d(8), pool, Flatten(), nn.Linear(72, 3)]
    whole, plain = GreySequential(*layers_in_a_row), nn.Sequential(*copy.deepcopy(layers_in_a_row))
    assert list(whole.state_dict()) == list(plain.state_dict())
    x = torch.randn(4, 1, 6, 6)
    for mode in (True, False):
        assert torch.equal(whole.train(mode)(x), plain.train(mode)(x))
    assert all(torch.equal(a, b) for a, b in zip(whole.buffers(), plain.buffers(), strict=True))
