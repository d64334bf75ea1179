"""Tests of what an epoch costs a device that several trials share."""

from __future__ import annotations

import pytest

from fer_tune.selection.time_shares import TrainedEpoch, time_shares


def test_trials_that_train_side_by_side_share_the_time() -> None:
    """One trains from 0 to 4 s; another one takes half of the time from 1 to 3 s."""
    assert time_shares([TrainedEpoch(0, 0.0, 4.0), TrainedEpoch(0, 1.0, 3.0)]) == pytest.approx([3.0, 1.0])


def test_a_trial_that_is_slower_costs_more_than_its_neighbours() -> None:
    """By their images, all of these epochs would cost the same. The slow one takes four times as
    long."""
    quick = [TrainedEpoch(0, n / 2, (n + 1) / 2) for n in range(4)]
    slow = TrainedEpoch(0, 0.0, 2.0)
    assert time_shares([slow, *quick]) == pytest.approx([1.0, 0.25, 0.25, 0.25, 0.25])


def test_the_shares_are_the_time_in_which_a_device_trained() -> None:
    epochs = [TrainedEpoch("a", n % 7, n % 7 + 1.5 + n / 10) for n in range(20)]
    busy = max(one.ended for one in epochs) - min(one.started for one in epochs)
    assert sum(time_shares(epochs)) == pytest.approx(busy)
    assert sum(time_shares([*epochs, TrainedEpoch("a", 100.0, 101.0)])) == pytest.approx(busy + 1.0)


def test_devices_do_not_share() -> None:
    epochs = [TrainedEpoch(worker, 0.0, 2.0) for worker in (0, 1, 0)]
    assert time_shares(epochs) == pytest.approx([1.0, 2.0, 1.0])


@pytest.mark.parametrize("epochs", [[], [TrainedEpoch(0, 1.0, 1.0)]])
def test_no_time_costs_nothing(epochs: list[TrainedEpoch]) -> None:
    assert time_shares(epochs) == [0.0] * len(epochs)
