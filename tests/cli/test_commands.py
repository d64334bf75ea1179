"""The commands on a study that was run on paper: what they print, and how they end."""

from __future__ import annotations

import csv
import io
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import get_args

import pytest
from rich.cells import cell_len

from fer_tune.cli.run import _conclude, exit_code
from fer_tune.display.terminal import console
from fer_tune.jobs import RunOutcome, StudyOutcome
from fer_tune.jobs.outcome import Reason
from fer_tune.models import FAMILIES
from fer_tune.settings import Settings
from fer_tune.store import Store
from fer_tune.study import Counts
from tests.cli.conftest import Run
from tests.optunas_command import optuna_prints
from tests.studies import SWEEP, make_study


def test_best_names_the_highest_complete_trial(store: Store, fer_tune: Run) -> None:
    found = json.loads(fer_tune("best", "--json").stdout)
    assert found["study"] == "tiny"
    assert [(trial["number"], trial["value"], trial["best_epoch"]) for trial in found["trials"]] == [(1, 0.6, 3)]
    top = json.loads(fer_tune("best", "--study", "tiny", "--top", 9, "--json").stdout)["trials"]
    assert [trial["number"] for trial in top] == [1, 0, 4]


def test_optuna_agrees_on_the_best_trial(store: Store, fer_tune: Run) -> None:
    ours = json.loads(fer_tune("best", "--json").stdout)["trials"][0]
    found = optuna_prints("--storage", store.url, "best-trial", "--study-name", "tiny", "--format", "json")
    theirs = json.loads(found)
    assert (theirs["number"], theirs["value"]) == (ours["number"], {"val_accuracy": ours["value"]})
    assert theirs["params"].items() <= ours["params"].items()


