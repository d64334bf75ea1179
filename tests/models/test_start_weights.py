"""Weights that a network starts from: how they are read, fitted, named, kept and refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from typer.testing import CliRunner

from fer_tune.cli.app import app
from fer_tune.data.spec import DataSpec
from fer_tune.errors import StorageError, SweepError, TrainingError
from fer_tune.models import FAMILIES, start_weights
from fer_tune.models.layers import initialise
from fer_tune.settings import Settings
from fer_tune.sweep.load import loads_sweep
from fer_tune.sweep.templates import template
from fer_tune.train.conformance import conformance

NETWORK = "shufflenet_v2_x0_5"
SWEEP = f"""
family: torchvision/{NETWORK}
weights: start.pth
data: demo
budget: {{trials: 1, epochs: 1}}
params:
  frozen: {{choices: [none, stem, half, features]}}
"""
COLOUR = DataSpec(("a", "b", "c"), 64, 3)


def published(name: str = NETWORK, **options: Any) -> dict[str, torch.Tensor]:
    """Returns weights of a network for colour images and ten classes, as torchvision saves them."""
    import torchvision

    torch.manual_seed(5)
    network: nn.Module = torchvision.models.get_model(name, weights=None, num_classes=10, **options)
    with torch.no_grad():
        for tensor in network.state_dict().values():
            if tensor.dim() == 1:
                tensor.uniform_(0.5, 1.5)  # norms that differ from those of a new network
    return dict(network.state_dict())


@pytest.fixture(scope="module")
def tensors() -> dict[str, torch.Tensor]:
    return published()


@pytest.fixture
def file(tmp_path: Path, tensors: dict[str, torch.Tensor]) -> Path:
    path = tmp_path / "start.pth"
    torch.save(tensors, path)
    return path


def begun(name: str, spec: DataSpec, seed: int = 0, **config: Any) -> dict[str, torch.Tensor]:
    family = FAMILIES[name]
    model = family.build(family.config(**config), spec)
    torch.manual_seed(seed)
    initialise(model)
    return {key.removeprefix("network."): tensor for key, tensor in model.state_dict().items()}


def forget(monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes this process one that has read no file, such as a worker."""
    monkeypatch.setattr(start_weights, "_given", {})
    start_weights.load.cache_clear()


def registered(file: Path, spec: DataSpec = COLOUR, network: str = NETWORK) -> str:
    return start_weights.register(f"torchvision/{network}", file.name, file.parent, spec)


def test_a_network_begins_with_the_weights_and_a_new_last_layer(file: Path, tensors: dict[str, torch.Tensor]) -> None:
    name = registered(file)
    found = begun(name, COLOUR)
    kept = [key for key in tensors if not key.startswith("fc.") and "num_batches" not in key]
    assert len(kept) > 100
    assert all(torch.equal(found[key], tensors[key]) for key in kept)
    assert found["fc.1.weight"].shape == (3, 1024)
    assert not torch.equal(found["fc.1.weight"], begun(name, COLOUR, seed=1)["fc.1.weight"])


def test_grey_images_give_the_responses_that_they_have_in_colour(file: Path, tensors: dict[str, torch.Tensor]) -> None:
    grey = DataSpec(("a", "b"), 48, 1)
    kernels = begun(registered(file, grey), grey)["conv1.0.weight"]
    assert kernels.shape == (24, 1, 3, 3)
    x = torch.randn(2, 1, 8, 8)
    expected = nn.functional.conv2d(x.expand(-1, 3, -1, -1), tensors["conv1.0.weight"])
    torch.testing.assert_close(nn.functional.conv2d(x, kernels), expected)


def test_the_same_tensors_have_one_name_in_any_kind_of_file(
    tmp_path: Path, file: Path, tensors: dict[str, torch.Tensor]
) -> None:
    from safetensors.torch import save_file

    save_file(tensors, tmp_path / "start.safetensors")
    torch.save({"epoch": 3, "state_dict": {f"module.{key}": one for key, one in tensors.items()}}, tmp_path / "run.pt")
    (tmp_path / "model").mkdir()
    save_file({f"network.{key}": one for key, one in tensors.items()}, tmp_path / "model" / "model.safetensors")
    (tmp_path / "model" / "config.json").write_text("{}")
    names = {registered(tmp_path / other) for other in ("start.pth", "start.safetensors", "run.pt", "model")}
    assert len(names) == 1
    torch.save({key: 2 * one for key, one in tensors.items()}, file)
    assert registered(file) not in names


