"""Every family in `FAMILIES` is covered by itself: a new one needs no test of its own.

The tests read the hyperparameters off the configuration.
"""

import itertools
import math

import pytest
import torch

from fer_tune.data.spec import FER2013, DataSpec
from fer_tune.errors import TrainingError
from fer_tune.models import FAMILIES, Family, FamilyConfig
from fer_tune.models.layers import Dropout, count_parameters, initialise, write_dropout
from fer_tune.train.config import TrainConfig
from tests.families import Values, alternatives, choices, contexts, rates, smallest


@pytest.fixture(params=sorted(FAMILIES))
def family(request: pytest.FixtureRequest) -> Family:
    return FAMILIES[request.param]


def _small(family: Family, **values: object) -> FamilyConfig:
    """Returns the family's narrowest network without dropout, and with these values."""
    return family.config(**{**smallest(family), **dict.fromkeys(rates(family), 0.0), **values})


def _built(family: Family, config: object, spec: DataSpec = FER2013) -> torch.nn.Module:
    torch.manual_seed(0)
    model = family.build(config, spec)
    initialise(model)
    write_dropout(model, config)
    return model


@torch.no_grad()
def _awake(model: torch.nn.Module) -> torch.nn.Module:
    """Fills scales of 0: a block may start as the identity, and no layer of it has an effect."""
    for parameter in model.parameters():
        if not parameter.any():
            parameter.fill_(0.5)
    return model


SPECS = {
    "fer2013": FER2013,
    "three classes": DataSpec(("a", "b", "c"), 48, 1),
    "eight in colour": DataSpec(tuple("abcdefgh"), 48, 3),
    "side 32": DataSpec(FER2013.classes, 32, 1),
    "side 64 in colour": DataSpec(FER2013.classes, 64, 3),
    "an odd side": DataSpec(FER2013.classes, 45, 1),
}


@pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS)
def test_turns_images_into_logits(family, spec):
    model = _built(family, _small(family), spec).eval()
    logits = model(torch.randn(3, spec.channels, spec.side, spec.side))
    assert logits.shape == (3, len(spec.classes))
    assert torch.isfinite(logits).all()


def test_the_smallest_side_leaves_a_feature_map_in_every_configuration(family):
    spec = DataSpec(("a", "b"), family.smallest_side, 1)
    family.check(spec.side)
    for context in [*contexts(family), choices(family)]:
        model = _built(family, _small(family, **context), spec).train()
        assert model(torch.randn(4, 1, spec.side, spec.side)).shape == (4, 2)


def test_a_network_that_halves_less_often_takes_smaller_images(family):
    for name, halvings in family.fewer_halvings.items():
        for value, times in halvings.items():
            config = _small(family, **{name: value})
            some = family.with_config(config)
            assert (some.halvings, some.smallest_side) == (times, 2**times)
            some.check(some.smallest_side)
            model = _built(family, config, DataSpec(("a", "b"), some.smallest_side, 1)).train()
            assert model(torch.randn(4, 1, some.smallest_side, some.smallest_side)).shape == (4, 2)


def test_the_halvings_are_those_of_the_values_that_are_possible():
    resnet = FAMILIES["resnet"]
    assert resnet.with_values({}).halvings == 3  # the default
    assert resnet.with_values({"stem": ["3x3", "7x7"]}).halvings == 5
    assert FAMILIES["vgg"].with_values({"width": [1.0]}) == FAMILIES["vgg"]


def test_images_that_are_too_small_are_refused(family):
    side = family.smallest_side - 1
    with pytest.raises(TrainingError, match=rf"at least {side + 1} pixels a side \(got {side}\)") as caught:
        family.check(side)
    assert "side:" in caught.value.hint


def test_gradients_reach_every_parameter(family):
    for context in contexts(family):
        model = _awake(_built(family, _small(family, **context))).train()
        torch.nn.functional.cross_entropy(model(torch.randn(8, 1, 48, 48)), torch.arange(8) % 7).backward()
        silent = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
        assert silent == [], context


def test_evaluation_is_deterministic_whatever_the_dropout(family):
    model = _built(family, _small(family, **dict.fromkeys(rates(family), 0.5))).eval()
    x = torch.randn(2, 1, 48, 48)
    assert torch.equal(model(x), model(x))


def test_every_dropout_rate_takes_effect(family):
    """Some of them only beside another choice, such as that of an optional layer."""
    x = torch.randn(4, 1, 48, 48)

    def takes_effect(context: Values, name: str) -> bool:
        config = _small(family, **context, **{name: 0.5})
        model = _awake(_built(family, config)).train()
        if torch.equal(model(x), model(x)):
            return False
        write_dropout(model, config, factor=0.0)
        assert torch.equal(model(x), model(x)), f"{name} is still on at factor 0"
        return True

    for name in rates(family):
        assert any(takes_effect(context, name) for context in contexts(family)), f"{name} changes nothing"


