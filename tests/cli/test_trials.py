"""`fer-tune trials`: the hyperparameters that vary, as many as fit, and quickly."""

from __future__ import annotations

import json
import time
from dataclasses import replace

from rich.cells import cell_len

from fer_tune import api
from fer_tune.cli.trials import chosen, how_to_see
from fer_tune.display.lines_of_table import Cells, folded, lines_of_table
from fer_tune.store import Store
from tests.cli.conftest import Run


def test_the_table_has_hyperparameters(store: Store, fer_tune: Run) -> None:
    shown = fer_tune("trials", "tiny").stdout.splitlines()
    assert shown[1].split() == ["trial", "state", "value", "epochs", "time", "lr", "start,", "reason"]
    shown = fer_tune("trials", "--sort", "value", "--where", "state=complete").stdout.splitlines()
    assert [line.split()[0] for line in shown[3:]] == ["1", "0", "4"]
    shown = fer_tune("trials", "--columns", "trial,width,device,lr", "--sort", "-lr").stdout.splitlines()
    assert shown[1].split() == ["trial", "width", "device", "lr"]
    assert len(shown) == 8


def test_only_reasons_that_the_state_does_not_say_are_in_the_table(store: Store) -> None:
    [trial, *_] = api.trials("tiny")
    reasons = ("pruned in epoch 2, where it was not among the best", "its time limit of 5 s was over")
    some = [replace(trial, number=at, state="pruned", attrs={"reason": why}) for at, why in enumerate(reasons)]
    columns, _ = chosen(some, 80, hyperparameters=True)
    assert columns[-1].heading == "start, reason"
    assert [text.rpartition(" · ")[2] for text in columns[-1].texts] == [trial.name or "", reasons[1]]


def test_an_unknown_column_is_refused_before_anything_is_printed(store: Store, fer_tune: Run) -> None:
    shown = fer_tune("trials", "--columns", "trial,widht")
    assert shown.stdout == ""
    assert "Did you mean width?" in shown.stderr


def test_a_column_may_have_what_only_other_trials_have(store: Store, fer_tune: Run) -> None:
    """Only the failed trial has a reason."""
    shown = fer_tune("trials", "--columns", "trial,reason", "--where", "state=complete")
    assert shown.exit_code == 0, shown.output
    assert [line.split() for line in shown.stdout.splitlines()[3:]] == [["0", "–"], ["1", "–"], ["4", "–"]]


def test_conditions_hold_for_json_too(store: Store, fer_tune: Run) -> None:
    listed = json.loads(fer_tune("trials", "--json", "--where", "value>40%", "--sort", "value").stdout)
    assert [trial["number"] for trial in listed] == [1, 0, 4]
    assert fer_tune("trials", "--where", "lr>1").stderr == "No trial of tiny meets lr>1.\n"


def test_the_time_is_that_of_training_and_leaves_out_pauses(store: Store) -> None:
    [trial, *_] = api.trials("tiny")
    known = replace(trial, attrs={"seconds": 4.25})
    columns, _ = chosen([known], 80, hyperparameters=True)
    assert next(column.texts for column in columns if column.heading == "time") == ["4.2 s"]
    assert replace(trial, attrs={}).trained == trial.seconds


def test_a_trial_that_was_queued_again_has_no_time(store: Store) -> None:
    """It ends when the next run begins, which may be days after the run that was killed."""
    [trial, *_] = api.trials("tiny")
    left = replace(trial, state="requeued", attrs={"requeued_as": 5})
    columns, _ = chosen([left], 80, hyperparameters=True)
    assert next(column.texts for column in columns if column.heading == "time") == ["–"]


def test_what_does_not_fit_can_be_asked_for() -> None:
    assert how_to_see(["a"]) == "1 more hyperparameter varies: a. --columns trial,value,a shows it."
    assert how_to_see(["a", "b"]) == "2 more hyperparameters vary: a, b. --columns trial,value,a,b shows them."
    assert how_to_see(list("abcde")).endswith("--columns trial,value,a,b,c shows some.")


def test_what_does_not_fit_is_named(store: Store) -> None:
    [trial, *_] = api.trials("tiny")
    params = {f"a_long_hyperparameter_{number}": number for number in range(9)}
    some = [replace(trial, params={name: value + add for name, value in params.items()}) for add in (0, 1)]
    columns, missing = chosen(some, 80, hyperparameters=True)
    assert [column.heading for column in columns][-2:] == ["a_long_hyperparameter_0", "start, reason"]
    assert missing == list(params)[1:]


def test_ten_thousand_rows_are_written_in_a_moment(store: Store) -> None:
    [trial, *_] = api.trials("tiny")
    many = [replace(trial, number=number, params={"lr": 1e-5 * number, "width": number}) for number in range(10_000)]
    began = time.process_time()
    columns, _ = chosen(many, 80, hyperparameters=True)
    lines = [text for text, _ in lines_of_table(columns, 80)]
    assert len(lines) == 10_002
    assert time.process_time() - began < 1.0  # it takes 0.2 s; rich takes 5 s


def test_the_last_column_is_folded_between_words() -> None:
    columns = [Cells("n", ["1", "22"]), Cells("why", ["it failed here for a reason", "初めての試み"], right=False)]
    lines = [text for text, _ in lines_of_table(columns, 20)]
    assert lines == [" n  why", "─" * 20, " 1  it failed here", "    for a reason", "22  初めての試み"]
    assert max(map(cell_len, lines)) <= 20
    assert list(folded("abcdefgh ij", 3)) == ["abc", "def", "gh", "ij"]
