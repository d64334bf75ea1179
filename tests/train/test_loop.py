import dataclasses
import math
from collections.abc import Callable

import numpy as np
import pytest
import torch

from fer_tune.data.spec import DataRef
from fer_tune.job import EpochRow, Job, JobEnd, Value, Wish
from fer_tune.models import FAMILIES
from fer_tune.train.config import TrainConfig
from fer_tune.train.engine import alike
from fer_tune.train.loop import Trainer

BASE: dict[str, Value] = {"width": 8, "batch_size": 32, "lr": 0.003}


@pytest.fixture(scope="module")
def trainer() -> Trainer:
    return Trainer("cpu", threads=1)


@pytest.fixture
def spec(tiny_data: DataRef) -> Callable[..., Job]:
    def make(family: str = "simple_cnn", epochs: int = 2, **params: Value) -> Job:
        return Job("study", 1, family, {**BASE, **params}, epochs, 7, tiny_data)

    return make


def _run(trainer: Trainer, spec: Job, **kwargs: object) -> tuple[list[EpochRow], JobEnd]:
    *rows, end = trainer.train(spec, **kwargs)
    assert isinstance(end, JobEnd)
    return rows, end


def _numbers(rows: list[EpochRow]) -> list[EpochRow]:
    return [dataclasses.replace(row, seconds=0.0, images_per_second=0.0) for row in rows]


def test_yields_a_row_for_each_epoch_and_then_the_end(trainer, spec):
    rows, end = _run(trainer, spec(epochs=3))
    assert [row.epoch for row in rows] == [1, 2, 3]
    assert (end.status, end.reason, end.detail) == ("completed", "", "")
    assert end.parameters == sum(
        p.numel() for p in FAMILIES["simple_cnn"].build(FAMILIES["simple_cnn"].config(width=8)).parameters()
    )
    for row in rows:
        assert 0 <= row.val_accuracy <= 1
        assert 0 <= row.val_macro_f1 <= 1
        assert len(row.recall) == 7
        assert row.val_balanced_accuracy == pytest.approx(np.nanmean(row.recall))
        assert row.seconds > 0
        assert row.images_per_second > 0
        assert math.isfinite(row.train_loss + row.val_loss)
    assert rows[-1].train_loss < rows[0].train_loss


def test_same_spec_gives_the_same_numbers_twice(spec):
    params = {"augment": 0.5, "mixup": 0.3, "cutmix": 0.2, "head_dropout": 0.3, "sampling": "weighted", "ema": 0.9}
    first, _ = _run(Trainer("cpu", threads=1), spec(**params))
    second, _ = _run(Trainer("cpu", threads=1), spec(**params))
    assert _numbers(first) == _numbers(second)


def test_a_warm_engine_gives_the_same_numbers_as_a_fresh_one(trainer, spec):
    fresh, _ = _run(Trainer("cpu", threads=1), spec())
    _run(trainer, spec(lr=0.01, head_dropout=0.5, label_smoothing=0.2))
    engines = len(trainer._engines)
    warm, _ = _run(trainer, spec())
    assert len(trainer._engines) == engines, "hyperparameters that are data must not build another engine"
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
    "mixup": ({}, 0.5),
    "cutmix": ({}, 0.5),
    "sampling": ({}, "class_weights"),
    "sampling_power": ({"sampling": "weighted"}, 1.0),
}


def test_every_training_hyperparameter_is_named_here():
    assert set(CHANGES) == set(TrainConfig.model_fields)


@pytest.mark.parametrize("name", sorted(CHANGES))
def test_every_training_hyperparameter_takes_effect(trainer, spec, name):
    needed, value = CHANGES[name]
    before, _ = _run(trainer, spec(epochs=2, **needed))
    after, _ = _run(trainer, spec(epochs=2, **{**needed, name: value}))
    assert _numbers(before) != _numbers(after)


@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_every_hyperparameter_of_a_family_takes_effect(trainer, few_data, family):
    def spec(family: str, epochs: int, **params: Value) -> Job:
        return Job("study", 1, family, {**BASE, **params}, epochs, 7, few_data)

    fields = FAMILIES[family].config.model_fields
    small: dict[str, Value] = {"width": 0.25 if fields["width"].annotation is float else 8}
    others: dict[str, Value] = {
        "width": 0.375 if fields["width"].annotation is float else 16,
        "depth": 34,
        "stem": "7x7",
        "squeeze_excitation": True,
        "hidden_norm": True,
        "head_layers": 2,
        "hidden": 64,
        "convolutions": 1,
        "pooling": "antialiased",
        "downsampling": "antialiased",
    }
    if "stem" in fields:
        small["stem"], others["stem"] = "7x7", "3x3"
    base, end = _run(trainer, spec(family, epochs=1, **small))
    assert end.status == "completed", end.detail
    for name in fields:
        needed = {"head_layers": 2} if name == "head_dropout2" and "head_layers" in fields else {}
        compared = _run(trainer, spec(family, epochs=1, **{**small, **needed}))[0] if needed else base
        changed, end = _run(trainer, spec(family, epochs=1, **{**small, **needed, name: others.get(name, 0.4)}))
        assert end.status == "completed", end.detail
        assert _numbers(changed) != _numbers(compared), f"{family}.{name} changes nothing"


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
    rows, end = _run(trainer, spec(epochs=50), stop_requested=lambda: next(asked, True))
    assert end.status == "stopped"
    assert len(rows) < 10
    assert "epoch" in end.reason


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


