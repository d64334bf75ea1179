"""Tests of what a study spent its time on."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from fer_tune.selection.spending import Use, device_seconds, fate, shares

START = datetime(2026, 1, 1, tzinfo=UTC)


def use(worker: int, start: float, end: float) -> Use:
    return Use(worker, START + timedelta(seconds=start), START + timedelta(seconds=end))


def test_lanes_of_one_device_count_once_and_two_devices_twice() -> None:
    assert device_seconds([use(0, 0, 10), use(0, 5, 12), use(0, 20, 21), use(1, 0, 10)]) == 23


@pytest.mark.parametrize(
    ("state", "epochs", "rungs", "expected"),
    [
        ("complete", 40, [4, 12], "reached the top"),
        ("pruned", 12, [4, 12], "promoted"),
        ("paused", 4, [4, 12], "paused"),
        ("pruned", 4, [4, 12], "paused"),
        ("pruned", 3, [4, 12], "pruned"),
        ("pruned", 0, [4, 12], "pruned"),
        ("pruned", 12, [], "pruned"),
        ("failed", 3, [4], "failed"),
        ("queued", 3, [4], "unfinished"),
    ],
)
def test_the_fate_of_a_trial(state: str, epochs: int, rungs: list[int], expected: str) -> None:
    assert fate(state, epochs, rungs) == expected


def test_shares_are_named_from_the_best_to_the_worst() -> None:
    assert shares({"failed": 1.0, "reached the top": 3.0}) == "75 % reached the top, 25 % failed"
    assert shares({}) == ""
