"""Changes to the hyperparameters of a trial are read as changes to a sweep are."""

from __future__ import annotations

from pathlib import Path

import pytest

from fer_tune.errors import SettingsError
from fer_tune.sweep.load import loads_sweep
from fer_tune.sweep.overrides import read_changes
from fer_tune.sweep.space import Fixed

READ = {
    "lr=1e-3": ("lr", 0.001),
    "lr=1": ("lr", 1.0),
    "params.lr=.5": ("lr", 0.5),
    " batch_size =010": ("batch_size", 10),
    "squeeze_excitation=true": ("squeeze_excitation", True),
    "optimizer=adam": ("optimizer", "adam"),
    "sampling_power=sqrt": ("sampling_power", 0.5),
    "momentum=null": ("momentum", 0.9),
}


@pytest.mark.parametrize("assignment", READ)
def test_a_change_is_what_the_same_override_of_a_sweep_is(assignment: str) -> None:
    name, value = READ[assignment]
    changed = read_changes("resnet", [assignment])
    assert changed == {name: value}
    assert type(changed[name]) is type(value)
    sweep = loads_sweep("family: resnet\n", Path("x.yaml"), [assignment])
    assert sweep.space[name].domain == Fixed(changed[name])


@pytest.mark.parametrize(
    ("assignment", "words"),
    [
        ("lrr=0.1", "lrr: unknown hyperparameter; nearest: lr; allowed: depth"),
        ("lr=100", "lr: must be a number above 0 and at most 10, not 100"),
        ("lr='1e-3'", "must be a number"),
        ("squeeze_excitation=on", "must be one of false, true, not on"),
        ("depth=35", "must be one of 18, 34, not 35"),
        ("lr={low: 1, high: 2}", "not a mapping"),
        ("lr", "must be key=value, such as lr=0.01"),
        ("lr=[", "not YAML"),
        ("budget.trials=3", "unknown hyperparameter"),
    ],
)
def test_a_wrong_change_is_refused_with_what_is_allowed(assignment: str, words: str) -> None:
    with pytest.raises(SettingsError) as caught:
        read_changes("resnet", [assignment, "width=1"])
    assert f"--set {assignment}: " in caught.value.message
    assert words in caught.value.message
    assert caught.value.hint


@pytest.mark.parametrize(("family", "change", "allowed"), [
    ("resnet", "crop=100", "must be 0, or 8 to 47, not 100"),
    ("resnet", "crop=48", "must be 0, or 8 to 47, not 48"),
    ("vgg", "params.crop=3", "not 3"),
])  # fmt: skip
def test_a_crop_that_does_not_fit_the_images_is_refused(family: str, change: str, allowed: str) -> None:
    with pytest.raises(SettingsError) as caught:
        read_changes(family, [change], side=48)
    assert f"--set {change}: crop: must be 0, or" in caught.value.message
    assert allowed in caught.value.message
    for fits in ("crop=0", "crop=40", "lr=0.1"):
        assert read_changes(family, [fits], side=48)
    assert read_changes(family, ["crop=null"], side=48) == {"crop": 0}


def test_a_crop_must_be_large_enough_for_the_network_that_the_changes_make() -> None:
    assert read_changes("resnet", ["crop=24", "stem=3x3"], side=48)
    with pytest.raises(SettingsError, match="must be 0, or 32 to 47, not 24"):
        read_changes("resnet", ["crop=24", "stem=7x7"], side=48)


def test_all_wrong_changes_are_named_at_once() -> None:
    with pytest.raises(SettingsError) as caught:
        read_changes("resnet", ["lr=-1", "depht=34"])
    assert "at most 10, not -1" in caught.value.message
    assert "nearest: depth" in caught.value.message


def test_changes_as_a_mapping() -> None:
    assert read_changes("resnet", {"lr": 1, "optimizer": "sgd"}) == {"lr": 1.0, "optimizer": "sgd"}
    with pytest.raises(SettingsError, match="changes: lr: must be a number"):
        read_changes("resnet", {"lr": "1e-3"})
