"""The report has the figures of the database, loads nothing from elsewhere, and is small."""

from __future__ import annotations

import base64
import html
import json
import math
import random
import re
from collections.abc import Iterator
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
from PIL import Image
from sqlalchemy import delete, insert, select, update
from typer.testing import CliRunner

from fer_tune.cli.app import app
from fer_tune.data import fer2013
from fer_tune.data.dataset import Dataset
from fer_tune.data.policy import SplitPolicy
from fer_tune.data.splits import reference, store_split
from fer_tune.job import Job, JobEnd, new_uid
from fer_tune.report.axes import axis_of
from fer_tune.report.final_fit import worst_mistakes
from fer_tune.report.page import render
from fer_tune.report.study_report import read_study
from fer_tune.report.tables import epoch_frame
from fer_tune.settings import Settings
from fer_tune.store import Store, tables
from fer_tune.study import Proposal, trials
from fer_tune.study.storage import optuna_storage
from tests import browser
from tests.studies import SWEEP, Curve, epoch_row, job_of, make_study, trial_job, uid_of

FER = SWEEP.replace("data: demo", "data: fer2013")


@pytest.fixture
def store(settings: Settings, demo: Dataset, monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    """A study with a final fit, on images that pass for FER2013's."""
    monkeypatch.setitem(fer2013.COUNTS, "Training", (20,) * 7)
    data = reference(demo, store_split(demo, SplitPolicy(), settings), settings)
    with make_study(settings, sweep=FER, data=data) as store:
        add_final_fit(store, settings, {"epochs": 3, "schedule": 3})
        yield store


def add_final_fit(store: Store, settings: Settings, metrics: dict[str, Any]) -> None:
    """Leaves the job and the files of a final fit of trial 1."""
    record, trial = store.studies.get("tiny"), trials(store, "tiny")[1]
    job = Job(new_uid(), "tiny", "final", "simple_cnn", trial.params, 3, 0, record.data_ref(store.root))
    store.jobs.put(job)
    folder = settings.job_folder("tiny", record.uid, job.uid)
    folder.mkdir(parents=True)
    test = {"accuracy": 0.6543, "accuracy_standard_error": 0.0123, "balanced_accuracy": 0.5}
    metrics = {
        "trial": 1,
        "params": trial.params,
        "seed": record.sweep_json["seed"],
        "test_images": 21,
        "test_openings": 2,
        "test": {"plain": test, "flip": test},
        **metrics,
    }
    size = len(record.data_spec.classes)
    confusion = {"plain": [[3 * (i == j) + (j == 0) for j in range(size)] for i in range(size)]}
    for kind, content in {"confusion": confusion, "metrics": metrics}.items():
        (folder / f"{kind}.json").write_text(json.dumps(content))
        store.artifacts.add("tiny", job.uid, kind, folder / f"{kind}.json")


class Balanced(HTMLParser):
    """Refuses tags that do not close in order, and whatever would be fetched."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.text: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag not in ("link", "iframe")
        for name, value in attrs:
            assert name not in ("src", "href", "xlink:href") or (value or "").startswith(("#", "data:"))
        if tag not in ("meta", "br", "img", "col"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def read(page: str) -> str:
    parser = Balanced()
    parser.feed(page)
    assert parser.open == []
    return " ".join(" ".join(parser.text).split())


def test_the_figures_are_those_of_the_database(store: Store) -> None:
    report = read_study(store, "tiny")
    assert report.error == pytest.approx(math.sqrt(0.6 * 0.4 / 21))
    assert [trial.number for trial in report.ties] == [0, 4]  # 0.5 twice beside 0.6: 21 images tell nothing apart
    assert report.cost.epochs == 11
    assert report.cost.planned == 15
    assert report.cost.seconds == pytest.approx(11 * 0.25)
    assert report.cost.saved == pytest.approx(0.25)  # one epoch of the pruned trial
    text = read(render(store, ["tiny"]))
    for part in (
        "60.00 ± 10.69",
        "65.43 ± 1.23",
        "2 other trials cannot be told from it",
        "had been opened 2 times",
        "budget: {trials: 20",
    ):
        assert part in text
    assert "prefers-color-scheme: dark" in render(store, ["tiny"])


def test_the_fit_of_the_best_trial_is_shown_also_if_a_later_one_is_of_another(store: Store, settings: Settings) -> None:
    add_final_fit(store, settings, {"epochs": 1, "schedule": 3, "trial": 0, "on": "train"})
    text = read(render(store, ["tiny"]))
    assert "Its final fit reaches 65.43" in text
    assert "The final fit of trial 1: 3 epochs on training and validation." in text


def test_a_fit_of_another_trial_is_named(settings: Settings) -> None:
    with make_study(settings) as store:
        add_final_fit(store, settings, {"epochs": 1, "schedule": 3, "trial": 0, "on": "train"})
        text = read(render(store, ["tiny"]))
    assert "A fit of its trial 0, trained on the training images alone, reaches 65.43" in text
    assert "The final fit of trial 0: 1 epoch on training." in text


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ({"epochs": 1, "schedule": 1}, "over a schedule of 1 instead of 3 epochs"),
        ({"epochs": 3, "schedule": 3, "changes": {"lr": 0.5}}, "with lr=0.5"),
        ({"epochs": 3, "schedule": 3, "on": "train"}, "on the training images alone"),
    ],
)
def test_a_fit_of_another_kind_is_shown_only_without_a_usual_one_and_named(
    settings: Settings, how: dict[str, Any], said: str
) -> None:
    figures = {"accuracy": 0.1234, "accuracy_standard_error": 0.0123, "balanced_accuracy": 0.1}
    other = how | {"test": {"plain": figures, "flip": figures}}
    with make_study(settings) as store:
        add_final_fit(store, settings, other)
        page = read(render(store, ["tiny"]))
        assert f"Its final fit, trained {said}, reaches 12.34 ± 1.23 % on test." in page
        assert f"12.34 ± 1.23 ({said})" in render(store, ["tiny"], "md")
        add_final_fit(store, settings, {"epochs": 3, "schedule": 3})
        add_final_fit(store, settings, other)
        page = read(render(store, ["tiny"]))
    assert "Its final fit reaches 65.43" in page
    assert said not in page


def test_fer2013_is_compared_with_the_results_by_hand(store: Store) -> None:
    text = read(render(store, ["tiny"]))
    assert "That is 7.3 points above the best result by hand (58.16 %)." in text
    assert "50.31" in text


def test_other_images_are_not_compared_with_the_results_by_hand(settings: Settings, demo: Dataset) -> None:
    """A data set of the user is not FER2013, whatever its file is called."""
    data = reference(demo, store_split(demo, SplitPolicy(), settings), settings)
    with make_study(settings, sweep=SWEEP.replace("data: demo", "data: fer2013.zip"), data=data) as store:
        add_final_fit(store, settings, {"epochs": 3, "schedule": 3})
        for page in (read(render(store, ["tiny"])), render(store, ["tiny"], "md")):
            assert "65.43" in page
            assert "by hand:" not in page
            assert "result by hand" not in page
            assert not {"58.16", "50.31"} & set(page.split())


@pytest.mark.parametrize(
    ("metrics", "command"),
    [
        ({"epochs": 84, "schedule": 110}, "--trial 1 --epochs 110"),
        ({"epochs": 110, "schedule": 110}, "--trial 1 --epochs 110 --until end"),
        ({"epochs": 84, "schedule": 110, "change": {"lr": 0.00025, "nesterov": True}},
         "--trial 1 --epochs 110 --set lr=0.00025 --set nesterov=true"),
        ({"epochs": 84, "schedule": 110, "seed": 2}, "--trial 1 --epochs 110 --seeds 3"),
        ({"epochs": 84, "schedule": 110, "change": {"optimizer": "it's"}}, """--set 'optimizer=it'"'"'s'"""),
    ],
)  # fmt: skip
def test_the_command_repeats_the_final_fit(settings: Settings, metrics: dict[str, Any], command: str) -> None:
    with make_study(settings) as store:
        params = trials(store, "tiny")[1].params | metrics.pop("change", {})
        add_final_fit(store, settings, metrics | {"params": params})
        lines = html.unescape(render(store, ["tiny"])).splitlines()
        [line] = [line for line in lines if line.startswith("fer-tune retrain")]
        assert line.startswith("fer-tune retrain --study tiny ")
        assert line.endswith(command)


def test_importance_needs_twenty_trials(settings: Settings) -> None:
    curves = tuple(("complete" if number % 2 else "pruned", [0.2 + number / 100]) for number in range(19))
    with make_study(settings, curves=curves) as store:
        text = read(render(store, ["tiny"]))
        assert "importance needs at least 20 trials with a value, and this study has 19." in text
        assert "most important hyperparameters first" not in text
        assert read_study(store, "tiny").importance == {}


def test_importance_counts_pruned_trials(settings: Settings) -> None:
    """A choice whose trials are all pruned has the greatest influence, not none."""
    with make_study(settings, curves=()) as store:
        study = optuna.load_study(study_name="tiny", storage=optuna_storage(store))
        draw = random.Random(0)
        for number in range(40):
            good = number % 2 == 0
            trial = finished(draw, "COMPLETE" if good else "PRUNED", [0.5 + number % 10 / 100 if good else 0.2])
            trial.params = {"lr": 10 ** (-4 + number / 20), "width": 8 if good else 16}
            study.add_trial(trial)
        report = read_study(store, "tiny")
        assert report.compared == 40
        assert report.importance["width"] > 0.5
        assert 0 < report.uncertainty["width"] < 0.5
        assert "What sets the best 5 of 40 trials apart" in read(render(store, ["tiny"]))


def test_the_best_start_and_the_best_sampled_trial(store: Store) -> None:
    assert "The best configuration from start: reached 50.00 %, the best sampled one 60.00 %: a tie." in read(
        render(store, ["tiny"])
    )


def test_the_baseline_is_a_line_in_every_figure_of_accuracy(store: Store) -> None:
    """Overview, history, curves, two slices and parallel axes; and in the table and the head."""
    page = render(store, ["tiny"])
    assert page.count("<title>best of start: 50.00 %</title>") == 5
    assert page.count('title="best of start: 50.00 %"') == 1
    assert "validation, best of start" in page
    text = read(page)
    assert "Best hyperparameters of trial 1: 60.00 ± 10.69 %, +10.00 over the best of start" in text
    assert "1 complete 60.00 +10.00" in text
    assert "2 pruned 12.00 -38.00" in text
    assert "3 failed – –" in text


def test_figures_have_no_tick_for_what_is_not_known() -> None:
    assert [label for _, label in axis_of([None, "a", None], category=True).ticks(5)] == ["a"]
    assert [label for _, label in axis_of([None, 1, 3]).ticks(3)] == ["1", "2", "3"]


def test_only_the_pruner_saves(settings: Settings) -> None:
    """Pruned is also what time or a loss that is not finite ended."""
    others = ("time", "the loss is not finite in epoch 2", "it took longer than its trial_timeout of 1 s")
    curves = (("complete", [0.3, 0.4, 0.5]), ("pruned", [0.1]), *((reason, [0.2]) for reason in others))
    with make_study(settings, curves=curves) as store:
        report = read_study(store, "tiny")
    assert report.counts.pruned == 4
    assert report.cost.saved == pytest.approx(0.5)  # two epochs of the one


def lasts(store: Store, number: int, span: tuple[int, int], attempt: int = 0, status: str = "completed") -> None:
    """Sets when an attempt at a trial of `tiny` started and ended, in seconds of a day."""
    started, ended = (datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=moment) for moment in span)
    this = (tables.attempts.c.attempt == attempt) & (tables.attempts.c.job_id == store.jobs.key(uid_of(number)))
    values = {"started": started, "ended": ended, "status": status}
    with store.engine.begin() as tx:
        tx.execute(update(tables.attempts).where(this).values(values))


def test_time_leaves_out_the_pauses_between_runs(settings: Settings) -> None:
    """Trial 1 was killed after its second epoch, and continued from there an hour later."""
    curves: tuple[Curve, ...] = (("complete", [0.3]), ("complete", [0.3, 0.4]))
    with make_study(settings, curves=curves) as store:
        lasts(store, 0, (0, 4))
        lasts(store, 1, (3600, 7200), status="lost")
        data = store.studies.get("tiny").data_ref(store.root)
        store.jobs.start_attempt(job_of(1, data, attempt=1), 0, "cpu")
        for epoch, value in ((1, 0.3), (2, 0.4), (3, 0.5)):
            store.epochs.add(epoch_row(1, epoch, value, attempt=1))
        store.jobs.end_attempt(JobEnd(uid_of(1), 1, "completed"))
        lasts(store, 1, (7200, 7202), attempt=1)
        assert read_study(store, "tiny").cost.wall == pytest.approx(4 + 0.5 + 2)
        lasts(store, 1, (7200, 9000), attempt=1, status="lost")
        assert read_study(store, "tiny").cost.wall == pytest.approx(4 + 0.5 + 0.25)  # two epochs were only sent again


def test_paused_trials_are_counted_where_their_epochs_are(settings: Settings) -> None:
    curves: tuple[Curve, ...] = (("complete", [0.5, 0.5, 0.5]), ("paused", [0.4]), ("paused", [0.3]))
    with make_study(settings, curves=curves) as store:
        for number in range(3):
            lasts(store, number, (10 * number, 10 * number + 4))
        cost = read_study(store, "tiny").cost
        page, text = read(render(store, ["tiny"])), render(store, ["tiny"], "md")
    assert (cost.epochs, cost.wall) == (5, pytest.approx(12))
    assert "1 study, 3 trials;" in page
    assert "complete pruned paused failed time" in page
    assert "simple_cnn 1 0 2 0 12 s" in page
    assert "| simple_cnn | 1 | 0 | 2 | 0 | 12 s |" in text
    assert "| 0 of 3 |" in text
    assert "1 complete, 0 pruned, 2 paused, 0 failed." in " ".join(text.split())


def test_markdown_is_a_table(store: Store) -> None:
    lines = [line for line in render(store, ["tiny"], "md").splitlines() if line.startswith("|")]
    assert [line.count("|") for line in lines] == [10, 10, 10, 10, 10, 10]
    opened = [[cell.strip() for cell in line.split("|")][7] for line in (lines[0], lines[2])]
    assert opened == ["times test was opened", "2"]


def test_markdown_counts_in_good_grammar(settings: Settings) -> None:
    curves: tuple[Curve, ...] = (("complete", [0.5]), ("complete", [0.52]), ("pruned", [0.1]))
    with make_study(settings, curves=curves) as store:
        text = " ".join(render(store, ["tiny"], "md").split())
    assert (
        "**tiny**: 2 complete, 1 pruned, 0 paused, 0 failed. 1 other trial cannot be told from the best. Training"
        in text
    )
    with make_study(Settings(settings.root / "b", settings.url + "2"), curves=curves[1:]) as store:
        text = " ".join(render(store, ["tiny"], "md").split())
    assert "**tiny**: 1 complete, 1 pruned, 0 paused, 0 failed. Training took" in text


def test_nothing_completed(settings: Settings) -> None:
    with make_study(settings, curves=(("failed", []), ("pruned", [0.1]))) as store:
        assert "No trial has completed." in read(render(store, ["tiny"]))


def test_a_name_or_a_sweep_is_not_markup(settings: Settings) -> None:
    with make_study(settings, sweep=SWEEP.replace("name: by hand", 'name: <b>&"ü顔')) as store:
        page = render(store, ["tiny"])
    assert "<b>" not in page
    assert "&lt;b&gt;&amp;&#34;ü顔" in page
    read(page)


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """300 trials of up to 12 epochs in two studies, written by the hundred."""
    root = tmp_path_factory.mktemp("large") / "storage"
    draw = random.Random(0)
    with make_study(Settings(root, f"sqlite:///{root.as_posix()}/fer_tune.db"), (), FER) as store:
        make_study(Settings(root, store.url), (), FER.replace("study: tiny", "study: other")).close()
        for name, count in (("tiny", 200), ("other", 100)):
            study = optuna.load_study(study_name=name, storage=optuna_storage(store))
            first = len(study.trials)
            states = [draw.choice(["COMPLETE", "COMPLETE", "PRUNED", "PRUNED", "FAIL"]) for _ in range(count)]
            values = [[draw.random() for _ in range(12 if state == "COMPLETE" else 5)] for state in states]
            ended = [finished(draw, state, curve) for state, curve in zip(states, values, strict=True)]
            study.add_trials(ended)
            write_epochs(store, name, dict(enumerate(ended, first)))
        yield store


def write_epochs(store: Store, study: str, trials: dict[int, optuna.trial.FrozenTrial]) -> None:
    """Writes a job, an attempt and the epochs of each trial, in one transaction."""
    job = trial_job(store, study, Proposal(min(trials), {}, None, 0, 0))
    store.jobs.put(job)
    with store.engine.begin() as tx:
        model = dict(tx.execute(select(tables.jobs).where(tables.jobs.c.uid == job.uid)).mappings().one())
        tx.execute(delete(tables.jobs).where(tables.jobs.c.uid == job.uid))
        keys = {number: model["id"] + place for place, number in enumerate(trials)}
        jobs = [{"uid": uid_of(number, study), "number": number, "params": trials[number].params} for number in keys]
        tx.execute(
            insert(tables.jobs), [model | {"id": key} | job for key, job in zip(keys.values(), jobs, strict=True)]
        )
        tx.execute(insert(tables.attempts), [{"job_id": key} | attempt_columns() for key in keys.values()])
        rows = [
            {"job_id": keys[number], "attempt": 0} | epoch_columns(epoch, value)
            for number, trial in trials.items()
            for epoch, value in trial.intermediate_values.items()
        ]
        tx.execute(insert(tables.epochs), rows)


def finished(draw: random.Random, state: str, values: list[float]) -> optuna.trial.FrozenTrial:
    width = optuna.distributions.CategoricalDistribution((8, 16))
    rate = optuna.distributions.FloatDistribution(1e-4, 1e-2, log=True)
    return optuna.trial.create_trial(
        state=optuna.trial.TrialState[state],
        value=None if state == "FAIL" else max(values),
        params={"lr": 10 ** draw.uniform(-4, -2), "width": draw.choice((8, 16))},
        distributions={"lr": rate, "width": width},
        intermediate_values=dict(enumerate(values, 1)),
        user_attrs={"device": "cuda:0"},
    )


def epoch_columns(epoch: int, value: float) -> dict[str, object]:
    row = asdict(epoch_row(0, epoch, value)) | {"recall": [value] * 7, "recorded": datetime.now(UTC)}
    return {name: entry for name, entry in row.items() if name not in ("job", "attempt")}


def attempt_columns() -> dict[str, object]:
    started = {"worker": 0, "device": "cuda:0", "started": datetime.now(UTC)}
    return started | {"attempt": 0, "reason": "", "detail": "", "parameters": 0, "notes": []}


def test_300_trials_stay_small_and_a_browser_shows_them(large: Store, tmp_path: Path) -> None:
    page = render(large, ["tiny", "other"])
    assert len(page.encode()) < 2_000_000
    text = read(page)
    for part in ("2 studies, 300 trials", "Parallel coordinates", "What sets the best", "GPU-h"):
        assert part in text
    assert len(re.findall("<svg", page)) == 2 * 5  # history, curves, 2 slices, parallel
    assert read_study(large, "tiny").importance.keys() == {"lr", "width"}
    if browser.found() is None:
        pytest.skip("no Chromium is installed")
    file = tmp_path / "r.html"
    file.write_text(page, encoding="utf-8")
    numbers = [trial.number for trial in read_study(large, "tiny").trials]
    with browser.Browser() as seen:
        for width, dark in ((1280, False), (390, True)):
            seen.look(width, 844, dark=dark, phone=width < 600)
            seen.open(file.as_uri())
            seen.shows("What the sweeps found", "To reproduce")
            assert seen.run("document.documentElement.scrollWidth") == width
            light = seen.run("getComputedStyle(document.body).backgroundColor.match(/[0-9]+/)[0]")
            assert (int(light) < 100) == dark
            hover = "new PointerEvent('pointerover', {bubbles: true, clientX: 20, clientY: 20})"
            seen.run(f"document.querySelector('#tiny svg circle[data-trial]').dispatchEvent({hover})")
            assert seen.run("document.querySelector('.tip').innerText").startswith("trial ")
            assert "lr " in seen.run("document.querySelector('.tip').innerText")
            assert seen.run("document.querySelectorAll('#tiny .on').length") >= 4  # in each figure and in the table
            first = "document.querySelector('#tiny .trials tbody tr').dataset.trial"
            seen.run("document.querySelector('#tiny .trials th').click()")
            assert seen.run(first) == str(max(numbers))
            seen.run("document.querySelector('#tiny .trials th').click()")
            assert seen.run(first) == str(min(numbers))
        assert seen.run("performance.getEntriesByType('resource').length") == 0


def test_the_worst_mistakes_are_shown(settings: Settings, demo: Dataset) -> None:
    data = reference(demo, store_split(demo, SplitPolicy(), settings), settings)
    label = demo.labels[:20]
    plain = np.full((20, 7), 0.02, np.float32)
    plain[range(20), label] = 0.88
    plain[3] = plain[7] = 0.01
    plain[3, 5], plain[7, 6] = 0.9, 0.94  # the two that are mistaken; the second more surely
    file = settings.artifacts / "predictions.npz"
    file.parent.mkdir(parents=True)
    np.savez(file, index=np.arange(20), label=label, plain=plain, flip=plain)
    found = worst_mistakes(file, data, fer2013.EMOTIONS)
    assert [(one.true, one.predicted, round(one.confidence, 2)) for one in found] == [
        (fer2013.EMOTIONS[label[7]], "neutral", 0.94),
        (fer2013.EMOTIONS[label[3]], "surprise", 0.9),
    ]
    picture = base64.b64decode(found[0].picture.removeprefix("data:image/png;base64,"))
    with Image.open(BytesIO(picture)) as image:
        assert np.array_equal(np.asarray(image), demo.images[7])
    file.write_bytes(b"torn")
    assert worst_mistakes(file, data, fer2013.EMOTIONS) == []


def test_other_classes_and_colour_images(settings: Settings) -> None:
    """Names, counts and pictures come from the data set. A name is not markup."""
    classes = ("<b>calm</b>", "cross [/3]", "unsure")
    images = np.random.default_rng(0).integers(0, 255, (60, 32, 32, 3), np.uint8)
    dataset = Dataset.of(images, np.repeat(np.arange(3), 20), classes=classes)
    data = reference(dataset, store_split(dataset, SplitPolicy(), settings), settings)
    with make_study(settings, data=data) as store:
        add_final_fit(store, settings, {"epochs": 3, "schedule": 3})
        [job] = store.jobs.of("tiny", "final")
        file = settings.job_folder("tiny", store.studies.get("tiny").uid, job.uid) / "predictions.npz"
        plain = np.array([[0.1, 0.2, 0.7]], np.float32)
        np.savez(file, index=np.array([5]), label=np.array([0]), plain=plain, flip=plain)
        store.artifacts.add("tiny", job.uid, "predictions", file)
        page = render(store, ["tiny"])
        text = read(page)
        [mistake] = worst_mistakes(file, data, classes)
        epochs = epoch_frame(store, "tiny")
    assert "<b>" not in page
    assert "unsure 70 % <b>calm</b> 10 %" in text
    assert not set(fer2013.EMOTIONS) & set(text.split())
    assert list(epochs.columns)[-3:] == [f"recall.{name}" for name in classes]
    with Image.open(BytesIO(base64.b64decode(mistake.picture.removeprefix("data:image/png;base64,")))) as picture:
        assert np.array_equal(np.asarray(picture), images[5])


def test_the_data_is_audited_from_the_cache(settings: Settings, demo: Dataset) -> None:
    data = reference(demo, store_split(demo, SplitPolicy(), settings), settings)
    with make_study(settings, data=data) as store:
        text = read(render(store, ["tiny"]))
    assert "20 20 20 20 20 20 20 140" in text
    assert "98 train, 21 val, 21 test" in text
    assert "exact copies 0 besides the first ones" in text


@pytest.mark.parametrize(
    "curves",
    [(), (("complete", [0.3, 0.4]),), (("failed", []),) * 3, (("complete", [0.4]), ("complete", [0.4]))],
    ids=["no trial", "one trial", "all failed", "two alike"],
)
def test_whatever_a_study_came_to(settings: Settings, curves: tuple[Curve, ...]) -> None:
    with make_study(settings, curves=curves) as store:
        text = read(render(store, ["tiny"]))
        assert "To reproduce" in text
        assert render(store, ["tiny"], "md").count("\n| tiny |") == 1


def test_the_command_writes_a_file(store: Store, tmp_path: Path) -> None:
    out = tmp_path / "new" / "r.html"
    answer = CliRunner().invoke(app, ["report", "--studies", "tiny", "--out", str(out)])
    assert answer.exit_code == 0, answer.output
    assert out.read_text("utf-8").startswith("<!DOCTYPE html>")
    assert CliRunner().invoke(app, ["report", "--studies", "tony"]).exit_code == 2
