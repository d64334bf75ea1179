"""Tests that the tables in docs/architecture.md are those of the code, and that the site builds."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from fer_tune.jobs.states import TABLE
from tests.test_rooms import LEVELS

PAGE = Path(__file__).parents[1] / "docs" / "architecture.md"
BLOCK = re.compile(r"(<!-- states: [^\n]*-->\n)(.*?)(<!-- end of states -->)", re.DOTALL)


def states_table() -> str:
    """Returns the table of states in Markdown."""
    head = ["| a job that is | and then | becomes | and |", "|---|---|---|---|"]
    rows = [f"| {row.before} | {row.event} | {row.after} | {row.then} |" for row in TABLE]
    return "\n".join([*head, *rows]) + "\n"


def test_the_page_prints_the_table_of_states() -> None:
    """`python -m tests.test_docs` writes the table again."""
    found = BLOCK.search(PAGE.read_text(encoding="utf-8"))
    assert found is not None
    assert found.group(2) == states_table()


def test_the_page_lists_every_room() -> None:
    listed = set(re.findall(r"`(\w+)(?:/|\.py)`", PAGE.read_text(encoding="utf-8").partition("## Rooms")[2]))
    rooms = {room for level in LEVELS for room in level} - {"__main__", "__init__"}
    assert rooms <= listed


@pytest.mark.slow
def test_the_site_builds_strictly_within_a_minute(tmp_path: Path) -> None:
    """Every page is in the navigation, no link is broken, and the API's docstrings are there."""
    command = [Path(sys.executable).with_name("mkdocs"), "build", "--strict", "--quiet", "--site-dir", tmp_path]
    environment = dict(os.environ, NO_MKDOCS_2_WARNING="1")
    root = PAGE.parents[1]
    began = time.monotonic()
    done = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert time.monotonic() - began < 60
    assert "publish_report" in (tmp_path / "api" / "index.html").read_text(encoding="utf-8")
    commands = (tmp_path / "commands" / "index.html").read_text(encoding="utf-8")
    assert 'href="#fer-tune-retrain"' in commands  # in the table of contents
    assert "one_se --json" in re.sub(r"<[^>]+>", "", commands)  # an example
    navigation = (root / "mkdocs.yml").read_text(encoding="utf-8")
    assert [page.name for page in (root / "docs").glob("*.md") if page.name not in navigation] == []


def main() -> None:
    """Writes the table of states into the page."""
    text = PAGE.read_text(encoding="utf-8")
    PAGE.write_text(BLOCK.sub(lambda found: found[1] + states_table() + found[3], text), encoding="utf-8")


if __name__ == "__main__":
    main()
