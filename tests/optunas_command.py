"""Optuna's own command, called in this process: the tests have imported Optuna already."""

from __future__ import annotations

import contextlib
import io
import warnings

import optuna
import pytest
from optuna import cli


def optuna_prints(*words: str) -> str:
    """Returns what `optuna WORDS` prints. Fails the test if the command fails."""
    printed, level = io.StringIO(), optuna.logging.get_verbosity()
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(printed), warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        patch.setattr("sys.argv", ["optuna", *words])
        code = cli.main()
    optuna.logging.set_verbosity(level)
    assert code in (0, None), printed.getvalue()
    return printed.getvalue()