def test_a_vision_transformer_takes_another_number_of_patches(tmp_path: Path) -> None:
    wanted = {"encoder.pos_embedding": torch.Size((1, 10, 4))}
    from fer_tune.models.fit_weights import Wanted, fit

    row = torch.linspace(0, 13, 14).expand(14, 14)
    given = torch.cat((torch.full((1, 1, 4), 7.0), row.reshape(1, 196, 1).expand(-1, -1, 4)), dim=1)
    found = fit(Wanted(wanted, "conv_proj", "heads.head"), {"encoder.pos_embedding": given})["encoder.pos_embedding"]
    assert found.shape == (1, 10, 4)
    assert torch.equal(found[:, 0], given[:, 0])
    torch.testing.assert_close(found[0, 1:, 0].reshape(3, 3)[0], torch.tensor([0.0, 6.5, 13.0]))


def test_names_of_densenets_published_files_are_understood() -> None:
    from fer_tune.models.fit_weights import Wanted, fit

    wanted = {"features.denseblock1.denselayer2.norm1.weight": torch.Size((3,))}
    given = {"features.denseblock1.denselayer2.norm.1.weight": torch.ones(3)}
    assert fit(Wanted(wanted, "features.conv0", "classifier"), given).keys() == wanted.keys()


def test_other_processes_read_the_copy_of_a_run(
    file: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch, tensors: dict[str, torch.Tensor]
) -> None:
    name = registered(file)
    start_weights.keep(name, settings)
    file.unlink()
    forget(monkeypatch)
    assert torch.equal(begun(name, COLOUR)["conv1.0.weight"], tensors["conv1.0.weight"])
    [copy] = settings.weights.iterdir()
    forget(monkeypatch)
    from safetensors.torch import save_file

    save_file({"conv1.0.weight": torch.ones(3)}, copy)
    with pytest.raises(StorageError, match="was changed"):
        begun(name, COLOUR)
    copy.unlink()
    with pytest.raises(TrainingError, match="are not in this storage folder"):
        begun(name, COLOUR)


def test_a_network_is_built_without_its_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    """A trained model has all of them."""
    forget(monkeypatch)
    family = FAMILIES[f"torchvision/{NETWORK}@0123456789abcdef"]
    assert family.build(family.config(frozen="half"), COLOUR)(torch.zeros(2, 3, 64, 64)).shape == (2, 3)


def test_a_sweep_has_the_weights_in_the_name_of_its_family(file: Path) -> None:
    sweep = loads_sweep(SWEEP, file.with_name("mine.yaml"))
    network, _, digest = sweep.family.partition("@")
    assert (network, len(digest)) == (f"torchvision/{NETWORK}", 16)
    assert "frozen" in sweep.space
    assert loads_sweep(sweep.text, Path("mine.yaml")).signature() == sweep.signature()
    assert loads_sweep(SWEEP, file.with_name("mine.yaml"), ["frozen=half"]).space["frozen"].domain.plain() == "half"
    torch.save({key: 2 * one for key, one in published().items()}, file)
    assert loads_sweep(SWEEP, file.with_name("mine.yaml")).signature() != sweep.signature()


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (None, "start.pth cannot be read: No such file"),
        (b"PK\x03\x04 torn", "start.pth cannot be read: "),
        (b"12345678{torn", "start.pth cannot be read: "),
        ({"lr": 0.1}, "other things than tensors (lr)"),
        ({}, "has no weights"),
        ({"a": torch.tensor([float("nan")])}, "numbers in a that are not finite"),
        ({"a": torch.ones(2)}, "conv1.0.weight is missing; "),
    ],
)
def test_what_does_not_fit_is_a_problem_of_the_sweep(tmp_path: Path, content: Any, says: str) -> None:
    path = tmp_path / "start.pth"
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content is not None:
        torch.save(content, path)
    with pytest.raises(SweepError, match=r"line 3: weights: ") as found:
        loads_sweep(SWEEP, tmp_path / "mine.yaml")
    [problem] = found.value.problems
    assert says in problem


def test_an_error_names_the_tensors_that_differ(file: Path) -> None:
    with pytest.raises(TrainingError) as found:
        start_weights.register("torchvision/mobilenet_v3_small", file.name, file.parent, COLOUR)
    assert "features.0.0.weight is missing" in found.value.message
    assert " more." in found.value.message
    larger = published("shufflenet_v2_x1_0")
    torch.save(larger, file)
    with pytest.raises(TrainingError, match=r"is \[58, 24, 1, 1\], and must be \[24, 24, 1, 1\]"):
        registered(file)


