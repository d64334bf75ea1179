"""What is drawn: every part of it, at every width."""

from __future__ import annotations

import io
import re
from collections import Counter, deque

import pytest
from rich.cells import cell_len
from rich.console import Console, Group

from fer_tune.display import terminal
from fer_tune.display.live import Drawn
from fer_tune.display.rise import rise
from fer_tune.display.run_state import RunState
from fer_tune.display.shown import Costs, ShownJob, ShownWorker
from fer_tune.display.sparklines import Scale
from fer_tune.display.tables import BROAD
from fer_tune.display.view import draw, left_behind
from fer_tune.job import EpochRow, StepProgress
from fer_tune.models import FAMILIES
from fer_tune.pool import Slot
from fer_tune.pool.monitor import Gauge, Monitor
from fer_tune.sweep.catalogue import catalogue
from tests.studies import epoch_row


class Still(Monitor):
    """One reading for every worker."""

    def get(self, index: int) -> Gauge:
        return Gauge(int(11.25 * 2**30), 80 * 2**30, 0.97)


def rows(number: int, *values: float) -> list[EpochRow]:
    return [epoch_row(number, epoch, value) for epoch, value in enumerate(values, 1)]


def full(study: str = "resnet", workers: int = 2, name: str | None = "a first guess") -> RunState:
    state = RunState(
        study, "search", "simple_cnn", "fer2013", budget=140, epochs=120, unit="GPU", began=0.0, over=723.0
    )
    state.counts = Counter(complete=103, pruned=20, failed=4)
    state.fixed = frozenset({"width"})
    for index in range(workers):
        number = 128 + index
        params = {"lr": 0.00123, "optimizer": "adam", "width": 16}
        job = ShownJob(f"trial {number}", number, "val_accuracy", 120, name, params, rows(number, 0.2, 0.5, 0.633))
        job.progress = StepProgress("", 0, 4, 40, 157)
        state.workers[Slot(index)] = ShownWorker("cuda:0", ready=True, job=job)
        state.unfinished[str(number)] = job
    ended = [
        ShownJob(
            f"trial {number}",
            number,
            "val_accuracy",
            120,
            name,
            {"lr": 0.01},
            rows(number, 0.3, 0.5),
            how,
            0.5 + number / 1000,
            why,
        )
        for number, how, why in (
            (123, "complete", ""),
            (124, "pruned", "pruned in epoch 2"),
            (125, "failed", "RuntimeError: CUDA error: an illegal memory access was encountered"),
            (126, "complete", ""),
            (127, "complete", ""),
        )
    ]
    state.last, state.best = deque(reversed(ended), 5), [ended[4], ended[3], ended[0]]
    state.costs = Costs(127, 300, 4000.0, 7261.0)
    return state


def drawn(state: RunState, width: int, height: int | None = None, monitor: Monitor | None = None) -> list[str]:
    console = Console(file=io.StringIO(), width=width, height=50, color_system=None, highlight=False)
    with console.capture() as captured:
        console.print(draw(state, width, height, monitor))
    return captured.get().splitlines()


SHOWN = (
    *("resnet", "simple_cnn on fer2013", "12:03 elapsed"),
    *("103 complete", "2 running", "20 pruned", "4 failed", "127/140", "best 62.70 % in trial 127"),
    *("GPU-hours 1:06:42 spent", "2:01:01 saved by pruning"),
    *("0 cuda:0", "128", "━", "3/120", "40/157", "63.30 %", "▁▆█"),
    *("trial 128 (a first guess): lr 0.00123 · optimizer adam", "best, trial 127 (a first guess): lr 0.01"),
    *("last trials", "127 complete", "124 pruned", "125 failed", "62.50 %", "best trials", "2/120"),
)
"""What every width from 60 columns on shows."""


@pytest.mark.parametrize("width", [60, 79, 80, 100, 120, 160, 200])
def test_everything_is_there(width: int) -> None:
    page = drawn(full(), width, monitor=Still())
    text = re.sub(" +", " ", "\n".join(page))
    assert [part for part in SHOWN if part not in text] == []
    assert max(map(cell_len, page)) <= min(width, 160)
    if width >= 80:
        assert all(part in text for part in ("97 %", "11.2", "1.1k"))
    if width >= 120:
        assert all(part in text for part in ("11.2/80", "a first guess", "50.00 %", "loss"))


