"""Conditions and orders of trials, as `fer-tune trials --where` and `--sort` take them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from fer_tune.errors import SettingsError
from fer_tune.study import TrialSummary
from fer_tune.study.picking import pick, value_of, varying


def trial(number: int, value: float | None, **params: object) -> TrialSummary:
    state = "failed" if value is None else "complete"
    return TrialSummary(number, None, state, value, params, 3, None, None, None, None, {"device": "cpu"})  # type: ignore[arg-type]


TRIALS = [
    trial(0, 0.5, lr=0.01, optimizer="sgd", momentum=0.9, flag=True),
    trial(1, 0.7, lr=0.001, optimizer="adamw", flag=False),
    trial(2, None, lr=0.1, optimizer="sgd", momentum=0.5, flag=True),
    trial(3, 0.6, lr=0.02, optimizer="adamw", flag=True),
]


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        ("lr>0.01", [2, 3]),
        ("lr >= 0.01", [0, 2, 3]),
        ("lr=1e-2", [0]),
        ("optimizer=sgd", [0, 2]),
        ("optimizer!=sgd", [1, 3]),
        ("momentum<1", [0, 2]),
        ("momentum!=0.9", [1, 2, 3]),
        ("state=complete", [0, 1, 3]),
        ("value>55%", [1, 3]),
        ("flag=true", [0, 2, 3]),
        ("device==cpu", [0, 1, 2, 3]),
        ("trial<2", [0, 1]),
    ],
)
def test_a_condition_picks(condition: str, expected: list[int]) -> None:
    assert [one.number for one in pick(TRIALS, [condition])] == expected


def test_all_conditions_must_hold() -> None:
    assert [one.number for one in pick(TRIALS, ["lr>0.001", "optimizer=adamw"])] == [3]


@pytest.mark.parametrize(
    ("sort", "expected"),
    [
        ("value", [1, 3, 0, 2]),
        ("-value", [0, 3, 1, 2]),
        ("lr", [1, 0, 3, 2]),
        ("-lr", [2, 3, 0, 1]),
        ("optimizer", [1, 3, 0, 2]),
        ("momentum", [2, 0, 1, 3]),
    ],
)
def test_an_order_sorts_and_puts_what_lacks_the_value_last(sort: str, expected: list[int]) -> None:
    assert [one.number for one in pick(TRIALS, sort=sort)] == expected


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({"where": ["lr"]}, "'lr' is not a condition"),
        ({"where": ["lr="]}, "'lr=' is not a condition"),
        ({"where": ["lr>high"]}, "> needs a number, not 'high'"),
        ({"where": ["momentun>1"]}, "No trial has a value named 'momentun'. Did you mean momentum?"),
        ({"sort": "-optimiser"}, "No trial has a value named 'optimiser'. Did you mean optimizer?"),
    ],
)
def test_what_cannot_be_read_is_explained(words: dict[str, object], message: str) -> None:
    with pytest.raises(SettingsError, match=message.replace("?", r"\?")):
        pick(TRIALS, **words)  # type: ignore[arg-type]


def test_what_varies_is_in_the_order_of_the_sweep() -> None:
    assert varying(TRIALS) == ["lr", "optimizer", "momentum", "flag"]
    assert varying([trial(0, 0.1, lr=1, width=8), trial(1, 0.1, lr=2, width=8)]) == ["lr"]
    assert value_of(TRIALS[1], "momentum") is None


def test_what_a_trial_without_a_job_lacks_does_not_vary() -> None:
    """No worker has had it, so only the parameters that it drew are known."""
    waiting = trial(2, None, lr=3)
    some = [replace(trial(n, 0.1, lr=n, width=8, optimizer="sgd"), job=f"{n}") for n in (0, 1)]
    assert varying([*some, waiting]) == ["lr"]
    adamw = replace(trial(3, 0.1, lr=1, width=8, optimizer="adamw"), job="3")
    sgd = replace(trial(4, 0.1, lr=1, width=8, optimizer="sgd", momentum=0.9), job="4")
    assert varying([adamw, sgd, waiting]) == ["lr", "optimizer", "momentum"]