def test_a_file_that_would_run_something_is_refused(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> Any:
            return Path.touch, (tmp_path / "made",)

    torch.save({"a": Evil()}, tmp_path / "start.pth")
    with pytest.raises(TrainingError, match="cannot be read"):
        registered(tmp_path / "start.pth")
    assert not (tmp_path / "made").exists()


@pytest.mark.parametrize(
    ("family", "says"),
    [
        ("resnet", "line 3: weights: Only torchvision's networks start from weights, not resnet"),
        ("./mynet.py:MyNet", "line 3: weights: Only torchvision's networks start from weights, not mynet.py:MyNet"),
        (f"torchvision/{NETWORK}@0123456789abcdef", "line 3: weights: The family "),
    ],
)
def test_other_families_take_no_weights(file: Path, family: str, says: str) -> None:
    network = "from torch import nn\nclass MyNet(nn.Module):\n    def __init__(self, spec): ..."
    file.with_name("mynet.py").write_text(network)
    text = SWEEP.replace(f"torchvision/{NETWORK}", family)
    with pytest.raises(SweepError) as found:
        loads_sweep(text, file.with_name("mine.yaml"))
    assert says in str(found.value)


def test_frozen_layers_need_weights(tmp_path: Path) -> None:
    with pytest.raises(SweepError) as found:
        loads_sweep(SWEEP.replace("weights: start.pth\n", ""), tmp_path / "mine.yaml")
    assert found.value.problems == (
        "line 6: params.frozen: needs `weights: FILE` beside `family`: the weights that are kept",
    )


def test_a_name_of_weights_that_are_not_here_is_refused(tmp_path: Path) -> None:
    text = SWEEP.replace("weights: start.pth\n", "").replace(NETWORK, f"{NETWORK}@0123456789abcdef")
    with pytest.raises(SweepError, match="line 2: family: its weights are not in this storage folder"):
        loads_sweep(text, tmp_path / "mine.yaml")


@pytest.mark.parametrize(
    "network",
    [NETWORK, *(pytest.param(name, marks=pytest.mark.slow) for name in ("resnet18", "convnext_tiny", "vit_b_16"))],
)
def test_networks_with_weights_are_families(tmp_path: Path, network: str) -> None:
    torch.save(published(network), tmp_path / "start.pth")
    name = registered(tmp_path / "start.pth", network=network)
    assert [one for one in conformance(FAMILIES[name]) if one.wrong] == []


def test_layers_are_frozen_from_the_first_one_on(file: Path) -> None:
    family = FAMILIES[registered(file)]

    def still(frozen: str) -> set[str]:
        model = family.build(family.config(frozen=frozen), COLOUR)
        return {name for name, parameter in model.named_parameters() if not parameter.requires_grad}

    stem, half, features = still("stem"), still("half"), still("features")
    assert still("none") == set()
    assert stem == {"network.conv1.0.weight", "network.conv1.1.weight", "network.conv1.1.bias"}
    assert stem < half < features
    every = {name for name, _ in family.build(family.config(), COLOUR).named_parameters()}
    assert every - features == {"network.fc.1.weight", "network.fc.1.bias"}


def test_norms_of_frozen_layers_stay_in_evaluation(file: Path) -> None:
    family = FAMILIES[registered(file)]
    model = family.build(family.config(frozen="stem"), COLOUR).eval().train()
    norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]
    assert [norm.training for norm in norms[:2]] == [False, True]
    assert len([norm for norm in norms if not norm.training]) == 1


def test_a_sweep_to_begin_with_searches_what_to_freeze(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(file.parent)
    shown = CliRunner().invoke(app, ["init", f"torchvision/{NETWORK}", "--weights", "start.pth"])
    assert shown.exit_code == 0, shown.output
    assert "weights: start.pth  # " in shown.stdout
    sweep = loads_sweep(shown.stdout, Path("mine.yaml"))
    assert sweep.space["frozen"].domain.plain() == {"choices": ["none", "stem", "half", "features"]}
    assert sweep.start[0].params["frozen"] == "none"
    for words in (["resnet", "--weights", "start.pth"], ["--all", "--weights", "start.pth"]):
        assert CliRunner().invoke(app, ["init", *words]).exit_code == 2


@pytest.mark.parametrize("name", ["alexnet", "vit_b_16", "vit_b_32"])
def test_a_sweep_to_begin_with_has_images_that_its_network_takes(name: str) -> None:
    sweep = loads_sweep(template(f"torchvision/{name}"), Path("mine.yaml"))
    FAMILIES[sweep.family].check(sweep.side)


def test_a_transformer_refuses_images_that_have_no_whole_patches(tmp_path: Path) -> None:
    text = "family: torchvision/vit_b_16\ndata: {path: demo, side: 50}\n"
    with pytest.raises(SweepError, match=r"line 2: data\.side: must be a multiple of 16"):
        loads_sweep(text, tmp_path / "mine.yaml")
    for crop in ("44", "{choices: [0, 44]}", "{low: 32, high: 48}"):
        text = f"family: torchvision/vit_b_16\ndata: {{path: demo, side: 64}}\nparams: {{crop: {crop}}}\n"
        with pytest.raises(SweepError, match=r"params\.crop: must be a multiple of 16"):
            loads_sweep(text, tmp_path / "mine.yaml")
        assert loads_sweep(text.replace("44", "48").replace("high: 48", "high: 48, step: 16"), tmp_path / "mine.yaml")
    with pytest.raises(TrainingError, match="a multiple of 16 pixels \\(got 50\\)"):
        FAMILIES["torchvision/vit_b_16"].check(50)
