"""torchvision's networks are families: built for the data, searchable, and repeatable."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from fer_tune.data.spec import FER2013, DataSpec
from fer_tune.errors import SweepError, TrainingError
from fer_tune.models import FAMILIES
from fer_tune.models.layers import initialise, write_dropout
from fer_tune.models.torchvision_network import names
from fer_tune.sweep.load import loads_sweep
from fer_tune.sweep.templates import template

SMALL = ("squeezenet1_1", "mobilenet_v3_small")
LARGER = (
    "convnext_tiny", "densenet121", "efficientnet_b0", "googlenet", "mnasnet0_5", "regnet_y_400mf", "resnet18",
    "shufflenet_v2_x0_5", "swin_t", "vgg11_bn", "vit_b_16",
)  # fmt: skip
NETWORKS = [*SMALL, *(pytest.param(name, marks=pytest.mark.slow) for name in LARGER)]


def built(name: str, spec: DataSpec = FER2013, **rates: float) -> nn.Module:
    family = FAMILIES[f"torchvision/{name}"]
    config = family.config(**rates)
    model = family.build(config, spec)
    torch.manual_seed(0)
    initialise(model)
    write_dropout(model, config)
    return model


@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_takes_the_data_and_trains_every_parameter(name: str) -> None:
    spec = DataSpec(("a", "b", "c"), 64, 3)
    assert built(name, spec).eval()(torch.randn(2, 3, 64, 64)).shape == (2, 3)
    model = built(name).train()
    logits = model(torch.randn(4, 1, 48, 48))
    assert logits.shape == (4, 7)
    nn.functional.cross_entropy(logits, torch.arange(4)).backward()
    assert [path for path, parameter in model.named_parameters() if parameter.grad is None] == []


@pytest.mark.parametrize("name", ["efficientnet_b0", "mnasnet0_5"])
def test_the_first_logits_are_small_however_few_the_classes(name: str) -> None:
    *_, last = [parameter for parameter in built(name).parameters() if parameter.ndim > 1]
    assert last.shape[0] == 7
    assert 0.01 < float(last.detach().abs().max()) < 0.06


@pytest.mark.parametrize("name", NETWORKS)
def test_weights_depend_on_the_seed_alone(name: str) -> None:
    model = built(name)
    first = {path: tensor.clone() for path, tensor in model.state_dict().items()}
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(1)
    torch.manual_seed(0)
    initialise(model)
    after = model.state_dict()
    assert all(torch.equal(tensor, after[path]) for path, tensor in first.items() if "num_batches" not in path)
    torch.manual_seed(1)
    initialise(model)
    assert any(not torch.equal(tensor, after[path]) for path, tensor in first.items())


def test_each_rate_has_an_effect() -> None:
    x = torch.randn(4, 1, 48, 48)
    for rate in ("head_dropout", "own_dropout", "stochastic_depth"):
        model = built("efficientnet_b0", **{rate: 0.5}).train()
        assert not torch.equal(model(x), model(x)), rate
        write_dropout(model, FAMILIES["torchvision/efficientnet_b0"].config())
        assert torch.equal(model(x), model(x)), rate


def test_stochastic_depth_leaves_out_whole_images_and_keeps_the_mean() -> None:
    from fer_tune.models.torchvision_layers import ElementDropout, SkippedBlock  # it imports torchvision

    for layer, whole in ((SkippedBlock(lambda config: config), True), (ElementDropout(lambda config: config), False)):
        write_dropout(layer, 0.25)
        torch.manual_seed(0)
        out = layer.train()(torch.ones(2000, 3, 5))
        assert torch.equal(out.amin((1, 2)) > 0, out.amax((1, 2)) > 0) is whole
        assert abs(out.mean().item() - 1) < 0.03
        assert torch.equal(layer.eval()(out), out)


def test_a_sweep_may_name_a_network(tmp_path: Path) -> None:
    sweep = loads_sweep(template("torchvision/mobilenet_v3_small"), tmp_path / "mobile.yaml")
    assert sweep.family == "torchvision/mobilenet_v3_small"
    assert {"head_dropout", "lr"} <= {parameter.name for parameter in sweep.space.values()}
    with pytest.raises(SweepError) as error:
        loads_sweep("family: torchvision/mobilnet_v3_small\n", tmp_path / "mobile.yaml")
    assert "torchvision/mobilenet_v3_small" in "\n".join(error.value.problems)
    with pytest.raises(TrainingError, match="at least 64 pixels"):
        FAMILIES["torchvision/alexnet"].check(48)


def test_names_are_torchvisions_without_those_that_cannot_be_trained() -> None:
    assert {"torchvision/vit_b_16", "torchvision/efficientnet_v2_s"} <= set(names())
    assert not any("quantized" in name for name in names())
    assert "torchvision/nothing" not in FAMILIES
    assert list(FAMILIES) == ["simple_cnn", "deep_cnn", "resnet", "vgg"]


def test_a_regnet_is_built_without_memory() -> None:
    """A model folder is compared with such a network. RegNets compute their widths with tensors."""
    with torch.device("meta"):
        network = FAMILIES["torchvision/regnet_y_400mf"].build(None, FER2013)
    assert {tensor.device.type for tensor in network.state_dict().values()} == {"meta"}
