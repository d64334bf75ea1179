"""`fer-tune evaluate`: a model or an ensemble against any labelled images."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fer_tune import api
from fer_tune.cli.options import AsJson, only_one
from fer_tune.cli.retrain import VIEWS, show_ledger
from fer_tune.cli.standings import say
from fer_tune.display import terminal

if TYPE_CHECKING:
    from rich.console import Console

    from fer_tune.sources.assess import Assessment
    from fer_tune.sources.evaluate import TestScores
    from fer_tune.sources.protocols import ProtocolRow, Protocols


EXAMPLES = ("fer-tune evaluate models/resnet faces/", "fer-tune evaluate models/resnet fer2013 --usage PrivateTest")


def evaluate(  # noqa: PLR0917 - options
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A folder that retrain or ensemble left.")],
    source: Annotated[str, typer.Argument(metavar="SRC", help="fer2013, demo, or a path.")],
    usage: Annotated[
        str | None,
        typer.Option("--usage", metavar="PART", help="Training, PublicTest or PrivateTest.", show_default=False),
    ] = None,
    device: Annotated[
        str | None,
        typer.Option(
            "--device", metavar="DEVICE", help="cpu, or cuda:0. Default: a GPU if there is one.", show_default=False
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="DIR", help="Write metrics and predictions there.", show_default=False),
    ] = None,
    protocol: Annotated[
        bool, typer.Option("--protocol", help="Use the protocols that people use on FER2013, in one table.")
    ] = False,
    json: AsJson = False,
) -> None:
    """Evaluate a model on labelled images, plain, with flips and with ten crops.

    If they are the images that the model was made from, only the test images of its split are used.
    Each evaluation is recorded in the ledger.
    """
    if protocol:
        only_one(**{"protocol": True, "usage": usage is not None, "out": out is not None})
        table = api.protocols(folder, source, device=device, note=terminal.note)
        if json:
            terminal.print_json(table.as_dict())
        else:
            show_protocols(terminal.console(), table)
        return
    found = api.evaluate(folder, source, usage=usage, device=device, out=out, note=terminal.note)
    if json:
        terminal.print_json(found.as_dict())
    else:
        show(terminal.console(), found)
    if found.unsaved is not None:
        raise found.unsaved


def show(out: Console, found: Assessment) -> None:
    """Prints the figures of an evaluation, and the confusion matrix."""
    terminal.line(out, (found.source, "bold"), f", {found.part}: {terminal.many(found.images, 'image')}")
    table = terminal.table()
    for heading in ("", "accuracy", "± s.e.", "macro-F1", "balanced", "ECE", "without copies"):
        table.add_column(heading, justify="right" if heading else "left", no_wrap=True)
    for tta, test in found.views.items():
        alone = found.distinct[tta].scores.accuracy if found.distinct else None
        table.add_row(VIEWS[tta], *_cells(test), terminal.percent(alone))
    out.print(table)
    say(out, [copies_of_training(found.copies, found.trained)])
    matrix = terminal.table("confusion: true classes in rows, predicted ones in columns")
    for heading in ("", *found.classes):
        matrix.add_column(heading, justify="right" if heading else "left", overflow="fold")
    for name, row in zip(found.classes, found.views["none"].confusion, strict=True):
        matrix.add_row(name, *map(str, row))
    out.print(matrix)
    show_ledger(out, found.ledger, "these images were opened")


def copies_of_training(copies: int | None, trained: int | None = None) -> str:
    """Returns how many of the images the model was trained on, and how many others are copies.

    Args:
        copies: number of copies of training images, with the training images themselves; None is
            not known.
        trained: number of the training images among them; None is not known.
    """
    if copies is None:
        return "The training images are not in the cache, so copies of them were not looked for."
    if not trained:
        return _copies(copies, "images") if copies else "None of the images is a copy of a training image."
    said = f"The model was trained on {trained:,} of these images."
    return f"{said} {_copies(copies - trained, 'others')}" if copies > trained else said


def _copies(count: int, of: str) -> str:
    several = f"{count:,} of the {of} are copies of training images."
    return f"1 of the {of} is a copy of a training image." if count == 1 else several


def show_protocols(out: Console, found: Protocols) -> None:
    """Prints a model under each protocol, what is missing, and published figures."""
    table = terminal.table("this model")
    for heading in ("judged by", "copies", "images", "plain", "flip", "ten crops", "± s.e.", "honest"):
        table.add_column(heading, justify="left" if heading in ("judged by", "copies", "honest") else "right")
    for row in found.rows:
        for copies, views, doubt in (
            ("left in", row.found.views, row.doubt),
            ("left out", row.found.distinct, row.doubt_without_copies),
        ):
            if views is None:
                continue
            images = sum(map(sum, views["none"].confusion))
            cells = [terminal.percent(views[tta].scores.accuracy) for tta in VIEWS]
            error = terminal.percent(views["none"].error)
            honest = _honest(row, doubt) if images else terminal.NONE
            table.add_row(row.judged, copies, f"{images:,}", *cells, error, honest)
    out.print(table)
    say(out, [f"It was trained on {found.rows[0].trained}.", *(f"missing: {text}" for text in found.missing)])
    others = terminal.table("published, on PrivateTest")
    for heading in ("who", "%", "epoch chosen on", "views", "honest"):
        others.add_column(heading, justify="right" if heading == "%" else "left", overflow="fold")
    for one in found.published:
        others.add_row(one.who, f"{one.accuracy:.2f}", one.chosen, one.views, "yes" if one.honest else "no")
    out.print(others)
    show_ledger(out, found.rows[-1].found.ledger, "the images of the last row were opened")


def _honest(row: ProtocolRow, doubt: str) -> str:
    """Returns whether a figure of a row is honest, and why not."""
    if not doubt:
        return "yes"
    return f"{'not known' if row.honest is None else 'no'}: {doubt}"


def _cells(test: TestScores) -> list[str]:
    scores = test.scores
    figures = (scores.accuracy, test.error, scores.macro_f1, scores.balanced_accuracy, test.calibration_error)
    return [terminal.percent(figure) for figure in figures]
