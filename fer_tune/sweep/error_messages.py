"""Words the problems of a sweep: what is wrong, what is allowed, and the nearest name."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from typing import TypeVar, get_args

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from fer_tune.sweep.catalogue import describe_value
from fer_tune.sweep.wandb_words import TOP, wandb_word
from fer_tune.sweep.yaml_nodes import Node, Problems

Model = TypeVar("Model", bound=BaseModel)

PLAIN = {
    "Input should be a valid integer": "must be a whole number",
    "Input should be a valid number": "must be a number",
    "Input should be a valid string": "must be text",
    "Input should be a valid boolean": "must be true or false",
    "Input should be greater than or equal to": "must be at least",
    "Input should be greater than": "must be above",
    "Input should be less than or equal to": "must be at most",
    "Input should be less than": "must be below",
    "Input should be": "must be",
    "String should match pattern": "must match",
}
"""How pydantic's messages begin, and our words for it. The first one that fits is used."""

TOO_LONG = 1e17
"""A whole number from here on is read as a float; see `yaml_nodes`."""


def nearest(word: object, names: Iterable[str]) -> str:
    """Returns `; nearest: NAME` for the most similar of `names`, or an empty text if none is
    similar.
    """
    close = get_close_matches(str(word)[:64], list(names), 1, 0.5)
    return f"; nearest: {close[0]}" if close else ""


def unknown(what: str, word: object, names: Iterable[str]) -> str:
    """Returns a message that `word` is not the name of a `what`, with the names that are."""
    names = list(names)
    return f"unknown {what}{nearest(word, names)}; allowed: {', '.join(names)}"


def validated(model: type[Model], node: Node, path: str, problems: Problems, leave_out: str = "") -> Model | None:
    """Returns a section as its model, or None. Adds to `problems` what the model refuses, each at
    its line.

    Args:
        path: the dotted path of the section, for the messages.
        leave_out: a key that the caller has read.
    """
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
            problems.add(node.at(location), dotted, _message(details, model, leave_out, problems))
        return None


def _message(details: ErrorDetails, model: type[BaseModel], leave_out: str, problems: Problems) -> str:
    """Returns what pydantic found wrong, in the words of a sweep."""
    kind, given = details["type"], details.get("input")
    *above, name = details["loc"] or ("",)
    keys = _keys_at(model, above)
    if kind == "extra_forbidden":
        whole = "params" in keys  # else it is a section
        if whole and (word := wandb_word(TOP, name, problems)):
            return word
        return unknown("key", name, [*keys, *filter(None, [leave_out])])
    if kind == "missing":
        return f"is missing: {keys[str(name)].description}"
    if kind == "value_error":
        return details["msg"].removeprefix("Value error, ")
    if kind == "int_type" and isinstance(given, float) and abs(given) >= TOO_LONG:
        return f"is too {'large' if given > 0 else 'small'}: {describe_value(given)}"
    allowed = details["ctx"]["expected"].replace("'", "").replace(" or ", ", ") if kind == "literal_error" else ""
    begins = next((text for text in PLAIN if details["msg"].startswith(text)), "")
    message = PLAIN.get(begins, "") + details["msg"].removeprefix(begins)
    return f"{message}, not {describe_value(given)}{nearest(given, allowed.split(', '))}"


def _keys_at(model: type[BaseModel], location: Iterable[str | int]) -> dict[str, FieldInfo]:
    """Returns the fields of the section at a location in a model, by their keys in a sweep."""
    for step in location:
        field = _keys(model).get(str(step))
        types = () if field is None else (field.annotation, *get_args(field.annotation))
        model = next((one for one in types if isinstance(one, type) and issubclass(one, BaseModel)), model)
    return _keys(model)


def _keys(model: type[BaseModel]) -> dict[str, FieldInfo]:
    return {info.alias or name: info for name, info in model.model_fields.items()}
