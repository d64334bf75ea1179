"""What an examination found."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

State = Literal["ok", "note", "problem"]


@dataclass(frozen=True)
class Finding:
    """One finding.

    Attributes:
        what: the thing that was examined, one or two words.
        state: `ok`, `note` (worth knowing, harmless) or `problem`.
        found: one sentence, without passwords and keys.
        advice: what to do. Never empty for a problem.
    """

    what: str
    state: State
    found: str
    advice: str = ""


def ok(what: str, found: str) -> Finding:
    """Returns that a thing is as it should be."""
    return Finding(what, "ok", found)


def note(what: str, found: str, advice: str = "") -> Finding:
    """Returns what is worth knowing and harmless."""
    return Finding(what, "note", found, advice)


def problem(what: str, found: str, advice: str) -> Finding:
    """Returns that something is wrong."""
    return Finding(what, "problem", found, advice)


def some(names: Sequence[object], most: int = 3) -> str:
    """Returns `a, b, c and 4 more`."""
    shown = ", ".join(map(str, names[:most]))
    return shown if len(names) <= most else f"{shown} and {len(names) - most:,} more"


def many(count: int, one: str, several: str) -> str:
    """Returns `1 file` or `1,234 files`."""
    return f"{count:,} {one if count == 1 else several}"


def size(count: float) -> str:
    """Returns bytes for people, such as `2.4 GiB`."""
    return f"{count / 2**30:,.1f} GiB"
