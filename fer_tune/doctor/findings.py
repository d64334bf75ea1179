"""What a check found."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from fer_tune.errors import FerTuneError

State = Literal["ok", "note", "problem"]

SHOWN = 3
"""So many names stand in a sentence before it says how many more there are."""


@dataclass(frozen=True)
class Finding:
    """One line of the doctor's.

    Attributes:
        what: was looked at, one or two words.
        state: `ok`; `note`, which is worth knowing and harms nothing; `problem`.
        found: one sentence, without passwords and keys.
        advice: what to do; never empty for a problem.
    """

    what: str
    state: State
    found: str
    advice: str = ""


def ok(what: str, found: str) -> Finding:
    """All is as it should be."""
    return Finding(what, "ok", found)


def note(what: str, found: str, advice: str = "") -> Finding:
    """Worth knowing."""
    return Finding(what, "note", found, advice)


def problem(what: str, found: str, advice: str) -> Finding:
    """Something is wrong."""
    return Finding(what, "problem", found, advice)


def refused(what: str, error: FerTuneError) -> Finding:
    """An error that fer-tune would raise, found before it does."""
    return problem(what, error.message, error.hint or "Look into it before the next run.")


def some(names: Sequence[object]) -> str:
    """`a, b, c and 4 more`."""
    shown = ", ".join(map(str, names[:SHOWN]))
    return shown if len(names) <= SHOWN else f"{shown} and {len(names) - SHOWN:,} more"


def many(count: int, one: str, several: str) -> str:
    """`1 file` or `1,234 files`."""
    return f"{count:,} {one if count == 1 else several}"


def size(count: float) -> str:
    """Bytes for people: `13 KiB`, `2.4 GiB`."""
    for unit in ("bytes", "KiB", "MiB"):
        if count < 1024:
            return f"{count:.0f} {unit}"
        count /= 1024
    return f"{count:,.1f} GiB"
