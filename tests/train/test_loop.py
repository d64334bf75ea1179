import dataclasses
import math
from collections.abc import Callable

import numpy as np
import pytest
import torch

from fer_tune.data.access import open_search
from fer_tune.data.spec import DataRef
from fer_tune.job import EpochRow, Job, JobEnd, StepProgress, Value, Wish
from fer_tune.models import FAMILIES
from fer_tune.train import loop
from fer_tune.train.config import TrainConfig
from fer_tune.train.loop import Trainer
from fer_tune.train.parts import alike
from tests.families import alternatives, contexts, smallest
from tests.train.bench import Bench

BASE: dict[str, Value] = {"width": 8, "batch_size": 32, "lr": 0.003}


@pytest.fixture(scope="module")
def trainer() -> Trainer:
    return Trainer("cpu", threads=1)


@pytest.fixture
def spec(tiny_data: DataRef) -> Callable[..., Job]:
    def make(family: str = "simple_cnn", epochs: int = 2, **params: Value) -> Job:
        return Job("a1b2c3", "study", "search", family, {**BASE, **params}, epochs, 7, tiny_data)

    return make


def _run(trainer: Trainer, spec: Job, **kwargs: object) -> tuple[list[EpochRow], JobEnd]:
    *messages, end = trainer.train_alone(spec, **kwargs)
    assert isinstance(end, JobEnd)
    return [message for message in messages if isinstance(message, EpochRow)], end


def _numbers(rows: list[EpochRow]) -> list[EpochRow]:
    return [dataclasses.replace(row, seconds=0.0, images_per_second=0.0, device_seconds=0.0) for row in rows]


def test_yields_a_row_for_each_epoch_and_then_the_end(trainer, spec):
    job = spec(epochs=3)
    rows, end = _run(trainer, job)
    assert [row.epoch for row in rows] == [1, 2, 3]
    assert (end.status, end.reason, end.detail) == ("completed", "", "")
    network = FAMILIES["simple_cnn"].build(FAMILIES["simple_cnn"].config(width=8), job.data.spec)
    assert end.parameters == sum(parameter.numel() for parameter in network.parameters())
    for row in rows:
        assert 0 <= row.val_accuracy <= 1
        assert 0 <= row.val_macro_f1 <= 1
        assert len(row.recall) == 7
        assert row.val_balanced_accuracy == pytest.approx(np.nanmean(row.recall))
        assert row.seconds > 0
        assert row.images_per_second > 0
        assert math.isfinite(row.train_loss + row.val_loss)
    assert rows[-1].train_loss < rows[0].train_loss


def test_a_job_with_a_number_of_threads_rounds_as_it_does_on_any_machine(spec):
    """Two threads add in another order than one. A job that names its threads has them anywhere."""
    before = torch.get_num_threads()
    try:
        trainer = Trainer("cpu", threads=2)
        job = dataclasses.replace(spec(), threads=1)
        used = [torch.get_num_threads() for _ in trainer.train_alone(job)]
        assert set(used) == {1}
        assert {torch.get_num_threads() for _ in trainer.train_alone(spec())} == {2}
        assert _numbers(_run(trainer, job)[0]) == _numbers(_run(Trainer("cpu", threads=1), job)[0])
    finally:
        torch.set_num_threads(before)


def test_same_spec_gives_the_same_numbers_twice(spec):
    params = {"augment": 0.5, "mixup": 0.3, "cutmix": 0.2, "head_dropout": 0.3, "sampling": "weighted", "ema": 0.9}
    first, _ = _run(Trainer("cpu", threads=1), spec(**params))
    second, _ = _run(Trainer("cpu", threads=1), spec(**params))
    assert _numbers(first) == _numbers(second)


def test_a_warm_network_gives_the_same_numbers_as_a_fresh_one(spec):
    bench = Bench()
    fresh, _ = _run(Trainer("cpu", threads=1), spec())
    _run(bench.trainer, spec(lr=0.01, head_dropout=0.5, label_smoothing=0.2))
    warm, _ = _run(bench.trainer, spec())
    assert len(bench.networks) == 1, "hyperparameters that are data must not build another network"
    assert _numbers(warm) == _numbers(fresh)


def test_another_seed_gives_other_numbers(trainer, spec):
    first, _ = _run(trainer, spec())
    second, _ = _run(trainer, dataclasses.replace(spec(), seed=8))
    assert _numbers(first) != _numbers(second)


