"""Tests of the README and the docs: commands, links, and figures that were measured."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from typer.main import get_command

from fer_tune.cli.app import app
from fer_tune.data.spec import FER2013
from fer_tune.models.family import Family
from fer_tune.sweep.load import loads_sweep

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
RUNNABLE = "# runnable"


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)


def commands() -> list[str]:
    """Returns all lines of shell blocks that call fer-tune."""
    lines = [line for page in PAGES for block in blocks(page, "sh") for line in block.splitlines()]
    return [line for line in lines if line.startswith("fer-tune ")]


def runnable() -> list[object]:
    """Returns the lines of marked blocks. The one that draws all demo images is slow."""
    marked = [block for page in PAGES for block in blocks(page, "sh") if block.startswith(RUNNABLE)]
    lines = [line for block in marked for line in block.splitlines()[1:]]
    return [pytest.param(line, marks=pytest.mark.slow) if line.endswith("data demo") else line for line in lines]


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


def test_the_families_shown_are_families(tmp_path: Path) -> None:
    """One is a file of the user's own, the other one is written as those of fer-tune."""
    import torch

    from fer_tune.models import family_files

    ours, *_ = [source for source in blocks(ROOT / "docs" / "add-a-family.md", "python") if "FAMILY" in source]
    own, *_ = [source for source in blocks(ROOT / "docs" / "add-a-family.md", "python") if "MyNet" in source]
    (tmp_path / "mynet.py").write_text(own)
    names: dict[str, object] = {"__name__": "tiny"}
    exec(compile(ours.replace("from __future__ import annotations\n", ""), "tiny.py", "exec"), names)
    for family in (names["FAMILY"], family_files.family(family_files.register("./mynet.py:MyNet", tmp_path))):
        assert isinstance(family, Family)
        assert family.build(family.config(), FER2013)(torch.zeros(2, 1, 48, 48)).shape == (2, 7)


def test_no_page_has_the_marks_of_a_merge() -> None:
    for page in [*PAGES, ROOT / "CHANGELOG.md", ROOT / "benchmarks" / "README.md"]:
        assert not re.search("^(<{7}|={7}|>{7})", page.read_text(encoding="utf-8"), re.MULTILINE), page.name


def test_links_lead_somewhere() -> None:
    for page in PAGES:
        for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text(encoding="utf-8")):
            assert (page.parent / target).exists(), f"{page.name}: {target}"


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_make_demo(tmp_path: Path) -> None:
    environment = dict(os.environ, FER_TUNE_DIR=str(tmp_path / "storage"))
    done = subprocess.run(["make", "demo"], cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "demo" in done.stdout
    assert "model and report" in done.stdout
