"""Checks that a family is one: what the trainer expects of a network, in words and in code."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from annotated_types import Ge
from torch import nn

from fer_tune.data.spec import FER2013, DataSpec
from fer_tune.models.family import Family, FamilyConfig
from fer_tune.models.layers import initialise, write_dropout
from fer_tune.train.config import TrainConfig

SPECS = (
    FER2013,
    DataSpec(("a", "b", "c"), 48, 1),
    DataSpec(tuple("abcdefgh"), 48, 3),
    DataSpec(FER2013.classes, 64, 3),
    DataSpec(FER2013.classes, 45, 1),
)
"""Images that a family must take: other classes, colours and sides."""


@dataclass(frozen=True)
class Checked:
    """One expectation, and why the family does not meet it. `wrong` is empty if it does."""

    what: str
    wrong: str


def conformance(family: Family) -> Iterator[Checked]:
    """Yields what the trainer expects of a family, and whether it is so. It takes some seconds."""
    for what, check in CHECKS.items():
        try:
            wrong = check(family)
        except Exception as error:  # a network may raise anything
            wrong = f"{type(error).__name__}: {error}"
        yield Checked(what, " ".join(wrong.split()))


def narrowest(family: Family, **values: object) -> FamilyConfig:
    """Returns the family's smallest configuration without dropout, and with these values."""
    least = {
        name: next((bound.ge for bound in info.metadata if isinstance(bound, Ge)), info.default)
        for name, info in family.config.model_fields.items()
        if info.annotation in (int, float)
    }
    rates = {name: 0.0 for name in least if "dropout" in name}
    return family.config.model_validate(least | rates | values)


def _built(family: Family, config: FamilyConfig, spec: DataSpec = FER2013) -> nn.Module:
    torch.manual_seed(0)
    model = family.build(config, spec)
    initialise(model)
    write_dropout(model, config)
    return model


def _names(family: Family) -> str:
    same = sorted(set(family.config.model_fields) & set(TrainConfig.model_fields))
    return f"these are hyperparameters of the training: {', '.join(same)}" if same else ""


@torch.no_grad()
def _logits(family: Family) -> str:
    for spec in SPECS:
        if spec.side < family.smallest_side or spec.side % family.multiple:
            continue
        given = f"images [3, {spec.channels}, {spec.side}, {spec.side}]"
        logits = _built(family, narrowest(family), spec).eval()(torch.randn(3, spec.channels, spec.side, spec.side))
        if tuple(logits.shape) != (3, len(spec.classes)):
            return f"{given} gave {list(logits.shape)} in place of [3, {len(spec.classes)}]"
        if not torch.isfinite(logits).all():
            return f"{given} gave logits that are not finite"
    return ""


@torch.no_grad()
def _smallest(family: Family) -> str:
    side = family.smallest_side
    spec = DataSpec(("a", "b"), side, 1)
    shape = tuple(_built(family, narrowest(family), spec).train()(torch.randn(4, 1, side, side)).shape)
    return "" if shape == (4, 2) else f"images of {side} pixels gave {list(shape)}"


def _gradients(family: Family) -> str:
    side = family.side_from(max(48, family.smallest_side))
    model = _built(family, narrowest(family), DataSpec(FER2013.classes, side, 1)).train()
    with torch.no_grad():
        for parameter in model.parameters():
            if not parameter.any():
                parameter.fill_(0.5)  # a block may start as the identity
    nn.functional.cross_entropy(model(torch.randn(8, 1, side, side)), torch.arange(8) % 7).backward()  # type: ignore[no-untyped-call]
    silent = [name for name, one in model.named_parameters() if one.grad is None or not one.grad.abs().sum() > 0]
    return f"without a gradient: {', '.join(silent)}" if silent else ""


@torch.no_grad()
def _deterministic(family: Family) -> str:
    side = family.side_from(max(48, family.smallest_side))
    model = _built(family, narrowest(family), DataSpec(FER2013.classes, side, 1)).eval()
    x = torch.randn(2, 1, side, side)
    return "" if torch.equal(model(x), model(x)) else "two evaluations of one image differ"


def _layers(family: Family) -> str:
    model = _built(
        family, narrowest(family), DataSpec(FER2013.classes, family.side_from(max(48, family.smallest_side)), 1)
    )
    whole = [name for name, one in model.named_buffers() if not one.is_floating_point() and "num_batches" not in name]
    if whole:
        return f"these buffers are not float: {', '.join(whole)}"
    return "" if any(True for _ in model.parameters()) else "the network has no parameter"


def _bounds(family: Family) -> str:
    loose = [
        name
        for name, info in family.config.model_fields.items()
        if info.annotation in (int, float) and {"Ge", "Le"} - {type(bound).__name__ for bound in info.metadata}
    ]
    return f"these numbers need both ge and le: {', '.join(loose)}" if loose else ""


CHECKS: dict[str, Callable[[Family], str]] = {
    "hyperparameters have names of their own": _names,
    "numbers have bounds": _bounds,
    "images of any size and colour become logits": _logits,
    "the smallest images fit": _smallest,
    "every parameter has a gradient": _gradients,
    "evaluation is deterministic": _deterministic,
    "buffers are float": _layers,
}
"""Each returns what is wrong, or an empty text."""
