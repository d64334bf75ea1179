"""Says in fer-tune's words what is wrong with a call."""

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


def in_our_words(problem: Any) -> SettingsError:
    """Returns an error of Typer as one of ours."""
    context = problem.ctx
    hint = f"`{'fer-tune' if context is None else context.command_path} --help` describes what it takes."
    if isinstance(problem, typer.BadParameter) and (explained := _explained(problem, hint)):
        return explained
    return SettingsError(re.sub(r"\s+", " ", problem.format_message()), hint)


def _explained(problem: typer.BadParameter, hint: str) -> SettingsError | None:
    """Returns the error for a value that pydantic refused. Typer would print pydantic's words."""
    from pydantic import ValidationError

    cause, param = problem.__cause__, problem.param
    if not isinstance(cause, ValidationError) or param is None:
        return None
    details = cause.errors()[0]
    allowed = _allowed(details)
    return wrong_value(_name(param), allowed, details["input"], hint) if allowed else None


def _name(param: Any) -> str:
    """Returns how a user calls an option or an argument."""
    if param.param_type_name == "option":
        return str(param.opts[0])
    return str(param.metavar or param.name.upper()).strip("[].")


def _allowed(details: ErrorDetails) -> str:
    """Returns what pydantic allows: `at least 1`, `one of html, md`.

    Empty for an unknown message.
    """
    kind = details["type"]
    context: dict[str, Any] = details.get("ctx", {})
    if kind in BOUNDS:
        word, bound = BOUNDS[kind]
        limit = context[bound]
        return f"{word} {int(limit) if float(limit).is_integer() else limit}"
    if choices := re.search(r"is not one of (.+)\.$", details["msg"]):
        return "one of " + choices[1].replace("'", "")
    return PARSING.get(kind.split("_")[0], "")
