"""`fer-tune retrain`: trains the final model of a study, and tests it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from fer_tune import api
from fer_tune.cli.options import INTERRUPTED, Storage, StudyName, Wandb
from fer_tune.cli.predict import Tta
from fer_tune.display import terminal
from fer_tune.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fer_tune.sources.evaluate import FinalFit


def retrain(  # noqa: PLR0917 - options
    study: StudyName = None,
    trial: Annotated[
        int | None,
        typer.Option("--trial", metavar="N", help="Number of the trial. Default: the best.", show_default=False),
    ] = None,
    seeds: Annotated[
        int, typer.Option("--seeds", min=1, max=64, metavar="N", help="Number of fits, each with its own seed.")
    ] = 1,
    epochs: Annotated[
        int | None,
        typer.Option(
            "--epochs", min=1, metavar="N", help="Length of the schedule. Default: the study's.", show_default=False
        ),
    ] = None,
    until: Annotated[
        Literal["best", "end"],
        typer.Option("--until", help="best: stop where the trial was best, if it overfitted afterwards."),
    ] = "best",
    out: Annotated[
        Path | None, typer.Option("--out", metavar="DIR", help="Also copy the model there.", show_default=False)
    ] = None,
    devices: Annotated[
        str | None,
        typer.Option("--devices", metavar="LIST", help="cpu, cuda:0, or cuda:0,cuda:1.", show_default=False),
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Change a hyperparameter of the trial. Repeatable."),
    ] = None,
    tta: Tta = "none",
    wandb: Wandb = None,
    storage: Storage = None,
) -> None:
    """Train the best trial of a study on training and validation images, and test it once.

    The same command continues a run that was killed, from its last checkpoints.
    """
    from fer_tune.cli.run import display_of

    where = Settings.from_environment(storage)
    lines = terminal.Output()
    display = display_of(terminal.console(), lines, where, quiet=False, json_lines=False)
    fits = api.retrain(
        study,
        trial=trial,
        seeds=seeds,
        epochs=epochs,
        until=until,
        out=out,
        devices=devices,
        changes=settings or (),
        wandb=wandb,
        observer=display,
        storage=storage,
    )
    lines.close()
    if fits is None:
        raise typer.Exit(INTERRUPTED)
    for fit in fits:
        _show_result(fit, tta)
    if len(fits) > 1:
        _show_mean(fits, tta)


def _show_mean(fits: Sequence[FinalFit], tta: Literal["none", "flip"]) -> None:
    """Prints the mean over seeds and its range, of the figure that `--tta` asks for."""
    values = [(fit.flip if tta == "flip" else fit.plain).scores.accuracy for fit in fits]
    mean = sum(values) / len(values)
    shown = f"mean of {len(values)} seeds: {terminal.percent(mean)}"
    spread = f" ({terminal.percent(min(values))} to {terminal.percent(max(values))})"
    terminal.line(terminal.console(), (shown, "bold"), spread)


def _epochs(fit: FinalFit) -> str:
    whole = fit.epochs == fit.schedule
    return f"{fit.epochs} epochs" if whole else f"{fit.epochs} of {fit.schedule} epochs"


def _show_result(fit: FinalFit, tta: Literal["none", "flip"]) -> None:
    """Prints the figures on test.

    The one that `--tta` asks for is first, and is the one to report.
    """
    out = terminal.console()
    about = f", trial {fit.trial}, seed {fit.seed}: {_epochs(fit)} on {fit.images:,} images"
    terminal.line(out, (fit.study, "bold"), about, f" in {terminal.duration(fit.seconds)}")
    table = terminal.table(f"test, {fit.test_images:,} images")
    table.add_column("")
    for heading in ("accuracy", "± s.e.", "macro-F1", "balanced"):
        table.add_column(heading, justify="right", no_wrap=True)
    measured = {"none": ("plain", fit.plain), "flip": ("flip-averaged", fit.flip)}
    for key in sorted(measured, key=lambda key: key != tta):
        name, test = measured[key]
        scores = test.scores
        figures = (scores.accuracy, test.error, scores.macro_f1, scores.balanced_accuracy)
        table.add_row(name, *(terminal.percent(figure) for figure in figures), style="bold" if key == tta else "")
    out.print(table)
    recall = measured[tta][1].scores.recall
    terminal.line(out, "recall: ", ", ".join(f"{name} {of:.0%}" for name, of in zip(fit.classes, recall, strict=True)))
    times = "once" if fit.openings == 1 else f"{fit.openings} times, this one included"
    terminal.line(out, f"test images of this split were opened: {times}")
    terminal.line(out, "model and report: ", (str(fit.folder), "bold"))