def test_tables_fit(settings: Settings, fer_tune: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    name = "a-study-whose-name-is-as-long-as-the-name-of-a-study-may-be-6464"
    sweep = SWEEP.replace("study: tiny", f"study: {name}").replace("by hand", "初めての試み mit größter Sorgfalt")
    make_study(settings).close()
    make_study(settings, sweep=sweep).close()
    file = settings.root / "long.yaml"
    file.write_text(sweep)
    for width in (60, 80, 140):
        monkeypatch.setenv("COLUMNS", str(width))
        for words in (["best", "--top", 5, "--study", name], ["trials", "--study", name], ["studies"]):
            printed = fer_tune(*words)
            assert printed.exit_code == 0, printed.output
            lines = printed.stdout.splitlines()
            assert max(map(cell_len, lines[1:])) <= width
            assert name in "".join(line.split("  ")[0].strip() for line in lines)
            assert "60.00 %" in printed.stdout
            assert "…" not in printed.stdout
        lines = fer_tune("check", file).stdout.splitlines()
        assert max(map(cell_len, lines[2:])) <= width
        assert any("0.0001 to 0.01" in line for line in lines)


def test_a_terminal_that_knows_no_dash(store: Store) -> None:
    command = [sys.executable, "-m", "fer_tune", "trials"]
    environment = os.environ | {"PYTHONIOENCODING": "ascii"}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert (done.returncode, done.stderr) == (0, "")
    assert "60.00 %" in done.stdout


def test_trials_as_csv_and_json_say_the_same(store: Store, fer_tune: Run) -> None:
    rows = list(csv.DictReader(io.StringIO(fer_tune("trials", "--csv").stdout)))
    listed = json.loads(fer_tune("trials", "--json").stdout)
    assert [row["state"] for row in rows] == ["complete", "complete", "pruned", "failed", "complete"]
    for row, trial in zip(rows, listed, strict=True):
        assert int(row["number"]) == trial["number"]
        assert float(row["params.lr"]) == trial["params"]["lr"]
        assert row["attrs.device"] == "cpu"
    assert fer_tune("trials", "--json", "--csv").exit_code == 2


def test_studies_counts(store: Store, fer_tune: Run) -> None:
    [study] = json.loads(fer_tune("studies", "--json").stdout)
    assert {state: count for state, count in study["counts"].items() if count} == {
        "complete": 3,
        "pruned": 1,
        "failed": 1,
    }
    assert study["counts"].keys() >= {"running", "waiting", "interrupted", "paused"}
    assert study["best"]["number"] == 1
    heading, _, row = fer_tune("studies").stdout.splitlines()
    assert heading.split()[-3:] == ["best", "over", "start"]
    assert "60.00 %  +10.0 ± 15" in row


@pytest.mark.parametrize("width", [60, 80, 140])
def test_studies_shows_paused_trials_at_every_width(
    settings: Settings, fer_tune: Run, monkeypatch: pytest.MonkeyPatch, width: int
) -> None:
    make_study(settings).close()
    monkeypatch.setenv("COLUMNS", str(width))
    assert ("paused" in fer_tune("studies").stdout) == (width == 140)
    name = "a-study-whose-name-is-long"
    curves = (("complete", [0.5]), ("paused", [0.4]))
    make_study(settings, curves, SWEEP.replace("study: tiny", f"study: {name}")).close()
    lines = fer_tune("studies").stdout.splitlines()
    at = lines[0].index("paused") + len("paused")
    counts = [line[:at].split()[-1] for line in lines[2:] if "50.00 %" in line or "60.00 %" in line]
    assert counts == ["0", "1"]
    assert max(map(cell_len, lines)) <= width


def test_best_of_nothing_ends_with_3(settings: Settings, fer_tune: Run) -> None:
    with make_study(settings, curves=()):
        assert fer_tune("best").exit_code == 3


def test_several_studies_must_be_named(settings: Settings, store: Store, fer_tune: Run) -> None:
    with make_study(settings, sweep=SWEEP.replace("study: tiny", "study: other")):
        answer = fer_tune("best")
    assert answer.exit_code == 2
    assert "--study: tiny, other" in answer.stderr


@pytest.mark.parametrize(
    "words",
    [
        ["best"],
        ["studies"],
        ["retrain"],
        ["check", "nowhere.yaml"],
        ["run", "nowhere.yaml"],
        ["init", "alexnet"],
        ["data", "nowhere.csv"],
        ["predict", "nowhere", "nobody.png"],
        ["run", "sweeps", "--engine", "magic"],
        ["fly"],
    ],
)
def test_bad_input_ends_with_2_and_a_hint(fer_tune: Run, words: list[str]) -> None:
    answer = fer_tune(*words)
    assert answer.exit_code == 2
    assert answer.stderr
    assert "Traceback" not in answer.stderr
    assert isinstance(answer.exception, SystemExit)


def test_every_template_checks(fer_tune: Run, tmp_path: Path) -> None:
    for family in FAMILIES:
        sweep = tmp_path / f"{family}.yaml"
        sweep.write_text(fer_tune("init", family).stdout)
        shown = fer_tune("check", sweep)
        assert shown.exit_code == 0
        assert "weight_decay" in shown.stdout
        assert max(map(len, shown.stdout.splitlines())) <= 80


@pytest.mark.parametrize(
    ("search", "says"), [("rungs: [2]", "rung at epoch 2;"), ("rungs: [1, 2]", "rungs at epochs 1, 2;")]
)
def test_check_says_rungs_and_hours_in_words(fer_tune: Run, tmp_path: Path, search: str, says: str) -> None:
    budget = "budget: {trials: 9, epochs: 4, hours: 0.17}"
    text = f"family: simple_cnn\ndata: demo\n{budget}\nsearch: {{strategy: promote, {search}}}\nparams: {{lr: 0.1}}\n"
    (tmp_path / "s.yaml").write_text(text)
    shown = fer_tune("check", tmp_path / "s.yaml").stdout
    assert "9 trials of at most 4 epochs, 10 minutes" in shown
    assert says in shown


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ("pruner=none", "sampler tpe, rung at epoch 2; no start"),
        ("pruner=median", "sampler tpe, rung at epoch 2, pruner median; no start"),
        ("search=prune", "sampler tpe, pruner median; no start"),
        ("search={prior: {from: start}}", "sampler tpe, pruner median, prior from start (medium); no start"),
        ("search.prior={study: old, confidence: low}", "rung at epoch 2, prior of the study old (low); no start"),
        ("budget.gpu_hours=0.5", "9 trials of at most 4 epochs, 30 minutes of all devices\n"),
        ("budget.patience=20", "9 trials of at most 4 epochs, patience of 20 trials\n"),
    ],
)
def test_check_says_all_that_can_stop_a_trial_or_a_study(fer_tune: Run, tmp_path: Path, change: str, says: str) -> None:
    search = "search: {strategy: promote, rungs: [2]}"
    text = f"family: simple_cnn\ndata: demo\nbudget: {{trials: 9, epochs: 4}}\n{search}\nparams: {{lr: 0.1}}\n"
    (tmp_path / "s.yaml").write_text(text)
    shown = fer_tune("check", tmp_path / "s.yaml", "--set", change).stdout
    assert " ".join(says.split()) in " ".join(shown.split())


