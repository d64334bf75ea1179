"""The tables of docs/what-helped.md.

A row names trainings by their record and their places in it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.tables import UNRECORDED, markdown, percent, record, sweep_records, thousands

Trainings = Sequence[tuple[str, str, tuple[int, ...]]]
"""Rows of a table: what was trained, the record, and the places of its runs there."""

STRONG = "ablation-strong-h100.json"
WIDTH: Trainings = (
    ("vgg", STRONG, (0,)),
    ("vgg", STRONG, (3,)),
    ("vgg, rotation 15", STRONG, (1,)),
    ("vgg, rotation 15", STRONG, (5,)),
    ("**vgg, width 1.5**", STRONG, (7,)),
    ("vgg, width 1.5, rotation 15, average over 2,000 steps", STRONG, (15,)),
    ("**vgg, width 2, rotation 15**", STRONG, (16,)),
    ("vgg, squeeze-and-excitation", STRONG, (14,)),
    ("vgg, half of the images not moved, half not relit", STRONG, (11,)),
    ("vgg, average over 2,000 steps (`ema` 0.9995)", STRONG, (9,)),
    ("vgg, a hidden layer of 512 on all of the last map, not its mean", STRONG, (6,)),
    ("vgg, each image normalised by itself", STRONG, (10,)),
    ("vgg, torch's operations for augmentation and first convolution", STRONG, (8,)),
    ("vgg, 60 epochs", STRONG, (13,)),
    ("resnet, antialiased", STRONG, (2,)),
    ("resnet, antialiased, rotation 15", STRONG, (12,)),
    ("resnet, SGD 0.1, decay 1e-3, self-distillation 0.7, augmentation 0.7, mixup 0.4, 100 epochs", STRONG, (4,)),
)
TWICE_THE_WIDTH: Trainings = (
    ("vgg", "wide-seed-1-h100.json", (0,)),
    ("vgg, decay 0.8, augmentation 1, mixup 0.7", "wide-regularised-h100.json", (0,)),
    ("vgg, decay 1", "wide-regularised-h100.json", (1,)),
    ("vgg, mixup 0.5, cutmix 0.3", "wide-regularised-h100.json", (2,)),
    ("vgg, augmentation 1", "wide-regularised-h100.json", (3,)),
    ("vgg, rate 0.004, decay 0.25", "wide-rate-smoothing-h100.json", (0,)),
    ("vgg, label smoothing 0", "wide-rate-smoothing-h100.json", (1,)),
    ("vgg, rate 0.001, decay 1", "wide-rate-batch-h100.json", (0,)),
    ("vgg, batch 256, rate 0.003", "wide-rate-batch-h100.json", (1,)),
    ("vgg, squeeze-and-excitation", "wide-attention-h100.json", (0,)),
    ("vgg, squeeze-and-excitation, augmentation 1", "wide-attention-h100.json", (1,)),
    ("vgg, squeeze-and-excitation, augmentation 1, 130 epochs", "wide-attention-long-h100.json", (0,)),
    ("vgg, augmentation 1, 180 epochs", "wide-long-h100.json", (0,)),
    ("resnet, width 1.5, augmentation 1", "wide-resnet-h100.json", (0,)),
    ("resnet, stochastic depth 0.2", "stochastic-depth-h100.json", (0,)),
    ("resnet, stochastic depth 0.2", "stochastic-depth-h100.json", (1,)),
    ("resnet", "stochastic-depth-h100.json", (2,)),
)
WEAKER_AUGMENTATION: Trainings = (
    ("shift 0.1", "geometry-h100.json", (0, 1)),
    ("scale 0.12", "geometry-h100.json", (2, 3)),
    ("erasing 0.25", "geometry-h100.json", (4, 5)),
    ("brightness 0.15, contrast 0.25", "geometry-h100.json", (8, 9)),
    ("shift 0.1, scale 0.12", "geometry-h100.json", (6, 7)),
    ("shift 0.1, scale 0.12, erasing 0.25", "geometry-wide-h100.json", (2, 3)),
    ("the same, rotation 8", "geometry-wide-h100.json", (6, 7)),
    ("shift 0.1, scale 0.12, erasing 0.25, width 1.5", "geometry-wide-h100.json", (8, 9)),
    ("shift 0.1, scale 0.12, erasing 0.25, width 2", "geometry-wide-h100.json", (0, 1)),
    ("shift 0.1, scale 0.12, width 2", "geometry-wide-h100.json", (4, 5)),
    ("taught, the target weighing 0.7 throughout", "taught-h100.json", (2, 3)),
    ("the same, predictions for faces as they are, after training", "taught-h100.json", (4, 7)),
    ("taught, weighing 0.9 throughout (seed 0)", "taught-h100.json", (8,)),
    ("taught, the weight rising to 0.9 (seed 0)", "taught-h100.json", (6,)),
    ("taught, weighing 0.7, width 2 (seed 0)", "taught-h100.json", (5,)),
    ("the teachers", "taught-h100.json", (0, 1)),
)

SIXTY = {
    "vgg, width 2": "vgg",
    "vgg, three convolutions in each stage": "vgg-deeper",
    "vgg, width 3": "vgg-width-3",
    "vgg, faces enlarged to 64 pixels": "vgg-side-64",
    "vgg, faces enlarged to 96 pixels": "vgg-side-96",
    "vgg, no self-distillation": "vgg-undistilled",
    "vgg, AdamW, decay 0.1": "vgg-adamw",
    "vgg, SGD 0.1, decay 1e-3, self-distillation 0.7, augmentation 0.7, mixup 0.4": "vgg-sgd",
    "resnet, width 1.5": "resnet",
    "resnet 34, width 1": "resnet-34",
    "resnet, faces enlarged to 64 pixels": "resnet-side-64",
    "resnet, faces enlarged to 72 pixels": "resnet-side-72",
    "resnet, no self-distillation": "resnet-undistilled",
}
"""The records of trainings of 60 epochs."""

WEIGHTS = {
    "vgg, width 2, three convolutions in each stage": "vgg",
    "resnet, width 1.5": "resnet",
    "dlib's face network, its weights, faces of 224 pixels": "face",
    "EfficientNet-Lite2, weights of ImageNet, faces of 192 pixels": "lite2-192",
    "EfficientNet-Lite2, weights of ImageNet, faces of 224 pixels": "lite2-224",
    "EfficientNet-Lite2, new weights, faces of 192 pixels": "lite2-new",
}
"""The records of networks that start from other weights, and of two that do not."""


def runs(trainings: Trainings) -> list[tuple[str, list[dict[str, Any]]]]:
    """Returns the trainings of each row."""
    return [(what, [record(name)["runs"][place] for place in places]) for what, name, places in trainings]


def width() -> str:
    """Returns the table of width, rotation and seeds."""
    headings = ["", "seed", "last ten val %", "flip, last val %", "train %", "thousand images/s"]
    rows = [
        [
            what, str(run["seed"]), percent(sum(run["curve"][-10:]) / 10), percent(run["last_flip_averaged"]),
            f"{100 * run['train']:.1f}", thousands(run["images_per_second"], 0),
        ]
        for what, [run] in runs(WIDTH)
    ]  # fmt: skip
    return markdown(headings, rows)


def twice_the_width() -> str:
    """Returns the table of changes at twice the width."""
    headings = ["", "seed", "last ten val %", "best val %", "train %", "thousand images/s"]
    rows = [
        [
            what, str(run["seed"]), percent(run["last"]), percent(run["best"]),
            f"{100 * run['train']:.1f}", thousands(run["images_per_second"]),
        ]
        for what, [run] in runs(TWICE_THE_WIDTH)
    ]  # fmt: skip
    return markdown(headings, rows)


def weaker_augmentation() -> str:
    """Returns the table of weaker augmentation and of teachers, one figure for each seed."""
    rows = [_by_seed(what, found) for what, found in runs(WEAKER_AUGMENTATION)]
    return markdown(["", "last ten val %", "flip, last val %", "train %"], rows)


def sixty_epochs() -> str:
    """Returns the table of trainings of 60 epochs, one figure for each seed."""
    return _by_record({what: f"sixty-{name}-h100.json" for what, name in SIXTY.items()})


def other_weights() -> str:
    """Returns the table of networks that start from weights of other images."""
    return _by_record({what: f"weights-{name}-h100.json" for what, name in WEIGHTS.items()})


def _by_record(records: Mapping[str, str]) -> str:
    """Returns a table with a row for each record, and in it one figure for each seed."""
    rows = []
    for what, name in records.items():
        found = record(name)["runs"]
        rows.append([*_by_seed(what, found), thousands(found[0]["images_per_second"])])
    return markdown(["", "last ten val %", "flip, last val %", "train %", "thousand images/s"], rows)


def _by_seed(what: str, found: Sequence[dict[str, Any]]) -> list[str]:
    """Returns the first cells of a row of a table with one figure for each seed."""
    return [
        what,
        ", ".join(percent(run["last"]) for run in found),
        ", ".join(percent(run["flip"]) for run in found),
        ", ".join(f"{100 * run['train']:.1f}" for run in found),
    ]


FITS = (
    ("**resnet, antialiased, width 1.5, rotation 15**", "h100-resnet.json"),
    ("vgg, width 2, rotation 15", "h100-vgg-180.json"),
    ("vgg, the same, 100 epochs", "h100-vgg-100.json"),
    ("**vgg, width 2, squeeze-and-excitation, augmentation 1**", "h100-vgg.json"),
    ("deep_cnn, the sweep's best of 34", "h100-deep_cnn.json"),
    ("simple_cnn", "h100-simple_cnn.json"),
)


def final_fits() -> str:
    """Returns the table of the final fits that were recorded."""
    rows = []
    for what, name in FITS:
        fit = record(name)["retrain"]
        rows.append(
            [f"{what} ([record](../benchmarks/results/{name}))", f"{fit['epochs']} of {fit['schedule']}"]
            + [percent(fit["test"][how]["accuracy"]) for how in ("plain", "flip")]
            + [f"{fit['seconds']:.0f} s"]
        )
    return markdown(["fit", "epochs of schedule", "plain", "flip-averaged", "training"], rows)


WINNER = "winner-h100.json"
WINNERS = {
    WINNER: "width 1",
    "winner-wide-h100.json": "the sweep's width",
    "winner-long-h200.json": "the sweep's width",
    "winner-resnet-h200.json": "the sweep's width",
    "winner-deep-h100.json": "the sweep's width, three convolutions in each stage",
}
"""The records of `benchmarks.winner` with figures on test, by date, and their networks."""

VIEWS = ("plain", "flip", "crops")


def crops_and_views() -> str:
    """Returns the table of crops and views on validation: means of two seeds."""
    headings = ["", "plain", "flip", "ten crops", "by seed, ten crops", "thousand images/s"]
    rows = [
        [f"{family}, {name}"]
        + [percent(one["mean"][view]) for view in VIEWS]
        + [", ".join(map(percent, one["by_seed"]["crops"])), thousands(sum(one["images_per_second"]) / 2)]
        for family, variants in record(WINNER)["views"].items()
        for name, one in variants.items()
    ]
    return markdown(headings, rows)


def winner_on_test() -> str:
    """Returns the table of the winners and of the ensembles on test.

    A ledger is that of its storage folder. So what was opened before comes from all records.
    """
    rows, opened = [], opened_by_sweeps()
    for name, how in WINNERS.items():
        found = record(name)
        link = f"[record](../benchmarks/results/{name})"
        if one := found.get("retrain"):
            what = f"{one['family']}, {how}, mean of {fits_of(found)} seeds, {one['epochs']} epochs ({link})"
            spread = f"{one['chosen_on_validation']}: {percent(one['accuracy'])} ± {percent(one['deviation'])}"
            rows.append([what, *(percent(one["mean"][view]) for view in VIEWS), spread, str(opened)])
        if one := found.get("ensemble"):
            members = " and ".join(f"{member['weight']} {member['study']}" for member in one["members"])
            cells = [percent(one["test"][view]["accuracy"]) for view in VIEWS]
            rows.append([f"ensemble of {members} ({link})", *cells, "", str(opened + fits_of(found))])
            single = [percent(one["test_of_single"][view]["accuracy"]) for view in VIEWS]
            rows.append(["its best single network", *single, "", ""])
        opened += fits_of(found) + bool(found.get("ensemble"))
    return markdown(["test %", "plain", "flip", "ten crops", "chosen on validation", "test openings before"], rows)


def opened_by_sweeps() -> int:
    """Returns how often final fits of sweeps opened the test split."""
    return sum(UNRECORDED.values()) + sum(one["retrain"] is not None for one in sweep_records())


def opened_by_winners() -> int:
    """Returns how often the fits and the ensembles of `WINNERS` opened it."""
    return sum(fits_of(found) + bool(found.get("ensemble")) for found in map(record, WINNERS))


def fits_of(found: dict[str, Any]) -> int:
    """Returns how many fits of a winner's record opened it, one for each seed."""
    one = found.get("retrain")
    return len(one["by_seed"]["plain"]) if one else 0


def many_networks() -> str:
    """Returns the table of what ensembles of many networks reach on validation."""
    return _together("agreement.json")


def other_networks() -> str:
    """Returns the same for the networks of `other_weights`."""
    return _together("weights-agreement.json")


def _together(name: str) -> str:
    """Returns the table of a record of `benchmarks.agreement`."""
    found = record(name)
    count, chosen = len(found["networks"]), found["chosen"]
    rows = {
        f"one of {count} networks, on average": found["mean_of_single"],
        "the best of them, chosen on other images": chosen["single_honest"],
        f"an ensemble of {chosen['size']}, chosen on other images": chosen["honest"],
        f"all {count} together": found["all_together"],
        "two networks predict the same": found["two_agree"],
        "all networks predict the same": found["all_agree"],
        "all networks predict the same, and are wrong": found["all_agree_and_wrong"],
    }
    return markdown(["on the validation images", "%"], [[what, percent(value)] for what, value in rows.items()])
