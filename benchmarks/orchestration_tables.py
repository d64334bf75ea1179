"""The tables of `benchmarks.orchestration`, from its record and from the record before."""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.tables import NONE, Record, markdown, record

NOW, BEFORE = "orchestration.json", "orchestration-before.json"


def orchestration_cost(now: Record | None = None) -> str:
    """Returns the processor time of the orchestrator beside plain Optuna and Ray Tune."""
    headings = ["12 parameters", "at once", "CPU ms a trial", "rows a trial", "CPU ms a row", "over Optuna", "before"]
    found, before = now or record(NOW), record(BEFORE)
    rows: list[list[str]] = []
    for space, measured in found["spaces"].items():
        if rows:
            rows.append([f"**{space}'s space**", *[""] * (len(headings) - 1)])
        earlier = before["spaces"][space]
        then = dict(sides(earlier))
        if space == "flat12":
            then |= {("Ray Tune, its driver", one["slots"]): one for one in before.get("ray", [])}
        both = sides(measured, found.get("ray", []) if space == "flat12" else [])
        for (name, slots), one in both:
            over = over_optuna(then.get((name, slots)), earlier)
            rows.append([name, str(slots), *cost_cells(one), over_optuna(one, measured), over])
    return markdown(headings, rows)


def sides(measured: Record, ray: Sequence[Record] = ()) -> list[tuple[tuple[str, int], Record]]:
    """Returns what was measured in one space, by name and number of slots."""
    return [
        (("`study.optimize` as documented", 1), measured["optuna"]),
        (("the same with WAL", 1), measured["optuna_wal"]),
        *((("Ray Tune, its driver", one["slots"]), one) for one in ray),
        *((("fer-tune", one["slots"]), one) for one in measured["ours"]),
    ]


def cost_cells(one: Record) -> list[str]:
    """Returns processor time and rows. A run that was cut short may have no trial that ended."""
    row = f"{one['cpu_ms_a_row']:.2f}"
    if not one["trials"]:
        return [NONE, NONE, row]
    return [f"{one['cpu_ms_a_trial']:.1f}", f"{one['rows'] / one['trials']:.1f}", row]


def over_optuna(one: Record | None, measured: Record) -> str:
    """Returns the processor time of a trial, as a multiple of that of documented Optuna."""
    if one is None or not one["trials"]:
        return NONE
    return f"{one['cpu_ms_a_trial'] / measured['optuna']['cpu_ms_a_trial']:.2f}"


def orchestration_waits(now: Record | None = None) -> str:
    """Returns how long slots wait for their next job, and how late rows are read."""
    headings = [
        "space",
        "slots",
        "slot waits, ms: median",
        "p99",
        "row read late, ms: p99",
        "of a core",
        "waits before",
    ]
    found, before = now or record(NOW), record(BEFORE)
    rows = []
    for space, measured in found["spaces"].items():
        then = {one["slots"]: one["wait_ms"] for one in before["spaces"][space]["ours"]}
        for one in measured["ours"]:
            waits, late, earlier = one["wait_ms"], one["row_read_late_ms"], then.get(one["slots"])
            rows.append([
                space, str(one["slots"]), figure_of(waits, "median"), figure_of(waits, "p99"), figure_of(late, "p99"),
                f"{100 * one['share_of_a_core']:.0f} %",
                f"{figure_of(earlier, 'median')}, {figure_of(earlier, 'p99')}" if earlier else NONE,
            ])  # fmt: skip
    return markdown(headings, rows)


def figure_of(spread: Record, name: str) -> str:
    """Returns a figure of a spread, with a digit where it is small, or a dash."""
    value = spread.get(name)
    return NONE if value is None else f"{value:,.0f}" if value >= 10 else f"{value:.1f}"


def orchestration_growth(now: Record | None = None) -> str:
    """Returns what a study of many trials costs: to continue it, and to read it."""
    found, before = now or record(NOW), record(BEFORE)
    then = {one["finished"]: one for one in before["growth"]}
    commands = list(found["growth"][0]["commands"]) if found["growth"] else []
    headings = ["finished trials", "CPU ms a trial", "CPU s to open", *(f"`{name}`, CPU s" for name in commands)]
    rows = []
    for one in found["growth"]:
        earlier = then.get(one["finished"], {})
        cells = [f"{one['finished']:,}"]
        cells += [
            beside(one[key], earlier.get(key), d) for key, d in (("cpu_ms_a_trial", 0), ("opening_cpu_seconds", 1))
        ]
        cells += [
            beside(one["commands"][name]["cpu"], earlier.get("commands", {}).get(name, {}).get("cpu"), 2)
            for name in commands
        ]
        rows.append(cells)
    return markdown(headings, rows)


def beside(value: float, before: float | None, digits: int) -> str:
    """Returns a figure, and what it was before in brackets."""
    return f"{value:.{digits}f}" + ("" if before is None else f" ({before:.{digits}f})")
