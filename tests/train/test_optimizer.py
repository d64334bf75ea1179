"""The flat optimizer against `torch.optim`, update by update."""

import pytest
import torch
from torch import nn

from fer_tune.train.config import TrainConfig
from fer_tune.train.flat_parameters import FlatModel
from fer_tune.train.optimizer import Hyperparameters, Optimizer, orthogonalised

CPU = torch.device("cpu")


def _network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 8, 3, bias=False),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(2),
        nn.Flatten(),
        nn.Linear(32, 7),
    )


def _backward(model: nn.Module, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    x, y = torch.randn(16, 1, 12, 12, generator=generator), torch.randint(0, 7, (16,), generator=generator)
    nn.functional.cross_entropy(model(x), y).backward()


def _flat(config: TrainConfig) -> tuple[FlatModel, Optimizer]:
    flat = FlatModel(_network(), CPU, torch.float32)
    hyper = Hyperparameters(CPU)
    hyper.write(config)
    optimizer = Optimizer(config.optimizer, flat, hyper)
    optimizer.reset()
    return flat, optimizer


def _reference(model: nn.Module, config: TrainConfig) -> torch.optim.Optimizer:
    groups = [
        {"params": [p for p in model.parameters() if p.dim() > 1], "weight_decay": config.weight_decay},
        {"params": [p for p in model.parameters() if p.dim() == 1], "weight_decay": 0.0},
    ]
    if config.optimizer == "sgd":
        return torch.optim.SGD(groups, lr=config.lr, momentum=config.momentum, nesterov=True)
    kind = torch.optim.Adam if config.optimizer == "adam" else torch.optim.AdamW
    return kind(groups, lr=config.lr, betas=(config.momentum, 0.999))


@pytest.mark.parametrize("kind", ["sgd", "adam", "adamw"])
def test_agrees_with_torch(kind):
    config = TrainConfig(optimizer=kind, lr=0.01, weight_decay=0.1, momentum=0.8)
    flat, optimizer = _flat(config)
    plain = _network()
    reference = _reference(plain, config)
    for step in range(20):
        _backward(flat.model, step)
        optimizer.step(torch.tensor([config.lr]))
        _backward(plain, step)
        reference.step()
        reference.zero_grad()
    for mine, theirs in zip(flat.model.parameters(), plain.parameters(), strict=True):
        assert torch.allclose(mine, theirs, atol=2e-5, rtol=1e-4)


def test_muon_agrees_with_torch():
    """Only matrices are muon's. The rest of the network, and the last layer, is adamw's."""
    config = TrainConfig(optimizer="muon", lr=0.01, weight_decay=0.1, momentum=0.9)

    def network() -> nn.Module:
        torch.manual_seed(0)
        sizes = ((144, 24), (24, 32), (32, 32), (32, 16), (16, 7))
        return nn.Sequential(nn.Flatten(), *(layer for a, b in sizes for layer in (nn.Linear(a, b), nn.Tanh())))

    flat = FlatModel(network(), CPU, torch.float32)
    hyper = Hyperparameters(CPU)
    hyper.write(config)
    optimizer = Optimizer("muon", flat, hyper)
    optimizer.reset()
    plain = network()
    weights = [p for p in plain.parameters() if p.dim() > 1]
    inner = torch.optim.Muon(
        weights[1:-1], lr=config.lr, weight_decay=0.1, momentum=0.9, adjust_lr_fn="match_rms_adamw"
    )
    rest = torch.optim.AdamW(
        [
            {"params": [weights[0], weights[-1]], "weight_decay": 0.1},
            {"params": [p for p in plain.parameters() if p.dim() == 1], "weight_decay": 0.0},
        ],
        lr=config.lr,
        betas=(0.9, 0.999),
    )
    assert optimizer.inner == sum(weight.numel() for weight in weights[1:-1])
    for step in range(10):
        _backward(flat.model, step)
        optimizer.step(torch.tensor([config.lr]))
        _backward(plain, step)
        inner.step()
        rest.step()
        plain.zero_grad()
    for mine, theirs in zip(flat.model.parameters(), plain.parameters(), strict=True):
        assert torch.allclose(mine, theirs, atol=5e-3), "torch iterates in bfloat16"


def test_orthogonalised_matrices_are_nearly_orthogonal_whichever_side_is_longer():
    torch.manual_seed(0)
    for rows, columns in ((8, 40), (40, 8), (16, 16)):
        singular = torch.linalg.svdvals(orthogonalised(torch.randn(3, rows, columns)))
        assert singular.max() < 1.3
        assert singular.median() > 0.6


def test_clips_the_norm_of_the_whole_gradient():
    config = TrainConfig(optimizer="sgd", momentum=0.0, weight_decay=0.0, grad_clip=0.5)
    flat, optimizer = _flat(config)
    before = flat.values[: flat.trained].clone()
    _backward(flat.model, 0)
    with torch.no_grad():
        for parameter in flat.model.parameters():
            parameter.grad *= 100
    optimizer.step(torch.tensor([1.0]))
    assert torch.linalg.vector_norm(flat.values[: flat.trained] - before) == pytest.approx(0.5, rel=1e-4)


def test_average_follows_its_recurrence_and_covers_running_statistics():
    config = TrainConfig(optimizer="sgd", ema=0.9)
    flat, optimizer = _flat(config)
    expected = flat.values.clone()
    for step in range(1, 30):
        _backward(flat.model, step)
        optimizer.step(torch.tensor([0.05]))
        expected.lerp_(flat.values, 1 - min(0.9, (1 + step) / (10 + step)))
    assert torch.allclose(optimizer.average, expected, atol=1e-6)
    state = flat.named_values(optimizer.average)
    assert set(state) == {n for n in _network().state_dict() if "num_batches" not in n}
    assert not torch.equal(state["1.running_mean"], flat.model.state_dict()["1.running_mean"])


def test_without_averaging_the_average_is_the_weights():
    flat, optimizer = _flat(TrainConfig(optimizer="adamw", ema=0.0))
    _backward(flat.model, 0)
    optimizer.step(torch.tensor([0.05]))
    assert torch.equal(optimizer.average, flat.values)


def test_flat_storage_keeps_the_network_as_it_was():
    flat = FlatModel(_network(), CPU, torch.float32)
    plain = _network()
    x = torch.randn(4, 1, 12, 12)
    assert torch.allclose(flat.model.eval()(x), plain.eval()(x), atol=1e-6)
    for name, value in flat.named_values(flat.values).items():
        assert torch.equal(value, plain.state_dict()[name]), name


@pytest.mark.gpu
@pytest.mark.parametrize("kind", ["sgd", "adam", "adamw", "muon"])
def test_fused_kernel_agrees_with_the_formulas(kind):
    device = torch.device("cuda")
    config = TrainConfig(optimizer=kind, lr=0.01, weight_decay=0.1, momentum=0.8, ema=0.9, grad_clip=0.3)
    results = []
    for fused in (True, False):
        flat = FlatModel(_network(), device, torch.float32)
        hyper = Hyperparameters(device)
        hyper.write(config)
        optimizer = Optimizer(kind, flat, hyper)
        optimizer.reset()
        optimizer.fused = fused
        for step in range(20):
            generator = torch.Generator(device).manual_seed(step)
            for parameter in flat.model.parameters():
                parameter.grad = torch.randn(parameter.shape, generator=generator, device=device).to(
                    memory_format=torch.channels_last if parameter.dim() == 4 else torch.contiguous_format
                )
            optimizer.step(torch.tensor([config.lr], device=device))
        results.append((flat.values.clone(), optimizer.average.clone()))
    for mine, formula in zip(*results, strict=True):
        assert torch.allclose(mine, formula, atol=1e-5, rtol=1e-4)
