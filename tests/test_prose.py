"""Tests that the check of plain English, `.ci/prose.py`, finds what it must and nothing else."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

check = runpy.run_path(str(Path(__file__).parents[1] / ".ci" / "prose.py"))["check"]

LONG = "word " * 21


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ('"""One line."""\n\n# The file lies in the folder.\n', 3),
        ('def f():\n    """Returns one.\n\n    It starts\n    anew.\n    """\n', 5),
        ("def f(x):\n    raise ValueError(f'{x} is no number.')\n", 2),
        (f"x = 1\n# {LONG}\n", 2),
        (f'"""First.\n\n{LONG}\n"""\n', 3),
        ("# The run goes\n# on.\n", 1),
    ],
)
def test_it_finds_a_turn_or_a_long_line_in_python(text: str, line: int, tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text(text)
    assert [number for _, number, _ in check(tmp_path / "a.py")] == [line]


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("# Title\n\nThe run goes on.\n", [3]),
        (f"{LONG}\n", [1]),
        (f"```\n{LONG} anew\n```\n\n| {LONG} anew |\n", []),
        (f"[a page](https://example.org/{'a' * 100})\n", []),
        ("There is no study of that name. It is no longer there.\n", []),
    ],
)
def test_it_reads_a_page_without_code_and_tables(text: str, lines: list[int], tmp_path: Path) -> None:
    (tmp_path / "a.md").write_text(text)
    assert [number for _, number, _ in check(tmp_path / "a.md")] == lines


def test_long_code_is_not_prose(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text(f"x = '{LONG}'\n")
    assert list(check(tmp_path / "a.py")) == []
