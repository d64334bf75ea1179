"""Networks of torchvision through the trainer: they train, and the same job repeats exactly."""

from __future__ import annotations

import pytest

from fer_tune.data.spec import DataRef
from fer_tune.job import EpochRow, Job, JobEnd
from fer_tune.train.loop import Trainer


@pytest.mark.parametrize("name", ["mobilenet_v3_small", pytest.param("swin_t", marks=pytest.mark.slow)])
def test_a_network_trains_and_repeats(name: str, tiny_data: DataRef) -> None:
    trainer = Trainer("cpu", threads=1)
    params = {"batch_size": 32, "head_dropout": 0.1, "own_dropout": 0.1, "optimizer": "muon"}
    job = Job("a1b2c3", "study", "search", f"torchvision/{name}", params, 1, 7, tiny_data)
    found = []
    for _ in range(2):
        *messages, end = trainer.train_alone(job)
        assert isinstance(end, JobEnd)
        assert end.status == "completed", end.detail
        found.append([message.train_loss for message in messages if isinstance(message, EpochRow)])
    assert found[0] == found[1] != []