def test_check_separates_several_sweeps(fer_tune: Run, tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / f"{name}.yaml").write_text(SWEEP.replace("study: tiny", f"study: {name}"))
    shown = fer_tune("check", tmp_path).stdout
    assert shown.startswith("a: simple_cnn on demo")
    assert "\n\nb: simple_cnn on demo" in shown


def test_check_shows_what_set_changes(fer_tune: Run, tmp_path: Path) -> None:
    (tmp_path / "s.yaml").write_text(SWEEP)
    assert "0.125" in fer_tune("check", tmp_path / "s.yaml", "--set", "head_dropout=0.125").stdout


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys\n"
        "from fer_tune.cli import main\n"
        "sys.argv = ['fer-tune', 'run', '--help']\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "print(sorted({'torch', 'wandb', 'sklearn', 'optuna', 'sqlalchemy', 'pandas', 'numpy'} & sys.modules.keys()))"
    )
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert printed.splitlines()[-1] == "[]"


def test_python_m_is_the_command() -> None:
    printed = subprocess.run([sys.executable, "-m", "fer_tune", "version"], capture_output=True, text=True, check=True)
    assert printed.stdout.strip()


def outcome(complete: int) -> StudyOutcome:
    return StudyOutcome("tiny", Counts(complete=complete), None, None, "budget")


def test_exit_codes_of_a_run() -> None:
    assert exit_code(RunOutcome((outcome(2), outcome(0)))) == 0
    assert exit_code(RunOutcome((outcome(0),))) == 3
    assert exit_code(RunOutcome((outcome(2),), interrupted=True)) == 130


def test_each_reason_to_leave_a_study_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    printed = {}
    for reason in get_args(Reason):
        _conclude(console(), replace(outcome(0), reason=reason), None)
        first, *rest = capsys.readouterr().out.splitlines()
        printed[reason] = first.partition(")")[2], any("continues it" in line for line in rest)
    assert printed == {
        "budget": ("", False),
        "gpu_hours": (", its GPU-hours are used up", False),
        "hours": (", its hours are over", True),
        "interrupted": (", interrupted", True),
    }


def test_a_replay_without_trials_says_so(settings: Settings, fer_tune: Run) -> None:
    make_study(settings, ()).close()
    answer = fer_tune("replay")
    assert (answer.exit_code, answer.stdout) == (3, "")
    assert "No trial of tiny has trained yet." in answer.stderr
    answer = fer_tune("replay", "--json", "--pruner", "median")
    assert (answer.exit_code, answer.stdout.strip()) == (3, "[]")


def test_a_replay_with_budgets_names_the_budget_of_each_row(store: Store, fer_tune: Run) -> None:
    shown = fer_tune("replay", "--search", "promote", "--budget", 0.5, "--budget", 1).stdout.splitlines()
    assert shown[1].split()[:2] == ["rule", "budget"]
    rows = [line.split() for line in shown[3:6]]
    assert [row[:3] for row in rows] == [
        ["as", "recorded", "1"],
        ["search:", "promote", "0.5"],
        ["search:", "promote", "1"],
    ]
    assert "budget" not in fer_tune("replay").stdout