CHANGES: dict[str, tuple[dict[str, Value], Value]] = {
    # hyperparameter: what else must be set for it to matter, and a value other than its default
    "optimizer": ({}, "sgd"),
    "lr": ({}, 0.02),
    "weight_decay": ({}, 0.5),
    "momentum": ({}, 0.5),
    "schedule": ({}, "step"),
    "warmup": ({}, 0.4),
    "batch_size": ({}, 64),
    "label_smoothing": ({}, 0.2),
    "ema": ({}, 0.9),
    "grad_clip": ({"optimizer": "sgd", "lr": 0.1}, 0.01),
    "self_distillation": ({}, 0.8),
    "dropout_ramp": ({"head_dropout": 0.5}, "falling"),
    "augment": ({}, 0.5),
    "crop": ({}, 24),
    "views": ({"augment": 0.3}, 2),
    "mixup": ({}, 0.5),
    "cutmix": ({}, 0.5),
    "sampling": ({}, "class_weights"),
    "sampling_power": ({"sampling": "weighted"}, 1.0),
}


def test_every_training_hyperparameter_is_named_here():
    assert set(CHANGES) == set(TrainConfig.model_fields)


@pytest.fixture(scope="module")
def trained() -> dict[str, list[EpochRow]]:
    """Returns the numbers of jobs that were trained already, by their hyperparameters."""
    return {}


@pytest.mark.parametrize("name", sorted(CHANGES))
def test_every_training_hyperparameter_takes_effect(trainer, spec, trained, name):
    needed, value = CHANGES[name]
    if str(needed) not in trained:
        trained[str(needed)] = _numbers(_run(trainer, spec(epochs=2, **needed))[0])
    after, end = _run(trainer, spec(epochs=2, **{**needed, name: value}))
    assert end.status == "completed", end.reason
    assert trained[str(needed)] != _numbers(after)


@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_every_hyperparameter_of_a_family_takes_effect(trainer, one_batch, family):
    """Some of them only beside another choice, such as the dropout of a layer that is optional."""
    tried: dict[str, list[EpochRow]] = {}

    def numbers(**params: Value) -> list[EpochRow]:
        wanted: dict[str, Value] = {"batch_size": 32, "lr": 0.003, **smallest(FAMILIES[family]), **params}
        if str(wanted) not in tried:
            rows, end = _run(trainer, Job("a1b2c3", "study", "search", family, wanted, 1, 7, one_batch))
            assert end.status == "completed", end.detail or end.reason
            tried[str(wanted)] = _numbers(rows)
        return tried[str(wanted)]

    for name, value in alternatives(FAMILIES[family]).items():
        assert any(
            numbers(**context, **{name: value}) != numbers(**context)
            for context in contexts(FAMILIES[family])
            if name not in context
        ), f"{family}.{name} changes nothing"


def test_named_powers_are_numbers(trainer, spec):
    named, _ = _run(trainer, spec(sampling="weighted", sampling_power="sqrt"))
    number, _ = _run(trainer, spec(sampling="weighted", sampling_power=0.5))
    assert _numbers(named) == _numbers(number)


def test_power_zero_is_exactly_natural(trainer, spec):
    natural, _ = _run(trainer, spec(sampling="natural"))
    for strategy in ("weighted", "class_weights"):
        rows, _ = _run(trainer, spec(sampling=strategy, sampling_power=0.0))
        assert _numbers(rows) == _numbers(natural), strategy


def test_stops_when_asked_without_a_row_for_the_broken_epoch(trainer, spec):
    asked = iter([False] * 3)
    rows, end = _run(trainer, spec(epochs=50), stop_requested=lambda: next(asked, True) and Wish.STOP)
    assert end.status == "stopped"
    assert len(rows) < 10
    assert "epoch" in end.reason


def test_a_stop_is_seen_at_the_next_step(spec):
    """A step of a large network takes minutes on a CPU."""
    bench, asked = Bench(), 0

    def stop_at_the_third_step() -> Wish:
        nonlocal asked
        asked += 1
        return Wish.STOP if asked == 3 else Wish.CONTINUE

    rows, end = _run(bench.trainer, spec(), stop_requested=stop_at_the_third_step)
    assert bench.network.steps_per_epoch > 3
    assert (rows, end.status, asked) == ([], "stopped", 3)


