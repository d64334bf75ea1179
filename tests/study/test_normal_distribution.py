"""Our loop gives Optuna's numbers, to the last bit."""

from __future__ import annotations

import numpy as np
import pytest
from optuna.samplers._tpe import _truncnorm

from fer_tune.study.normal_distribution import INNER, ROOT, log_ndtr


def log_ndtr_of_optuna(numbers: np.ndarray) -> np.ndarray:
    """Returns what Optuna's own function returns, which may have been replaced in this process."""
    return np.frompyfunc(_truncnorm._log_ndtr_single, 1, 1)(numbers).astype(float)


@pytest.mark.parametrize("low", [-1000.0, -25.0, -3.0, -0.1, 3.0])
def test_every_number_is_the_same_to_the_last_bit(low: float) -> None:
    numbers = np.random.default_rng(1).uniform(low, low / 2 + 5.0, (50, 40))
    assert log_ndtr(numbers).tobytes() == log_ndtr_of_optuna(numbers).tobytes()


def test_numbers_at_the_borders_are_the_same() -> None:
    borders = np.array([-np.inf, -20.0, -ROOT, -1.0, -INNER, -0.0, 0.0, INNER, 1.0, ROOT, 6.0, 40.0, np.inf, np.nan])
    numbers = np.concatenate([borders, np.nextafter(borders, -np.inf), np.nextafter(borders, np.inf)])
    numbers = numbers[numbers > -1e300]  # Optuna's own series has no end there
    assert log_ndtr(numbers).tobytes() == log_ndtr_of_optuna(numbers).tobytes()


def test_no_numbers_are_none() -> None:
    assert log_ndtr(np.empty((0, 3))).shape == (0, 3)
