"""Says in fer-tune's words what is wrong with the value of an option."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import typer

from fer_tune.errors import SettingsError

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

PARSING = {"int": "a whole number", "float": "a number", "bool": "true or false"}
BOUNDS = {
    "greater_than_equal": ("at least", "ge"),
    "greater_than": ("above", "gt"),
    "less_than_equal": ("at most", "le"),
    "less_than": ("below", "lt"),
}


def wrong_value(option: str, allowed: str, given: object, hint: str) -> SettingsError:
    """Returns the error for an option whose value is not allowed."""
    return SettingsError(f"{option} must be {allowed} (got {given}).", hint)


def explain(problem: typer.BadParameter) -> SettingsError | None:
    """Returns `problem` in our words, or None if Typer's own message already says it well.

    Typer lets pydantic check the values, and prints pydantic's messages as they are.
    """
    from pydantic import ValidationError

    cause, param = problem.__cause__, problem.param
    if not isinstance(cause, ValidationError) or param is None or problem.ctx is None:
        return None
    details = cause.errors()[0]
    allowed = _allowed(details)
    hint = f"`{problem.ctx.command_path} --help` describes the options."
    return wrong_value(param.opts[0], allowed, details["input"], hint) if allowed else None


def _allowed(details: ErrorDetails) -> str:
    """Returns what pydantic allows: `at least 1`, `one of html, md`.

    Empty for an unknown message.
    """
    kind = details["type"]
    context: dict[str, Any] = details.get("ctx", {})
    if kind in BOUNDS:
        word, bound = BOUNDS[kind]
        return f"{word} {context[bound]}"
    if choices := re.search(r"is not one of (.+)\.$", details["msg"]):
        return "one of " + choices[1].replace("'", "")
    return PARSING.get(kind.split("_")[0], "")
