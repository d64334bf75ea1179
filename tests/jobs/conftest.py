"""The settings under which every test of this room runs."""

from __future__ import annotations

import pytest

from fer_tune.settings import Settings


@pytest.fixture
def settings(searching: Settings) -> Settings:
    """Returns an empty storage folder, and data: the tiny faces."""
    return searching
