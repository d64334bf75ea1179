"""How a problem of a sweep is said: what is wrong, what is allowed, and what was probably meant."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from fer_tune.sweep.catalogue import describe_value
from fer_tune.sweep.yaml_nodes import Node, Problems

Model = TypeVar("Model", bound=BaseModel)


def nearest(word: object, names: Iterable[str]) -> str:
    """The most similar of `names` as the end of a sentence, or nothing if none is similar."""
    close = get_close_matches(str(word)[:64], list(names), 1, 0.5)
    return f"; nearest: {close[0]}" if close else ""


def unknown(what: str, word: object, names: Iterable[str]) -> str:
    """Says that `word` is no `what`, and which there are."""
    names = list(names)
    return f"unknown {what}{nearest(word, names)}; allowed: {', '.join(names)}"


def validated(model: type[Model], node: Node, path: str, problems: Problems, leave_out: str = "") -> Model | None:
    """A section checked by its model; what the model refuses goes to `problems`, each at its own line."""
    if node.value is not None and not isinstance(node.value, dict):
        problems.add(node, path, f"must be a mapping, not {describe_value(node.plain())}")
        return None
    plain = {key: value.plain() for key, value in node.entries.items() if key != leave_out}
    try:
        return model.model_validate(plain, strict=True)
    except ValidationError as error:
        for details in error.errors():
            location = details["loc"]
            dotted = ".".join(str(step) for step in (path, *location) if step != "")
            problems.add(node.at(location), dotted, _say(details, model, leave_out))
        return None


def _say(details: ErrorDetails, model: type[BaseModel], leave_out: str) -> str:
    kind, got = details["type"], details.get("input")
    if kind == "extra_forbidden":
        return unknown("key", details["loc"][-1], [*model.model_fields, *filter(None, [leave_out])])
    if kind == "missing":
        return f"is missing: {model.model_fields[str(details['loc'][-1])].description}"
    if kind == "value_error":
        return details["msg"].removeprefix("Value error, ")
    said = details["msg"].replace("Input should be", "must be").replace("String should have", "must have")
    allowed: list[Any] = (
        details["ctx"]["expected"].replace("'", "").replace(" or ", ", ").split(", ")
        if (kind == "literal_error")
        else []
    )
    return f"{said}, not {describe_value(got)}{nearest(got, allowed)}"
