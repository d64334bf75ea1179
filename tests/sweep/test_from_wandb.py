"""Sweeps of W&B: the errors know their words, and `fer-tune import` converts them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

import fer_tune
from fer_tune.cli.app import app
from fer_tune.errors import SweepError
from fer_tune.sweep.load import loads_sweep
from fer_tune.sweep.yaml_nodes import Problems, parse
from tests.anything import tries

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


def imported(tmp_path: Path, text: str) -> str:
    """Returns what a W&B sweep becomes. It is YAML, but may have a hyperparameter twice."""
    file = tmp_path / "wandb.yaml"
    file.write_text(text)
    found = fer_tune.convert_sweep(file).text
    problems = Problems()
    assert parse(found, problems).plain()["family"]
    assert [problem for problem in problems if "given twice" not in problem] == []
    return found


@pytest.mark.parametrize(
    ("param", "line"),
    [
        (
            "batch_size: {distribution: log_uniform, min: 16, max: 1024}",
            "# batch_size: W&B's log_uniform takes exponents of e, and e^1024 is too large; log_uniform_values takes",
        ),
        (
            "lr: {distribution: log_uniform, min: -7, max: -3}",
            "lr: {low: 0.000911882, high: 0.0497871, log: true}  # W&B's log_uniform had the exponents -7 and -3 of e",
        ),
        ("lr: {distribution: inv_log_uniform, min: 3, max: 7}", "lr: {low: 0.000911882, high: 0.0497871, log: true}"),
        ("lr: {distribution: log_normal, mu: 1e5}", "# lr: W&B's log_normal takes exponents of e, and e^100002 is"),
        ("lr: {distribution: normal, mu: a, sigma: 1}", "# lr: W&B's normal needs numbers for mu and sigma"),
        ("lr: {distribution: normal, mu: 0, sigma: 1e308}", "# lr: the range of W&B's normal is too wide"),
        ("wd: {min: 0}", "# wd: W&B's uniform needs numbers for min and max"),
        ("lr: {min: true, max: 1}", "# lr: W&B's uniform needs numbers for min and max"),
        ("momentum: {distribution: beta}", "# momentum: fer-tune has no distribution beta"),
        ("grad_clip: {value: null}", "# grad_clip: W&B's value was null, so it has its default"),
        ("grad_clip: null", "# grad_clip: W&B's value was null, so it has its default"),
        ("grad_clip: {values: [null, 1]}", "grad_clip: {choices: [null, 1]}"),
        ('optimizer: {value: "sgd\\nfamily: vgg"}', "optimizer: 'sgd family: vgg'"),
        ("optimizer: {value: 'sgd: # 1'}", "optimizer: 'sgd: # 1'"),
        (f"batch_size: {{values: {[64] * 60}}}", f"batch_size: {{choices: {[64] * 60}}}"),  # too long for a line
        ('optimizer: {values: ["\\u2028\\u00a0"]}', "optimizer: {choices: [' \u00a0']}"),
        ('"a\\ab": 1', "# a?b: fer-tune has no such hyperparameter"),
    ],
)  # fmt: skip
def test_a_parameter_becomes_one_line(tmp_path: Path, param: str, line: str) -> None:
    found = imported(tmp_path, f"parameters:\n  {param}\n  ema: 0.0\n").splitlines()
    assert found[-2].startswith(f"  {line}")
    assert found[-1] == "  ema: 0"


@pytest.mark.parametrize(
    ("keys", "line"),
    [
        ("name: faces_2.1", "study: faces_2.1"),
        ("name: my first sweep!", "study: my-first-sweep  # W&B's name was my first sweep!"),
        ("name: 7", 'study: "7"'),
        ("name: '?'", "# name: ? (a study cannot be called so)"),
        ("program: train.py", "# program: train.py (fer-tune trains the networks itself, so it needs no `program`)"),
        ("project: faces", "# project: faces (the project is the environment variable WANDB_PROJECT)"),
        ('description: "Of\\u2028faces"', "# description: Of faces (fer-tune has no such key)"),
        (
            "metric: {name: val_loss, goal: minimize, target: 0.1}",
            "objective: val_accuracy  # W&B's metric was val_loss; W&B minimised it, and fer-tune maximises; "
            "W&B's target was 0.1",
        ),
        ("metric: val_f1", "objective: val_macro_f1  # W&B's metric was val_f1"),
        ("method: genetic", "sampler: tpe  # W&B's method was genetic, which has no counterpart"),
        ("method: grid", "sampler: random  # W&B's grid has no counterpart; random draws from the same values"),
        (
            "early_terminate: {type: hyperband, s: 2, eta: 3, max_iter: 27}",
            "search: {strategy: promote, factor: 3}  # W&B also had {s: 2, max_iter: 27}; `rungs` lists epochs",
        ),
        ("early_terminate: hyperband", "# early_terminate: hyperband (it has no counterpart)"),
        ("run_cap: null", "budget: {trials: 50, epochs: 20}"),
    ],
)
def test_a_key_of_the_sweep_becomes_a_line_or_a_comment(tmp_path: Path, keys: str, line: str) -> None:
    assert line.replace('"', "'") in imported(tmp_path, f"{keys}\nparameters: {{lr: 0.1}}\n").splitlines()


@pytest.mark.parametrize(
    ("params", "line"),
    [
        ("model: {values: [resnet, null]}", "  # model: a sweep has one `family`; write a sweep for each"),
        ("model: {values: [vgg, resnet]}", "  # model: a sweep has one `family`; write a sweep for each"),
        ("model: {values: [vgg, resnet]}", "family: vgg"),
        (
            "epochs: {values: [10, ten]}",
            "budget: {trials: 50, epochs: 10}  # all trials have one length; bad ones stop early",
        ),
        ("epochs: {value: ten}", "budget: {trials: 50, epochs: 20}  # W&B's epochs were {value: ten}"),
        ("epochs: {min: 5, max: 30}", "budget: {trials: 50, epochs: 30}  # all trials have one length; bad ones stop"),
        ("seed: {value: 7}", "seed: 7"),
        ("seed: {values: [7]}", "seed: 7"),
        ("seed: {values: [1, 2, 3]}", "# seed: {values: [1, 2, 3]} (a sweep has one seed; `fer-tune confirm` trains"),
        ("seed: {min: 1, max: 3}", "# seed: {min: 1, max: 3} (a sweep has one seed; `fer-tune confirm` trains"),
        ("seed: 1, random_seed: 2", "# random_seed: 2 (a sweep has one seed; `fer-tune confirm` trains"),
    ],
)
def test_a_parameter_that_is_a_key_of_a_sweep_is_a_line_or_a_comment(tmp_path: Path, params: str, line: str) -> None:
    found = imported(tmp_path, f"parameters: {{{params}, lr: 0.1}}\n")
    assert any(one.startswith(line) for one in found.splitlines()), found


WORDS = st.sampled_from(
    ["name", "method", "metric", "goal", "early_terminate", "type", "hyperband", "eta", "min_iter", "s", "run_cap",
     "parameters", "lr", "model", "resnet", "epochs", "seed", "min", "max", "value", "values", "mu", "sigma", "q",
     "distribution", "normal", "log_normal", "log_uniform", "q_uniform", "inv_log_uniform", "grid", "program"]
)  # fmt: skip
SCALARS = WORDS | st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=6)
ANYTHING = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS | st.text(max_size=4), inner, max_size=5)
)


@given(sweep=st.dictionaries(WORDS, ANYTHING, max_size=4), params=st.dictionaries(WORDS, ANYTHING, max_size=6))
@tries(100)
def test_any_wandb_sweep_becomes_yaml(tmp_path: Path, sweep: dict[str, Any], params: dict[str, Any]) -> None:
    imported(tmp_path, json.dumps({**sweep, "parameters": params}))


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
