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
    "run FILE --hours 10x": "--hours must be a number of hours, or a time such as 90m or 1h30m (got 10x).",
    "run FILE --hours 0": "--hours must be above 0 (got 0).",
    "run FILE --gpu-hours 0": "--gpu-hours must be above 0 (got 0).",
    "run FILE --gpu-hours -2": "--gpu-hours must be above 0 (got -2).",
    "run FILE --gpu-hours nan": "--gpu-hours must be a number of hours, or a time such as 90m or 1h30m (got nan).",
    "run FILE --hours 0.1s": "--hours must be from 0.0001 to 1000000 hours (got 0.1s).",
    "run FILE --hours inf": "--hours must be from 0.0001 to 1000000 hours (got inf).",
    "run FILE --gpu-hours -1h": "--gpu-hours must be a number of hours, or a time such as 90m or 1h30m (got -1h).",
    "run FILE --trials -5": "--trials must be at least 1 (got -5).",
    "run FILE --trials 2.5": "--trials must be a whole number (got 2.5).",
    "run FILE --epochs 100000": "--epochs must be at most 10000 (got 100000).",
    "run FILE --engine cluster": "--engine must be one of local, inline, ray (got cluster).",
    "run FILE --wandb on": "--wandb must be one of online, offline, disabled (got on).",
    "run FILE --engine [/red]": "--engine must be one of local, inline, ray (got [/red]).",
    "replay --budget 200": "--budget must be at most 100 (got 200).",
    "replay --budget 0": "--budget must be at least 0.01 (got 0).",
    "best --top 0": "--top must be at least 1 (got 0).",
    "dashboard --port 99999": "--port must be at most 65535 (got 99999).",
    "watch --interval 0.1": "--interval must be at least 0.2 (got 0.1).",
    "report --format pdf": "--format must be one of html, md (got pdf).",
    "retrain --epochs x": "--epochs must be a whole number (got x).",
    "fly": "No such command 'fly'.",
    "bets": "No such command 'bets'. Did you mean 'best'?",
    "best --stdy x": "No such option: --stdy (Possible options: --study)",
    "best a b": "Got unexpected extra argument(s) (b)",
    "run": "Missing argument 'SWEEP...'.",
    "check": "`fer-tune check` needs a sweep, or --family.",
    "export model": "Missing option '--onnx'.",
    "run FILE --dry-run --lanes 0": "--lanes must be between 1 and 64, or auto (got 0).",
    "run FILE --dry-run --plan": "--dry-run and --plan exclude one another.",
    "run FILE --plan --json-lines": "--plan and --json-lines exclude one another.",
    "run FILE FILE2 --study x": "--study names one study, and there are 2 sweeps.",
    "best a --study b": "Two studies are named: a and b.",
    "studies remove a": "ACTION must be one of delete, rename, export, import (got remove).",
    "studies rename --study a": "`fer-tune studies rename` needs NAME NEW.",
    "studies import --study a": "There is no study a here: import takes a file.",
}


@pytest.mark.parametrize("words", WRONG)
def test_a_wrong_option_is_explained(words: str, tmp_path: Path) -> None:
    file = tmp_path / "tiny.yaml"
    file.write_text(SWEEP)
    (tmp_path / "two.yaml").write_text(SWEEP.replace("study: tiny", "study: two"))
    named = words.replace("FILE2", str(tmp_path / "two.yaml")).replace("FILE", str(file))
    answer = CliRunner().invoke(app, named.split())
    assert answer.exit_code == 2
    assert answer.stderr.startswith(f"error: {WRONG[words]}\nhint: ")
    assert "Traceback" not in answer.stderr
    assert "alue error" not in answer.stderr


def test_an_error_with_v_shows_where_it_comes_from(tmp_path: Path) -> None:
    for words in (["-v", "check", "nowhere.yaml"], ["check", "nowhere.yaml", "-v"]):
        answer = CliRunner().invoke(app, words)
        assert answer.exit_code == 2
        assert "Traceback (most recent call last):" in answer.stderr
        assert "nowhere.yaml: this file does not exist." in answer.stderr
    assert "Traceback" not in CliRunner().invoke(app, ["check", "nowhere.yaml"]).stderr


def test_the_version_is_an_option_too() -> None:
    told = {CliRunner().invoke(app, [word]).stdout for word in ("version", "--version")}
    assert len(told) == 1
    assert told.pop().strip()
