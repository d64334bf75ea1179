"""Charts and axes: they draw whatever was measured, and their ticks are round."""

from math import nan
from xml.etree import ElementTree

import pytest

from fer_tune.report.axes import Categories, Linear, Log, axis_of
from fer_tune.report.chart import Chart
from fer_tune.report.svg import svg


def test_a_chart_draws_whatever_was_measured() -> None:
    chart = Chart(300, 200, Linear.over([]), Linear.over([nan]), x_title="<x>", y_title="y")
    chart.line([(1, nan), (2, 3), (3, float("inf")), (4, 5)], "red")
    chart.line([(1, 1)], "red", tooltip="one")
    chart.line([], "red")
    chart.marks([(1, 2, "<i>", 7), (nan, 2, "nothing", 8)], "red")
    drawn = chart.draw()
    assert "nan" not in drawn
    assert "&lt;i&gt;" in drawn
    root = ElementTree.fromstring(svg(300, 200, drawn, label='"<x>"'))
    assert [title.text for title in root.iter("{http://www.w3.org/2000/svg}title")] == ["one", "<i>"]


def test_a_gap_in_a_line_is_not_bridged() -> None:
    chart = Chart(300, 200, Linear(0, 5), Linear(0, 1), x_title="x", y_title="y")
    chart.line([(0, 0), (1, 1), (2, nan), (3, 0), (4, 1)], "#123456")
    [path] = [part for part in chart.draw().split("<path ") if "#123456" in part]
    assert path.split('"')[1].count("M") == 2


@pytest.mark.parametrize(
    ("low", "high", "whole", "expected"),
    [
        (0, 1, False, "0 0.2 0.4 0.6 0.8 1"),
        (26, 77, False, "30 40 50 60 70"),
        (1, 6, True, "1 2 3 4 5 6"),
        (1, 2, True, "1 2"),
        (0, 299, True, "0 50 100 150 200 250"),
    ],
)
def test_ticks_are_round(low: float, high: float, whole: bool, expected: str) -> None:
    axis = Linear(low, high, whole)
    assert [label for _, label in axis.ticks(5)] == expected.split()
    assert [place for place, _ in axis.ticks(5)] == pytest.approx(
        [axis.place(float(label)) for label in expected.split()]
    )


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [(1e-5, 1e-1, "1e-05 0.0001 0.001 0.01 0.1"), (2e-4, 5e-3, "0.0003 0.001 0.003"), (3e-3, 4e-3, "0.003 0.004")],
)
def test_ticks_of_a_logarithmic_axis(low: float, high: float, expected: str) -> None:
    assert [label for _, label in Log(low, high).ticks(5)] == expected.split()
    assert Log(low, high).place((low * high) ** 0.5) == pytest.approx(0.5)


def test_the_axis_suits_the_values() -> None:
    assert axis_of(["sgd", "adam", "sgd"]) == Categories(("adam", "sgd"))
    assert axis_of([True, False]) == Categories((False, True))
    assert axis_of([64, 8], category=True) == Categories((8, 64))
    assert axis_of([18, "deep"]).ticks(5) == [(0.25, "18"), (0.75, "deep")]
    assert isinstance(axis_of([1e-4, 1e-2], log=True), Log)
    assert isinstance(axis_of([1e-4, 1e-4], log=True), Linear)
    assert axis_of([1, 3]) == Linear(1 - 0.08, 3 + 0.08, whole=True)


def test_names_of_categories_do_not_overlap_and_are_kept_as_tooltips() -> None:
    names = ("class_weights", "natural", "weighted")
    chart = Chart(200, 160, Categories(names), Linear(0, 1), x_title="sampling", ticks=3)
    root = ElementTree.fromstring(svg(200, 160, chart.draw()))
    shown = {text.text: text for text in root.iter("{http://www.w3.org/2000/svg}text")}
    assert {"natural", "sampling"} <= set(shown)
    assert not {"class_weights", "weighted"} & set(shown)
    assert [node.text for node in root.iter("{http://www.w3.org/2000/svg}title")] == ["class_weights", "weighted"]
    wide = Chart(960, 160, Categories(names), Linear(0, 1), x_title="sampling", ticks=3).draw()
    assert all(f">{name}</text>" in wide for name in names)
