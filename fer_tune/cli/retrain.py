"""`fer-tune retrain`: trains the best trial of a study again, and tests it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from fer_tune.cli.options import Storage, StudyName, Wandb, open_store, study_name
from fer_tune.cli.predict import Tta
from fer_tune.data.fer2013 import EMOTIONS
from fer_tune.display import terminal
from fer_tune.errors import SettingsError
from fer_tune.job import EpochRow, Value
from fer_tune.settings import Settings

if TYPE_CHECKING:
    from fer_tune.sources.final import RetrainResult


def retrain(  # noqa: PLR0917 - options
    study: StudyName = None,
    trial: Annotated[
        int | None, typer.Option("--trial", metavar="N", help="Its number; default: the best.", show_default=False)
    ] = None,
    epochs: Annotated[
        int | None,
        typer.Option("--epochs", min=1, metavar="N", help="Of the schedule; default: the study's.", show_default=False),
    ] = None,
    until: Annotated[
        Literal["best", "end"],
        typer.Option("--until", help="best: where in its schedule the trial was, if it overfitted afterwards."),
    ] = "best",
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="DIR", help="Default: a new folder below storage/artifacts.", show_default=False),
    ] = None,
    device: Annotated[
        str | None, typer.Option("--device", metavar="NAME", help="cpu or cuda:0.", show_default=False)
    ] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Change a hyperparameter; repeatable.")
    ] = None,
    tta: Tta = "none",
    wandb: Wandb = None,
    storage: Storage = None,
) -> None:
    """Train a study's best trial anew on train plus validation, and evaluate it on test once."""
    from fer_tune.sources.final import retrain as train

    with open_store(storage) as store:
        name = study_name(store, study)
    with Progress(
        TextColumn("[bold]{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("epochs"),
        TimeElapsedColumn(),
        console=terminal.console(),
        transient=True,
    ) as progress:
        task = progress.add_task(f"retraining {name}", total=epochs)
        result = train(
            Settings.from_environment(storage),
            name,
            trial=trial,
            epochs=epochs,
            until=until,
            out=out,
            device=device,
            changes=_changes(settings or []),
            wandb=wandb,
            epoch_done=lambda row, total: _advance(progress, task, row, total),
            note=terminal.note,
        )
    _show_result(result, tta)


def _epochs(result: RetrainResult) -> str:
    whole = result.epochs == result.schedule
    return f"{result.epochs} epochs" if whole else f"{result.epochs} of {result.schedule} epochs"


def _advance(progress: Progress, task: TaskID, row: EpochRow, total: int) -> None:
    progress.update(task, completed=row.epoch, total=total)


def _changes(settings: list[str]) -> dict[str, Value]:
    """`lr=0.01` and the like, values read as YAML."""
    import yaml

    changes: dict[str, Value] = {}
    for setting in settings:
        key, sign, text = setting.partition("=")
        try:
            value = yaml.safe_load(text)
        except yaml.YAMLError:
            value = None
        if not sign or not isinstance(value, bool | int | float | str):
            raise SettingsError(f"--set {setting} is no hyperparameter with a value.", "For example --set lr=0.01.")
        changes[key.strip()] = value
    return changes


def _show_result(result: RetrainResult, tta: Literal["none", "flip"]) -> None:
    """The figures on test; the one asked for by `--tta` stands first and is the one to report."""
    out = terminal.console()
    told = f", trial {result.trial}: {_epochs(result)} on {result.images:,} images"
    terminal.line(out, (result.study, "bold"), told, f" in {terminal.duration(result.seconds)}")
    table = terminal.table(f"test, {result.test_images:,} images")
    table.add_column("")
    for heading in ("accuracy", "± s.e.", "macro-F1", "balanced"):
        table.add_column(heading, justify="right", no_wrap=True)
    measured = {"none": ("plain", result.plain), "flip": ("flip-averaged", result.flip)}
    for key in sorted(measured, key=lambda key: key != tta):
        name, test = measured[key]
        scores = test.scores
        figures = (scores.accuracy, test.error, scores.macro_f1, scores.balanced_accuracy)
        table.add_row(name, *(terminal.percent(figure) for figure in figures), style="bold" if key == tta else "")
    out.print(table)
    recall = measured[tta][1].scores.recall
    terminal.line(out, "recall: ", ", ".join(f"{name} {of:.0%}" for name, of in zip(EMOTIONS, recall, strict=True)))
    times = "once" if result.openings == 1 else f"{result.openings} times, this one included"
    terminal.line(out, f"test images opened for this study: {times}")
    terminal.line(out, "model and report: ", (str(result.folder), "bold"))
