"""`fer-tune run` with `--dry-run`, `--seed`, `--study`, `-v` and times."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

import fer_tune
from fer_tune.cli.app import app
from fer_tune.cli.evaluate import copies_of_training
from fer_tune.display.lines import Lines, progress
from fer_tune.display.terminal import Output, console, many, next_commands, probability
from fer_tune.errors import StudyError
from fer_tune.settings import Settings
from fer_tune.sweep.durations import hours
from tests.studies import SWEEP, Curve, epoch_row, job_of, make_study


@pytest.fixture
def sweep(tmp_path: Path) -> Path:
    file = tmp_path / "tiny.yaml"
    file.write_text(SWEEP)
    return file


def test_a_dry_run_says_what_comes_first_and_writes_nothing(sweep: Path, settings: Settings) -> None:
    shown = CliRunner().invoke(app, ["run", str(sweep), "--dry-run", "--devices", "cpu", "--trials", "1"])
    assert shown.exit_code == 0, shown.output
    text = " ".join(shown.stdout.split())
    assert "tiny: simple_cnn on demo a new study in sqlite:" in text
    assert "1 trial of at most 3 epochs; 1 worker: cpu" in text
    assert "start configuration 'by hand': lr 0.001, width 8" in text
    assert text.count("for example: lr 0.0") == 3
    assert text.endswith("nothing was trained or written")
    assert not settings.root.exists()


def test_a_dry_run_says_that_the_images_are_missing(sweep: Path, settings: Settings) -> None:
    shown = CliRunner().invoke(app, ["run", str(sweep), "--dry-run", "--devices", "cpu", "--data", "nowhere"])
    assert shown.exit_code == 0, shown.output
    assert "the images are missing: nowhere: there is no such file or folder" in " ".join(shown.stdout.split())
    [found] = fer_tune.preview(sweep, changes=["data=fer2013"])
    assert found.missing.startswith("FER2013 was not found")
    assert not settings.root.exists()


def test_a_dry_run_says_which_study_continues(sweep: Path, settings: Settings) -> None:
    make_study(settings).close()
    [found] = fer_tune.preview(sweep)
    assert found.counts is not None
    assert found.counts.finished == 5
    assert found.first == (("by hand", {"lr": 1e-3, "width": 8}),)
    with pytest.raises(StudyError, match="seed: 0, now 4"):
        fer_tune.preview(sweep, changes=["seed=4"])


@pytest.mark.parametrize(
    ("curves", "states", "what"),
    [
        ((("complete", [0.3]),), "1 finished trial", "first what waits in Optuna's queue, then new trials"),
        (
            (("complete", [0.3]), ("paused", [0.2])),
            "1 finished trial, 1 paused",
            "first paused trials that may continue, then new ones",
        ),
        ((("complete", [0.3]),) * 20, "20 finished trials", "nothing is left to train"),
    ],
)
def test_a_dry_run_says_what_continues(
    sweep: Path, settings: Settings, curves: tuple[Curve, ...], states: str, what: str
) -> None:
    make_study(settings, curves).close()
    shown = CliRunner().invoke(app, ["run", str(sweep), "--dry-run", "--devices", "cpu"])
    printed = " ".join(shown.stdout.split())
    assert f"which has {states} 20 trials of at most" in printed
    assert what in printed
    assert "by hand" not in printed


def test_a_dry_run_refuses_a_prior_that_is_not_there(sweep: Path, settings: Settings) -> None:
    words = ["run", str(sweep), "--dry-run", "--study", "other", "--set", "search.prior.study=tyni"]
    shown = CliRunner().invoke(app, words)
    assert shown.exit_code == 2
    assert "tiny.yaml: --set search.prior.study=tyni: search.prior.study: there is no study tyni." in " ".join(
        shown.stderr.split()
    )
    assert not settings.root.exists()
    make_study(settings).close()
    with pytest.raises(StudyError, match=r"Did you mean tiny\?"):
        fer_tune.preview(sweep, changes=["study=other", "search.prior.study=tyni"])
    [found] = fer_tune.preview(sweep, changes=["study=other", "search.prior.study=tiny"])
    assert found.counts is None
    assert found.notes == ()


def test_a_dry_run_says_what_a_prior_does_not_take_over(sweep: Path, settings: Settings) -> None:
    make_study(settings).close()
    changes = ["study=other", "search.prior.study=tiny", "lr=0.5"]
    [found] = fer_tune.preview(sweep, changes=changes)
    said = "The search does not take over these hyperparameters of tiny's best trial: lr."
    assert found.notes[-1] == f"search.prior: {said}"
    words = ["run", str(sweep), "--dry-run", *(word for change in changes for word in ("--set", change))]
    assert said in " ".join(CliRunner().invoke(app, words).stdout.split())


def test_seed_and_study_are_those_of_the_sweep(sweep: Path) -> None:
    words = ["run", str(sweep), "--dry-run", "--seed", "4", "--study", "other"]
    shown = CliRunner().invoke(app, words)
    assert shown.stdout.startswith("other: ")
    examples = [fer_tune.preview(sweep, changes=[f"seed={seed}"])[0].examples for seed in (0, 4, 4)]
    assert examples[1] == examples[2] != examples[0]


@pytest.mark.parametrize(
    ("changes", "off"),
    [
        (["sampler=effects"], True),
        (["sampler=random"], True),
        (["sampler=gp"], True),  # its first trials
        (["sampler=tpe"], False),
        (["sampler=qmc"], False),
        (["sampler={name: gp, n_startup_trials: 0}"], False),
        (["sampler=tpe", "search.strategy=promote"], True),  # chance draws its first trials
    ],
)
def test_examples_leave_out_what_the_sampler_would(sweep: Path, changes: list[str], off: bool) -> None:
    space = "params={mixup: {low: 0, high: 1, off: 0.97}}"
    [found] = fer_tune.preview(sweep, changes=["start=[]", space, *changes])
    assert {one["mixup"] == 0 for one in found.examples} == {off}


@pytest.mark.parametrize(
    ("text", "expected"),
    [("2", 2.0), ("90m", 1.5), ("1h30m", 1.5), ("1h 30min", 1.5), ("45s", 0.0125), ("0.5h", 0.5)],
)
def test_times_are_read_as_people_write_them(text: str, expected: float, sweep: Path) -> None:
    assert hours(text) == pytest.approx(expected)
    assert fer_tune.check(sweep, [f"budget.hours={text}"])[0].budget.hours == pytest.approx(expected)


@pytest.mark.parametrize("text", ["", "h", "10x", "ten", "1m30h", "-", "m5"])
def test_what_is_no_time_is_refused(text: str) -> None:
    assert hours(text) is None


def test_v_prints_each_epoch(settings: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    with make_study(settings, ()) as store:
        job = job_of(0, store.studies.get("tiny").data_ref(store.root))
    for epochs in (False, True):
        Lines(Output(), epochs=epochs).epoch(job, epoch_row(0, 1, 0.3), 0.3, replayed=False)
    assert capsys.readouterr().out.partition(" ")[2] == "tiny: trial 0 epoch 1/3: 30.00 %, train loss 0.1000, 0.2 s\n"


def test_one_is_singular() -> None:
    assert [many(1, "epoch"), many(2, "epoch"), many(1200, "study", "studies"), many(0.5, "hour")] == [
        "1 epoch",
        "2 epochs",
        "1,200 studies",
        "0.5 hours",
    ]


def test_commands_that_come_next_are_not_broken_within(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    for words in (("fer-tune best a", "fer-tune logs a"), ("fer-tune predict a-long-folder", "fer-tune best a")):
        next_commands(console(), *words, indent="  ")
    next_commands(console(), "fer-tune predict a-folder-that-is-longer-than-a-line")
    assert capsys.readouterr().out.splitlines() == [
        "  next: fer-tune best a; fer-tune logs a",
        "  next: fer-tune predict a-long-folder",
        "        fer-tune best a",
        "next: fer-tune predict a-folder-that-is-longer-than-a-line",
    ]


def test_copies_are_counted_in_good_grammar() -> None:
    said = [copies_of_training(copies) for copies in (None, 0, 1, 1200)]
    assert "were not looked for" in said[0]
    assert said[1:] == [
        "None of the images is a copy of a training image.",
        "1 of the images is a copy of a training image.",
        "1,200 of the images are copies of training images.",
    ]


def test_images_that_were_trained_on_are_not_called_copies() -> None:
    said = [copies_of_training(copies, trained) for copies, trained in ((5, 0), (439, 439), (1, 1), (440, 439))]
    assert said == [
        "5 of the images are copies of training images.",
        "The model was trained on 439 of these images.",
        "The model was trained on 1 of these images.",
        "The model was trained on 439 of these images. 1 of the others is a copy of a training image.",
    ]


def test_no_probability_is_shown_as_0() -> None:
    assert [probability(p) for p in (1.0, 0.04215, 0.001, 0.00099, 0.0)] == [
        "1.000",
        "0.042",
        "0.001",
        "<0.001",
        "<0.001",
    ]


@pytest.mark.parametrize(
    ("finished", "budget", "said"),
    [
        (0, 12, "0 of 12 trials finished"),
        (1, 1, "1 of 1 trial finished"),
        (30, 12, "30 trials finished, more than the budget of 12"),
    ],
)
def test_a_smaller_budget_may_follow_a_larger_one(finished: int, budget: int, said: str) -> None:
    assert progress(finished, budget, "trial") == said