def test_keeps_the_validation_logits_of_the_best_epoch(trainer, spec, tmp_path):
    rows, end = _run(trainer, dataclasses.replace(spec(epochs=3), artifacts=tmp_path / "trial"))
    logits = np.load(end.files["val_logits"], allow_pickle=False)
    assert logits.dtype == np.float16
    from fer_tune.data.access import open_search

    data = open_search(spec().data)
    accuracy = (logits.argmax(1) == data.labels[data.val]).mean()
    assert accuracy == pytest.approx(max(row.val_accuracy for row in rows), abs=0.02)


def test_a_final_fit_uses_validation_images_and_evaluates_nothing(trainer, spec, tmp_path):
    final = dataclasses.replace(spec(epochs=1), fit="train+val", artifacts=tmp_path)
    rows, end = _run(trainer, final)
    assert math.isnan(rows[0].val_accuracy)
    assert end.files["model"].exists()
    inputs = trainer._load(final)
    assert len(inputs.faces.labels) == len(trainer._load(spec()).faces.labels) + len(trainer._load(spec()).held)


def test_one_epoch_depends_on_seed_and_number_only(trainer, spec):
    """What a resumed trial needs: the third epoch draws the same inputs whatever ran before it."""
    engine = trainer._engine(spec(epochs=4, augment=0.5))
    for epoch in (1, 2, 3):
        engine.train_epoch(epoch, lambda: False)
    drawn = engine.inputs.images.clone()
    torch.manual_seed(99)
    engine.train_epoch(3, lambda: False)
    assert torch.equal(engine.inputs.images, drawn)


@pytest.mark.gpu
def test_captured_and_eager_steps_agree(tiny_data):
    """Losses and weights over 50 steps, from the same weights and the same random numbers."""
    trainer = Trainer("cuda")
    params = {"width": 0.25, "batch_size": 8, "lr": 0.05, "optimizer": "sgd", "ema": 0.9, "block_dropout": 0.1}
    found = []
    for eager in (False, True):
        engine = trainer._engine(Job("s", 1, "resnet", params, 4, 3, tiny_data))
        assert engine.notes == ()
        if eager:
            engine._step = engine._train_step
        torch.manual_seed(1)
        engine.inputs.draw_epoch(engine.config, engine._draw_weights)
        engine.flat.model.train()
        engine._sums.zero_()
        losses = []
        for step in range(50):
            if step % engine.steps_per_epoch == 0:
                engine._cursor.zero_()
            engine._step()
            losses.append(engine._train_sums[0].item())
        found.append((torch.tensor(losses), engine.flat.values.clone()))
    assert torch.allclose(found[0][0], found[1][0], rtol=1e-3)
    assert torch.allclose(found[0][1], found[1][1], rtol=1e-2, atol=1e-3)


def test_past_predictions_are_those_of_images_that_show_one_face(trainer, spec):
    one = spec(epochs=1, mixup=1.0, self_distillation=0.5)
    _run(trainer, one)
    engine = trainer._engines.get(trainer._plan(one)[0])
    labels = torch.nn.functional.one_hot(engine.faces.labels, 7).float()
    assert torch.equal(engine._past, labels), "every image was mixed, and says nothing about a face"
    _run(trainer, spec(epochs=1, self_distillation=0.5))
    moved = (engine._past != labels).any(1)
    shown = engine.steps_per_epoch * engine.batch_size
    assert moved.sum() == shown
    assert torch.allclose(engine._past.sum(1), torch.ones(len(labels)), atol=1e-5)


def test_a_trial_can_end_within_its_schedule(trainer, spec):
    whole, _ = _run(trainer, spec(epochs=3))
    cut, end = _run(trainer, dataclasses.replace(spec(epochs=3), last=2))
    assert end.status == "completed"
    assert _numbers(cut) == _numbers(whole[:2])


def test_a_wish_to_stop_that_comes_with_the_final_epoch_changes_nothing(trainer, spec):
    rows, end = _run(trainer, dataclasses.replace(spec(epochs=3), last=1), stop_requested=lambda: Wish.STOP_AND_KEEP)
    assert (len(rows), end.status) == (1, "completed")
    rows, end = _run(trainer, dataclasses.replace(spec(epochs=3), last=2), stop_requested=lambda: Wish.STOP_AND_KEEP)
    assert (len(rows), end.status) == (1, "stopped")


@pytest.mark.parametrize(("count", "most"), [(4306, 1024), (1, 1024), (1024, 1024), (1025, 1024), (7, 3)])
def test_parts_that_are_evaluated_are_alike_and_cover_all(count, most):
    parts = list(alike(count, most))
    assert len({part.stop - part.start for part in parts}) == 1
    assert parts[0].stop - parts[0].start <= most
    assert len(parts) == -(-count // most)
    assert {index for part in parts for index in range(part.start, part.stop)} == set(range(count))