def test_a_stop_that_comes_with_a_row_ends_the_job_at_once(trainer, spec):
    wish = Wish.CONTINUE
    training = trainer.train_alone(spec(epochs=5), lambda: wish)
    assert isinstance(next(training), EpochRow)
    wish = Wish.STOP
    [end] = training
    assert (end.status, end.reason) == ("stopped", "asked to stop after epoch 1")


class Clock:
    """Time that passes by `step` seconds whenever somebody looks."""

    def __init__(self, step: float) -> None:
        self.now, self.step = 0.0, step

    def monotonic(self) -> float:
        self.now += self.step
        return self.now

    perf_counter = monotonic


@pytest.mark.parametrize(("seconds", "every"), [(0.1, 10), (3.0, 1)])
def test_progress_within_an_epoch_is_told_at_most_once_a_second(spec, monkeypatch, seconds, every):
    bench = Bench()
    monkeypatch.setattr(loop, "time", Clock(seconds))
    told = [message for message in bench.trainer.train_alone(spec(epochs=3)) if isinstance(message, StepProgress)]
    steps = bench.network.steps_per_epoch
    assert len(told) == pytest.approx(3 * steps / every, abs=2)
    assert {message.steps for message in told} == {steps}
    assert all(1 <= message.step <= steps for message in told)
    assert [(message.epoch, message.step) for message in told] == sorted((m.epoch, m.step) for m in told)


def test_a_quick_epoch_tells_no_progress(trainer, spec):
    assert not [message for message in trainer.train_alone(spec(epochs=1)) if isinstance(message, StepProgress)]


def test_ends_by_itself_when_out_of_patience(trainer, spec):
    still = dataclasses.replace(spec(epochs=20, lr=1e-9), patience=2)
    rows, end = _run(trainer, still)
    assert end.status == "completed"
    assert len(rows) == 3
    assert "no better val_accuracy since epoch 1" in end.reason


def test_an_exploding_loss_is_said_and_not_reported_as_a_row(trainer, spec):
    rows, end = _run(trainer, spec(epochs=5, optimizer="sgd", lr=10.0, momentum=0.99, weight_decay=1.0))
    assert end.status == "diverged"
    assert all(math.isfinite(row.train_loss) for row in rows)


def test_a_wrong_hyperparameter_fails_the_trial_and_not_the_worker(trainer, spec):
    rows, end = _run(trainer, spec(lrr=0.1))
    assert rows == []
    assert (end.status, end.detail) == ("failed", "")
    assert "lrr" in end.reason
    assert _run(trainer, spec(epochs=1))[1].status == "completed"


def test_a_failure_says_what_to_do(trainer, spec):
    job = spec(epochs=1)
    *_, end = trainer.train_alone(
        dataclasses.replace(job, data=dataclasses.replace(job.data, signature="0" * 64))
    )  # fmt: skip
    assert end.status == "failed"
    assert "holds another data set than 000000000000. Load the data set again (`fer-tune data SRC`)" in end.reason


def test_keeps_the_validation_logits_of_the_best_epoch(trainer, spec, tmp_path):
    rows, end = _run(trainer, dataclasses.replace(spec(epochs=3), artifacts=tmp_path / "trial"))
    logits = np.load(end.files["val_logits"], allow_pickle=False)
    assert logits.dtype == np.float16
    data = open_search(spec().data)
    accuracy = (logits.argmax(1) == data.labels[data.val]).mean()
    assert accuracy == pytest.approx(max(row.val_accuracy for row in rows), abs=0.02)


def test_keeps_the_logits_of_the_last_epoch_if_that_decides_the_objective(trainer, spec, tmp_path):
    job = dataclasses.replace(spec(epochs=3), artifacts=tmp_path / "trial")
    by_rule = {}
    for rule in ("max", "last", "mean_last"):
        rows, end = _run(trainer, dataclasses.replace(job, objective_of=rule))
        by_rule[rule] = np.load(end.files["val_logits"], allow_pickle=False)
    data = open_search(job.data)
    accuracy = (by_rule["last"].argmax(1) == data.labels[data.val]).mean()
    assert accuracy == pytest.approx(rows[-1].val_accuracy, abs=0.02)
    assert (by_rule["last"] == by_rule["mean_last"]).all()


def test_a_final_fit_uses_validation_images_and_evaluates_nothing(trainer, spec, tmp_path):
    final = dataclasses.replace(spec(epochs=1), kind="final", fit="train+val", artifacts=tmp_path)
    rows, end = _run(trainer, final)
    assert math.isnan(rows[0].val_accuracy)
    assert end.files["model"].exists()
    assert trainer.images(final) == trainer.images(spec()) + len(open_search(spec().data).val)


