"""The tables of README.md and benchmarks/README.md, from the records.

No figure is typed in: all come from benchmarks/results/*.json. A family or an experiment without a
record shows a dash.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from fer_tune.data.fer2013 import BY_HAND, ByHand
from fer_tune.job import Value
from fer_tune.sweep.load import load_sweep
from fer_tune.sweep.space import Fixed
from fer_tune.train.config import configurations

HOME = Path(__file__).parent
RESULTS = HOME / "results"
SWEEPS = HOME.parent / "sweeps"
NONE = "–"
FAMILIES = ("simple_cnn", "deep_cnn", "resnet", "vgg")

UNRECORDED = {"resnet": 2, "vgg": 2}
"""Final fits that opened the default test split before they were recorded (docs/what-helped.md)."""

Record = Mapping[str, Any]


def record(name: str) -> dict[str, Any]:
    """Returns a record by the name of its file."""
    found: dict[str, Any] = json.loads((RESULTS / name).read_text(encoding="utf-8"))
    return found


def markdown(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Returns a table in Markdown."""
    lines = [f"| {' | '.join(headings)} |".replace("|  |", "| |"), "|" + "---|" * len(headings)]
    return "\n".join([*lines, *(f"| {' | '.join(cells)} |" for cells in rows)])


def percent(fraction: float) -> str:
    """Returns a fraction in per cent with two digits."""
    return f"{100 * fraction:.2f}"


def thousands(rate: float, digits: int = 1) -> str:
    """Returns a rate in thousands."""
    return f"{rate / 1000:.{digits}f}"


# -- README.md ------------------------------------------------------------------------------------


def by_hand() -> str:
    """Returns what was recorded by hand beside what the same experiments give now."""
    headings = ["", "family", "by hand", "epochs", "train %", "again", "val %", "again", "test %", "again"]
    repeated = experiments_again()
    return markdown(headings, [by_hand_row(one, repetition(one, repeated)) for one in BY_HAND])


def experiments_again() -> list[Record]:
    """Returns the experiments by hand in the records, those of the later record first."""
    found = []
    for name in ("by-hand-h100.json", "by-hand-first-h100.json", "by-hand-second-h100.json"):
        found += json.loads((RESULTS / name).read_text(encoding="utf-8"))["experiments"]
    return found


def repetition(one: ByHand, experiments: Sequence[Record]) -> Record | None:
    """Returns the repetition with the configuration that the sweep has now, if it was recorded."""
    wanted = configurations(one.family, configuration(one))
    mine = (found for found in experiments if found["number"] == one.number)
    return next((found for found in mine if configurations(one.family, found["params"]) == wanted), None)


def configuration(one: ByHand) -> dict[str, Value]:
    """Returns the hyperparameters of an experiment, as its family's sweep starts with them: also
    those that the sweep fixes."""
    sweep = load_sweep(SWEEPS / f"{one.family}.yaml")
    fixed = {p.name: p.domain.value for p in sweep.space.values() if isinstance(p.domain, Fixed) and not p.when}
    return fixed | next(dict(start.params) for start in sweep.start if start.name == f"by hand {one.number}")


def by_hand_row(one: ByHand, repeated: Record | None) -> list[str]:
    """Returns the cells of one experiment."""
    again: Mapping[str, float | None] = repeated["reproduced"] if repeated else {}
    val = f"as {one.like}" if one.like else f"about {one.val:.0f}" if one.about else figure(one.val)
    epochs = NONE if one.epochs is None else str(one.epochs)
    if one.schedule is not None and one.schedule != one.epochs:
        epochs += f" of {one.schedule}"
    return [
        str(one.number), one.family, one.what, epochs,
        figure(one.train), figure(again.get("train_accuracy")),
        val, figure(again.get("val_accuracy")),
        figure(one.test), figure(again.get("test_accuracy")),
    ]  # fmt: skip


def figure(value: float | None) -> str:
    """Returns a figure with two digits, or a dash."""
    return NONE if value is None else f"{value:.2f}"


def sweeps() -> str:
    """Returns what the newest recorded sweep of each family found that has a final fit."""
    headings = [
        "sweep", "wall time on one H100", "trials", "best val %", "which trial it was", "best sampled val %",
        "test %", "test %, flip-averaged", "test openings before", "record",
    ]  # fmt: skip
    found = sweep_records()
    fitted = [result for result in found if result.get("retrain")]
    newest = {result["family"]: result for result in [*found, *fitted]}
    return markdown(headings, [sweep_row(newest[name], found) for name in FAMILIES if name in newest])


def sweep_records() -> list[Record]:
    """Returns all records of sweeps, from the oldest to the newest, each with its file's name."""
    found = []
    for path in sorted(RESULTS.glob("*.json")):
        result = json.loads(path.read_text(encoding="utf-8"))
        if "best_val_accuracy" in result:
            found.append({**result, "file": path.name})
    return sorted(found, key=when)


def when(result: Record) -> tuple[str, str]:
    """Returns the date of a sweep, and the last time of day in its output."""
    times = re.findall(r"^(\d\d:\d\d:\d\d) ", result["output"], re.MULTILINE)
    return result["date"], max(times, default="")


def sweep_row(result: Record, every: Sequence[Record]) -> list[str]:
    """Returns the cells of one sweep."""
    return [
        result["family"],
        f"{result['wall_seconds']:.0f} s",
        ", ".join(f"{count} {state}" for state, count in result["trials"].items()),
        percent(result["best_val_accuracy"]),
        winner(result),
        best_sampled(result),
        on_test(result, "plain", error=True),
        on_test(result, "flip"),
        openings(result, every),
        f"[{result['file']}](benchmarks/results/{result['file']})",
    ]


