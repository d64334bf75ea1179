"""The report: its figures are the database's, it needs no network, and it stays small."""

from __future__ import annotations

import json
import math
import random
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import pytest
from typer.testing import CliRunner

from fer_tune.cli.app import app
from fer_tune.report.page import render
from fer_tune.report.reading import read_study
from fer_tune.settings import Settings
from fer_tune.store import Store
from tests.studies import SWEEP, Curve, make_study

FER = SWEEP.replace("data: demo", "data: fer2013")


@pytest.fixture
def store(settings: Settings) -> Iterator[Store]:
    with make_study(settings, sweep=FER) as store:
        folder = settings.artifacts / "tiny" / "retrain"
        folder.mkdir(parents=True)
        test = {"accuracy": 0.6543, "accuracy_standard_error": 0.0123}
        metrics = {
            "trial": 1,
            "epochs": 3,
            "test_images": 21,
            "test_openings": 2,
            "test": {"plain": test, "flip": test},
        }
        confusion = {"plain": [[3 * (i == j) + (j == 0) for j in range(7)] for i in range(7)]}
        for kind, content in {"metrics": metrics, "confusion": confusion}.items():
            (folder / f"{kind}.json").write_text(json.dumps(content))
            store.add_artifact("tiny", 1, f"retrain {kind}", folder / f"{kind}.json")
        yield store


class Balanced(HTMLParser):
    """Refuses tags that do not close in order, and whatever would be fetched."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.text: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag not in ("script", "link", "img", "iframe")
        for name, value in attrs:
            assert name not in ("src", "href", "xlink:href") or (value or "").startswith("#")
        if tag not in ("meta", "br"):
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


def test_the_figures_are_the_databases(store: Store) -> None:
    report = read_study(store, "tiny")
    assert report.error == pytest.approx(math.sqrt(0.6 * 0.4 / 21))
    assert report.ties == 3  # 0.6, and 0.5 twice: 21 images tell nothing apart
    assert report.spent.epochs == 11
    assert report.spent.planned == 15
    assert report.spent.seconds == pytest.approx(11 * 0.25)
    assert report.spent.saved == pytest.approx(0.25)  # one epoch of the pruned trial
    text = read(render(store, ["tiny"]))
    for told in ("60.00 ± 10.69", "50.31", "65.43 ± 1.23", "2 others lie", "opened 2 times", "budget: {trials: 20"):
        assert told in text
    assert "prefers-color-scheme: dark" in render(store, ["tiny"])


def test_markdown_is_a_table(store: Store) -> None:
    rows = [line.count("|") for line in render(store, ["tiny"], "md").splitlines() if line.startswith("|")]
    assert rows == [9, 9, 9]


def test_drawn_faces_are_not_compared_with_real_ones(settings: Settings) -> None:
    with make_study(settings) as store:
        assert "50.31" not in render(store, ["tiny"])


def test_nothing_completed(settings: Settings) -> None:
    with make_study(settings, curves=(("failed", []), ("pruned", [0.1]))) as store:
        assert "No trial has completed." in read(render(store, ["tiny"]))


def test_a_name_or_a_sweep_is_no_markup(settings: Settings) -> None:
    with make_study(settings, sweep=SWEEP.replace("name: by hand", "name: <b>&")) as store:
        page = render(store, ["tiny"])
    assert "<b>" not in page
    assert "&lt;b&gt;&amp;" in page


def test_many_trials_stay_small(settings: Settings) -> None:
    draw = random.Random(0)
    curves: list[Curve] = [
        ("complete" if number % 2 else "pruned", [draw.random() for _ in range(3)]) for number in range(24)
    ]
    with make_study(settings, curves=tuple(curves)) as store:
        page = render(store, ["tiny"])
        assert read_study(store, "tiny").importance.keys() == {"lr", "width"}
    assert len(page) < 1_000_000
    assert len(re.findall("<svg", page)) == 4


def test_the_command_writes_a_file(store: Store, tmp_path: Path) -> None:
    out = tmp_path / "new" / "r.html"
    answer = CliRunner().invoke(app, ["report", "--studies", "tiny", "--out", str(out)])
    assert answer.exit_code == 0, answer.output
    assert out.read_text("utf-8").startswith("<!DOCTYPE html>")
    assert CliRunner().invoke(app, ["report", "--studies", "tony"]).exit_code == 2