def test_one_epoch_depends_on_seed_and_number_only(spec):
    """What a resumed trial needs: the third epoch draws the same inputs whatever ran before it."""
    bench = Bench()
    _run(bench.trainer, spec(epochs=4, augment=0.5))
    drawn = []
    for seed in (1, 99):
        torch.manual_seed(seed)
        assert list(bench.network.train_epoch(3)) == list(range(1, bench.network.steps_per_epoch + 1))
        drawn.append(bench.network.inputs.images.clone())
    assert torch.equal(*drawn)


@pytest.mark.parametrize("ahead", [True, False])
def test_an_epoch_is_the_same_whether_it_was_begun_ahead_or_not(spec, ahead):
    bench = Bench()
    expected, _ = _run(bench.trainer, spec(epochs=2))
    _run(bench.trainer, spec(epochs=1))
    network = bench.network
    network.begin(network.config, network.shape, 7, 2)
    for epoch in (1, 2):
        for _ in network.train_epoch(epoch):
            pass
        network.evaluate()
        if ahead and epoch == 1:
            network.begin_next(2)
        measured = network.read()
        assert (measured.train_loss, measured.val_loss) == (
            expected[epoch - 1].train_loss,
            expected[epoch - 1].val_loss,
        )


@pytest.mark.gpu
def test_captured_and_eager_steps_agree(large_data):
    """Losses and weights over four epochs, from the same weights and the same random numbers."""
    params: dict[str, Value] = {"width": 0.25, "batch_size": 8, "lr": 0.05, "optimizer": "sgd", "ema": 0.9}
    job = Job("a1b2c3", "s", "search", "resnet", {**params, "block_dropout": 0.1}, 4, 3, large_data)
    captured, eager = Bench("cuda"), Bench("cuda", capture=False)
    (rows, end), (others, _) = _run(captured.trainer, job), _run(eager.trainer, job)
    assert end.notes == ()
    for row, other in zip(rows, others, strict=True):
        assert row.train_loss == pytest.approx(other.train_loss, rel=1e-2)
    assert torch.allclose(captured.network.flat.values, eager.network.flat.values, rtol=2e-2, atol=2e-3)


def test_past_predictions_are_those_of_images_that_show_one_face(spec):
    bench = Bench()
    _run(bench.trainer, spec(epochs=1, mixup=1.0, self_distillation=0.5))
    network = bench.network
    labels = torch.nn.functional.one_hot(network.data.labels, 7).float()
    assert torch.equal(network.loss.past, labels), "every image was mixed, and says nothing about a face"
    _run(bench.trainer, spec(epochs=1, self_distillation=0.5))
    assert bench.network is network
    moved = (network.loss.past != labels).any(1)
    assert moved.sum() == network.steps_per_epoch * network.batch_size
    assert torch.allclose(network.loss.past.sum(1), torch.ones(len(labels)), atol=1e-5)


def test_a_trial_can_end_within_its_schedule(trainer, spec):
    whole, _ = _run(trainer, spec(epochs=3))
    cut, end = _run(trainer, dataclasses.replace(spec(epochs=3), until=2))
    assert end.status == "paused"
    assert _numbers(cut) == _numbers(whole[:2])
    _, end = _run(trainer, dataclasses.replace(spec(epochs=3), until=2, kind="confirm"))
    assert end.status == "completed"


def test_a_wish_to_stop_that_comes_with_the_final_epoch_changes_nothing(trainer, spec):
    rows, end = _run(trainer, dataclasses.replace(spec(epochs=3), until=1), stop_requested=lambda: Wish.STOP_AND_KEEP)
    assert (len(rows), end.status) == (1, "paused")
    rows, end = _run(trainer, dataclasses.replace(spec(epochs=3), until=2), stop_requested=lambda: Wish.STOP_AND_KEEP)
    assert (len(rows), end.status) == (1, "stopped")


@pytest.mark.parametrize(("count", "most"), [(4306, 1024), (1, 1024), (1024, 1024), (1025, 1024), (7, 3)])
def test_parts_that_are_evaluated_are_alike_and_cover_all(count, most):
    parts = list(alike(count, most))
    assert len({part.stop - part.start for part in parts}) == 1
    assert parts[0].stop - parts[0].start <= most
    assert len(parts) == -(-count // most)
    assert {index for part in parts for index in range(part.start, part.stop)} == set(range(count))
