"""What a search finds on real images: its changes of a sweep, and what is said of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks import finding_tables
from benchmarks.finding import changes_of, summary
from benchmarks.plan import line
from benchmarks.readme_table import TABLES
from fer_tune.sweep import load_sweep

SWEEP = Path(__file__).parents[2] / "sweeps" / "deep_cnn.yaml"


def found(begin: str, mean: float, number: int = 3, name: str | None = None) -> dict[str, Any]:
    return {
        "family": "deep_cnn",
        "study": f"deep_cnn-{begin}-0",
        "from": begin,
        "wall_seconds": 224.0,
        "winner": {"number": number, "name": name, "drawn": None if name else "model", "value": 0.66},
        "confirmed": {"values": [mean - 0.001, mean + 0.001], "mean": mean},
        "poor": {"never_above_median": 0.25, "below_last": 0.4},
    }


def test_from_nothing_a_sweep_has_no_start_and_no_prior() -> None:
    sweep = load_sweep(SWEEP, changes_of("nothing"))
    assert (sweep.start, sweep.search.prior, sweep.search.strategy) == ((), None, "promote")
    assert load_sweep(SWEEP, changes_of("recipe")) == load_sweep(SWEEP)


def test_a_search_whose_winner_is_the_recipe_itself_measures_the_recipe(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = tmp_path / "finding.json"
    monkeypatch.setattr(finding_tables, "RECORD", record)
    record.write_text(json.dumps({"findings": [found("recipe", 0.651, 0, "measured 1")]}), encoding="utf-8")
    (row,) = [line for line in finding_tables.findings().splitlines() if "deep_cnn" in line]
    assert "| **65.10**: 65.10 (2 seeds, start “measured 1”) | not measured | **65.10**: 65.10 (2 seeds) after" in row
    record.write_text(json.dumps({"findings": [found("recipe", 0.651)]}), encoding="utf-8")
    (row,) = [line for line in finding_tables.findings().splitlines() if "deep_cnn" in line]
    assert "| deep_cnn | not measured | not measured | **65.10**" in row


def test_a_finding_counts_with_its_mean_under_fresh_seeds() -> None:
    text = summary(found("nothing", 0.648))
    assert "trial 3 with 66.00% after 224 s; 64.80% under 2 fresh seeds; 25% of the time" in text


def test_the_table_has_a_column_for_each_beginning(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    record = tmp_path / "finding.json"
    monkeypatch.setattr(finding_tables, "RECORD", record)
    assert "| deep_cnn | not measured | not measured | not measured |" in finding_tables.findings()
    searches = [found("only-recipe", 0.652, 0, "measured 1"), found("nothing", 0.648), found("nothing", 0.65, 7)]
    record.write_text(json.dumps({"findings": searches}))
    [row] = [text for text in finding_tables.findings().splitlines() if text.startswith("| deep_cnn")]
    _, _, recipe, nothing, both, _ = [text.strip() for text in row.split("|")]
    assert recipe == "**65.20**: 65.20 (2 seeds, start “measured 1”)"
    assert nothing == (
        "**64.90**: 64.80 (2 seeds) after 224 s, trial 3, model; 65.00 (2 seeds) after 224 s, trial 7, model"
    )
    assert both == "not measured"
    assert TABLES["findings"] is finding_tables.findings


def test_a_forecast_is_within_15_percent_or_not() -> None:
    one = {"sweep": "demo:4", "forecast": "device_seconds", "expected": {"low": 8.0, "middle": 10.0, "high": 12.0}}
    assert "+10%, within 15%" in line(one | {"took": 11.0, "error": 0.1, "plan_seconds": 3.0})
    assert "-20%, NOT within 15%" in line(one | {"took": 8.0, "error": -0.2, "plan_seconds": 3.0})
