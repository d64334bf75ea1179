"""The runs of a study's final fits, read from the files that they left and the database recorded."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from fer_tune.errors import StorageError
from fer_tune.job import EpochRow
from fer_tune.mirror.runs import history_row, origin
from fer_tune.mirror.tracker import Bundle, Run
from fer_tune.store import Store, StudyRecord

WHOLE = "retrain metrics"
"""Kind of the file that is recorded last: with it, a retrain is all there."""


def retrain_runs(store: Store, record: StudyRecord, done: set[int]) -> Iterator[Run]:
    """The retrains whose cursors' numbers are not in `done`.

    A retrain that left its files outside the storage folder is not in the database, and one whose files were deleted
    has nothing to say any more: both have no run.
    """
    for artifact in store.artifacts(record.name):
        if artifact.kind != WHOLE:
            continue
        try:
            folder = store.artifact_path(artifact).parent
            metrics = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
            number = -int(metrics["test_openings"])
            if number not in done:
                yield _run(record, folder, metrics, _rows(folder))
        except (OSError, ValueError, KeyError, TypeError, StorageError):
            continue


def _rows(folder: Path) -> list[EpochRow]:
    """The epochs, as retraining wrote them; JSON has no nan and says null."""
    nan = float("nan")
    rows = []
    for written in json.loads((folder / "epochs.json").read_text(encoding="utf-8")):
        recall = tuple(nan if value is None else float(value) for value in written.pop("recall"))
        values: dict[str, Any] = {name: nan if value is None else value for name, value in written.items()}
        rows.append(EpochRow(**values, recall=recall))
    return rows


def _run(record: StudyRecord, folder: Path, metrics: dict[str, Any], rows: list[EpochRow]) -> Run:
    opening = int(metrics["test_openings"])
    facts = {name: metrics[name] for name in ("images", "test_images", "parameters", "seconds", "test_openings")}
    for way, scores in metrics["test"].items():
        facts |= {f"test/{way}/{name}": value for name, value in scores.items()}
    config = dict(metrics["params"]) | origin(record) | {name: metrics[name] for name in ("trial", "epochs", "seed")}
    # One collection for each study: a retrain adds a version, and content that is there already adds none.
    bundles = (
        Bundle(f"{record.name}-model", "model", (folder / "model.safetensors", folder / "config.json")),
        Bundle(f"{record.name}-confusion", "confusion-matrix", (folder / "confusion.json", folder / "confusion.png")),
    )
    return Run(
        number=-opening,
        id=f"{record.uid}-retrain-{opening:03d}",
        name=f"{record.name}-{folder.name}",
        group=record.name,
        job_type="retrain",
        tags=(record.family,),
        config=config,
        history=tuple(map(history_row, rows)),
        summary=facts,
        at=(rows[-1].attempt, rows[-1].epoch) if rows else (0, 0),
        bundles=bundles,
    )
