"""A wrong option is answered with the option, what is allowed, and what was given."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from fer_tune.cli.app import app
from tests.studies import SWEEP

WRONG = {
    "run FILE --workers 5000": "--workers must be between 1 and 1024, or auto (got 5000).",
    "run FILE --workers two": "--workers must be between 1 and 1024, or auto (got two).",
    "run FILE --workers -3": "--workers must be between 1 and 1024, or auto (got -3).",
    "run FILE --hours 10m": "--hours must be a number (got 10m).",
    "run FILE --hours 0": "--hours must be at least 0.0001 (got 0).",
    "run FILE --trials -5": "--trials must be at least 1 (got -5).",
    "run FILE --trials 2.5": "--trials must be a whole number (got 2.5).",
    "run FILE --epochs 100000": "--epochs must be at most 10000 (got 100000).",
    "run FILE --engine cluster": "--engine must be one of local, inline, ray (got cluster).",
    "run FILE --wandb on": "--wandb must be one of online, offline, disabled (got on).",
    "run FILE --engine [/red]": "--engine must be one of local, inline, ray (got [/red]).",
    "best --top 0": "--top must be at least 1 (got 0).",
    "dashboard --port 99999": "--port must be at most 65535 (got 99999).",
    "watch --interval 0.1": "--interval must be at least 0.2 (got 0.1).",
    "report --format pdf": "--format must be one of html, md (got pdf).",
    "retrain --epochs x": "--epochs must be a whole number (got x).",
}


@pytest.mark.parametrize("words", WRONG)
def test_a_wrong_option_is_explained(words: str, tmp_path: Path) -> None:
    file = tmp_path / "tiny.yaml"
    file.write_text(SWEEP)
    answer = CliRunner().invoke(app, words.replace("FILE", str(file)).split())
    assert answer.exit_code == 2
    assert answer.stderr.startswith(f"error: {WRONG[words]}\nhint: ")
    assert "--help` describes the options." in answer.stderr or "--workers" in words


def test_the_version_is_an_option_too() -> None:
    told = {CliRunner().invoke(app, [word]).stdout for word in ("version", "--version")}
    assert len(told) == 1
    assert told.pop().strip()
