"""Values of hyperparameters, read off a family's configuration: a new family needs no new test."""

from __future__ import annotations

from typing import Any, Literal, get_args, get_origin

from annotated_types import Ge, Le
from pydantic.fields import FieldInfo

from fer_tune.models import Family

Values = dict[str, Any]


def rates(family: Family) -> list[str]:
    """Returns the names of the dropout rates."""
    return [name for name, info in family.config.model_fields.items() if _is_rate(info)]


def smallest(family: Family) -> Values:
    """Returns the numbers that make the narrowest network; other fields keep their defaults."""
    fields = family.config.model_fields
    return {name: _bound(info, Ge) for name, info in fields.items() if _is_number(info) and not _is_rate(info)}


def alternatives(family: Family) -> Values:
    """Returns for each field a valid value that is not in `smallest`, nor the default."""
    return {name: _another(info) for name, info in family.config.model_fields.items()}


def contexts(family: Family) -> list[Values]:
    """Returns no change, and then one choice changed at a time.

    Some fields matter only beside another choice.
    """
    return [{}, *({name: value} for name, value in choices(family).items())]


def choices(family: Family) -> Values:
    """Returns for each field that is not a number a value other than its default."""
    return {name: _another(info) for name, info in family.config.model_fields.items() if not _is_number(info)}


def _another(info: FieldInfo) -> Any:
    if info.annotation is bool:
        return not info.default
    if get_origin(info.annotation) is Literal:
        return next(value for value in get_args(info.annotation) if value != info.default)
    if _is_rate(info):
        return 0.4
    low, high = _bound(info, Ge), _bound(info, Le)
    return info.annotation(low + (high - low) / 16)  # type: ignore[misc]


def _is_rate(info: FieldInfo) -> bool:
    return isinstance(info.json_schema_extra, dict) and bool(info.json_schema_extra.get("rate"))


def _is_number(info: FieldInfo) -> bool:
    return info.annotation in {int, float}


def _bound(info: FieldInfo, kind: type[Ge] | type[Le]) -> Any:
    [found] = [limit for limit in info.metadata if isinstance(limit, kind)]
    return found.ge if isinstance(found, Ge) else found.le
