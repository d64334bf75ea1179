"""The file of learning curves, and its collection with the product."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from benchmarks.search.collect import Chunk, arguments, collect, prepared, summary
from benchmarks.search.curves import MEASURES, Curve, Curves
from fer_tune.errors import DataError
from fer_tune.job import EpochRow, Job, JobEnd
from tests.pool.trainers import row

SWEEP = """\
family: simple_cnn
data: demo
budget: {trials: 9, epochs: 3}
pruner: {name: median}
params:
  lr: {low: 1.0e-4, high: 1.0e-2, log: true}
  batch_size: {choices: [32, 64]}
start:
  - {name: first, lr: 1.0e-3, batch_size: 32}
"""


class Climbing:
    """A trainer whose accuracy rises. It diverges with the larger batch."""

    def train(self, job: Job, stop_requested: Callable[[], int]) -> Iterator[EpochRow | JobEnd]:
        for epoch in range(1, job.schedule + 1):
            if job.params["batch_size"] == 64 and epoch == 2:
                yield JobEnd(job.uid, job.attempt, "diverged", "the loss is not finite in epoch 2")
                return
            yield row(job, epoch, 0.3 + float(job.params["lr"]) + epoch / 100)
        yield JobEnd(job.uid, job.attempt, "completed", parameters=7)


def climbing(device: str, threads: int | None) -> Climbing:
    return Climbing()


@pytest.fixture
def options(tmp_path: Path, csv: Path) -> argparse.Namespace:
    words = ["--data", str(csv), "--epochs", "3", "--devices", "cpu", "--workers", "1", "--engine", "inline"]
    return arguments().parse_args([*words, "--storage", str(tmp_path / "curves")])


@pytest.fixture
def sweep(tmp_path: Path) -> Path:
    path = tmp_path / "small.yaml"
    path.write_text(SWEEP)
    return path


def test_a_chunk_keeps_the_curve_of_every_trial(options: argparse.Namespace, sweep: Path) -> None:
    curves = Curves("simple_cnn", 3)
    collect(Chunk(sweep, 12, "random", 5), curves, options, climbing)
    assert len(curves) == 12
    whole, broken = curves.whole(), curves.diverged()
    assert len(whole) + len(broken) == 12
    assert whole
    assert broken
    for curve in whole:
        lr = float(curve.params["lr"])
        assert curve.rows[:, MEASURES.index("val_accuracy")] == pytest.approx([0.31 + lr, 0.32 + lr, 0.33 + lr])
    assert all(len(curve.rows) == 1 for curve in broken)
    assert curves.chunks[0]["seed"] == 5


def test_further_chunks_have_other_configurations(options: argparse.Namespace, sweep: Path) -> None:
    curves = Curves("simple_cnn", 3)
    for seed in (5, 6):
        collect(Chunk(sweep, 3, "random", seed), curves, options, climbing)
    rates = {curve.params["lr"] for curve in curves.curves}
    assert len(rates) == 6
    assert [curve.chunk for curve in curves.curves] == [0, 0, 0, 1, 1, 1]


def test_files_of_several_machines_are_put_together(options: argparse.Namespace, sweep: Path) -> None:
    curves, other = Curves("simple_cnn", 3), Curves("simple_cnn", 3)
    collect(Chunk(sweep, 2, "random", 5), curves, options, climbing)
    collect(Chunk(sweep, 3, "near", 6), other, options, climbing)
    curves.join(other)
    assert [curve.chunk for curve in curves.curves] == [0, 0, 1, 1, 1]
    assert [curves.kind(curve) for curve in curves.curves] == ["random"] * 2 + ["near"] * 3
    with pytest.raises(DataError, match="The chunk of seed 6 is in both files"):
        curves.join(other)
    with pytest.raises(DataError, match="of deep_cnn with 3 epochs"):
        curves.join(Curves("deep_cnn", 3))


def test_the_first_start_configuration_is_trained_under_several_seeds(options: argparse.Namespace, sweep: Path) -> None:
    curves = Curves("simple_cnn", 3)
    collect(Chunk(sweep, 3, "seeds", 5), curves, options, climbing)
    assert {curve.params["lr"] for curve in curves.whole(repeat=True)} == {0.001}
    assert len({curve.seed for curve in curves.curves}) == 3
    assert summary(curves) == "no random configuration; 3 of the start configuration, 0 near it"


def test_configurations_near_the_first_one_share_some_of_its_values(options: argparse.Namespace, sweep: Path) -> None:
    made = prepared(Chunk(sweep, 40, "near", 5), options)
    assert len(made.start) == made.budget.trials == 40
    same_lr = sum(start.params["lr"] == 0.001 for start in made.start)
    assert 10 < same_lr < 40
    assert all(made.space["lr"].domain.contains(start.params["lr"]) for start in made.start)
    curves = Curves("simple_cnn", 3)
    collect(Chunk(sweep, 3, "near", 5), curves, options, climbing)
    assert [curves.kind(curve) for curve in curves.curves] == ["near"] * 3


def test_nothing_is_pruned_or_stopped_by_itself(options: argparse.Namespace, sweep: Path) -> None:
    made = prepared(Chunk(sweep, 4, "random", 5, seconds=90), options)
    assert (made.pruner.name, made.sampler.name, made.patience, made.start) == ("none", "random", 0, ())
    assert made.budget.hours == pytest.approx(0.025)


def test_a_file_gives_back_its_curves(tmp_path: Path) -> None:
    rows = np.array([[0.6512, 1.234, 2.5, 0.7, 0.131], [0.66, 1.1, 2.4, 0.71, 0.129]])
    curves = Curves("deep_cnn", 2)
    curves.add(
        {"seed": 1},
        [
            Curve({"lr": 0.00123456789, "norm": True}, 7, "complete", False, 0.25, 0, rows),
            Curve({"lr": 0.1}, 8, "diverged", True, 0.0, 0, rows[:0]),
        ],
    )
    curves.save(tmp_path / "deep_cnn.npz")
    again = Curves.load(tmp_path / "deep_cnn.npz")
    assert again.chunks == [{"seed": 1}]
    assert again.curves[0].params == {"lr": 0.00123457, "norm": True}
    assert again.curves[0].rows == pytest.approx(rows, rel=1e-3)
    assert (again.curves[1].state, again.curves[1].repeat, len(again.curves[1].rows)) == ("diverged", True, 0)
    assert [curve.seed for curve in again.whole()] == [7]


def test_a_thousand_curves_take_less_than_a_megabyte(tmp_path: Path) -> None:
    draw = np.random.default_rng(0)
    curves = Curves("deep_cnn", 40)
    params = {f"p{index}": 0.0 for index in range(25)}
    curves.add(
        {},
        [
            Curve({name: draw.random() for name in params}, i, "complete", False, 0.1, 0, draw.random((40, 5)))
            for i in range(1000)
        ],
    )
    curves.save(tmp_path / "deep_cnn.npz")
    assert (tmp_path / "deep_cnn.npz").stat().st_size < 1_000_000


def test_a_file_that_is_missing_or_foreign_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="does not exist"):
        Curves.load(tmp_path / "none.npz")
    (tmp_path / "text.npz").write_text("curves")
    with pytest.raises(DataError, match="not a file of learning curves"):
        Curves.load(tmp_path / "text.npz")
