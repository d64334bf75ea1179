"""The tables of docs/scale.md and the picture in it, from the records.

    python -m benchmarks.scaling_page        writes docs/scale.svg, and the tables into their pages

A table whose record is missing says how to make it.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from functools import wraps
from pathlib import Path

from benchmarks.tables import NONE, RESULTS, Record, markdown, record

PICTURE = Path(__file__).parents[1] / "docs" / "scale.svg"

SCALING, CHAIN, FLEET, SCHEDULE = "scaling-h100.json", "chain.json", "fleet.json", "schedule.json"

LONGER = "scaling-long-h100.json"
"""The same benchmark with a longer list."""

Table = Callable[[], str]


def needs(name: str, command: str) -> Callable[[Table], Table]:
    """Lets a table say how to make its record if the record is missing."""

    def decorate(table: Table) -> Table:
        @wraps(table)
        def found() -> str:
            return table() if (RESULTS / name).exists() else f"Not measured yet: `{command}`."

        return found

    return decorate


def scale_orchestrator() -> str:
    """Returns what one orchestrator does, by the number of its slots."""
    rows = []
    for space, measured in record("orchestration.json")["spaces"].items():
        for one in measured["ours"]:
            rows.append([
                {"flat12": "12 parameters"}.get(space, f"{space}'s space"), str(one["slots"]),
                f"{1000 * one['share_of_a_core'] / one['cpu_ms_a_row']:.0f}", f"{100 * one['share_of_a_core']:.0f} %",
                f"{one['wait_ms']['median']:,.0f}", f"{one['wait_ms']['p99']:,.0f}",
                f"{1000 / one['cpu_ms_a_row']:.0f}",
            ])  # fmt: skip
    headings = [
        "search",
        "slots",
        "rows a second",
        "of a core",
        "slot waits, ms: median",
        "p99",
        "rows a core could do",
    ]
    return markdown(headings, rows)


def fixed_lists() -> list[Record]:
    """Returns the rows of fixed lists of configurations, from both records."""
    return [row for name in (SCALING, LONGER) if (RESULTS / name).exists() for row in record(name)["fixed"]]


@needs(SCALING, "python -m benchmarks.scaling")
def scale_gpus() -> str:
    """Returns what several GPUs of one host train."""
    rows = []
    for one in fixed_lists():
        idle = max(one["idle_share"].values(), default=0.0)
        rows.append([
            one["family"], f"{one['trials']} of {one['epochs']}", one["lanes"], str(one["gpus"]),
            f"{one['trials_per_hour']:,}",
            f"{one['images_per_second'] / 1000:.1f}", f"{100 * idle:.1f} %",
            f"{100 * one['orchestrator_cpu_share']:.0f} %", f"{one['efficiency']:.2f}",
        ])  # fmt: skip
    headings = [
        "family",
        "trials of epochs",
        "lanes",
        "GPUs",
        "trials an hour",
        "thousand images/s",
        "idle at most",
        "orchestrator",
        "efficiency",
    ]
    return markdown(headings, rows)


@needs(CHAIN, "python -m benchmarks.chain")
def scale_chain() -> str:
    """Returns what a run over Ray and PostgreSQL costs beside one on processes and SQLite."""
    found, rows = record(CHAIN), []
    sides = {"processes, SQLite": found["local_and_sqlite"], "Ray, PostgreSQL": found["ray_and_postgresql"]}
    if longest := found.get("longest"):
        sides["Ray, PostgreSQL, alone"] = longest["ray_and_postgresql"]
    for title, one in sides.items():
        held = sum(check == "held" for check in one["checks"].values())
        rows.append([
            title, f"{one['trials']:,}", str(one["losses"]), f"{one['cpu_ms_a_trial']:.1f}",
            f"{one['cpu_ms_a_row']:.2f}", f"{held} of {len(one['checks'])}",
        ])  # fmt: skip
    headings = ["workers, storage", "trials", "losses", "CPU ms a trial", "CPU ms a row", "checks that held"]
    return markdown(headings, rows)


@needs(FLEET, "python -m benchmarks.fleet")
def scale_fleet() -> str:
    """Returns what several orchestrators on one PostgreSQL cost."""
    rows = [
        [
            str(one["orchestrators"]), str(one["orchestrators"] * record(FLEET)["slots"]), f"{one['rows']:,}",
            f"{one['cpu_ms_a_row']:.2f}", f"{one['server_cpu_ms_a_row']:.2f}",
            f"{1000 / one['server_cpu_ms_a_row']:.0f}",
        ]
        for one in record(FLEET)["rows"]
    ]  # fmt: skip
    headings = [
        "orchestrators",
        "slots",
        "rows",
        "CPU ms a row: orchestrator",
        "server",
        "rows a server's core could do",
    ]
    return markdown(headings, rows)


@needs(SCHEDULE, "python -m benchmarks.schedule")
def schedule_cost() -> str:
    """Returns what `schedule: deterministic` costs."""
    rows = []
    for one in record(SCHEDULE)["rows"]:
        spread = NONE if one["spread"] is None else f"{100 * one['spread']:.2f}"
        schedule = "asynchronous" if one["slots"] is None else f"deterministic, {one['slots']} slots"
        rows.append([
            one["search"], str(one["workers"]), schedule,
            f"{100 * one['idle_share']:.1f} %", f"{one['trials']:.0f}", f"{100 * one['accuracy']:.2f}", spread,
        ])  # fmt: skip
    headings = ["search", "workers", "schedule", "idle", "trials", "true accuracy of the best", "deviation"]
    return markdown(headings, rows)


def draw(path: Path = PICTURE) -> None:
    """Draws what an orchestrator needs by slots, and what GPUs train by number, if measured."""
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams["svg.hashsalt"] = "fer-tune"
    from matplotlib.figure import Figure

    there = (RESULTS / SCALING).exists()
    figure = Figure(figsize=(9 if there else 5, 3.2), layout="constrained")
    panels = figure.subplots(1, 2 if there else 1, squeeze=False)[0]
    for space, measured in record("orchestration.json")["spaces"].items():
        slots = [one["slots"] for one in measured["ours"]]
        label = {"flat12": "12 parameters"}.get(space, f"{space}'s space")
        panels[0].plot(slots, [100 * one["share_of_a_core"] for one in measured["ours"]], "o-", label=label)
    panels[0].set(xscale="log", xlabel="slots", ylabel="orchestrator, % of a core", ylim=(0, None))
    panels[0].legend()
    if there:
        fixed = [one for one in fixed_lists() if one["lanes"] == "auto"]
        for family, trials in dict.fromkeys((one["family"], one["trials"]) for one in fixed):
            own = [one for one in fixed if (one["family"], one["trials"]) == (family, trials)]
            gpus = [one["gpus"] for one in own]
            first = own[0]["trials_per_hour"] / own[0]["gpus"]
            panels[1].plot(
                gpus, [one["trials_per_hour"] / first for one in own], "o-", label=f"{family}, {trials} trials"
            )
        most = max(one["gpus"] for one in fixed)
        panels[1].plot([1, most], [1, most], ":", color="grey", label="ideal")
        panels[1].set(xlabel="GPUs", ylabel="trials an hour, of one GPU", xticks=range(1, most + 1))
        panels[1].legend()
    figure.savefig(path, metadata={"Date": None})


def main(arguments: Sequence[str] | None = None) -> int:
    """Draws the picture and writes the tables."""
    from benchmarks import readme_table

    draw()
    return readme_table.main(["--write"])


if __name__ == "__main__":
    sys.exit(main())
