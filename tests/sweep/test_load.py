"""Every problem of a sweep is said, at its line, with what is allowed and the nearest name."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from textwrap import dedent

import pytest

from fer_tune.errors import SweepError
from fer_tune.sweep.describe import rows
from fer_tune.sweep.load import find_sweeps, load_sweep, load_sweeps, loads_sweep
from fer_tune.sweep.schema import PrunerSpec, ScheduleSpec, SearchSpec, Start, Sweep, SweepLimits
from fer_tune.sweep.space import Choice, Fixed, Range
from fer_tune.sweep.yaml_nodes import dump


def loads(text: str, *overrides: str, name: str = "mine.yaml") -> Sweep:
    return loads_sweep(dedent(text).lstrip("\n"), Path(name), overrides)


def problems(text: str, *overrides: str) -> list[str]:
    with pytest.raises(SweepError) as caught:
        loads(text, *overrides)
    assert all(problem in str(caught.value) for problem in caught.value.problems)
    return list(caught.value.problems)


def only(text: str, *overrides: str) -> str:
    (problem,) = problems(text, *overrides)
    return problem


def test_the_smallest_sweep_takes_defaults() -> None:
    sweep = loads("family: resnet\n")
    assert (sweep.study, sweep.data, sweep.objective, sweep.seed, sweep.patience) == (
        "mine", "fer2013", "val_accuracy", 0, 0,
    )  # fmt: skip
    assert (sweep.sampler.name, sweep.pruner.name, sweep.split.policy) == ("tpe", "median", "stratified")
    assert sweep.sampler.options["group"] is True
    assert sweep.space == {}
    assert sweep.start == ()
    assert sweep.text == "family: resnet\n"


def test_ranges_categories_and_fixed_values() -> None:
    space = loads("""
        family: resnet
        params:
          lr: {low: 1e-4, high: 1, log: true}
          batch_size: {low: 32, high: 128, step: 32}
          depth: {choices: [18, 34]}
          squeeze_excitation: {choices: [true, false]}
          sampling: weighted
          sampling_power: {choices: [sqrt, inverse, 0.25]}
          width: {value: 1}
    """).space
    assert space["lr"].domain == Range(1e-4, 1.0, log=True)
    assert space["batch_size"].domain == Range(32, 128, step=32, integer=True)
    assert isinstance(space["batch_size"].domain.low, int)
    assert space["depth"].domain == Choice((18, 34))
    assert space["squeeze_excitation"].domain == Choice((True, False))
    assert space["sampling_power"].domain == Choice((0.5, 1.0, 0.25))
    assert space["sampling"].domain == Fixed("weighted")
    assert space["width"].domain == Fixed(1.0)
    assert isinstance(space["width"].domain.value, float)


def test_all_problems_are_reported_at_once_in_the_files_order() -> None:
    found = problems("""
        study: ../escape
        famly: resnet
        family: resnett
        objective: val_acuracy
        budget: {trials: 0, epoch: 3}
        sampler: tpee
        pruner: {name: median, n_warmup: 3}
        params:
          lrr: 0.1
          lr: {low: 0.1, high: 0.01}
          optimizer: {choices: [sgd, adamm]}
        start:
          - {lr: 100}
    """)
    lines = [int(problem.split(":")[0].removeprefix("line ")) for problem in found]
    assert lines == sorted(lines)
    for line, words in {
        1: ("study", "A-Z a-z 0-9"),
        2: ("famly: unknown key", "nearest: family", "allowed: study, family"),
        3: ("family", "nearest: resnet", "simple_cnn, deep_cnn, resnet, vgg"),
        4: ("objective", "nearest: val_accuracy", "val_macro_f1"),
        5: ("budget.epoch", "nearest: epochs"),
        6: ("sampler", "nearest: tpe", "cmaes"),
        7: ("pruner.n_warmup", "nearest: n_warmup_steps"),
        9: ("params.lrr: unknown hyperparameter", "nearest: lr", "weight_decay"),
        10: ("params.lr: low 0.1 must be below high 0.01",),
        11: ("params.optimizer.choices[1]", "one of sgd, adam, adamw, muon, not adamm; nearest: adam"),
        13: ("start[0].lr", "above 0 and at most 10", "100"),
    }.items():
        said = " | ".join(problem for problem in found if problem.startswith(f"line {line}:"))
        assert all(word in said for word in words), (line, said)
    assert any("budget.trials" in problem and "must be at least 1, not 0" in problem for problem in found)


@pytest.mark.parametrize(
    ("params", "line", "words"),
    [
        ("lr: 0", 3, "above 0 and at most 10, not 0"),
        ("lr: true", 3, "not true"),
        ("lr: '0.1'", 3, "a number"),
        ("lr: .nan", 3, "not .nan"),
        ("lr: 1e999", 3, "not 1e999"),
        ("lr:", 3, "not nothing"),
        ("lr: {low: 0.1}", 3, "needs high"),
        ("lr: {}", 3, "either low and high"),
        ("lr: {low: 0.1, high: 1, choices: [1]}", 3, "only one of them"),
        ("lr: {low: 0.1, high: 1, logg: true}", 3, "nearest: log"),
        ("lr: {low: 0.1, high: 1, log: maybe}", 3, "true or false, not maybe"),
        ("lr: {low: 0.1, high: 1, log: true, step: 0.1}", 3, "log or step, not both"),
        ("lr: {low: 0.1, high: 11}", 3, "params.lr.high"),
        ("lr: {low: 0.1, high: 0.1}", 3, "must be below"),
        ("lr: {low: 0.1, high: 1, step: 0}", 3, "above 0"),
        ("lr: {low: 0.1, high: 1, step: 0.4}", 3, "nearest high: 0.9"),
        ("lr: {low: 0.1, high: 1, step: 1e-300}", 3, "more than"),
        ("augment: {low: 0, high: 1, off: 1}", 3, "off must be a number from 0 to below 1, not 1"),
        ("augment: {low: 0, high: 1, off: true}", 3, "not true"),
        ("augment: {low: 0, high: 1, off: half}", 3, "not half"),
        ("weight_decay: {low: 0, high: 1, log: true}", 3, "above 0"),
        ("batch_size: {low: 32.5, high: 64}", 3, "a whole number"),
        ("batch_size: {low: 32, high: 64, step: 0.5}", 3, "whole number"),
        ("batch_size: 64.0", 3, "a whole number"),
        ("depth: {low: 18, high: 34}", 3, "one of 18, 34"),
        ("depth: true", 3, "one of 18, 34"),
        ("head_layers: true", 3, "one of 1, 2, not true"),
        ("squeeze_excitation: yes", 3, "one of false, true, not yes"),
        ("squeeze_excitation: {low: 0, high: 1}", 3, "instead of a range"),
        ("stem: {choices: []}", 3, "a list of values"),
        ("stem: {choices: [3x3, 3x3]}", 3, "given twice"),
        ("sampling_power: {choices: [sqrt, 0.5]}", 3, "0.5 is given twice"),
        ("lr: [0.1, 0.01]", 3, "{choices: [...]}"),
        ("lr: []", 3, "1 to 32 alternatives"),
        ("lr: 0.1\n  lr: 0.2", 4, "given twice, first in line 3"),
        ("momentum: {low: 0.1, high: 0.9, when: sgd}", 3, "{optimizer: sgd}"),
        ("momentum: {low: 0.1, high: 0.9, when: {optimiser: sgd}}", 3, "nearest: optimizer"),
        ("momentum: {low: 0.1, high: 0.9, when: {optimizer: sdg}}\n  optimizer: sgd", 3, "one of sgd, adam, adamw"),
        ("momentum: {low: 0.1, high: 0.9, when: {optimizer: sgd}}", 3, "optimizer is not in params"),
        ("momentum: {low: 0.1, high: 0.9, when: {optimizer: []}}\n  optimizer: sgd", 3, "at least one value"),
        ("optimizer: {choices: [adam]}\n  momentum: {low: 0.1, high: 0.9, when: {optimizer: sgd}}", 4, "never sgd"),
        ("optimizer: adam\n  momentum: {low: 0.1, high: 0.9, when: {optimizer: sgd}}", 4, "never sgd here, only adam"),
        ("lr: {low: 0.1, high: 1}\n  momentum: {low: 0.1, high: 0.9, when: {lr: 0.5}}", 4, "lr is a range"),
        ("lr: {low: 0.1, high: 1, when: {lr: 0.5}}", 3, "depend on itself"),
        (
            "lr: [{low: 0.1, high: 1}, {low: 0.2, high: 0.3, when: {optimizer: sgd}}]\n  optimizer: {choices: [sgd]}",
            3,
            "alternatives need `when`",
        ),
    ],
)  # fmt: skip
def test_a_wrong_hyperparameter_is_refused_at_its_line(params: str, line: int, words: str) -> None:
    problem = only(f"family: resnet\nparams:\n  {params}\n")
    assert problem.startswith(f"line {line}: params.")
    assert words in problem


def test_conditions_that_go_round_are_refused() -> None:
    problem = only("""
        family: resnet
        params:
          stem: {choices: [3x3, 7x7], when: {depth: 18}}
          depth: {choices: [18, 34], when: {head_layers: 1}}
          head_layers: {choices: [1, 2], when: {stem: 3x3}}
    """)
    assert "circle" in problem
    assert all(name in problem for name in ("stem", "depth", "head_layers"))


def test_a_parameter_lies_behind_those_it_depends_on() -> None:
    space = loads("""
        family: resnet
        params:
          head_dropout2: {low: 0, high: 0.5, when: {head_layers: 2}}
          lr: {low: 0.1, high: 1}
          head_layers: {choices: [1, 2], when: {depth: 18, optimizer: [sgd, adam]}}
          depth: {choices: [18, 34]}
          optimizer: {choices: [sgd, adam]}
    """).space
    assert list(space) == ["lr", "depth", "optimizer", "head_layers", "head_dropout2"]
    assert space["head_layers"].when == {"depth": (18,), "optimizer": ("sgd", "adam")}


ALTERNATIVES = """
    family: deep_cnn
    params:
      optimizer: {choices: [sgd, adam, adamw]}
      lr:
        - {low: 0.01, high: 0.3, log: true, when: {optimizer: sgd}}
        - {low: 1e-4, high: 5e-3, log: true, when: {optimizer: [adam, adamw]}}
      momentum: {low: 0.8, high: 0.99, when: {optimizer: sgd}}
    start:
      - {name: slow, optimizer: adam, lr: 1e-3}
      - {optimizer: sgd, lr: 0.1, momentum: 0.9}
