"""Fixtures of the command line's tests, which run the same small sweep."""

from tests.cli.conftest import searching

__all__ = ["searching"]
