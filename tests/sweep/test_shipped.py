"""The shipped sweeps and the template load, and search what they must. The nine by hand are in."""

from __future__ import annotations

from pathlib import Path

import pytest

from fer_tune.data.policy import SplitPolicy
from fer_tune.errors import SweepError
from fer_tune.models import FAMILIES
from fer_tune.sweep.catalogue import catalogue
from fer_tune.sweep.describe import rows
from fer_tune.sweep.load import load_sweep, loads_sweep
from fer_tune.sweep.schema import Budget, Images, ScheduleSpec, SearchSpec, Sweep, SweepKeys
from fer_tune.sweep.search_spec import PriorSpec
from fer_tune.sweep.space import Choice, Fixed, Range, keyed
from fer_tune.sweep.templates import template

FOLDER = Path(__file__).parents[2] / "sweeps"
SHIPPED = sorted(FOLDER.glob("*.yaml"))

MUST_SEARCH = {
    "lr", "weight_decay", "head_dropout", "block_dropout", "block_dropout_step", "dropout_ramp", "augment", "mixup",
    "cutmix", "sampling", "sampling_power",
}  # fmt: skip


def searched(sweep: Sweep) -> set[str]:
    return {parameter.name for parameter in sweep.space.values() if not isinstance(parameter.domain, Fixed)}


def test_five_sweeps_are_shipped() -> None:
    assert {path.stem for path in SHIPPED} == {"demo", "simple_cnn", "deep_cnn", "resnet", "vgg"}


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_a_shipped_sweep_searches_what_it_must(path: Path) -> None:
    sweep = load_sweep(path)
    assert searched(sweep) >= MUST_SEARCH
    if "head_dropout2" in catalogue(sweep.family):
        assert "head_dropout2" in searched(sweep)
    assert sweep.study == path.stem
    assert sweep.pruner.name != "none" or sweep.search.strategy == "promote"
    assert sweep.start


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_the_starts_decide_every_hyperparameter(path: Path) -> None:
    sweep = load_sweep(path)
    for start in sweep.start:
        fixed = {p.name: p.domain.value for p in sweep.space.values() if isinstance(p.domain, Fixed)}
        active = [p for p in sweep.space.values() if p.active(fixed | start.params)]
        open_ = {p.name for p in active if not isinstance(p.domain, Fixed)}
        assert open_ == set(start.params), start.name
        assert len(keyed(sweep.space, start.params)) == len(start.params)


def test_the_nine_experiments_by_hand_are_starts() -> None:
    sweeps = {path.stem: load_sweep(path) for path in SHIPPED}
    by_hand = {
        start.name: (sweep.family, start.params)
        for sweep in sweeps.values()
        for start in sweep.start
        if start.name and start.name.startswith("by hand")
    }
    families = ["simple_cnn", *["deep_cnn"] * 4, *["resnet"] * 4]
    assert {name: family for name, (family, _) in by_hand.items()} == {
        f"by hand {number}": family for number, family in enumerate(families, 1)
    }
    for _, params in by_hand.values():
        assert (params["optimizer"], params["batch_size"], params["schedule"]) == ("adam", 64, "constant")
    assert all(by_hand[f"by hand {n}"][1]["augment"] == 0 for n in (1, 2, 3))
    assert all(by_hand[f"by hand {n}"][1]["augment"] < by_hand["by hand 4"][1]["augment"] for n in (6, 7, 8, 9))
    assert all(by_hand[f"by hand {n}"][1]["sampling"] == "weighted" for n in (4, 5))
    eight = by_hand["by hand 8"][1]
    assert (eight["head_dropout"], eight["head_dropout2"], eight["block_dropout_step"]) == (0.5, 0.35, 0.05)
    assert (eight["lr"], eight["weight_decay"]) == (3e-4, 1e-5)


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_a_shipped_sweep_bears_overrides(path: Path, optimizer: str) -> None:
    sweep = load_sweep(path, [f"optimizer={optimizer}", "budget.epochs=1"])
    again = loads_sweep(sweep.text, path)
    assert again.plain() == sweep.plain()


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_ranges_have_room(path: Path) -> None:
    for parameter in load_sweep(path).space.values():
        if isinstance(parameter.domain, Range):
            assert parameter.domain.low < parameter.domain.high
        if isinstance(parameter.domain, Choice):
            assert len(parameter.domain.choices) > 1


@pytest.mark.parametrize("family", FAMILIES)
def test_the_template_loads_and_names_every_hyperparameter(family: str) -> None:
    text = template(family)
    sweep = loads_sweep(text, Path(f"{family}.yaml"))
    assert searched(sweep) >= MUST_SEARCH
    assert all(f" {name}:" in text for name in catalogue(family))
    assert max(map(len, text.splitlines())) <= 120
    assert not any(line != line.rstrip() for line in text.splitlines())


@pytest.mark.parametrize("family", FAMILIES)
def test_the_templates_comments_are_valid_too(family: str) -> None:
    text = template(family)
    for name in catalogue(family):
        text = text.replace(f"\n  # {name}: ", f"\n  {name}: ")
    sweep = loads_sweep(text, Path(f"{family}.yaml"))
    assert {parameter.name for parameter in sweep.space.values()} == set(catalogue(family))


def test_the_template_names_every_key() -> None:
    text = template("simple_cnn").partition("\nparams:")[0]
    for section in (SweepKeys, SearchSpec, PriorSpec, ScheduleSpec, Budget, Images, SplitPolicy):
        keys = [info.alias or name for name, info in section.model_fields.items()]
        assert not [key for key in keys if key not in ("params", "start") and f"{key}:" not in text], section


def test_the_templates_comments_on_search_and_budget_are_valid_too() -> None:
    text = template("simple_cnn")
    for section in (SearchSpec, Budget):
        for name in section.model_fields:
            text = text.replace(f"\n  # {name}: ", f"\n  {name}: ")
    text = text.replace("\n# extends: ", "\nextends: ").replace("\n# weights: ", "\nweights: ")
    sweep, plain = (loads_sweep(one, Path("simple_cnn.yaml")) for one in (text, template("simple_cnn")))
    assert sweep.search.prior is not None
    assert sweep.search.model_copy(update={"prior": None}) == plain.search
    assert sweep.budget == plain.budget


def test_an_unknown_family_has_no_template() -> None:
    with pytest.raises(SweepError, match="resnet"):
        template("resnett")


def test_rows_hold_every_hyperparameter() -> None:
    sweep = load_sweep(FOLDER / "resnet.yaml")
    table = rows(sweep)
    assert {row.name for row in table} == set(catalogue("resnet"))
    lr = [row for row in table if row.name == "lr"]
    assert [(row.values, row.when) for row in lr] == [
        ("0.02 to 0.3, log", "optimizer is sgd"),
        ("0.0001 to 0.005, log", "optimizer is adam or adamw"),
        ("0.0005 to 0.008, log", "optimizer is muon"),
    ]
    assert {row.kind for row in table if row.name in ("depth", "grad_clip", "width")} == {"fixed", "default", "choice"}