"""


def test_alternatives_have_keys_of_their_own_and_one_name() -> None:
    sweep = loads(ALTERNATIVES)
    assert list(sweep.space) == ["optimizer", "lr[optimizer=sgd]", "lr[optimizer=adam,adamw]", "momentum"]
    assert {parameter.name for parameter in sweep.space.values()} == {"optimizer", "lr", "momentum"}
    assert sweep.start == (
        Start("slow", {"optimizer": "adam", "lr": 1e-3}),
        Start(None, {"optimizer": "sgd", "lr": 0.1, "momentum": 0.9}),
    )


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        ("{optimizer: sgd, lr: 1e-3}", "params allows 0.01 to 0.3, log"),
        ("{lr: 1e-3}", "applies only where optimizer is sgd or optimizer is adam or adamw"),
        ("{optimizer: adam, momentum: 0.9}", "applies only where optimizer is sgd"),
        ("{width: 64}", "is not in params and stays 32"),
        ("{widht: 64}", "nearest: width"),
        ("{lr: -1}", "above 0"),
        ("{lr: {low: 1, high: 2}}", "not a mapping"),
        ("{name: [x]}", "a line of text"),
        ("adam", "must be a mapping"),
    ],
)
def test_a_start_outside_the_space_is_refused(entry: str, words: str) -> None:
    problem = only(dedent(ALTERNATIVES) + f"  - {entry}\n")
    assert problem.startswith("line 11: start[2]")
    assert words in problem


def test_a_start_may_repeat_what_is_fixed_or_default() -> None:
    (start,) = loads("family: deep_cnn\nparams: {width: 64}\nstart: [{width: 64, hidden: 512}]").start
    assert start.params == {}


def test_an_override_decides_conditions_and_starts() -> None:
    sweep = loads(ALTERNATIVES, "optimizer=sgd", "budget.trials=7", "lr.0.high=0.5", "start.1.lr=0.4")
    assert list(sweep.space) == ["optimizer", "lr[optimizer=sgd]", "momentum"]
    assert sweep.space["lr[optimizer=sgd]"].domain == Range(0.01, 0.5, log=True)
    assert sweep.budget.trials == 7
    assert [start.params["lr"] for start in sweep.start] == [0.4]
    (note,) = sweep.notes
    assert "slow" in note
    assert "optimizer" in note


def test_an_override_narrows_a_category() -> None:
    space = loads(ALTERNATIVES, "optimizer={choices: [sgd, adamw]}").space
    assert list(space) == ["optimizer", "lr[optimizer=sgd]", "lr[optimizer=adamw]", "momentum"]


def test_null_as_an_override_is_the_default() -> None:
    sweep = loads(ALTERNATIVES, "params.optimizer=null", "start=null")
    assert sweep.space["optimizer"].domain == Fixed("adamw")
    assert sweep.start == ()
    assert loads("family: vgg\nbudget: {hours: 1}\n", "budget.hours=null").budget.hours is None


def test_the_text_of_an_overridden_sweep_loads_as_the_same_sweep() -> None:
    sweep = loads(ALTERNATIVES, "optimizer=sgd", "pruner={name: patient, wrapped_pruner: hyperband}", "data=/a b: #c")
    again = loads(sweep.text, name="other.yaml")
    assert again.plain() == sweep.plain()
    assert again.signature() == sweep.signature()
    assert (again.space, again.start, again.pruner) == (sweep.space, sweep.start, sweep.pruner)
    assert again.data == "/a b: #c"


@pytest.mark.parametrize(
    ("assignment", "words"),
    [
        ("lrr=0.1", "nearest: lr"),
        ("budgett.trials=1", "nearest: budget"),
        ("budget.trails=1", "nearest: trials"),
        ("lr", "key=value"),
        ("lr=[", "not YAML"),
        ("lr=100", "at most 10"),
        ("start.9.lr=0.1", "has the entries 0 to 1; 9 is not one of them"),
        ("=", "unknown key"),
    ],
)
def test_a_wrong_override_is_named(assignment: str, words: str) -> None:
    found = problems(ALTERNATIVES, assignment)
    assert any(problem.startswith(f"--set {assignment}: ") and words in problem for problem in found)


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("", 1, "a sweep must be a mapping"),
        ("- a\n- b", 1, "a sweep must be a mapping"),
        ("family: [resnet", 1, "not YAML"),
        ("family: resnet\n\tx: 1", 2, "not YAML: this line begins with a tab"),
        ('family: resnet\nx: "a', 2, "not YAML: while scanning"),
        ("family: !!python/object:os.system resnet", 1, "tag"),
        ("family: resnet\n---\nfamily: vgg", 2, "single document"),
        ('family: "\\UFFFFFFFF"', 1, "not YAML"),
        ("[" * 30 + "]" * 30, 1, "deep"),
        ("a: &a [*a]", 1, "deep"),
        ("#" * 300_000, 1, "256 KiB"),
        ("study: resnet", 1, "family: is missing"),
        ("family: resnet\n? [x]\n: 1", 2, "a key must be a word"),
    ],
)
def test_what_is_no_sweep_is_refused(text: str, line: int, words: str) -> None:
    found = problems(text)
    assert any(problem.startswith(f"line {line}: ") and words in problem for problem in found), found


def test_an_alias_bomb_is_refused_at_once() -> None:
    lines = ["a: &a [x,x,x,x,x,x,x,x,x,x]"]
    lines += [f"{b}: &{b} [{','.join([f'*{a}'] * 10)}]" for a, b in zip("abcdefghijklm", "bcdefghijklmn", strict=True)]
    assert any("more than 20000 values" in problem for problem in problems("\n".join(lines)))


def test_anchors_and_merge_keys_work() -> None:
    sweep = loads("""
        family: deep_cnn
        params:
          lr: &small {low: 1e-4, high: 1e-2, log: true}
          weight_decay: *small
          optimizer: {choices: [sgd, adam]}
        start:
          - &first {optimizer: adam, lr: 1e-3}
          - {<<: *first, lr: 2e-3}
    """)
    assert sweep.space["weight_decay"].domain == sweep.space["lr"].domain
    assert sweep.start[1].params == {"optimizer": "adam", "lr": 2e-3}


def test_samplers_and_pruners_by_word_or_with_options() -> None:
    sweep = loads("""
        family: deep_cnn
        budget: {epochs: 27}
        sampler: {name: qmc, seed: 3, scramble: false}
        pruner: {name: patient, patience: 2, wrapped_pruner: {name: hyperband, min_resource: 3}}
    """)
    assert (sweep.sampler.name, sweep.sampler.seed, sweep.sampler.options["scramble"]) == ("qmc", 3, False)
    wrapped = sweep.pruner.options["wrapped_pruner"]
    assert wrapped == PrunerSpec(
        "hyperband", {"min_resource": 3, "max_resource": 27, "reduction_factor": 3, "bootstrap_count": 0}
    )
    assert loads("family: vgg\npruner: none").pruner == PrunerSpec("none")
    assert loads("family: vgg\npruner: {name: patient, wrapped_pruner: none}").pruner.options["wrapped_pruner"] is None


def test_every_option_is_one_of_optunas() -> None:
    optuna = pytest.importorskip("optuna")
    from fer_tune.sweep.schema import PRUNERS, SAMPLERS

    classes = {
        "tpe": optuna.samplers.TPESampler, "gp": optuna.samplers.GPSampler, "random": optuna.samplers.RandomSampler,
        "cmaes": optuna.samplers.CmaEsSampler, "qmc": optuna.samplers.QMCSampler,
        "median": optuna.pruners.MedianPruner, "percentile": optuna.pruners.PercentilePruner,
        "successive_halving": optuna.pruners.SuccessiveHalvingPruner, "hyperband": optuna.pruners.HyperbandPruner,
        "patient": optuna.pruners.PatientPruner,
    }  # fmt: skip
    import inspect

    for name, section in (SAMPLERS | PRUNERS).items():
        if name not in ("none", "effects"):  # fer-tune's own
            assert set(section.model_fields) <= set(inspect.signature(classes[name]).parameters), name


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("sampler: {name: tpe, n_startup: 3}", "nearest: n_startup_trials"),
        ("sampler: {name: tpe, multivariate: false}", "group needs multivariate"),
        ("sampler: {n_startup_trials: 3}", "sampler.name: is missing"),
        ("sampler: {name: random, n_startup_trials: 3}", "allowed: seed, name"),
        ("sampler: 3", "allowed: tpe, gp, random, cmaes, qmc"),
        ("pruner: {name: successive_halving, min_resource: auto}", "must be a whole number, not auto"),
        ("pruner: {name: hyperband, min_resource: 9, max_resource: 3}", "below min_resource"),
        ("pruner: {name: patient, wrapped_pruner: medain}", "wrapped_pruner: medain: unknown name; nearest: median"),
        ("split: usages", "nearest: usage"),
        ("split: {val: 0.6, test: 0.6}", "nothing to train on"),
        ("split: {vall: 0.1}", "nearest: val"),
        ("budget: 3", "must be a mapping"),
        ("budget: {trials: true}", "must be a whole number, not true"),
        ("budget: {hours: 0}", "must be above 0, not 0"),
        ("patience: -1", "must be at least 0, not -1"),
        ("seed: 1.5", "must be a whole number, not 1.5"),
        ("study: .hidden", "no dot at the beginning"),
        ("study: a/b", "not a valid study name"),
        ("study: 3", "must be text, not 3"),
        ("data: ''", "data"),
        ("params: [1]", "must be a mapping"),
        ("start: {lr: 1}", "must be a list"),
        ("search: pomote", "must be 'prune' or 'promote', not pomote; nearest: promote"),
        ("search: {strategy: promote, rungs: 2}", "search.rungs: must be a list of epochs, such as [4, 12], not 2"),
        ("search: {strategy: promote, rungs: [a]}", "search.rungs.0: must be a whole number, not a"),
        ("search: {strategy: promote, rungs: [4, 4]}", "search.rungs: must be rising epochs from 1"),
        ("search: {strategy: promote, rungs: [4], first: 2}", "search.first: give either rungs or first, not both"),
        ("search: {strategy: promote, factor: 1}", "must be at least 2, not 1"),
        ("search: {strategy: promote, rung: [4]}", "nearest: rungs"),
        ("search: {prior: {confidence: high}}", "needs either from: start, or study: NAME"),
        ("search: {prior: start}", "search.prior: must be a mapping, such as {from: start}, not start"),
        ("search: {prior: {from: begin}}", "must be 'start', not begin"),
        (
            "search: {prior: {stdy: mini, from: start}}",
            "search.prior.stdy: unknown key; nearest: study; allowed: from, study, confidence",
        ),
        ("search: {prior: {source: start}}", "search.prior.source: unknown key; allowed: from, study, confidence"),
        ("search: {prior: {study: ''}}", "search.prior.study: must be the name of a study"),
        ("search: {rungs: [99999999999999999999]}", "search.rungs.0: is too large: 1e+20"),
        ("search: {rungs: [-99999999999999999999]}", "search.rungs.0: is too small: -1e+20"),
        ("budget: {trials: 99999999999999999999}", "budget.trials: is too large: 1e+20"),
    ],
)  # fmt: skip
def test_wrong_sections_are_refused(line: str, words: str) -> None:
    problem = only(f"family: resnet\n{line}\n")
    assert problem.startswith("line 2: ")
    assert words in problem


def test_a_file_whose_name_is_no_study_name_must_name_its_study() -> None:
    with pytest.raises(SweepError, match="not a valid study name"):
        loads("family: vgg", name="my sweep.yaml")
    assert loads("family: vgg\nstudy: mine", name="my sweep.yaml").study == "mine"


def test_cmaes_says_why_it_does_not_fit() -> None:
    found = problems(dedent(ALTERNATIVES) + "sampler: cmaes\n")
    assert any("numbers only" in problem and "optimizer" in problem for problem in found)
    assert any("every parameter in every trial" in problem and "momentum" in problem for problem in found)
    assert "two ranges" in only("family: vgg\nsampler: cmaes\nparams: {lr: {low: 0.1, high: 1}}")
    fits = "family: vgg\nsampler: cmaes\nparams: {lr: {low: 0.1, high: 1}, mixup: {low: 0, high: 1}, width: 0.5}"
    assert loads(fits).sampler.name == "cmaes"


def test_split_as_a_word_or_a_mapping() -> None:
    assert loads("family: vgg\nsplit: usage").split.policy == "usage"
    split = loads("family: vgg\nsplit: {seed: 7, group_duplicates: false}").split
    assert (split.seed, split.group_duplicates, split.val) == (7, False, 0.15)


def test_a_crop_is_smaller_than_the_images_and_large_enough_for_the_family() -> None:
    for crop in ("0", "44", "{choices: [0, 40, 44]}", "{low: 40, high: 47}"):
        assert loads(f"family: vgg\nparams: {{crop: {crop}}}").space
    for crop in ("48", "8", "{choices: [0, 40, 50]}", "{low: 40, high: 48}"):
        assert "must be 0, or 16 to 47" in only(f"family: vgg\nparams: {{crop: {crop}}}")
    assert loads("family: vgg\ndata: {path: demo, side: 64}\nparams: {crop: 60}").space


def test_limits_are_seconds_with_bounds() -> None:
    assert loads("family: vgg").limits == SweepLimits(
        trial_timeout=None, hang_timeout=300, checkpoint_interval=30, storage_patience=600
    )
    limits = loads("family: vgg\ntrial_timeout: 7200\nhang_timeout: 2.5\nstorage_patience: 0").limits
    assert (limits.trial_timeout, limits.hang_timeout, limits.storage_patience) == (7200, 2.5, 0)
    assert "hang_timeout" in only("family: vgg\nhang_timeout: 0")
    assert "trial_timeout" in only("family: vgg\ntrial_timeout: 2h")


def test_the_signature_is_of_what_makes_trials_comparable() -> None:
    base = loads(ALTERNATIVES).signature()
    same = ["budget.trials=3", "budget.hours=1", "sampler=random", "pruner=none", "retries=0", "study=x", "start=null"]
    same += ["trial_timeout=60", "hang_timeout=2.5", "checkpoint_interval=0", "storage_patience=0"]
    other = [
        "budget.epochs=3",
        "seed=1",
        "patience=3",
        "split=usage",
        "data.side=64",
        "objective=val_macro_f1",
        "objective_of=last",
        "mixup=0.1",
    ]
    assert all(loads(ALTERNATIVES, change).signature() == base for change in same)
    assert len({loads(ALTERNATIVES, change).signature() for change in other} | {base}) == len(other) + 1
    assert loads(ALTERNATIVES, "objective_of=max").signature() == base, "studies from before the key do not continue"
    reordered = "params:\n  weight_decay: 0.1\n  lr: {high: 1.0, low: 0.1}\nfamily: vgg\n"
    assert (
        loads(reordered).signature()
        == loads("family: vgg\nparams: {lr: {low: 0.1, high: 1}, weight_decay: 0.1}").signature()
    )


def test_a_file_that_cannot_be_read_is_an_error_with_a_hint(tmp_path: Path) -> None:
    (tmp_path / "resnet.yaml").write_text("family: resnet\n")
    with pytest.raises(SweepError) as caught:
        load_sweep(tmp_path / "resnt.yaml")
    assert "resnet.yaml" in caught.value.hint
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x00")
    for path in (tmp_path, tmp_path / "binary.yaml", Path("a\0b")):
        with pytest.raises(SweepError):
            load_sweep(path)
    (tmp_path / "bom.yaml").write_bytes(b"\xef\xbb\xbffamily: vgg\n")
    assert load_sweep(tmp_path / "bom.yaml").family == "vgg"


def test_finds_sweeps_in_folders_once(tmp_path: Path) -> None:
    for name in ("b.yaml", "a.yml", "notes.txt"):
        (tmp_path / name).write_text("family: vgg\n")
    found = find_sweeps([tmp_path / "b.yaml", tmp_path])
    assert [path.name for path in found] == ["b.yaml", "a.yml"]
    (tmp_path / "empty").mkdir()
    for path in (tmp_path / "empty", tmp_path / "c.yaml"):
        with pytest.raises(SweepError):
            find_sweeps([path])


def test_several_sweeps_report_together(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("family: vgg\n")
    (tmp_path / "b.yaml").write_text("family: vgg\nstudy: b\n")
    assert [sweep.study for sweep in load_sweeps([tmp_path])] == ["a", "b"]
    (tmp_path / "b.yaml").write_text("family: vgg\nstudy: a\n")
    (tmp_path / "c.yaml").write_text("family: vgq\n")
    with pytest.raises(SweepError) as caught:
        load_sweeps([tmp_path])
    assert len(caught.value.problems) == 2
    assert "a.yaml" in caught.value.problems[0]
    assert "c.yaml: line 1" in caught.value.problems[1]


def test_errors_of_a_sweep_cost_no_heavy_import() -> None:
    code = (
        "import sys, fer_tune.sweep, fer_tune.sweep.templates, fer_tune.sweep.describe;"
        "fer_tune.sweep.templates.template('resnet');"
        "print([m for m in ('torch', 'wandb', 'sklearn', 'optuna', 'pandas') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_data_as_a_path_and_as_a_mapping() -> None:
    short = loads("family: resnet\ndata: faces.zip\n")
    assert (short.data, short.side, short.channels) == ("faces.zip", 48, 1)
    long = loads("family: resnet\ndata: {path: faces.zip, side: 64, channels: 3}\n")
    assert (long.data, long.side, long.channels) == ("faces.zip", 64, 3)
    assert loads(f"family: resnet\n{dump(long.plain())}".split("\n", 1)[1]).plain() == long.plain()


def test_the_signature_has_the_images_shape_and_not_their_path() -> None:
    sweep = loads("family: resnet\ndata: {path: faces.zip, side: 64}\n")
    assert sweep.signature() == loads("family: resnet\ndata: {path: ../moved/faces, side: 64}\n").signature()
    assert sweep.signature() != loads("family: resnet\ndata: faces.zip\n").signature()
    assert sweep.signature() != loads("family: resnet\ndata: {side: 64, channels: 3}\n").signature()


def test_another_path_from_the_command_line_keeps_side_and_channels() -> None:
    sweep = loads("family: resnet\ndata: {path: faces.zip, side: 64}\n", "data.path=moved: #1")
    assert (sweep.data, sweep.side) == ("moved: #1", 64)
    assert (loads("family: resnet\ndata: faces.zip\n", "data.side=32").data) == "faces.zip"
    assert loads("family: resnet\n", "data.side=32").side == 32


@pytest.mark.parametrize("stem", ["", "stem: 3x3", "stem: {choices: [3x3]}", "stem: {value: 3x3, when: {depth: 18}}"])
def test_a_network_that_halves_small_images_less_often_may_have_them(stem: str) -> None:
    text = f"family: resnet\ndata: {{path: demo, side: 16}}\nparams: {{crop: 8, depth: {{choices: [18, 34]}}, {stem}}}"
    assert loads(text).side == 16


@pytest.mark.parametrize("stem", ["7x7", "{choices: [3x3, 7x7]}", "{value: 7x7, when: {depth: 18}}"])
def test_images_that_a_drawn_network_would_halve_too_often_are_refused(stem: str) -> None:
    text = f"family: resnet\ndata: {{path: demo, side: 16}}\nparams: {{depth: {{choices: [18, 34]}}, stem: {stem}}}"
    words = "data.side: must be at least 32 for resnet, which halves the images 5 times, not 16"
    assert only(text) == f"line 2: {words}"


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ("{path: x, sides: 3}", "data.sides: unknown key; nearest: side; allowed: path, side, channels"),
        ("{path: x, side: 4}", "data.side: must be at least 8, not 4"),
        ("{path: x, channels: 2}", "data.channels: must be 1 or 3, not 2"),
        ("{path: x, side: large}", "data.side: must be a whole number, not large"),
        ("[a, b]", "data.path: must be text, not a list"),
    ],
)
def test_wrong_data_is_refused(data: str, words: str) -> None:
    assert only(f"family: resnet\ndata: {data}\n") == f"line 2: {words}"


def test_search_by_word_or_with_options() -> None:
    assert loads("family: vgg").search == SearchSpec()
    sweep = loads("family: vgg\nsearch: promote")
    assert (sweep.search.strategy, sweep.pruner.name) == ("promote", "none")
    sweep = loads("family: vgg\nsearch: {strategy: promote, rungs: [2, 8]}\npruner: median", "search.factor=4")
    assert (sweep.search.rungs, sweep.search.factor, sweep.pruner.name) == ([2, 8], 4, "median")
    assert loads(dump(sweep.plain())).search == sweep.search


@pytest.mark.parametrize("rungs", ["[0]", "2", "[4, 2]"])
def test_an_error_about_changed_rungs_names_the_change(rungs: str) -> None:
    text = "family: vgg\nsearch: {strategy: promote, rungs: [2]}"
    assert only(text, f"search.rungs={rungs}").startswith(f"--set search.rungs={rungs}: search.rungs: must be ")


@pytest.mark.parametrize("given", ["rungs: [2]", "first: 2", "compare: val_loss", "keep_gb: 1"])
def test_options_of_rungs_need_rungs(given: str) -> None:
    key = given.partition(":")[0]
    text = "family: vgg\nsearch:\n  factor: 3\n  {}"
    assert only(text.format(given)) == f"line 4: search.{key}: needs strategy: promote, which has rungs"
    assert loads(text.format(given) + "\n  strategy: promote").search.strategy == "promote"
    changed = f"search={{{given}}}"
    assert only("family: vgg", changed) == f"--set {changed}: search.{key}: needs strategy: promote, which has rungs"


def test_a_sweep_without_rungs_is_kept_with_all_its_keys() -> None:
    sweep = loads("family: vgg\nsearch: {factor: 3}")
    assert loads(dump(sweep.plain())).search == sweep.search


@pytest.mark.parametrize(
    ("search", "note"),
    [
        ("{strategy: promote, rungs: [2, 5]}", ""),
        ("{strategy: prune}", ""),
        ("{strategy: promote, rungs: []}", ""),
        ("{strategy: promote, first: 3}", ""),
        ("{strategy: promote, rungs: [2, 6, 9]}", "search.rungs: trials have 6 epochs, so none pauses at 6 and 9"),
        ("{strategy: promote, first: 4}", "search.first: trials have 6 epochs, so none pauses: the highest rung is 3"),
    ],
)
def test_rungs_that_no_trial_reaches_are_noted(search: str, note: str) -> None:
    sweep = loads(f"family: vgg\nbudget: {{epochs: 6}}\nsearch: {search}")
    assert sweep.notes == ((note,) if note else ())


def test_a_schedule_that_is_too_short_for_rungs_is_noted() -> None:
    sweep = loads("family: vgg\nbudget: {epochs: 1}\nsearch: promote")
    assert sweep.notes == ("search: trials have 1 epoch, which is too few for a rung, so none pauses",)


@pytest.mark.parametrize(
    ("sampler", "note"),
    [
        ("effects", ""),
        ("random", ""),
        ("tpe", "sampler: tpe ignores off (mixup, lr) and draws evenly; effects and random use it"),
        ("{name: gp}", "sampler: gp ignores off (mixup, lr) and draws evenly; effects and random use it"),
    ],
)
def test_a_sampler_that_ignores_off_is_noted_and_check_claims_no_share(sampler: str, note: str) -> None:
    sweep = loads(
        f"""
