"""How much networks agree on the validation images, and what an ensemble of them gains there.

    python -m benchmarks.ablation --family vgg --seeds 0,1 --predictions FOLDER --out vgg.json
    python -m benchmarks.agreement FOLDER

Each file of the folder is one network (see `ablation.write_predictions`). Its probabilities for a
face and for the mirrored face are averaged, and calibrated by a temperature, as `fer-tune ensemble`
does it.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from itertools import combinations
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np

from benchmarks.circumstances import commit, today, versions
from fer_tune.selection.calibration import fit_temperature, softmax
from fer_tune.selection.ensembles import Floats, Labels, choose

RESULT = Path(__file__).parent / "results" / "agreement.json"


def read(folder: Path) -> tuple[dict[str, Floats], Labels]:
    """Returns the probabilities [V, C] of each network by name, and the labels [V].

    Raises:
        ValueError: there are no predictions, or they are for different images.
    """
    found: dict[str, Floats] = {}
    labels: Labels | None = None
    for path in sorted(folder.glob("*.npz")):
        with np.load(path) as kept:
            if labels is not None and not np.array_equal(labels, kept["labels"]):
                raise ValueError(f"{path.name} is for other images than the files before it.")
            labels = kept["labels"].astype(np.int64)
            found[path.stem] = (kept["plain"].astype(np.float64) + kept["flip"]) / 2
    if labels is None:
        raise ValueError(f"{folder} has no predictions.")
    return found, labels


def measure(networks: Mapping[str, Floats], labels: Labels, size: int) -> dict[str, Any]:
    """Returns the accuracy of single networks and of ensembles, and how much networks agree.

    Args:
        size: networks of the chosen ensemble. It is chosen from all, and judged by cross-fitting.
    """
    calibrated = [_calibrated(one, labels) for one in networks.values()]
    predicted = np.stack([one.argmax(axis=1) for one in calibrated])
    right = predicted == labels
    alike = (predicted == predicted[0]).all(axis=0)
    choice = choose(calibrated, labels, size)
    return {
        "images": len(labels),
        "networks": {name: float(one.mean()) for name, one in zip(networks, right, strict=True)},
        "mean_of_single": float(right.mean()),
        "all_together": float((np.mean(calibrated, axis=0).argmax(axis=1) == labels).mean()),
        "chosen": {"size": size, "honest": choice.honest, "single_honest": choice.single_honest},
        "two_agree": _two_agree(predicted),
        "all_agree": float(alike.mean()),
        "right_where_all_agree": float(right[0][alike].mean()) if alike.any() else None,
        "none_right": float((~right).all(axis=0).mean()),
        "all_agree_and_wrong": float((alike & ~right[0]).mean()),
    }


def _calibrated(probabilities: Floats, labels: Labels) -> Floats:
    logits = np.log(np.maximum(probabilities, 1e-7))  # float16 holds no smaller ones
    return softmax(logits, fit_temperature(logits, labels))


def _two_agree(predicted: Labels) -> float | None:
    """Returns on what share of the images two networks predict the same, on average."""
    pairs = [float((one == other).mean()) for one, other in combinations(predicted, 2)]
    return fmean(pairs) if pairs else None


def main(arguments: Sequence[str] | None = None) -> None:
    """Measures, prints the record without the single networks, and writes it."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--size", type=int, default=8, help="networks of the chosen ensemble")
    parser.add_argument("--out", type=Path, default=RESULT)
    options = parser.parse_args(arguments)
    record = {"benchmark": "agreement", "versions": versions("numpy"), "commit": commit(), "date": today()}
    record |= measure(*read(options.folder), options.size)
    options.out.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    print(json.dumps({key: value for key, value in record.items() if key != "networks"}, indent=1))


if __name__ == "__main__":
    main()
