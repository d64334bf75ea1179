"""The text of notes on a study and on a trial, in Markdown."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence

from fer_tune.job import EpochRow
from fer_tune.store import AttemptRecord, StudyRecord
from fer_tune.study import TrialSummary

TAIL = 1500
"""How many characters of a traceback a note keeps. The end of a traceback says what went wrong."""


def trial_note(
    trial: TrialSummary,
    rows: Sequence[EpochRow],
    attempts: Sequence[AttemptRecord],
    classes: Sequence[str],
    baseline: float | None = None,
) -> str:
    """Returns how a trial ended and what its best epoch measured.

    Args:
        rows: its epochs, once each.
        attempts: all of them, in order.
        classes: the names of the classes.
        baseline: the value of the best `start:` configuration.
    """
    parts = [_headline(trial, baseline)]
    best = next((row for row in rows if row.epoch == trial.best_epoch), None)
    if best is not None:
        parts.append(_measures(best, classes))
    if trial.attrs.get("reason"):
        parts.append(f"Reason: `{_inline(str(trial.attrs['reason']))}`")
    parts += [_place(attempt, rows) for attempt in attempts[-1:]]
    parts += [f"- {_inline(note)}" for attempt in attempts[-1:] for note in attempt.notes]
    if len(attempts) > 1:
        ends = "; ".join(f"{attempt.attempt}: {attempt.status or 'running'}" for attempt in attempts)
        parts.append(f"{len(attempts)} attempts ({ends})")
    if attempts and attempts[-1].detail:
        parts.append(f"```\n{attempts[-1].detail[-TAIL:].strip()}\n```")
    return "\n\n".join(parts)


def study_note(record: StudyRecord) -> str:
    """Returns what a study searches, on which images, and the sweep that continues it."""
    split = record.split
    counts = ", ".join(f"{count:,} {part}" for part, count in split.counts.items())
    facts = {
        "family": record.family,
        "objective": record.objective,
        "data": f"{_inline(record.data_source)}, signature `{record.data_signature[:16]}`",
        "split": f"`{split.hash[:16]}`" + (f": {counts} images" if counts else ""),
        "split policy": f"`{json.dumps(split.policy)}`",
        "sweep signature": f"`{record.sweep_signature[:16]}`",
        "made with": ", ".join(f"{name} {version}" for name, version in record.versions.items()),
        "created": f"{record.created:%Y-%m-%d %H:%M} UTC",
    }
    table = "\n".join(["| | |", "|---|---|", *(f"| {name} | {fact} |" for name, fact in facts.items())])
    fence = "~~~~"
    return f"## {record.name}\n\n{table}\n\nThe sweep:\n\n{fence}yaml\n{record.sweep_text.strip()}\n{fence}\n"


def _headline(trial: TrialSummary, baseline: float | None) -> str:
    value = "" if trial.value is None else f" at {100 * trial.value:.2f} %"
    if trial.value is not None and baseline is not None and trial.state == "complete" and not trial.name:
        value += f" ({100 * (trial.value - baseline):+.2f} over the best of start)"
    epoch = "" if trial.best_epoch is None else f", best epoch {trial.best_epoch} of {trial.epochs}"
    name = f" ({_inline(trial.name)})" if trial.name else ""
    return f"**{trial.state}**{value}{epoch}{name}"


def _place(attempt: AttemptRecord, rows: Sequence[EpochRow]) -> str:
    """Returns where the last attempt was trained, and how fast."""
    speed = f", {rows[-1].images_per_second:,.0f} images/s" if rows else ""
    return f"Trained on {_inline(attempt.device)}, worker {attempt.worker}, lane {attempt.lane}{speed}."


def _measures(row: EpochRow, classes: Sequence[str]) -> str:
    scores = {
        "val accuracy": row.val_accuracy,
        "macro-F1": row.val_macro_f1,
        "balanced": row.val_balanced_accuracy,
        "train accuracy": row.train_accuracy,
    }
    recall = {_inline(name): value for name, value in zip(classes, row.recall, strict=True)}
    return f"{_table('best epoch', scores)}\n\n{_table('recall of', recall)}"


def _table(head: str, values: Mapping[str, float]) -> str:
    """Returns a table with a row for each value. Many columns would make the page too wide."""
    cells = {name: "–" if math.isnan(value) else f"{100 * value:.1f} %" for name, value in values.items()}
    return "\n".join((f"| {head} | |", "|---|---|", *(f"| {name} | {cell} |" for name, cell in cells.items())))


def _inline(text: str) -> str:
    """Returns `text` on one line, without what ends a code span or a cell of a table."""
    return " ".join(text.replace("`", "'").replace("|", "/").split())
