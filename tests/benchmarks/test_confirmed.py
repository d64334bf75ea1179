"""What is said of the best trials of a search under new seeds."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from benchmarks.confirmed import confirmed_trials


def trial(number: int, value: float, mean: float | None, seeds: int = 3, p: float = 1.0) -> dict[str, Any]:
    again = None
    if mean is not None:
        interval = {"low": mean - 0.01, "high": mean + 0.01}
        again = {"mean": mean, "values": [mean] * seeds, "interval": interval, "p": p}
    return {"number": number, "value": value, "confirmed": again}


def test_the_table_has_the_confirmed_trials_the_optimism_and_what_racing_saved(tmp_path: Path) -> None:
    trials = [trial(4, 0.66, 0.655), trial(7, 0.67, 0.64, seeds=2, p=0.004), trial(1, 0.6, None)]
    standings = {"trials": trials, "winner": None, "optimism": 0.0175, "trainings": 5, "trainings_saved": 1}
    record = tmp_path / "confirmed.json"
    record.write_text(json.dumps({"standings": standings}), encoding="utf-8")
    text = confirmed_trials(record)
    assert "| 4 | 66.00 | 65.50 | 64.50 to 66.50 | 3 | 1.00 |" in text
    assert "| 7 | 67.00 | 64.00 | 63.00 to 65.00 | 2 | < 0.01 |" in text
    assert "| 1 |" not in text
    assert "1.75 points above these means. Racing saved 1 of 6 trainings." in text
    assert "No trial\nis better than all others" in text
