"""A sweep that inherits from another one: what it inherits, and where its errors are."""

from __future__ import annotations

from pathlib import Path

import pytest

from fer_tune.errors import SweepError
from fer_tune.sweep import Sweep, load_sweep
from fer_tune.sweep.load import loads_sweep

BASE = """\
study: base
family: simple_cnn
data: demo
budget: {trials: 9, epochs: 3}
params:
  lr: {low: 1e-4, high: 1e-2, log: true}
  width: {choices: [8, 16]}
  batch_size: 64
start:
  - {name: small, lr: 1e-3, width: 8}
  - {name: wide, lr: 1e-3, width: 16}
"""


def load(folder: Path, text: str, base: str = BASE) -> Sweep:
    (folder / "base.yaml").write_text(base)
    (folder / "mine.yaml").write_text(text)
    return load_sweep(folder / "mine.yaml")


def test_what_a_sweep_does_not_say_it_inherits(tmp_path: Path) -> None:
    found = load(tmp_path, "extends: base.yaml\nbudget: {trials: 3}\nparams: {batch_size: 32, momentum: 0.8}\n")
    assert (found.study, found.family, found.budget.trials, found.budget.epochs) == ("mine", "simple_cnn", 3, 3)
    assert {name: str(one.domain) for name, one in found.space.items()} == {
        "lr": "0.0001 to 0.01, log",
        "width": "8, 16",
        "batch_size": "32",
        "momentum": "0.8",
    }
    assert [start.name for start in found.start] == ["small", "wide"]


def test_null_takes_a_hyperparameter_away_and_lists_are_replaced(tmp_path: Path) -> None:
    found = load(tmp_path, "extends: base.yaml\nparams: {width: null}\nstart: [{lr: 1e-3}]\n")
    assert "width" not in found.space
    assert [start.params for start in found.start] == [{"lr": 1e-3}]


def test_inherited_starts_that_do_not_fit_are_left_out(tmp_path: Path) -> None:
    found = load(tmp_path, "extends: base.yaml\nparams: {width: 8}\n")
    assert [start.name for start in found.start] == ["small"]
    assert "wide is left out of the start" in found.notes[0]


def test_the_text_that_a_study_keeps_needs_no_other_file(tmp_path: Path) -> None:
    found = load(tmp_path, "extends: base.yaml\nparams: {batch_size: 32}\n")
    again = loads_sweep(found.text, Path("mine.yaml"))
    assert "extends" not in found.text.partition("\n")[2]
    assert again.signature() == found.signature()


def test_shipped_sweeps_can_be_extended_and_chains_work(tmp_path: Path) -> None:
    assert load(tmp_path, "extends: resnet\ndata: demo\n").family == "resnet"
    (tmp_path / "middle.yaml").write_text("extends: base.yaml\nbudget: {epochs: 5}\n")
    found = load(tmp_path, "extends: middle.yaml\nbudget: {trials: 2}\n")
    assert (found.budget.trials, found.budget.epochs) == (2, 5)


@pytest.mark.parametrize(
    ("text", "base", "problem"),
    [
        ("extends: base.yaml\nbudget: {trials: 0}\n", BASE, "line 2: budget.trials: must be at least 1, not 0"),
        (
            "extends: base.yaml\n",
            BASE.replace("high: 1e-2", "high: 1e-9"),
            "base.yaml line 6: params.lr: low 0.0001 must be below high 1e-09",
        ),
        ("extends: base.yaml\n", "a: [\n", "base.yaml line 2: not YAML"),
        ("extends: base.yaml\n", "- 1\n", "line 1: extends: base.yaml is not a mapping"),
        ("extends: mine.yaml\n", BASE, "line 1: extends: mine.yaml extends itself"),
        ("extends: bse.yaml\n", BASE, "line 1: extends: "),
        ("extends: [a, b]\n", BASE, "line 1: extends: must name a sweep, such as resnet.yaml, not a list"),
    ],
)
def test_errors_name_the_file_and_the_line(tmp_path: Path, text: str, base: str, problem: str) -> None:
    with pytest.raises(SweepError) as found:
        load(tmp_path, text, base)
    assert any(problem in one for one in found.value.problems), found.value.problems


def test_a_sweep_whose_parent_is_missing_is_not_blamed_for_what_it_would_inherit(tmp_path: Path) -> None:
    with pytest.raises(SweepError) as found:
        load(tmp_path, "extends: bse.yaml\n")
    assert [problem.partition(": ")[2].partition(":")[0] for problem in found.value.problems] == ["extends"]
