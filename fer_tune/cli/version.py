"""`fer-tune version`: the version."""

from __future__ import annotations

import typer

EXAMPLES = ("fer-tune version", "fer-tune --version")


def version() -> None:
    """Print the version."""
    from fer_tune import __version__

    typer.echo(__version__)
