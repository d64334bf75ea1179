"""The settings under which every test of this room runs."""

from __future__ import annotations

import pytest

from fer_tune.settings import Settings


@pytest.fixture
def settings(searching: Settings) -> Settings:
    """Returns settings with an empty storage folder and the tiny faces as data."""
    return searching
