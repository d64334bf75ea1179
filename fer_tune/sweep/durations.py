"""Reads times as people write them: `2` hours, `90m`, `1h30m`, `45s`."""

from __future__ import annotations

import re

PARTS = re.compile(r"(?:(\d+(?:\.\d*)?)h)?\s*(?:(\d+(?:\.\d*)?)m(?:in)?)?\s*(?:(\d+(?:\.\d*)?)s)?")

ALLOWED = "a number of hours, or a time such as 90m or 1h30m"


def hours(text: str) -> float | None:
    """Returns the hours that a text says, or None if it says none."""
    text = text.strip().lower()
    try:
        return float(text)
    except ValueError:
        found = PARTS.fullmatch(text)
    if found is None or not any(found.groups()):
        return None
    of_hours, minutes, seconds = (float(part or 0) for part in found.groups())
    return of_hours + minutes / 60 + seconds / 3600
