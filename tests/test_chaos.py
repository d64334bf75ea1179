"""Tests of campaigns of faults against real runs, and that their checks can fail."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.chaos import other_hands, page
from benchmarks.chaos.campaigns import LONG, SHORT, Campaign, Result, Undisturbed, carry_out
from benchmarks.chaos.checks import CHECKS, Case
from benchmarks.chaos.evidence import Try
from benchmarks.chaos.faults import Effect

KILLS = 5

pytestmark = pytest.mark.chaos  # `make test` runs the short campaign


@pytest.fixture(scope="module")
def calm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Undisturbed]:
    """Yields the inline run that all campaigns are compared with."""
    undisturbed = Undisturbed(tmp_path_factory.mktemp("undisturbed"))
    yield undisturbed
    undisturbed.close()


@pytest.fixture(scope="module")
def short(calm: Undisturbed, tmp_path_factory: pytest.TempPathFactory) -> Result:
    return carry_out(SHORT, 0, tmp_path_factory.mktemp("short"), calm, print)


@pytest.fixture
def case(short: Result) -> Case:
    assert short.case is not None
    return short.case


@pytest.mark.timeout(600)
def test_nothing_is_lost_in_a_short_campaign(short: Result) -> None:
    assert len(short.happened) == KILLS
    assert {name: found for name, found in short.problems.items() if found} == {}
    assert short.runs > 1, "no orchestrator was killed"
    assert short.attempts > short.budget + short.fits > short.budget, "no job was interrupted"


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("campaign", LONG, ids=lambda campaign: campaign.name)
def test_nothing_is_lost_in_a_long_campaign(campaign: Campaign, calm: Undisturbed, tmp_path: Path) -> None:
    result = carry_out(campaign, 1, tmp_path, calm, print)
    if result.skipped:
        pytest.skip(result.skipped)
    assert {name: found for name, found in result.problems.items() if found} == {}


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_other_hands_in_the_database_end_no_run(calm: Undisturbed, tmp_path: Path) -> None:
    result = other_hands.carry_out(1, tmp_path, calm, print)
    assert {name: found for name, found in result.problems.items() if found} == {}


def test_the_long_campaigns_kill_a_hundred_times() -> None:
    assert sum(name.startswith("SIGKILL") for one in LONG for name in [*one.plan(0), *one.final_plan(0)]) >= 100


def a_try(case: Case) -> tuple[int, Try]:
    """Returns the seed and the last try of some trial."""
    seed, tries = next(iter(case.found.tries.items()))
    return seed, tries[-1]


def with_rows(case: Case, change: Callable[[Try], Try]) -> Case:
    seed, last = a_try(case)
    tries = {**case.found.tries, seed: (*case.found.tries[seed][:-1], change(last))}
    return replace(case, found=replace(case.found, tries=tries))


def one_less(case: Case) -> Case:
    return replace(case, found=replace(case.found, trials=case.found.finished[:-1]))


def one_twice(case: Case) -> Case:
    return replace(case, found=replace(case.found, trials=(*case.found.trials, case.found.finished[0])))


def epoch_twice(case: Case) -> Case:
    return with_rows(case, lambda one: replace(one, rows=(*one.rows, one.rows[-1])))


def still_open(case: Case) -> Case:
    return with_rows(case, lambda one: replace(one, record=replace(one.record, ended=None)))


def all_repeated(case: Case) -> Case:
    seed, last = a_try(case)
    slow = tuple(replace(row, seconds=1.0 + row.epoch / 100) for row in last.rows)
    again = tuple(replace(row, seconds=2.0 + row.epoch / 100) for row in last.rows)
    tries = {seed: (replace(last, rows=slow), replace(last, rows=again))}
    return replace(case, found=replace(case.found, tries=tries))


def another_number(case: Case) -> Case:
    return with_rows(case, lambda one: replace(one, rows=(replace(one.rows[0], train_loss=0.5), *one.rows[1:])))


def another_winner(case: Case) -> Case:
    first = case.found.ranked[0]
    return replace(case, found=replace(case.found, ranked=(replace(first, value=2.0), *case.found.ranked[1:])))


def another_width(case: Case) -> Case:
    first = case.found.ranked[0]
    other = replace(first, params={**first.params, "width": 24})
    return replace(case, found=replace(case.found, ranked=(other, *case.found.ranked[1:])))


def run_twice(case: Case) -> Case:
    runs = case.found.mirrored
    return replace(case, found=replace(case.found, mirrored={**runs, "again": next(iter(runs.values()))}))


def with_fit(**changes: object) -> Callable[[Case], Case]:
    """Returns a change of the first final fit."""

    def spoil(case: Case) -> Case:
        first, *others = case.found.fits
        return replace(case, found=replace(case.found, fits=(replace(first, **changes), *others)))  # type: ignore[arg-type]

    return spoil


def one_fit_less(case: Case) -> Case:
    return replace(case, found=replace(case.found, fits=case.found.fits[1:]))


def not_noticed(case: Case) -> Case:
    return replace(case, effects={"SIGKILL worker": [Effect("slow", 3.0)]})


@pytest.mark.parametrize(
    ("check", "spoil"),
    [
        ("exactly its budget", one_less),
        ("exactly its budget", one_twice),
        ("no trial lost", one_less),
        ("no trial double", one_twice),
        ("no epoch double", epoch_twice),
        ("every attempt over", still_open),
        ("one interval repeated at most", all_repeated),
        ("epochs equal, bit for bit", another_number),
        ("ranking equal", another_winner),
        ("ranking equal", another_width),
        ("database sound", lambda case: replace(case, found=replace(case.found, integrity="row 1 missing"))),
        ("database sound", lambda case: replace(case, found=replace(case.found, foreign=1))),
        ("doctor content", lambda case: replace(case, found=replace(case.found, doctor=("files: one too many",)))),
        ("nothing left behind", lambda case: replace(case, processes=("python -m fer_tune.pool.worker 4",))),
        ("nothing left behind", lambda case: replace(case, found=replace(case.found, left=("checkpoints/0",)))),
        ("wandb has each row once", run_twice),
        ("final fits whole", one_fit_less),
        ("final fits whole", lambda case: replace(case, found=replace(case.found, fits=()))),
        ("final fits whole", with_fit(state="failed")),
        ("final fits whole", with_fit(evaluated=False)),
        ("final fits whole", with_fit(curve=())),
        ("test opened once", with_fit(openings=2)),
        ("final fits equal, bit for bit", with_fit(model="0" * 64)),
        ("final fits equal, bit for bit", with_fit(curve=())),
        ("final fits equal, bit for bit", with_fit(seed=-1)),
        ("faults noticed", not_noticed),
        ("faults noticed", lambda case: replace(case, effects={"SIGTERM": [Effect("", None, "did not end")]})),
    ],
)
def test_each_check_can_fail(check: str, spoil: Callable[[Case], Case], case: Case) -> None:
    assert list(CHECKS[check](spoil(case)))


def test_the_page_shows_the_last_campaigns() -> None:
    assert page.main(["--check"]) == 0
