"""Notes in Markdown, on a trial and on a study: what a reader wants beside the numbers."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence

from fer_tune.data.fer2013 import EMOTIONS
from fer_tune.job import EpochRow
from fer_tune.store import AttemptRecord, StudyRecord
from fer_tune.study import TrialSummary

TAIL = 1500
"""Characters of a traceback that a note keeps: its end says what went wrong."""


def trial_note(trial: TrialSummary, rows: Sequence[EpochRow], attempts: Sequence[AttemptRecord]) -> str:
    """How a trial ended and what its best epoch measured.

    Args:
        rows: of its last attempt, by epoch.
        attempts: all of them.
    """
    parts = [_headline(trial)]
    best = next((row for row in rows if row.epoch == trial.best_epoch), None)
    if best is not None:
        parts.append(_measures(best))
    if trial.attrs.get("reason"):
        parts.append(f"Reason: `{_inline(str(trial.attrs['reason']))}`")
    parts += [f"- {_inline(note)}" for attempt in attempts[-1:] for note in attempt.notes]
    if len(attempts) > 1:
        told = "; ".join(f"{attempt.attempt}: {attempt.status or 'running'}" for attempt in attempts)
        parts.append(f"{len(attempts)} attempts ({told})")
    if attempts and attempts[-1].detail:
        parts.append(f"```\n{attempts[-1].detail[-TAIL:].strip()}\n```")
    return "\n\n".join(parts)


def study_note(record: StudyRecord) -> str:
    """What a study searched, on which faces, and how to continue it."""
    split = record.split
    counts = ", ".join(f"{count:,} {part}" for part, count in split.counts.items())
    facts = {
        "family": record.family,
        "objective": record.objective,
        "data": f"{record.data_source}, signature `{record.data_signature[:16]}`",
        "split": f"`{split.hash[:16]}`" + (f": {counts} images" if counts else ""),
        "split policy": f"`{json.dumps(split.policy)}`",
        "sweep signature": f"`{record.sweep_signature[:16]}`",
        "made with": ", ".join(f"{name} {version}" for name, version in record.versions.items()),
        "created": f"{record.created:%Y-%m-%d %H:%M} UTC",
    }
    table = "\n".join(["| | |", "|---|---|", *(f"| {name} | {told} |" for name, told in facts.items())])
    fence = "~~~~"
    return f"## {record.name}\n\n{table}\n\nThe sweep:\n\n{fence}yaml\n{record.sweep_text.strip()}\n{fence}\n"


def _headline(trial: TrialSummary) -> str:
    value = "" if trial.value is None else f" at {trial.value:.2%}"
    epoch = "" if trial.best_epoch is None else f", best epoch {trial.best_epoch} of {trial.epochs}"
    name = f" ({_inline(trial.name)})" if trial.name else ""
    return f"**{trial.state}**{value}{epoch}{name}"


def _measures(row: EpochRow) -> str:
    scores = {
        "val accuracy": row.val_accuracy,
        "macro-F1": row.val_macro_f1,
        "balanced": row.val_balanced_accuracy,
        "train accuracy": row.train_accuracy,
    }
    recall = {f"recall {name}": value for name, value in zip(EMOTIONS, row.recall, strict=True)}
    return "\n\n".join(_table(part) for part in (scores, recall))


def _table(values: dict[str, float]) -> str:
    cells = ("–" if math.isnan(value) else f"{value:.1%}" for value in values.values())
    return "\n".join((f"| {' | '.join(values)} |", "|" + "---|" * len(values), f"| {' | '.join(cells)} |"))


def _inline(text: str) -> str:
    """`text` on one line, without what would end a code span or a table's cell."""
    return " ".join(text.replace("`", "'").replace("|", "/").split())
