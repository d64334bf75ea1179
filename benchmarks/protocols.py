"""Puts one configuration in one table under the protocols that people use on FER2013.

    python -m benchmarks.protocols --data fer2013.csv --sweep sweeps/resnet.yaml --epochs 100 \\
        --seeds 0,1 --out benchmarks/results/protocols.json

Each protocol names the images to train on, those to judge by, and the epoch. The same network gets
another figure under each. Most protocols need a file with all parts of the competition, such as
fer2013.csv or icml_face_data.csv. Without it, they are left out with a note. `python -m
benchmarks.readme_table --write` writes the tables of docs/protocols.md from the record.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import textwrap
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from benchmarks.circumstances import commit, device, today, versions
from benchmarks.tables import NONE, RESULTS, markdown, percent, record
from fer_tune.data.access import open_final, open_search
from fer_tune.data.dataset import Dataset
from fer_tune.data.load import load_faces
from fer_tune.data.policy import SplitPolicy
from fer_tune.data.published import PUBLISHED
from fer_tune.data.splits import reference, store_split
from fer_tune.errors import TrainingError
from fer_tune.job import EpochRow, Job, JobEnd, Part, Tta, Value
from fer_tune.selection.statistics import mean, standard_error
from fer_tune.settings import Settings
from fer_tune.sweep.load import load_sweep
from fer_tune.sweep.schema import Sweep
from fer_tune.sweep.space import Fixed
from fer_tune.train.export import Predictor
from fer_tune.train.loop import Trainer

RECORD = "protocols.json"

WIDTH = 100
"""Characters in a line of the page."""

VIEWS: tuple[Tta, ...] = ("none", "flip", "crops")


@dataclass(frozen=True)
class Protocol:
    """One way to come to a figure.

    Attributes:
        name: in words.
        fit: the part to train on.
        judge: the part to judge by.
        policy: how the images are divided.
        swapped: whether PublicTest and PrivateTest change places, so that PrivateTest is the
            validation part.
        epoch: `last`, or `best`: chosen by the images that it is judged by.
    """

    name: str
    fit: Part
    judge: Literal["val", "test"]
    policy: Literal["stratified", "usage"]
    swapped: bool = False
    epoch: Literal["last", "best"] = "last"

    @property
    def honest(self) -> bool:
        """Whether the figure is of images that decided nothing."""
        return self.epoch == "last"

    def needs_more(self, dataset: Dataset) -> bool:
        """Returns whether it needs images of the competition that the dataset does not have."""
        return self.policy == "usage" and (dataset.usage is None or not {1, 2} <= set(dataset.usage.tolist()))


PROTOCOLS = (
    Protocol("a random 15 % test part, trained on the rest", "train+val", "test", "stratified"),
    Protocol("PublicTest, trained on Training", "train", "val", "usage"),
    Protocol("PrivateTest, trained on Training", "train", "test", "usage"),
    Protocol("PrivateTest, trained on Training and PublicTest", "train+val", "test", "usage"),
    Protocol("PrivateTest, epoch chosen on PrivateTest", "train", "val", "usage", swapped=True, epoch="best"),
)


NO_USAGE = "the source has no images of PublicTest and PrivateTest"
"""Why a protocol was not measured: train.csv has only the competition's part Training."""


@dataclass(frozen=True)
class Recipe:
    """The configuration that is trained under each protocol."""

    family: str
    params: dict[str, Value]
    epochs: int


def recipe_of(sweep: Sweep, epochs: int | None) -> Recipe:
    """Returns the first start configuration of a sweep, with the fixed hyperparameters."""
    fixed = {one.name: one.domain.value for one in sweep.space.values() if isinstance(one.domain, Fixed)}
    return Recipe(sweep.family, fixed | (sweep.start[0].params if sweep.start else {}), epochs or sweep.budget.epochs)


