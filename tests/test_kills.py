"""Kills before a tenth of the operations of small runs, which `make chaos` does before all of them.

It is a file of its own, so that it takes its time beside the short campaign.
"""

from __future__ import annotations

import subprocess
import sys

import pytest

from benchmarks.chaos.subject import ROOT


@pytest.mark.chaos
@pytest.mark.timeout(600)
def test_a_kill_before_an_operation_changes_nothing() -> None:
    """A seeded tenth of the operations, in a process of its own: that of the tests has threads."""
    command = [sys.executable, "-m", "benchmarks.chaos", "--tenth", "--seed", "1"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "a search: killed before" in done.stdout
    assert "a deletion: killed before" in done.stdout