def test_block_dropout_rises_from_stage_to_stage(family):
    fields = family.config.model_fields
    if "block_dropout_step" not in fields:
        pytest.skip("the family has no block dropout")
    config = _small(family, block_dropout=0.1, block_dropout_step=0.05)
    found = [float(m.rate) for m in _built(family, config).modules() if isinstance(m, Dropout) and float(m.rate) > 0]
    assert found == sorted(found)
    distinct = sorted({round(rate, 6) for rate in found})
    assert len(distinct) >= 2
    assert all(math.isclose(b - a, 0.05, abs_tol=1e-5) for a, b in itertools.pairwise(distinct))


def test_rates_are_data_and_all_else_is_shape(family):
    """A rate that is not declared as one would cost a new network for each job."""
    base = _small(family)
    same = {
        name
        for name, value in alternatives(family).items()
        if base.model_copy(update={name: value}).shape() == base.shape()
    }
    assert same == set(rates(family)) >= {name for name in family.config.model_fields if "dropout" in name}


def test_parameters_are_counted(family):
    model = _built(family, _small(family))
    assert count_parameters(model) == sum(p.numel() for p in model.parameters()) > 0


def test_names_do_not_collide_with_the_training_hyperparameters(family):
    assert not set(family.config.model_fields) & set(TrainConfig.model_fields)


def test_initialise_depends_on_the_seed_alone(family):
    config = _small(family)
    model = _built(family, config)
    first = {name: value.clone() for name, value in model.state_dict().items()}
    model.train()(torch.randn(4, 1, 48, 48))
    torch.manual_seed(0)
    family.build(config, FER2013)  # the layers' own first draw, as in `_built`
    initialise(model)
    after = model.state_dict()
    assert all(torch.equal(first[name], after[name]) for name in first if "num_batches" not in name)


def test_resnet_has_the_published_size():
    config = FAMILIES["resnet"].config(depth=18)
    # ResNet-18 has 11,689,512 parameters with 3 input channels, a 7x7 stem and 1,000 classes
    published = 11_689_512 - (512 * 1000 + 1000) + (512 * 7 + 7) - 64 * 3 * 49 + 64 * 9
    assert count_parameters(FAMILIES["resnet"].build(config, FER2013)) == published
    stem7 = FAMILIES["resnet"].build(FAMILIES["resnet"].config(stem="7x7"), FER2013)
    assert count_parameters(stem7) == published - 64 * 9 + 64 * 49


def test_resnet_is_torchvisions():
    from torchvision.models import resnet18  # it imports torch's compiler, which takes seconds

    torch.manual_seed(0)
    ours = FAMILIES["resnet"].build(FAMILIES["resnet"].config(stem="7x7", width=1.0), FER2013).eval()
    theirs = resnet18(num_classes=7).eval()
    theirs.conv1 = torch.nn.Conv2d(1, 64, 7, stride=2, padding=3, bias=False)
    with torch.no_grad():
        for mine, other in zip(ours.state_dict().values(), theirs.state_dict().values(), strict=True):
            mine.copy_(other)
        faces = torch.randn(2, 1, 48, 48)
        assert torch.allclose(ours(faces), theirs(faces), atol=1e-5)


@pytest.mark.parametrize(("name", "pooled"), [("deep_cnn", 3), ("simple_cnn", 2), ("vgg", 4)])
def test_saved_weights_keep_their_names_though_one_kernel_runs_two_layers(name, pooled):
    """Models and checkpoints are read by these names: convolutions and poolings by turns."""
    family = FAMILIES[name]
    choices = {"convolutions": 1} if name == "vgg" else {}
    model = _built(family, _small(family, **choices)).eval()
    plain = torch.nn.Sequential(*model)
    assert list(model.state_dict()) == list(plain.state_dict())
    kinds = [layer for layer, _ in itertools.groupby(key.split(".")[0] for key in model.state_dict())]
    assert kinds[: 2 * pooled] == [str(place) for place in range(2 * pooled)]
    x = torch.randn(3, 1, 48, 48)
    assert torch.equal(model(x), plain(x))


def test_dropout_keeps_the_mean_and_drops_whole_channels():
    layer = Dropout(lambda config: config)
    write_dropout(torch.nn.Sequential(layer), 0.25)
    torch.manual_seed(0)
    out = layer.train()(torch.ones(64, 200, 3, 3))
    kept = out.amax((2, 3)) > 0
    assert torch.equal(out.amin((2, 3)) > 0, kept)
    assert abs(kept.float().mean().item() - 0.75) < 0.02
    assert abs(out.mean().item() - 1) < 0.02


def test_an_unknown_family_is_an_error_with_a_hint_and_no_key():
    with pytest.raises(TrainingError, match="'alexnet' is not a family") as caught:
        FAMILIES["alexnet"]
    assert "resnet" in (caught.value.hint or "")
    assert FAMILIES.get("alexnet") is None