@pytest.mark.parametrize("width", [20, 40, 60, 79, 80, 81, 119, 120, 121, 160])
@pytest.mark.parametrize("height", [None, 10, 24])
@pytest.mark.parametrize(
    "state",
    [
        full("a-study-whose-name-is-as-long-as-the-name-of-a-study-may-be-6464"),
        full(name="初めての試み – ein erster Versuch mit größter Sorgfalt"),
        full(workers=16),
        RunState(
            "empty",
            "search",
            "resnet",
            "demo",
            objective="val_macro_f1",
            budget=10,
            epochs=5,
            workers={Slot(0): ShownWorker("cpu")},
        ),
        RunState(),
    ],
    ids=["long", "unicode", "many", "empty", "unopened"],
)
def test_no_line_is_wider_than_the_terminal(state: RunState, height: int | None, width: int) -> None:
    for monitor in (Still(), None):
        page = drawn(state, width, height, monitor)
        assert max(map(cell_len, page)) <= width
        assert any(page)


@pytest.mark.parametrize("height", [10, 16, 24, 30, 50])
@pytest.mark.parametrize("width", [60, 80, 120])
@pytest.mark.parametrize("workers", [1, 8, 16])
def test_it_fits_the_height(width: int, height: int, workers: int) -> None:
    page = drawn(full(workers=workers), width, height, Still())
    assert len(page) <= height
    assert "0 cuda:0" in "\n".join(page)
    if height >= 24 and workers == 1:
        assert "lr 0.00123" in "\n".join(page)
        assert "best trials" in "\n".join(page)


def test_what_is_not_known_is_not_shown_as_zero() -> None:
    state = full()
    state.over = None
    state.costs, state.unfinished = Costs(), {}
    text = "\n".join(drawn(state, 80))
    assert "about – left" in text
    assert "GPU-hours – spent" in text


def test_text_from_outside_is_not_markup() -> None:
    state = full(study="study [/3]", name="lr from paper [/3] [red]")
    state.last[0].reason = "RuntimeError: [/dev/nvidia0]"
    state.remark = "[link=x]remark[/link]"
    for width in (60, 80, 160):
        text = "\n".join(drawn(state, width))
        assert "study [/3]" in text
        assert "lr from paper [/3] [red]" in text
        assert "[link=x]remark[/link]" in text


def test_text_from_outside_does_not_move_the_cursor() -> None:
    state = full(name="\x1b[31mred")
    state.last[0].reason = state.remark = "\x1b[2Jcleared"
    for width in (60, 80, 160):
        assert "\x1b" not in "\n".join(drawn(state, width))


def test_final_fits_show_loss_and_accuracy_on_what_they_train_on() -> None:
    state = full()
    state.kind, state.objective, state.best = "final", "train_accuracy", []
    for job in [*state.running, *state.last]:
        job.objective = "train_accuracy"
    for width in (60, 80, 120):
        text = "\n".join(drawn(state, width))
        assert all(part in text for part in ("final fits", "seed", "loss", "train acc", "128.300", "50.00 %"))
        assert "val acc" not in text
        assert "saved by pruning" not in text


def test_repeats_are_known_by_their_seeds_and_have_a_validation_part() -> None:
    state = full()
    state.kind, state.best = "confirm", []
    text = "\n".join(drawn(state, 120))
    assert all(part in text for part in ("confirmations", "seed", "val acc"))
    assert "saved by pruning" not in text


def test_a_view_without_a_monitor_has_no_empty_columns() -> None:
    assert "GPU " not in "\n".join(drawn(full(), 140)).replace("GPU-hours", "")


def test_sparklines_share_a_scale() -> None:
    scale = Scale.of([0.1, 0.9, float("nan")])
    assert scale.sparkline([0.1, 0.5, 0.9, float("nan")], 8).plain == "▁▅█ "
    assert scale.sparkline([0.1] * 50 + [0.9] * 50, 4).plain == "▁▁██"
    assert Scale.of([]).sparkline([], 4).plain == ""
    assert len(Scale.of([0.5]).sparkline([0.5], 4)) == 1


def test_numbers_as_text() -> None:
    assert [terminal.rate(value) for value in (None, 940.4, 17_123.0, float("inf"))] == ["–", "940", "17.1k", "–"]
    assert [terminal.clock(value) for value in (None, 4.4, 187, 3729)] == ["–", "0:04", "3:07", "1:02:09"]
    assert [terminal.hours(value) for value in (None, 4.4, 3729)] == ["–", "0:00:04", "1:02:09"]


