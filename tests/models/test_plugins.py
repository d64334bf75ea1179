"""A package of the user's own can name families by entry points."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.metadata import EntryPoint
from typing import Any

import pytest

from fer_tune.errors import TrainingError
from fer_tune.models import FAMILIES, Family, FamilyConfig, families


class Mine(FamilyConfig):
    """A family for this test."""


MINE = Family("mine", Mine, lambda config, spec: None, 1)  # type: ignore[arg-type,return-value]


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Returns a function that installs an entry point with a value."""

    def install(value: str) -> None:
        point = EntryPoint("mine", value, families.GROUP)
        monkeypatch.setattr(families, "entry_points", lambda group: [point])
        families._plugins.cache_clear()
        families._load.cache_clear()

    yield install
    monkeypatch.undo()
    families._plugins.cache_clear()
    families._load.cache_clear()


def test_a_family_of_a_package_is_found_by_its_name(installed: Any) -> None:
    installed(f"{__name__}:MINE")
    assert FAMILIES["mine"] is MINE
    assert list(FAMILIES)[-1] == "mine"


@pytest.mark.parametrize(
    ("value", "says"), [(f"{__name__}:Mine", "must be a"), ("no_such_module:X", "cannot be imported")]
)
def test_a_broken_package_is_named(installed: Any, value: str, says: str) -> None:
    installed(value)
    with pytest.raises(TrainingError, match=says):
        FAMILIES["mine"]
