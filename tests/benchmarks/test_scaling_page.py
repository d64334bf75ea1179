"""Tests of the tables and the picture of docs/scale.md, and of the benchmarks behind them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock

import psutil
import pytest

from benchmarks import scaling_page, schedule, tables
from benchmarks.fleet import seconds_with_children
from benchmarks.scaling_page import draw, scale_chain, scale_fleet, scale_gpus, schedule_cost

ROOT = Path(__file__).parents[2]


def fixed(gpus: int, per_hour: int, efficiency: float) -> dict[str, Any]:
    return {
        "family": "resnet", "trials": 16, "epochs": 3, "lanes": "auto", "gpus": gpus, "trials_per_hour": per_hour,
        "images_per_second": 24_600 * gpus,
        "idle_share": {"cuda:0": 0.004, "cuda:1": 0.012}, "orchestrator_cpu_share": 0.031, "efficiency": efficiency,
    }  # fmt: skip


def side(row: float) -> dict[str, Any]:
    checks = {"budget": "held", "rows": "held", "files": ["one is missing"]}
    return {"trials": 5000, "losses": 6, "cpu_ms_a_trial": 20 * row, "cpu_ms_a_row": row, "checks": checks}


RECORDS: dict[str, dict[str, Any]] = {
    "scaling-h100.json": {"fixed": [fixed(1, 1200, 1.0), fixed(2, 2388, 0.995)]},
    "chain.json": {"local_and_sqlite": side(1.2), "ray_and_postgresql": side(1.5)},
    "fleet.json": {
        "slots": 64,
        "rows": [{"orchestrators": 4, "rows": 9000, "cpu_ms_a_row": 1.25, "server_cpu_ms_a_row": 0.5}],
    },
    "schedule.json": {
        "rows": [
            {
                "search": "prune",
                "workers": 8,
                "slots": None,
                "idle_share": 0.007,
                "accuracy": 0.65,
                "spread": 0.004,
                "trials": 469.5,
            },
            {
                "search": "prune",
                "workers": 8,
                "slots": 8,
                "idle_share": 0.05,
                "accuracy": 0.649,
                "spread": None,
                "trials": 420.0,
            },
        ]
    },
}


@pytest.fixture
def results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Returns an empty folder for records."""
    for module in (tables, scaling_page):
        monkeypatch.setattr(module, "RESULTS", tmp_path)
    return tmp_path


def test_a_table_without_its_record_says_how_to_make_it(results: Path) -> None:
    assert scale_gpus() == "Not measured yet: `python -m benchmarks.scaling`."
    assert scale_fleet.__name__ == "scale_fleet"


def test_the_tables_show_the_records(results: Path) -> None:
    for name, content in RECORDS.items():
        (results / name).write_text(json.dumps(content))
    assert scale_gpus().splitlines()[-1] == "| resnet | 16 of 3 | auto | 2 | 2,388 | 49.2 | 1.2 % | 3 % | 0.99 |"
    assert scale_chain().splitlines()[-1] == "| Ray, PostgreSQL | 5,000 | 6 | 30.0 | 1.50 | 2 of 3 |"
    assert scale_fleet().splitlines()[-1] == "| 4 | 256 | 9,000 | 1.25 | 0.50 | 2000 |"
    assert schedule_cost().splitlines()[-2:] == [
        "| prune | 8 | asynchronous | 0.7 % | 470 | 65.00 | 0.40 |",
        "| prune | 8 | deterministic, 8 slots | 5.0 % | 420 | 64.90 | – |",
    ]


def test_the_picture_has_a_panel_for_gpus_when_they_were_measured(results: Path, tmp_path: Path) -> None:
    spaces = {"flat12": {"ours": [{"slots": 2, "share_of_a_core": 0.02}, {"slots": 64, "share_of_a_core": 0.23}]}}
    (results / "orchestration.json").write_text(json.dumps({"spaces": spaces}))
    draw(tmp_path / "before.svg")
    (results / "scaling-h100.json").write_text(json.dumps(RECORDS["scaling-h100.json"]))
    draw(tmp_path / "after.svg")
    before, after = ((tmp_path / f"{name}.svg").read_text() for name in ("before", "after"))
    assert "<!-- GPUs -->" not in before
    assert "<!-- GPUs -->" in after
    assert "<!-- ideal -->" in after


@pytest.mark.slow
def test_the_benchmark_of_the_schedule_runs(tmp_path: Path) -> None:
    out = tmp_path / "schedule.json"
    schedule.main(
        [
            "--invented",
            "60",
            "--searches",
            "prune",
            "--workers",
            "2",
            "--seeds",
            "1",
            "--seconds",
            "10",
            "--out",
            str(out),
        ]
    )
    found = json.loads(out.read_text())
    assert [row["slots"] for row in found["rows"]] == [None, 8, 16]
    assert all(0 <= row["idle_share"] < 1 and row["trials"] > 1 for row in found["rows"])
    assert found["invented"]


def test_the_time_of_a_child_that_ends_while_it_is_read_counts_once() -> None:
    def times(user: float, of_children: float = 0.0) -> SimpleNamespace:
        return SimpleNamespace(user=user, system=0.0, children_user=of_children, children_system=0.0)

    stays, ends, server = Mock(), Mock(), Mock()
    stays.cpu_times.return_value = times(2.0)
    ends.cpu_times.side_effect = psutil.NoSuchProcess(1)
    server.children.side_effect = [[stays, ends], [stays]]
    server.cpu_times.side_effect = [times(1.0), times(1.0, of_children=4.0)]
    assert seconds_with_children(server) == 7.0


@pytest.mark.slow
def test_the_benchmark_of_a_fleet_runs(tmp_path: Path, postgres: object) -> None:
    out = tmp_path / "fleet.json"
    words = [sys.executable, "-m", "benchmarks.fleet", "--orchestrators", "2", "--slots", "4", "--trials", "5"]
    done = subprocess.run(
        [*words, "--out", str(out)], cwd=ROOT, capture_output=True, text=True, timeout=220, check=False
    )
    assert done.returncode == 0, done.stderr
    [row] = json.loads(out.read_text())["rows"]
    assert (row["orchestrators"], row["trials"]) == (2, 10)
    assert row["server_cpu_ms_a_row"] > 0
