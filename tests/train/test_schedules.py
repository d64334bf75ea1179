import math

import pytest
import torch

from fer_tune.train.config import TrainConfig
from fer_tune.train.schedules import dropout_factor, learning_rates


def _rates(steps: int = 1000, **config: object) -> torch.Tensor:
    return learning_rates(TrainConfig(lr=0.2, **config), steps)


def test_constant_without_warmup_is_constant():
    assert torch.equal(_rates(schedule="constant", warmup=0), torch.full((1000,), 0.2))


def test_warmup_rises_linearly_to_the_peak_and_takes_its_share_of_the_steps():
    rates = _rates(schedule="constant", warmup=0.1)
    assert torch.allclose(torch.diff(rates[:100]), torch.full((99,), 0.2 / 100))
    assert rates[0] == pytest.approx(0.2 / 200)
    assert torch.equal(rates[100:], torch.full((900,), 0.2))


def test_cosine_falls_from_the_peak_to_nothing():
    rates = _rates(schedule="cosine", warmup=0)
    assert rates[0] == pytest.approx(0.2, rel=1e-5)
    assert rates[499] == pytest.approx(0.1, rel=5e-3)
    assert rates[-1] < 1e-6
    assert (torch.diff(rates) <= 0).all()


def test_step_divides_by_ten_twice():
    rates = _rates(schedule="step", warmup=0)
    assert sorted({round(float(rate), 6) for rate in rates}, reverse=True) == [0.2, 0.02, 0.002]
    assert [int((rates > at).sum()) for at in (0.1, 0.01)] == [500, 750]


def test_onecycle_follows_torch():
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=0.2)
    reference = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, max_lr=0.2, total_steps=4000, div_factor=25, final_div_factor=400, cycle_momentum=False
    )
    expected = []
    for _ in range(4000):
        expected.append(reference.get_last_lr()[0])
        optimizer.step()
        if len(expected) < 4000:
            reference.step()
    assert torch.allclose(_rates(4000, schedule="onecycle"), torch.tensor(expected), atol=2e-4)


@pytest.mark.parametrize("schedule", ["constant", "cosine", "onecycle", "step"])
def test_every_schedule_stays_within_the_peak(schedule):
    rates = _rates(37, schedule=schedule)
    assert rates.shape == (37,)
    assert rates.dtype == torch.float32
    assert 0.1 < rates.max() <= 0.2 + 1e-6
    assert rates.min() >= 0


def test_dropout_ramps():
    assert [dropout_factor("constant", epoch, 3) for epoch in (1, 2, 3)] == [1, 1, 1]
    assert [dropout_factor("rising", epoch, 3) for epoch in (1, 2, 3)] == [0, 0.5, 1]
    assert [dropout_factor("falling", epoch, 3) for epoch in (1, 2, 3)] == [1, 0.5, 0]
    assert math.isclose(dropout_factor("rising", 1, 1), 1)