def winner(result: Record) -> str:
    """Returns the number of the best trial, and whether it was sampled or a start configuration."""
    [best] = [trial for trial in result["found"] if trial["number"] == result["best_trial"]]
    return f"{best['number']}, sampled" if best["name"] is None else f"{best['number']}, start “{best['name']}”"


def best_sampled(result: Record) -> str:
    """Returns the best value of a trial that the sampler proposed. Complete ones count first."""
    sampled = [trial for trial in result["found"] if trial["name"] is None and trial["value"] is not None]
    if not sampled:
        return "none was sampled"
    best = max(sampled, key=lambda trial: (trial["state"] == "complete", trial["value"]))
    return percent(best["value"]) + ("" if best["state"] == "complete" else f" (all pruned, at epoch {best['epochs']})")


def on_test(result: Record, how: str, *, error: bool = False) -> str:
    """Returns the accuracy on test, `plain` or `flip`, or a dash before a final fit."""
    if result["retrain"] is None:
        return NONE
    found = result["retrain"]["test"][how]
    return percent(found["accuracy"]) + (f" ± {percent(found['accuracy_standard_error'])}" if error else "")


def openings(result: Record, every: Sequence[Record]) -> str:
    """Returns how often final fits opened that test split before, in all and by family."""
    if result["retrain"] is None:
        return NONE
    before = [one["family"] for one in every if one["retrain"] is not None and when(one) < when(result)]
    before += [family for family, count in UNRECORDED.items() for _ in range(count)]
    return f"{len(before)} ({before.count(result['family'])} by {result['family']})"


# -- benchmarks/README.md --------------------------------------------------------------------------


TRAINED = 20096
"""Images of FER2013 that an epoch of the default split trains on."""


def kernels() -> str:
    """Returns what each kernel gains, in thousand images a second of the captured step."""
    headings = ["kernel", "network", "batch", "ours", "torch", "compiled", "gain", "s to compile", "gain in a trial"]
    epochs = {family: load_sweep(SWEEPS / f"{family}.yaml").budget.epochs for family in FAMILIES}
    rows = [
        [
            row["kernel"], row["network"], str(row["batch"]),
            *(thousands(row[way]) for way in ("ours", "torch", "compiled")), gain(row["gain"]),
            str(row.get("seconds_to_capture_compiled", NONE)),
            gain_in_a_trial(row, TRAINED * epochs[row["network"].split(",")[0]]),
        ]
        for row in sorted(record("kernels-h100.json")["rows"], key=lambda row: str(row["kernel"]))
    ]  # fmt: skip
    return markdown(headings, rows)


def gain_in_a_trial(row: Record, images: int) -> str:
    """Returns what a kernel gains in a trial that is the first of its shape.

    The other ways are the formula in torch's operations, and the formula compiled. The latter has
    to compile first.
    """
    if "seconds_to_capture_compiled" not in row:
        return NONE
    others = images / row["torch"], row["seconds_to_capture_compiled"] + images / row["compiled"]
    return gain(min(others) * row["ours"] / images)


def gain(ratio: float) -> str:
    """Returns a ratio as per cent more or less."""
    return f"{100 * (ratio - 1):+.1f} %"


def lanes_auto() -> str:
    """Returns what one lane trains, and what the lanes that `auto` chooses do, in thousand images a
    second."""
    rows = []
    every = record("lanes-auto-h100.json")["rows"]
    for auto in (row for row in every if row["given"] == "auto"):
        cell = auto["family"], auto["batch"]
        one = next(row for row in every if (row["family"], row["batch"]) == cell and row["given"] == 1)
        rates = [thousands(row["images_per_second"]) for row in (one, auto)]
        rows.append([cell[0], str(cell[1]), rates[0], str(auto["lanes"]), rates[1], f"{auto['over_one']} ×"])
    return markdown(["", "batch", "one lane", "lanes by `auto`", "together", "over one"], rows)


def lanes() -> str:
    """Returns what 1, 2, 4 and 8 lanes train together, in thousand images a second."""
    found: dict[tuple[str, int], dict[int, str]] = {}
    for row in record("lanes-h100.json")["rows"]:
        rate = thousands(row["images_per_second"])
        found.setdefault((row["family"], row["batch"]), {})[row["given"]] = rate
    counts = (1, 2, 4, 8)
    rows = [
        [family, str(batch), *(by_count.get(count, NONE) for count in counts)]
        for (family, batch), by_count in found.items()
    ]
    return markdown(["", "batch", *map(str, counts)], rows)


def torch_compile() -> str:
    """Returns what torch.compile makes of whole networks, in thousand images a second."""
    headings = ["", "batch", "torch", "compiled", "ours", "seconds to compile"]
    rows = [
        [
            row["family"], str(row["batch"]),
            *(thousands(row[way]) for way in ("torch", "compiled", "bare")), str(row["seconds_to_compile"]),
        ]
        for row in record("training-compile-h100.json")["rows"]
    ]  # fmt: skip
    return markdown(headings, rows)


def before_after() -> str:
    """Returns the speed of two checkouts, in thousand images a second."""
    headings = ["", "batch", "trial before", "after", "ratio", "step before", "after", "ratio"]
    rows = [
        [row["family"], str(row["batch"])]
        + [
            cell
            for name in ("trial", "bare")
            for cell in (
                thousands(row[name]["before"]),
                thousands(row[name]["after"]),
                f"{row[name]['ratio']:.3f}",
            )
        ]
        for row in record("before-after-h100.json")["rows"]
    ]
    return markdown(headings, rows)
