"""When a run gives up because its jobs fail."""

from __future__ import annotations

import pytest

from fer_tune.errors import TrainingError
from fer_tune.jobs.limits import ALIKE, Failures


def test_many_failures_alike_end_a_run_in_which_others_completed() -> None:
    failures = Failures()
    failures.reset()  # a job completed
    for _ in range(ALIKE - 1):
        failures.add("a broken driver", infeasible=False)
    failures.refuse_hopeless("s", lambda: 9)
    failures.add("a broken driver", infeasible=False)
    with pytest.raises(TrainingError, match="a broken driver"):
        failures.refuse_hopeless("s", lambda: 9)


def test_many_failures_of_different_kinds_do_not() -> None:
    failures = Failures()
    failures.reset()
    for number in range(2 * ALIKE):
        failures.add(f"reason {number % 2}", infeasible=False)
        failures.refuse_hopeless("s", lambda: 9)
    assert len(failures.reasons) == 2 * ALIKE
