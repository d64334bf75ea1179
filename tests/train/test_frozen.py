"""Networks that start from weights of a file, and frozen layers, through the trainer."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

from fer_tune.data.spec import DataRef
from fer_tune.job import EpochRow, Job, JobEnd
from fer_tune.models import start_weights
from fer_tune.train.device_network import DeviceNetwork
from fer_tune.train.loop import Trainer
from tests.models.test_start_weights import NETWORK, published


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Returns the name of a family with weights."""
    path = tmp_path_factory.mktemp("weights") / "start.pth"
    torch.save(published(), path)
    from fer_tune.data.spec import FER2013

    return start_weights.register(f"torchvision/{NETWORK}", str(path), path.parent, FER2013)


def job(family: str, data: DataRef, frozen: str, epochs: int = 1, **params: Any) -> Job:
    return Job(
        "a1b2c3", "study", "search", family, {"batch_size": 32, "frozen": frozen, **params}, epochs, 7, data
    )  # fmt: skip


def trained(trainer: Trainer, one: Job) -> tuple[list[EpochRow], JobEnd]:
    *messages, end = trainer.train_alone(one)
    assert isinstance(end, JobEnd)
    assert end.status == "completed", end.detail
    return [message for message in messages if isinstance(message, EpochRow)], end


@pytest.mark.parametrize("frozen", ["half", "features"])
@pytest.mark.parametrize("optimizer", ["muon", "sgd"])
def test_frozen_layers_keep_the_weights_of_the_file(
    start: str, frozen: str, optimizer: str, tiny_data: DataRef
) -> None:
    trainer = Trainer("cpu", threads=1)
    rows, end = trained(trainer, job(start, tiny_data, frozen, optimizer=optimizer, ema=0.9))
    network = trainer.latest
    model = network.flat.model
    still = {name for name, parameter in model.named_parameters() if not parameter.requires_grad}
    file, found = start_weights.load(start), network.state_dict()
    for name in still - {"network.conv1.0.weight"}:  # it has the sum of three channels
        assert torch.equal(found[name], file[name.removeprefix("network.")]), name
    statistics = [name for name in found if "running" in name]
    changed = {name for name in statistics if not torch.equal(found[name], file[name.removeprefix("network.")])}
    norms = {name.rpartition(".")[0] for name in still}
    assert changed == {name for name in statistics if name.rpartition(".")[0] not in norms}
    learning = sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
    assert end.parameters == network.flat.trained == learning == len(network.optimizer.first)
    again, _ = trained(trainer, job(start, tiny_data, frozen, optimizer=optimizer, ema=0.9))
    assert [row.train_loss for row in again] == [row.train_loss for row in rows]


def test_a_job_with_frozen_layers_continues_from_its_checkpoint(start: str, tiny_data: DataRef, tmp_path: Path) -> None:
    whole = job(start, tiny_data, "half", epochs=2, ema=0.9)
    expected, _ = trained(Trainer("cpu", threads=1), whole)
    kept = replace(whole, checkpoint=tmp_path / "a.safetensors", checkpoint_seconds=0.0)
    messages = Trainer("cpu", threads=1).train_alone(kept)
    while not isinstance(next(messages), EpochRow):
        pass
    for _ in messages:
        if kept.checkpoint is not None and kept.checkpoint.exists():
            break
    messages.close()  # type: ignore[attr-defined]
    found, _ = trained(Trainer("cpu", threads=1), replace(kept, attempt=1))
    assert [row.val_loss for row in found] == [row.val_loss for row in expected]


@pytest.mark.gpu
def test_a_captured_step_leaves_frozen_layers_alone(start: str, large_data: DataRef) -> None:
    found = []
    for capture in (True, False):
        trainer = Trainer("cuda", build=partial(DeviceNetwork, capture=capture))
        rows, end = trained(trainer, job(start, large_data, "half", batch_size=64))
        assert end.notes == ()
        network = trainer.latest
        assert (network.replays.step is not None) is capture
        state, file = network.state_dict(), start_weights.load(start)
        still = {name for name, parameter in network.flat.model.named_parameters() if not parameter.requires_grad}
        for name in still - {"network.conv1.0.weight"}:
            torch.testing.assert_close(state[name], file[name.removeprefix("network.")], rtol=2**-8, atol=1e-6)
        found.append((rows[-1].train_loss, network.flat.values.clone()))
    assert found[0][0] == pytest.approx(found[1][0], rel=0.02)
    difference = torch.linalg.vector_norm(
        found[0][1] - found[1][1]
    )  # single weights drift apart in an epoch of bfloat16
    assert float(difference / torch.linalg.vector_norm(found[1][1])) < 0.05