def test_a_worker_of_several_lanes_has_a_line_for_each_and_is_measured_once() -> None:
    state = full()
    state.workers = {Slot(0, lane): worker for lane, worker in enumerate(state.workers.values())}
    page = drawn(state, 120, None, Still())
    first, second = (next(line for line in page if f"0.{lane} cuda:0" in line) for lane in range(2))
    assert "GiB" in "".join(page)
    assert "%" in first[-12:]
    assert "%" not in second[-12:]
    assert any("cuda:0" in line and "images/s" in line and "spent" in line for line in page)


def large() -> RunState:
    """A run with trials enough for any terminal, some of them waiting at a rung."""
    state = full()
    state.rise, state.start, state.images = [(10.0, 0.5), (400.0, 0.55), (3000.0, 0.627)], 0.55, 4306
    state.mirrors = {"wandb": "offline files in storage/wandb"}
    params = {"optimizer": "adam", "lr": 0.00123, "momentum": 0.9, "weight_decay": 1.234e-5, "width": 16}
    for job in [*state.running, *state.last]:
        job.params = params | {"label_smoothing": 0.1, "dropout": 0.25, "batch_size": 64, "augment": 0.5}
    state.last = deque([*state.last] * 6, 30)
    state.best = [*state.best] * 10
    state.running[0].rung = 4
    waiting = ShownJob("trial 9", 9, "val_accuracy", 120, rows=rows(9, 0.3), state="paused", value=0.3)
    state.unfinished["9"], state.counts["paused"] = waiting, 1
    return state


@pytest.mark.parametrize(("width", "height", "lines"), [(80, 24, 24), (100, 40, 39), (160, 50, 49)])
def test_it_uses_the_room_that_is_there(width: int, height: int, lines: int) -> None:
    page = drawn(large(), width, height, Still())
    text = "\n".join(page)
    assert lines <= len(page) <= height
    assert max(map(cell_len, page)) <= width
    for part in (
        "best 62.70 % ± 0.74 in trial 127",
        "wandb offline files in storage/wandb",
        "at 4",
        "1 paused (epoch 1: 1)",
    ):
        assert part in text
    heads = [line for line in page if line.startswith(("worker", "last trials", "best trials"))]
    assert len(heads) == 3
    assert all("optimizer" in line for line in heads[1:])
    assert ("optimizer" in heads[0]) == (width >= 100), "beside the running trials, where there is room"
    assert ("best complete trial" in text) == (height >= 40)
    assert len([line for line in page if line.startswith("12")]) >= {24: 6, 40: 10, 50: 16}[height], "trials"


def test_the_best_value_rises_above_the_start() -> None:
    curve = [line.plain for line in rise(large(), 60, 6)]
    assert [line[:8].strip() for line in curve] == ["62.70 %", "", "", "55.00 %", "", "50.00 %", ""]
    assert all(len(line) == 60 for line in curve)
    assert "╭" in curve[0]
    assert "┄" in curve[3]
    assert "┄" not in curve[0]
    assert curve[6].split() == ["0", "GPU-hours", "1:06:42"]
    assert rise(full(), 60, 6) == [], "nothing is complete"


def test_the_result_stays_in_the_terminal() -> None:
    console = Console(file=io.StringIO(), width=100, color_system=None)
    with console.capture() as captured:
        console.print(left_behind(large(), 100))
    text = captured.get()
    assert all(part in text for part in ("best trials", "62.70 %", "best complete trial", "128/140"))
    assert "worker" not in text
    assert "last trials" not in text


def test_the_best_value_is_shown_against_the_start() -> None:
    state = large()
    assert "in trial 127, from start" in "\n".join(drawn(state, 120))
    state.best[0].name = None
    assert "in trial 127, +7.70 over start" in "\n".join(drawn(state, 120))


def test_a_narrower_terminal_keeps_no_lines_of_what_was_drawn() -> None:
    """Lines of 30 and 90 cells fold into one and three where the terminal has 40: two more."""
    out = Console(file=io.StringIO(), width=100, force_terminal=True, color_system=None)
    drawing = Drawn(out)
    lines = Group("x" * 30, "x" * 90)
    drawing.over(lines)
    assert out.file.getvalue() == ""  # type: ignore[attr-defined]
    out.width = 40
    drawing.over(lines)
    assert out.file.getvalue().count("\x1b[1A") == 2  # type: ignore[attr-defined]


@pytest.mark.parametrize("family", list(FAMILIES))
def test_names_of_hyperparameters_that_are_cut_stay_different(family: str) -> None:
    cut = [name if len(name) <= BROAD else f"{name[: BROAD - 1]}…" for name in catalogue(family)]
    assert len(set(cut)) == len(cut)
