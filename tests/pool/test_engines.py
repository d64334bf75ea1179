"""The engines by name, and how many workers each starts by itself."""

from __future__ import annotations

from typing import get_args

import pytest

from fer_tune.errors import SettingsError
from fer_tune.pool import devices
from fer_tune.pool.engines import EngineName, engine


def test_every_name_has_an_engine() -> None:
    assert all(engine(name).parallel == (name != "inline") for name in get_args(EngineName))


def test_an_unknown_engine_is_refused() -> None:
    with pytest.raises(SettingsError, match="no engine cluster") as caught:
        engine("cluster")  # type: ignore[arg-type]
    assert "local, inline, ray" in caught.value.hint


@pytest.mark.parametrize(("name", "alone"), [("local", 4), ("inline", 1)])
def test_workers_that_train_in_turn_are_one_unless_more_are_asked_for(
    monkeypatch: pytest.MonkeyPatch, name: EngineName, alone: int
) -> None:
    monkeypatch.setattr(devices, "cores", lambda: 8)
    chosen = engine(name)
    assert chosen.devices("cpu", None) == chosen.devices("cpu", "auto") == ["cpu"] * alone
    assert chosen.devices("cpu", 3) == ["cpu"] * 3