def measure(
    protocol: Protocol,
    dataset: Dataset,
    recipe: Recipe,
    *,
    copies: bool,
    seeds: Sequence[int],
    settings: Settings,
    where: str,
) -> dict[str, Any]:
    """Trains the recipe under a protocol, and returns its figures.

    Args:
        copies: whether copies of an image may be in training and in the part that judges.
        where: the device.
    """
    if protocol.swapped:
        assert dataset.usage is not None
        swapped = np.where(dataset.usage == 0, 0, 3 - dataset.usage).astype(np.int8)
        dataset = Dataset.of(dataset.images, dataset.labels, swapped, classes=dataset.spec.classes, source="swapped")
    policy = SplitPolicy(policy=protocol.policy, group_duplicates=not copies)
    data = reference(dataset, store_split(dataset, policy, settings), settings)
    judged = open_final(data).test if protocol.judge == "test" else open_search(data).val
    found: list[dict[str, float]] = []
    for seed in seeds:
        with tempfile.TemporaryDirectory() as folder:
            job = Job(
                "protocol", "protocols", "final", recipe.family, recipe.params, recipe.epochs, seed, data,
                objective_of="last", fit=protocol.fit, artifacts=Path(folder),
            )  # fmt: skip
            said = list(Trainer(where).train_alone(job))
            end = said[-1]
            if not isinstance(end, JobEnd) or end.status != "completed":
                raise TrainingError(f"{protocol.name}: {end.reason if isinstance(end, JobEnd) else 'no end'}")
            if protocol.epoch == "best":
                found.append({"none": max(row.val_accuracy for row in said if isinstance(row, EpochRow))})
                continue
            model = Predictor.load(Path(folder), where)
            images, labels = dataset.images[judged], dataset.labels[judged]
            found.append({tta: float((model.predict(images, tta).argmax(1) == labels).mean()) for tta in VIEWS})
    means = {tta: mean([one[tta] for one in found]) for tta in found[0]}
    return {
        **asdict(protocol),
        "honest": protocol.honest,
        "copies": copies,
        "images": len(judged),
        "by_seed": found,
        "accuracy": means,
        "standard_error": standard_error(means["none"], len(judged)),
    }


def protocols() -> str:
    """Returns the table of the protocols. What was not measured has dashes."""
    found = record(RECORD) if (RESULTS / RECORD).exists() else {"protocols": []}
    measured = {(row["name"], row["copies"]): row for row in found["protocols"]}
    headings = ["protocol", "copies of training images", "plain", "flip", "ten crops", "± s.e.", "honest"]
    rows = []
    for protocol in PROTOCOLS:
        for copies in (False, True):
            row = measured.get((protocol.name, copies), {})
            accuracy = row.get("accuracy", {})
            cells = [percent(accuracy[tta]) if tta in accuracy else NONE for tta in VIEWS]
            error = percent(row["standard_error"]) if row.get("standard_error") else NONE
            honest = "**no**" if not protocol.honest else "except for the copies" if copies else "yes"
            rows.append([protocol.name, "left in" if copies else "left out", *cells, error, honest])
    return markdown(headings, rows)


def measured_as() -> str:
    """Returns a sentence that says what was measured, and what is missing."""
    if not (RESULTS / RECORD).exists():
        return "It was not measured yet."
    found = record(RECORD)
    missing = 2 * len(PROTOCOLS) - sum("accuracy" in row for row in found["protocols"])
    said = f"The network is {found['family']}, with {found['epochs']} epochs and {len(found['seeds'])} seeds."
    if any(row["policy"] == "stratified" and not row["copies"] for row in found["protocols"]):
        said += f" The first row uses the test split of other records, which had opened it {opened_before()} times."
    if missing:
        said += f" {missing} rows are missing, because {NO_USAGE}."
    return textwrap.fill(said, WIDTH)


def opened_before() -> int:
    """Returns how often the records before this one had opened the default test split."""
    from benchmarks.what_helped import opened_by_sweeps, opened_by_winners

    return opened_by_sweeps() + opened_by_winners()


def published() -> str:
    """Returns the table of published figures."""
    rows = [
        [f"[{one.who}]({one.source})", f"{one.accuracy:.2f}", one.chosen, one.views, "yes" if one.honest else "**no**"]
        for one in PUBLISHED
    ]
    return markdown(["who", "PrivateTest %", "epoch chosen on", "views", "honest"], rows)


def main() -> None:
    """Trains under each protocol, prints a line for each, and writes the record and the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="fer2013.csv or icml_face_data.csv")
    parser.add_argument("--sweep", type=Path, required=True, help="its first start configuration is trained")
    parser.add_argument("--epochs", type=int)
    parser.add_argument("--seeds", default="0,1")
    parser.add_argument("--device", default="cuda:0")
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    settings, seeds = Settings.from_environment(), [int(seed) for seed in given.seeds.split(",")]
    dataset, recipe = load_faces(given.data, settings), recipe_of(load_sweep(given.sweep), given.epochs)
    content: dict[str, Any] = {
        "benchmark": "protocols", "device": device(), "versions": versions(), "commit": commit(), "date": today(),
        **asdict(recipe), "seeds": seeds, "protocols": [],
    }  # fmt: skip
    for protocol in PROTOCOLS:
        for copies in (False, True):
            if protocol.needs_more(dataset):
                row = {**asdict(protocol), "copies": copies, "missing": NO_USAGE}
            else:
                row = measure(
                    protocol, dataset, recipe, copies=copies, seeds=seeds, settings=settings, where=given.device
                )
            content["protocols"].append(row)
            said = row.get("accuracy", row.get("missing"))
            print(f"{protocol.name}, copies {'left in' if copies else 'left out'}: {said}", flush=True)
            given.out.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