family: vgg
sampler: {sampler}
params:
  mixup: {{low: 0, high: 0.5, off: 0.5}}
  cutmix: {{low: 0, high: 0.5}}
  optimizer: {{choices: [sgd, adamw]}}
  lr: [{{low: 0.1, high: 0.2, off: 0.5, when: {{optimizer: sgd}}}},
       {{low: 0.01, high: 0.02, off: 0.5, when: {{optimizer: adamw}}}}]
"""
    )
    assert sweep.notes == ((note,) if note else ())
    claimed = [row.name for row in rows(sweep) if "of the draws" in row.values]
    assert claimed == ([] if note else ["mixup", "lr", "lr"])


def test_a_prior_without_start_configurations_is_noted() -> None:
    sweep = loads("family: vgg\nsearch: {prior: {from: start}}")
    assert sweep.notes == ("`start` has no configurations, so the search has no prior",)


def test_a_sweep_knows_where_the_study_of_its_prior_was_written() -> None:
    text = "family: vgg\nsearch:\n  prior:\n    study: other"
    assert loads(text).prior_origin == "line 4"
    assert loads(text, "lr=0.1").prior_origin == "line 4"
    assert loads(text, "search.prior.study=x").prior_origin == "--set search.prior.study=x"


def test_the_schedule_of_the_search() -> None:
    assert loads("family: vgg").schedule == ScheduleSpec(name="asynchronous", slots=8)
    assert loads("family: vgg\nschedule: deterministic").schedule.name == "deterministic"
    sweep = loads("family: vgg\nschedule: {name: deterministic, slots: 16}\nparams: {schedule: cosine}")
    assert sweep.schedule.slots == 16
    assert sweep.space["schedule"].domain == Fixed("cosine")
    assert loads_sweep(dump(sweep.plain()), Path("vgg.yaml")).schedule == sweep.schedule


def test_the_command_line_tells_the_two_schedules_apart() -> None:
    sweep = loads("family: vgg", "schedule=deterministic", "schedule.slots=4")
    assert (sweep.schedule.name, sweep.schedule.slots) == ("deterministic", 4)
    sweep = loads("family: vgg\nschedule: deterministic", "schedule=cosine")
    assert (sweep.schedule.name, sweep.space["schedule"].domain) == ("deterministic", Fixed("cosine"))
    sweep = loads("family: vgg", "schedule={name: deterministic, slots: 2}")
    assert sweep.schedule.slots == 2


@pytest.mark.parametrize(
    ("lines", "what"),
    [
        ("schedule: deterministic\nbudget: {patience: 20}", "does not go with schedule: deterministic"),
        ("schedule: cosine", "must be .asynchronous. or .deterministic., not cosine"),
        ("schedule: {name: deterministic, slots: 0}", "must be at least 1, not 0"),
    ],
)
def test_a_schedule_that_is_not_valid(lines: str, what: str) -> None:
    with pytest.raises(SweepError, match=what):
        loads(f"family: vgg\n{lines}")


def test_a_list_of_allowed_names_is_said_once() -> None:
    found = problems("family: resnet\nparams: {widht: 1, dropuot: 0.1}\nstart: [{widht: 2}]\nbuget: 1")
    assert len(found) == 4
    assert [", " in problem for problem in found].count(True) == 2, "the hyperparameters once, and the keys once"