def test_a_replay_says_the_error_of_its_values(settings: Settings, store: Store, fer_tune: Run) -> None:
    said = " ".join(fer_tune("replay").stdout.split())
    assert "Validation has 21 images, so one standard error of the best value is 10.7 points." in said
    other = SWEEP.replace("study: tiny", "study: other").replace("data: demo", "data: demo\nobjective: val_macro_f1")
    make_study(settings, sweep=other).close()
    said = " ".join(fer_tune("replay", "other").stdout.split())
    assert "The best of many values is too high by chance." in said
    assert "standard error" not in said


def test_a_replay_says_which_rungs_no_trial_reaches(store: Store, fer_tune: Run) -> None:
    rule = "{strategy: promote, rungs: [1, 100]}"
    said = " ".join(fer_tune("replay", "--search", rule, "--budget", 0.5, "--budget", 1).stdout.split())
    assert said.count(f"search: {rule}: trials have 3 epochs, so none pauses at 100.") == 1
    assert "none pauses" not in fer_tune("replay", "--search", "{strategy: promote, rungs: [1]}").stdout


def test_best_says_how_sure_the_order_is(store: Store, fer_tune: Run) -> None:
    shown = fer_tune("best", "--top", 3)
    assert "± standard error" in shown.stdout
    assert "tied p 0.5" in shown.stdout
    said = " ".join(shown.stdout.split())
    assert "3 of 3 compared trials cannot be told from the leader: 1, 0, 4." in said
    found = json.loads(fer_tune("best", "--top", 2, "--json").stdout)
    assert (found["chosen"], found["ties"], found["winner"]) == (1, [1, 0, 4], None)
    assert [trial["tied"] for trial in found["trials"]] == [True, True]
    assert found["trials"][0]["error"] == pytest.approx(0.107, abs=0.001)


def test_best_names_a_pruned_trial_that_was_better(settings: Settings, fer_tune: Run) -> None:
    with make_study(settings, curves=(("complete", [0.5]), ("time", [0.6]))):
        shown = fer_tune("best")
        found = json.loads(fer_tune("best", "--json").stdout)
    assert "Trial 1 was pruned at 60.00 %, better than all complete trials" in " ".join(shown.stdout.split())
    assert (found["chosen"], found["cut_off"]) == (0, 1)


def test_best_by_the_rule_of_one_standard_error(store: Store, fer_tune: Run) -> None:
    shown = fer_tune("best", "--rule", "one_se")
    assert "The cheapest within one standard error is trial 1, with 1,234 parameters." in shown.stdout
    assert fer_tune("best", "--rule", "none").exit_code == 2


def test_a_database_without_a_study_says_how_to_make_one(settings: Settings, fer_tune: Run) -> None:
    make_study(settings).close()
    assert fer_tune("studies", "delete", "tiny").exit_code == 0
    shown = fer_tune("studies")
    assert (shown.exit_code, shown.stdout) == (0, "")
    assert "fer-tune run SWEEP" in shown.stderr
    assert json.loads(fer_tune("studies", "--json").stdout) == []


def test_a_study_may_be_named_by_an_option_in_studies_too(store: Store, fer_tune: Run, tmp_path: Path) -> None:
    assert [one["name"] for one in json.loads(fer_tune("studies", "--study", "tiny", "--json").stdout)] == ["tiny"]
    assert fer_tune("studies", "--study", "nonesuch").exit_code == 2
    assert fer_tune("studies", "rename", "--study", "tiny", "small").exit_code == 0
    assert fer_tune("studies", "export", "--study", "small", tmp_path / "small.tar").exit_code == 0
    assert fer_tune("studies", "delete", "small", "--study", "other").exit_code == 2
    assert fer_tune("studies", "delete", "--study", "small").exit_code == 0
    assert fer_tune("studies", "import", tmp_path / "small.tar").exit_code == 0
    assert [one["name"] for one in json.loads(fer_tune("studies", "--json").stdout)] == ["small"]
