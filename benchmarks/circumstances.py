"""Under what circumstances a figure was measured: what every result says beside it."""

from __future__ import annotations

import os
import platform
import subprocess
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

PACKAGES = ("torch", "torchvision", "optuna", "numpy", "sqlalchemy")
"""What matters for training's figures."""


def device() -> str:
    """The accelerator's name, else the processor's."""
    import torch

    return torch.cuda.get_device_name(0) if torch.cuda.is_available() else platform.processor() or platform.machine()


def machine() -> str:
    """Its cores and their kind."""
    return f"{os.cpu_count()} cores, {platform.machine()}"


def versions(*packages: str) -> dict[str, str]:
    """Of Python, and of `packages` (by default `PACKAGES`) as far as they are installed."""
    found = {"python": platform.python_version()}
    for name in packages or PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def commit() -> str:
    """Of the checkout that was measured, with a mark if its code is not that of the commit.

    FER_TUNE_COMMIT goes first: an exported checkout has no history, or finds another's.
    """
    if told := os.environ.get("FER_TUNE_COMMIT"):
        return told
    words = ["git", "describe", "--always", "--abbrev=12", "--dirty", "--exclude=*"]
    done = subprocess.run(words, capture_output=True, text=True, check=False, cwd=Path(__file__).parent)
    return done.stdout.strip() or "unknown"


def today() -> str:
    """The date, in UTC."""
    return datetime.now(UTC).date().isoformat()
