"""Reads what workers wrote while they trained one trial."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from fer_tune.errors import StudyError
from fer_tune.settings import Settings
from fer_tune.store import AttemptRecord, Store
from fer_tune.study.summaries import trial
from fer_tune.study.trial_states import REASON, REQUEUED_AS

BEGINS = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d study (?P<study>\S+), (?P<job>.+), attempt (?P<attempt>\d+), lane")
"""The line that a worker writes when a job begins."""

MOST_BYTES = 64 * 2**20
"""Of a log. A longer one is read from its end."""


@dataclass(frozen=True)
class TrialLog:
    """One attempt at a trial, and what its worker wrote.

    Attributes:
        file: the log of the worker, or None if it was removed.
        lines: from the begin of the attempt to that of the worker's next job. With several lanes,
            the jobs of the other lanes wrote into them too.
    """

    attempt: AttemptRecord
    file: Path | None
    lines: tuple[str, ...]


def trial_logs(store: Store, settings: Settings, study: str, number: int) -> list[TrialLog]:
    """Returns the attempts at a trial, the oldest first.

    Raises:
        StudyError: the study or the trial does not exist, or no worker has started it.
    """
    attempts = [one for one in store.jobs.attempts(study) if (one.kind, one.number) == ("search", number)]
    if not attempts:
        raise StudyError(_why_no_log(store, study, number), f"`fer-tune trials {study}` lists the trials.")
    written = _written(settings.logs, study, f"trial {number}")
    return [TrialLog(one, *written.get(one.attempt, (None, ()))) for one in attempts]


def _why_no_log(store: Store, study: str, number: int) -> str:
    """Returns why there is no attempt at a trial. One that failed has a reason of its own.

    Raises:
        StudyError: the trial does not exist.
    """
    found = trial(store, study, number)
    if found.state == "failed":
        reason = found.attrs.get(REASON) or "no reason was recorded"
        return f"Trial {number} of {study} failed before a worker started it: {reason}"
    continued = found.state == "requeued"
    why = f"trial {found.attrs[REQUEUED_AS]} continues it" if continued else "no worker has started it"
    return f"Trial {number} of {study} has no log: {why}."


def _written(folder: Path, study: str, job: str) -> dict[int, tuple[Path, tuple[str, ...]]]:
    """Returns the log and the lines of each attempt. A later run may have repeated a number."""
    found: dict[int, tuple[Path, tuple[str, ...]]] = {}
    for file in sorted(folder.glob("*-worker*.log")):
        lines: list[str] | None = None
        for line in _lines(file):
            begins = BEGINS.match(line)
            if begins:
                lines = None
            if begins and (begins["study"], begins["job"]) == (study, job):
                lines = []
                attempt = int(begins["attempt"])
            if lines is not None:
                lines.append(line)
                found[attempt] = (file, tuple(lines))
    return found


def _lines(file: Path) -> list[str]:
    try:
        with file.open("rb") as log:
            log.seek(max(0, file.stat().st_size - MOST_BYTES))
            return log.read().decode(errors="replace").splitlines()
    except OSError:
        return []
