"""`fer-tune compare`: whether two studies, families or models differ beyond chance."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from fer_tune import api
from fer_tune.cli.options import AsJson, Storage
from fer_tune.cli.standings import say
from fer_tune.display import terminal

Name = Annotated[str, typer.Argument(metavar="A", help="A study, a family, or the folder of a model.")]


EXAMPLES = ("fer-tune compare resnet vgg", "fer-tune compare models/a models/b")


def compare(
    first: Name,
    second: Annotated[str, typer.Argument(metavar="B", help="What to compare it with.")],
    json: AsJson = False,
    storage: Storage = None,
) -> None:
    """Say whether two studies, families or models differ beyond chance.

    Models are compared by their stored predictions for test images. Nothing is opened.
    """
    found = api.compare(first, second, storage=storage)
    if json:
        terminal.print_json(asdict(found) | {"differ": found.differ})
        return
    out = terminal.console()
    table = terminal.table()
    for heading in ("", found.measure, "what"):
        table.add_column(heading, justify="right" if heading == found.measure else "left", overflow="fold")
    for side in (found.first, found.second):
        table.add_row(side.name, terminal.percent(side.value), side.about)
    out.print(table)
    if found.same:
        say(out, [f"The two are {found.basis}."])
        return
    points = f"{100 * found.difference:+.2f} ± {100 * found.error:.2f} points"
    gap = f"difference {points}, p {terminal.probability(found.p)} ({found.basis})"
    verdict = "They differ beyond chance." if found.differ else "Chance explains the difference."
    say(out, [gap, verdict])
