"""Sweeps of W&B: the errors know their words, and `fer-tune import` converts them."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

import fer_tune
from fer_tune.cli.app import app
from fer_tune.errors import SweepError
from fer_tune.sweep.load import loads_sweep

WANDB = """\
program: train.py
method: bayes
metric: {name: val/acc, goal: maximize}
run_cap: 40
early_terminate: {type: hyperband, min_iter: 3, eta: 2}
parameters:
  learning_rate: {distribution: log_uniform_values, min: 1e-4, max: 1e-1}
  wd: {distribution: log_uniform, min: -9.21, max: -4.6}
  optimizer: {values: [adam, sgd]}
  epochs: {values: [10, 20]}
  batch_size: {distribution: q_uniform, min: 32, max: 256, q: 32}
  dropout: {min: 0.0, max: 0.5}
  label_smoothing: {distribution: normal, mu: 0.1, sigma: 0.02}
  hidden_units: {value: 128}
  momentum: 0.9
  seed: {value: 7}
  model: {value: simple_cnn}
"""


def test_a_wandb_sweep_becomes_a_valid_sweep(tmp_path: Path) -> None:
    file = tmp_path / "wandb.yaml"
    file.write_text(WANDB)
    shown = CliRunner().invoke(app, ["import", str(file)])
    assert shown.exit_code == 0, shown.output
    assert shown.stderr == ""
    found = loads_sweep(shown.stdout, Path("mine.yaml"))
    assert (found.family, found.objective, found.sampler.name, found.seed) == ("simple_cnn", "val_accuracy", "tpe", 7)
    assert (found.budget.trials, found.budget.epochs) == (40, 20)
    assert (found.search.strategy, found.search.first, found.search.factor) == ("promote", 3, 2)
    assert {name: str(one.domain) for name, one in found.space.items()} == {
        "lr": "0.0001 to 0.1, log",
        "weight_decay": "0.000100034 to 0.0100518, log",
        "optimizer": "adam, sgd",
        "batch_size": "32 to 256, step 32",
        "head_dropout": "0 to 0.5",
        "label_smoothing": "0.06 to 0.14",
        "momentum": "0.9",
    }
    assert "# hidden_units: fer-tune has no such hyperparameter; nearest: hidden" in shown.stdout
    assert "# W&B's learning_rate" in shown.stdout


def test_nothing_is_left_out_without_a_comment(tmp_path: Path) -> None:
    file = tmp_path / "wandb.yaml"
    nested = "model: {parameters: {width: {values: [0.5, 1]}}}"
    lr = "lr: {distribution: q_log_uniform_values, min: 1.0e-4, max: 0.1, q: 1.0e-4}"
    chosen = "optimizer: {values: [sgd, adam], probabilities: [0.9, 0.1]}"
    fixed = "arch: {values: [resnet, vgg]}, dataset: {value: raf}"
    file.write_text(f"parameters: {{{fixed}, {nested}, {lr}, {chosen}}}\n")
    shown = CliRunner().invoke(app, ["import", str(file)]).stdout
    assert "  # arch: a sweep has one `family`; write a sweep for each\n" in shown
    assert "  # dataset: `data` above names the images\n" in shown
    assert "  # model: it has nested parameters; fer-tune's are flat, with `when`\n" in shown
    assert "  width: {choices: [0.5, 1]}\n" in shown
    assert "log: true}  # a logarithmic range has no step\n" in shown
    assert "  optimizer: {choices: [sgd, adam]}  # all are as likely\n" in shown


def test_what_is_left_to_mend_is_said(tmp_path: Path) -> None:
    file = tmp_path / "wandb.yaml"
    file.write_text("parameters: {lr: {min: 0.001, max: 1000}, optimizer: {values: [adam, lion]}}\n")
    shown = CliRunner().invoke(app, ["import", str(file), "--family", "vgg"])
    assert "family: vgg" in shown.stdout
    assert "still to mend: line 8: params.lr.high: must be a number" in shown.stderr
    assert "params.optimizer.choices[1]: must be one of" in shown.stderr


@pytest.mark.parametrize("text", ["family: resnet\n", "- 1\n", "parameters: 3\n", "a: [\n"])
def test_what_is_no_wandb_sweep_is_refused(tmp_path: Path, text: str) -> None:
    file = tmp_path / "wandb.yaml"
    file.write_text(text)
    with pytest.raises(SweepError, match="this is not a W&B sweep"):
        fer_tune.convert_sweep(file)


def test_a_file_that_is_not_there_is_said_in_words_of_wandb(tmp_path: Path) -> None:
    with pytest.raises(SweepError, match="does not exist") as error:
        fer_tune.convert_sweep(tmp_path / "nothing.yaml")
    assert "W&B sweep" in error.value.hint


def test_text_from_the_file_stays_in_comments(tmp_path: Path) -> None:
    file = tmp_path / "wandb.yaml"
    file.write_text('metric: {name: "x\\nfamily: vgg"}\nparameters: {"a\\nb: 1": {value: 2}}\n')
    assert fer_tune.convert_sweep(file).text.splitlines()[1] == "family: resnet"
    assert "\nb: 1" not in fer_tune.convert_sweep(file).text


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("params: {lr: {min: 0.1, max: 0.2}}", "params.lr.min: `min` is `low` here"),
        ("params: {lr: {min: 0.1, max: 0.2}}", "params.lr.max: `max` is `high` here"),
        ("params: {optimizer: {values: [sgd]}}", "params.optimizer.values: `values` is `choices` here"),
        ("params: {lr: {low: 0.1, high: 0.2, distribution: uniform}}", "params.lr.distribution: there is no"),
        ("parameters: {lr: 0.1}", "parameters: `parameters` is `params` here"),
        ("method: bayes", "method: `method` is `sampler` here"),
    ],
)
def test_errors_know_the_words_of_wandb(text: str, problem: str) -> None:
    with pytest.raises(SweepError) as found:
        loads_sweep(f"family: simple_cnn\n{text}\n", Path("mine.yaml"))
    assert any(problem in one for one in found.value.problems)
    assert not any("must have either low and high" in one for one in found.value.problems)
    assert found.value.hint == "This looks like a sweep of W&B. `fer-tune import FILE` converts one."
