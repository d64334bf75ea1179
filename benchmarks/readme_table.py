"""Writes the README's table of results: what was done by hand beside what the sweeps measured.

    python -m benchmarks.readme_table            rewrites the table between its markers
    python -m benchmarks.readme_table --check    only says whether it is up to date

No figure is typed in: fer-tune's come from benchmarks/results/*.json, which benchmarks/sweep.py writes. Of several
results of one family the newest counts. A family without a result shows a dash.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from fer_tune.data.fer2013 import BY_HAND, ByHand

HOME = Path(__file__).parent
RESULTS = HOME / "results"
README = HOME.parent / "README.md"
BEGIN = "<!-- results: written by benchmarks/readme_table.py -->"
END = "<!-- end of results -->"
NONE = "–"


FAMILIES = ("simple_cnn", "deep_cnn", "resnet", "vgg")


def main(arguments: Sequence[str] | None = None) -> int:
    """Rewrites or checks the README; 1 if the check finds it out of date."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--check", action="store_true")
    options = parser.parse_args(arguments)
    before = README.read_text(encoding="utf-8")
    after = replaced(before, render(newest(RESULTS)))
    if options.check:
        return int(before != after)
    README.write_text(after, encoding="utf-8")
    return 0


def newest(folder: Path) -> dict[str, dict[str, Any]]:
    """The newest sweep result of each family."""
    found: dict[str, dict[str, Any]] = {}
    for path in sorted(folder.glob("*.json")):
        result = json.loads(path.read_text(encoding="utf-8"))
        if "best_val_accuracy" not in result:  # another benchmark's
            continue
        result["file"] = path.name
        other = found.get(result["family"])
        if other is None or result["date"] >= other["date"]:
            found[result["family"]] = result
    return found


def render(results: Mapping[str, Mapping[str, Any]]) -> str:
    """Both tables, in Markdown."""
    lines = ["| | family | by hand | epochs | train % | val % | test % | fer-tune val % | fer-tune test % |"]
    lines.append("|---|---|---|---|---|---|---|---|---|")
    for row in BY_HAND:
        lines.append(f"| {' | '.join(by_hand(row))} | {' | '.join(figures(results.get(row.family)))} |")
    lines += ["", "| sweep | device | wall time | trials | best val % | test % | test %, flip-averaged | record |"]
    lines.append("|---|---|---|---|---|---|---|---|")
    lines += [sweep_row(family, results[family]) for family in FAMILIES if family in results]
    return "\n".join(lines)


def by_hand(row: ByHand) -> list[str]:
    """The cells of an experiment done by hand, as it was recorded."""
    val = f"as {row.like}" if row.like else f"about {row.val:.0f}" if row.about else recorded(row.val)
    epochs = NONE if row.epochs is None else str(row.epochs)
    return [str(row.number), row.family, row.what, epochs, recorded(row.train), val, recorded(row.test)]


def recorded(figure: float | None) -> str:
    """A figure in per cent with two digits, or a dash."""
    return NONE if figure is None else f"{figure:.2f}"


def figures(result: Mapping[str, Any] | None) -> tuple[str, str]:
    """Validation and test accuracy in per cent."""
    if result is None:
        return NONE, NONE
    return percent(result["best_val_accuracy"]), on_test(result, "plain")


def sweep_row(family: str, result: Mapping[str, Any]) -> str:
    """One sweep: where it ran, for how long, what came of it."""
    counts = ", ".join(f"{count} {state}" for state, count in result["trials"].items())
    device = result["device"]
    cells = (
        family,
        device if isinstance(device, str) else str(device.get("name", device)),
        f"{result['wall_seconds']:.0f} s",
        counts,
        percent(result["best_val_accuracy"]),
        on_test(result, "plain", error=True),
        on_test(result, "flip"),
        f"[{result['file']}](benchmarks/results/{result['file']})",
    )
    return f"| {' | '.join(cells)} |"


def on_test(result: Mapping[str, Any], how: str, error: bool = False) -> str:
    """Accuracy on test in per cent, `plain` or `flip`, with its standard error if asked; a dash before a final fit."""
    if result["retrain"] is None:
        return NONE
    found = result["retrain"]["test"][how]
    return percent(found["accuracy"]) + (f" ± {percent(found['accuracy_standard_error'])}" if error else "")


def percent(fraction: float) -> str:
    """A fraction as per cent with two digits."""
    return f"{100 * fraction:.2f}"


def replaced(text: str, table: str) -> str:
    """`text` with `table` between the markers."""
    head, begin, rest = text.partition(BEGIN)
    _, end, tail = rest.partition(END)
    if not begin or not end:
        sys.exit(f"{README.name} lacks the lines {BEGIN!r} and {END!r}.")
    return f"{head}{BEGIN}\n{table}\n{END}{tail}"


if __name__ == "__main__":
    sys.exit(main())
