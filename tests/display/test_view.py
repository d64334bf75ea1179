"""What is drawn: every part of it, at every width."""

from __future__ import annotations

import io
import re
from collections import deque
from itertools import pairwise

import pytest
from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

from fer_tune.display.columns import Column, choose
from fer_tune.display.run_state import Finished, Place, Point, RunState
from fer_tune.display.sparklines import Scale, bar, rate, spread, stacked
from fer_tune.display.view import View
from fer_tune.pool.monitor import Gauge, Monitor


class Still(Monitor):
    """One reading for every worker."""

    def get(self, index: int) -> Gauge:
        return Gauge(int(11.25 * 2**30), 80 * 2**30, 0.97)


def curve(*values: float) -> list[Point]:
    return [Point(epoch, value, 2.0) for epoch, value in enumerate(values, 1)]


def full(study: str = "resnet", workers: int = 2, name: str | None = "a first guess") -> RunState:
    board = RunState(study, "simple_cnn", "fer2013", "val_accuracy", 140, 120, done=103, pruned=20, failed=4)
    for index in range(workers):
        board.places[index] = Place("cuda:0", "training", 128 + index, name, 120, curve(0.2, 0.5, 0.633), 17_123.0)
    ended = [
        Finished(number, state, 0.5 + number / 1000, 120, tuple(curve(0.3, 0.5)), name, reason)
        for number, state, reason in (
            (123, "complete", ""),
            (124, "pruned", "pruned in epoch 2"),
            (125, "failed", "RuntimeError: CUDA error: an illegal memory access was encountered"),
            (126, "complete", ""),
            (127, "complete", ""),
        )
    ]
    board.last, board.top = deque(reversed(ended), 5), [ended[4], ended[3], ended[0]]
    board.spent, board.saved, board.began = 4000.0, 7261.0, board.began - 723
    board.first, board.trained = board.began, 300
    return board


def drawn(view: View, width: int, height: int = 50) -> list[str]:
    console = Console(file=io.StringIO(), width=width, height=height, color_system=None, highlight=False)
    with console.capture() as captured:
        console.print(view)
    return captured.get().splitlines()


NEEDED = (
    *("resnet", "103 done", "2 running", "20 pruned", "4 failed", "127/140"),
    *("best 62.70 % in trial 127", "12:03 elapsed", "left", "GPU-hours 1:06:40 spent", "2:01:01 saved by pruning"),
    *("0 cuda:0", "128", "simple_cnn", "━", "3/120", "63.30 %", "▁▆█", "17.1k", "97 %"),
    *("last trials", "127 complete", "124 pruned", "125 failed", "62.50 %", "best trials", "1. 62.70 %", "2/120"),
)
"""What 80 columns and more show, curves on one scale included."""


@pytest.mark.parametrize("width", [80, 100, 140, 200])
def test_everything_is_there(width: int) -> None:
    page = drawn(View(full(), Still()), width)
    text = re.sub(" +", " ", "\n".join(page))
    assert [part for part in NEEDED if part not in text] == []
    assert max(map(cell_len, page)) <= min(width, 160)
    if width >= 140:
        assert "a first guess" in text
        assert "11.2/80" in text


@pytest.mark.parametrize("width", [20, 40, 60, 79, 80, 81, 99, 100, 101, 140])
@pytest.mark.parametrize(
    "board",
    [
        full("a-study-whose-name-is-as-long-as-the-name-of-a-study-may-be-6464"),
        full(name="初めての試み – ein erster Versuch mit größter Sorgfalt"),
        full(workers=16),
        RunState("empty", "resnet", "demo", "val_macro_f1", 10, 5, places={0: Place("cpu")}),
        RunState(),
    ],
    ids=["long", "unicode", "many", "empty", "unopened"],
)
def test_no_line_is_wider_than_the_terminal(board: RunState, width: int) -> None:
    for gauges in (Still(), None):
        page = drawn(View(board, gauges), width)
        if width >= 40:
            assert max(map(cell_len, page)) <= width
        assert any(page)


@pytest.mark.parametrize("height", [10, 16, 24, 30])
@pytest.mark.parametrize("width", [60, 80, 140])
@pytest.mark.parametrize("workers", [1, 8, 16])
def test_it_fits_the_height(width: int, height: int, workers: int) -> None:
    page = drawn(View(full(workers=workers), Still(), height), width)
    assert len(page) <= height
    assert "0 cuda:0" in "\n".join(page)


def test_columns_go_in_a_thought_out_order() -> None:
    def shown(width: int) -> list[str]:
        line = next(line for line in drawn(View(full(), Still()), width) if line.startswith("worker"))
        return line.split()

    assert shown(80) == ["worker", "trial", "family", "epochs", "val", "acc", "img/s", "GiB", "GPU"]
    narrower = [set(shown(width)) for width in (80, 72, 66, 60, 50)]
    assert all(after <= before for before, after in pairwise(narrower))
    assert {"worker", "trial", "epochs", "val", "acc"} <= narrower[-1]
    assert "GiB" not in narrower[-1]


def test_a_view_without_gauges_has_no_empty_columns() -> None:
    assert "GPU " not in "\n".join(drawn(View(full()), 140)).replace("GPU-hours", "")


def test_sparklines_share_a_scale() -> None:
    scale = Scale.of([0.1, 0.9, float("nan")])
    assert scale.spark([0.1, 0.5, 0.9, float("nan")], 8).plain == "▁▅█ "
    assert scale.spark([0.1] * 50 + [0.9] * 50, 4).plain == "▁▁██"
    assert Scale.of([]).spark([], 4).plain == ""
    assert len(Scale.of([0.5]).spark([0.5], 4)) == 1


def test_bars() -> None:
    assert [bar(done, 4, 4).plain for done in (0, 1, 4, 9)] == ["────", "━───", "━━━━", "━━━━"]
    assert bar(1, 8, 4).plain == "╸───"
    parts = stacked([(90, "green"), (1, "red")], 100, 10)
    assert parts.plain == "━━━━━━━━━━"  # the one failure can be seen
    assert stacked([(9, "green")], 3, 10).plain == "━" * 10
    assert stacked([], 0, 5).plain == "─────"
    assert [rate(value) for value in (None, 940.4, 17_123.0, float("inf"))] == ["–", "940", "17.1k", "–"]


def test_parts_are_spread_over_as_few_lines_as_fit() -> None:
    parts = [Text("left"), Text("middle"), Text("right")]
    assert [line.plain for line in spread(25, *parts)] == ["left     middle     right"]
    assert [line.plain for line in spread(14, *parts)] == ["left    middle", "right"]
    assert [line.plain for line in spread(4, *parts)] == ["left", "mid…", "rig…"]


def test_what_does_not_fit_is_dropped_or_squeezed() -> None:
    columns = [Column("a"), Column("b", drop=1), Column("c", drop=2), Column("d", least=3)]
    rows = [("aaaa", "bbbb", "cccc", "d" * 20)]
    assert choose(columns, rows, 80, 1) == {0: 4, 1: 4, 2: 4, 3: 20}
    assert choose(columns, rows, 20, 1) == {0: 4, 1: 4, 2: 4, 3: 5}
    assert choose(columns, rows, 13, 1) == {0: 4, 1: 4, 3: 3}
    assert choose(columns, rows, 8, 1) == {0: 4, 3: 3}
