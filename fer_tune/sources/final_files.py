"""The files that a final fit leaves beside its model."""

from __future__ import annotations

import json
import math
from dataclasses import asdict
from math import isnan
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fer_tune.job import EpochRow
from fer_tune.selection.classes import class_report
from fer_tune.sources.evaluate import PREDICTIONS, VIEW_NAMES

if TYPE_CHECKING:
    from fer_tune.sources.final_result import FinalFit


def write_files(fit: FinalFit) -> dict[str, Path]:
    """Writes what was measured. Returns the files by kind, the metrics last."""
    from fer_tune.files import replace_text
    from fer_tune.train.export import CALIBRATION

    texts: dict[str, Any] = {"epochs": [_plain(row) for row in fit.rows]}
    files: dict[str, Path] = {} if fit.calibration is None else {"calibration": fit.folder / CALIBRATION}
    if fit.tested is not None:
        views = {VIEW_NAMES[tta]: scores for tta, scores in fit.tested.views.items()}
        texts["confusion"] = {"classes": list(fit.classes)} | {name: one.confusion for name, one in views.items()}
        texts["report"] = {name: class_report(fit.classes, one.confusion) for name, one in views.items()}
        files |= {"predictions": fit.folder / PREDICTIONS, "confusion_png": _draw(fit)}
    texts["metrics"] = metrics(fit)
    for kind, content in texts.items():
        files[kind] = fit.folder / f"{kind}.json"
        replace_text(files[kind], json.dumps(content, indent=2) + "\n")
    return files


def metrics(fit: FinalFit) -> dict[str, Any]:
    """Returns the content of `metrics.json`."""
    known: dict[str, Any] = {
        "study": fit.study,
        "job": fit.job,
        "trial": fit.trial,
        "params": fit.params,
        "changes": fit.changes,
        "seed": fit.seed,
        "on": fit.on,
        "epochs": fit.epochs,
        "schedule": fit.schedule,
        "images": fit.images,
        "parameters": fit.parameters,
        "seconds": round(fit.seconds, 3),
        "calibration": asdict(fit.calibration) if fit.calibration else None,
        "validation": {VIEW_NAMES[tta]: scores.figures() for tta, scores in fit.validated.items()},
    }
    if fit.tested is None:
        return known
    return known | {
        "test_images": fit.tested.images,
        "test_openings": fit.openings,
        "test_ledger": [opening.line for opening in fit.ledger],
        "test": {VIEW_NAMES[tta]: scores.figures() for tta, scores in fit.tested.views.items()},
    }


def _draw(fit: FinalFit) -> Path:
    from fer_tune.report.confusion import confusion_png

    assert fit.tested is not None
    title = f"{fit.study}, trial {fit.trial}: {100 * fit.plain.scores.accuracy:.2f} % of {fit.tested.images} on test"
    return confusion_png(fit.plain.confusion, fit.classes, fit.folder / "confusion.png", title)


def _plain(row: EpochRow) -> dict[str, Any]:
    """Returns a row for JSON, with None in place of nan."""
    values = asdict(row) | {"recall": [None if isnan(value) else value for value in row.recall]}
    return {
        key: None if isinstance(value, float) and not math.isfinite(value) else value for key, value in values.items()
    }
