"""Tests of the README and the docs: commands, links, and figures that were measured."""

from __future__ import annotations

import ast
import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.main import get_command

from benchmarks import readme_table
from benchmarks.readme_table import percent
from fer_tune.cli.app import app
from fer_tune.data.spec import FER2013
from fer_tune.models.family import Family
from fer_tune.sweep.load import loads_sweep

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
WHAT_HELPED = ROOT / "docs" / "what-helped.md"
RESULTS = ROOT / "benchmarks" / "results"
RUNNABLE = "# runnable"


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)


def commands() -> list[str]:
    """Returns all lines of shell blocks that call fer-tune."""
    lines = [line for page in PAGES for block in blocks(page, "sh") for line in block.splitlines()]
    return [line for line in lines if line.startswith("fer-tune ")]


def runnable() -> list[str]:
    marked = [block for page in PAGES for block in blocks(page, "sh") if block.startswith(RUNNABLE)]
    return [line for block in marked for line in block.splitlines()[1:]]


@pytest.mark.parametrize("command", runnable())
def test_runnable_commands_run(command: str, tmp_path: Path) -> None:
    words = shlex.split(command)
    start = ["-m", "fer_tune", *words[1:]] if words[0] == "fer-tune" else words[1:]
    environment = dict(os.environ, FER_TUNE_DIR=str(tmp_path / "storage"))
    done = subprocess.run(
        [sys.executable, *start], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()


@pytest.mark.parametrize("command", commands())
def test_every_command_shown_is_one(command: str) -> None:
    """Its name and its options exist, and its arguments can be parsed. Nothing is run."""
    words = shlex.split(command.partition(" > ")[0], comments=True)[1:]
    group = get_command(app)
    if words[0].startswith("-"):
        return
    found = group.get_command(None, words[0])  # type: ignore[attr-defined,arg-type]
    assert found is not None, f"there is no command {words[0]}"
    if "--help" not in words:
        found.make_context(words[0], words[1:])


def test_the_sweep_shown_is_valid() -> None:
    [text] = blocks(ROOT / "README.md", "yaml")
    sweep = loads_sweep(text, Path("mine.yaml"))
    assert sweep.study == yaml.safe_load(text)["study"]
    assert sweep.budget.trials == 40


def test_the_family_shown_is_one() -> None:
    import torch

    [source] = blocks(ROOT / "docs" / "add-a-family.md", "python")
    ast.parse(source)
    names: dict[str, object] = {"__name__": "tiny"}
    exec(compile(source.replace("from __future__ import annotations\n", ""), "tiny.py", "exec"), names)
    family = names["FAMILY"]
    assert isinstance(family, Family)
    assert family.build(family.config(), FER2013)(torch.zeros(2, 1, 48, 48)).shape == (2, 7)


def test_links_lead_somewhere() -> None:
    for page in PAGES:
        for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text(encoding="utf-8")):
            assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_the_table_of_results_is_up_to_date() -> None:
    assert readme_table.main(["--check"]) == 0


def rows_below(page: Path, heading: str) -> list[list[str]]:
    """Returns the cells of a section's only table, without its heading and without emphasis."""
    section = page.read_text(encoding="utf-8").split(f"## {heading}\n", 1)[1].split("\n## ", 1)[0]
    table = [line for line in section.splitlines() if line.startswith("|")][2:]
    return [[cell.strip().strip("*") for cell in line.strip("|").split("|")] for line in table]


def runs_of(names: str) -> list[dict[str, Any]]:
    """Returns all trainings of the ablations in `benchmarks/results/` whose names match."""
    found = [run for path in sorted(RESULTS.glob(names)) for run in json.loads(path.read_text())["runs"]]
    assert found, names
    return found


def test_width_and_rotation_are_told_as_measured() -> None:
    measured = {
        (
            str(run["seed"]),
            percent(sum(run["curve"][-10:]) / 10),
            percent(run["last_flip_averaged"]),
            f"{100 * run['train']:.1f}",
            f"{run['images_per_second'] / 1000:.0f}",
        )
        for run in runs_of("ablation-strong-h100.json")
    }
    told = rows_below(WHAT_HELPED, "Width, rotation, and the noise of a seed")
    assert {tuple(cells[1:]) for cells in told} == measured


def test_changes_at_twice_the_width_are_told_as_measured() -> None:
    measured = {
        (
            str(run["seed"]),
            percent(run["last"]),
            percent(run["best"]),
            f"{100 * run['train']:.1f}",
            f"{run['images_per_second'] / 1000:.1f}",
        )
        for run in runs_of("wide-*.json") + runs_of("stochastic-depth-h100.json")
    }
    assert {tuple(cells[1:]) for cells in rows_below(WHAT_HELPED, "Twice the width")} == measured


def test_weaker_augmentation_and_teachers_are_told_as_measured() -> None:
    measured = {
        (percent(run["last"]), percent(run["flip"]), f"{100 * run['train']:.1f}")
        for run in runs_of("geometry-*.json") + runs_of("taught-h100.json")
    }
    told = {
        figures
        for cells in rows_below(WHAT_HELPED, "Weaker augmentation, and teachers")
        for figures in zip(*(cell.split(", ") for cell in cells[1:]), strict=True)
    }
    assert told == measured


def test_final_fits_are_told_as_measured() -> None:
    fits = [cells for cells in rows_below(WHAT_HELPED, "Final fits") if "record](" in cells[0]]
    assert len(fits) == 6
    for what, epochs, plain, flip, seconds in fits:
        name = re.search(r"results/(.+?\.json)", what)
        assert name is not None
        fit = json.loads((RESULTS / name[1]).read_text())["retrain"]
        scores = [percent(fit["test"][kind]["accuracy"]) for kind in ("plain", "flip")]
        assert [epochs, plain, flip] == [f"{fit['epochs']} of {fit['schedule']}", *scores]
        assert seconds == f"{fit['seconds']:.0f} s"


def test_what_torch_compile_gains_is_told_as_measured() -> None:
    measured = {
        (
            row["family"],
            str(row["batch"]),
            *(f"{row[rate] / 1000:.1f}" for rate in ("torch", "compiled", "bare")),
            str(row["seconds_to_compile"]),
        )
        for row in json.loads((RESULTS / "training-compile-h100.json").read_text())["rows"]
    }
    assert {tuple(cells) for cells in rows_below(ROOT / "benchmarks" / "README.md", "torch.compile")} == measured


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_make_demo(tmp_path: Path) -> None:
    environment = dict(os.environ, FER_TUNE_DIR=str(tmp_path / "storage"))
    done = subprocess.run(["make", "demo"], cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "demo" in done.stdout
    assert "model and report" in done.stdout
