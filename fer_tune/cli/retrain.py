"""The model that comes of a study: retrain it, predict with it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from fer_tune.cli.options import AsJson, Storage, StudyName, Wandb, open_store, study_name
from fer_tune.data.fer2013 import EMOTIONS
from fer_tune.display import terminal
from fer_tune.errors import SettingsError
from fer_tune.job import Value
from fer_tune.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fer_tune.sources.evaluate import FinalFit

Tta = Annotated[
    Literal["none", "flip"], typer.Option("--tta", help="flip: average over each face and its mirror image.")
]


def retrain(  # noqa: PLR0917 - options
    study: StudyName = None,
    trial: Annotated[
        int | None, typer.Option("--trial", metavar="N", help="Its number; default: the best.", show_default=False)
    ] = None,
    seeds: Annotated[
        int, typer.Option("--seeds", min=1, max=64, metavar="N", help="How many fits, each under its own seed.")
    ] = 1,
    epochs: Annotated[
        int | None,
        typer.Option("--epochs", min=1, metavar="N", help="Of the schedule; default: the study's.", show_default=False),
    ] = None,
    until: Annotated[
        Literal["best", "end"],
        typer.Option("--until", help="best: where in its schedule the trial was, if it overfitted afterwards."),
    ] = "best",
    out: Annotated[
        Path | None, typer.Option("--out", metavar="DIR", help="Also copy the model there.", show_default=False)
    ] = None,
    devices: Annotated[
        str | None,
        typer.Option("--devices", metavar="LIST", help="cpu, cuda:0, or cuda:0,cuda:1.", show_default=False),
    ] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Change a hyperparameter; repeatable.")
    ] = None,
    tta: Tta = "none",
    wandb: Wandb = None,
    storage: Storage = None,
) -> None:
    """Train a study's best trial on train plus validation, and evaluate it on test once.

    A run that was killed is continued by the same command, from the last checkpoints.
    """
    from fer_tune.cli.run import INTERRUPTED, display_of
    from fer_tune.sources.final import Request
    from fer_tune.sources.retrain import run_final_fits
    from fer_tune.sources.run import RunOptions

    with open_store(storage) as store:
        name = study_name(store, study)
    where = Settings.from_environment(storage)
    request = Request(trial, epochs, until, seeds, _changes(settings or []))
    options = RunOptions(devices=devices, wandb=wandb)
    out_, lines = terminal.console(), terminal.Output()
    with display_of(out_, lines, where, quiet=False, json_lines=False) as display:
        fits = run_final_fits(name, request, where, options, observer=display, out=out)
    lines.close()
    if fits is None:
        raise typer.Exit(INTERRUPTED)
    for fit in fits:
        _show_result(fit, tta)
    if len(fits) > 1:
        _show_mean(fits, tta)


def _show_mean(fits: Sequence[FinalFit], tta: Literal["none", "flip"]) -> None:
    """The mean over seeds and its range, of the figure that `--tta` asks for."""
    values = [(fit.flip if tta == "flip" else fit.plain).scores.accuracy for fit in fits]
    mean = sum(values) / len(values)
    shown = f"mean of {len(values)} seeds: {terminal.percent(mean)}"
    spread = f" ({terminal.percent(min(values))} to {terminal.percent(max(values))})"
    terminal.line(terminal.console(), (shown, "bold"), spread)


def _epochs(fit: FinalFit) -> str:
    whole = fit.epochs == fit.schedule
    return f"{fit.epochs} epochs" if whole else f"{fit.epochs} of {fit.schedule} epochs"


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


def _show_result(fit: FinalFit, tta: Literal["none", "flip"]) -> None:
    """The figures on test. The one that `--tta` asks for is first, and is the one to report."""
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
    times = "for the first time" if fit.openings == 1 else f"for the {fit.openings}th time"
    terminal.line(out, f"test images of this split were opened {times}")
    terminal.line(out, "model and report: ", (str(fit.folder), "bold"))


def predict(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="What retrain left.")],
    image: Annotated[list[Path], typer.Argument(metavar="IMAGE...", help="Faces: jpg, png, bmp, webp.")],
    tta: Tta = "none",
    json: AsJson = False,
) -> None:
    """Print the emotion in each image, with probabilities."""
    import numpy as np

    from fer_tune.data.single import read_face
    from fer_tune.train.export import Predictor

    faces = np.stack([read_face(path) for path in image])
    probabilities = Predictor.load(folder).predict(faces, flip=tta == "flip").tolist()
    ranked = [sorted(zip(row, EMOTIONS, strict=True), reverse=True) for row in probabilities]
    if json:
        answers = [
            {"image": path, "emotion": row[0][1], "probabilities": {name: of for of, name in row}}
            for path, row in zip(image, ranked, strict=True)
        ]
        terminal.print_json(answers)
        return
    table = terminal.table()
    for heading in ("image", "emotion", "", "then"):
        table.add_column(heading, overflow="fold", justify="right" if not heading else "left")
    for path, row in zip(image, ranked, strict=True):
        others = ", ".join(f"{name} {of:.0%}" for of, name in row[1:3])
        table.add_row(str(path), row[0][1], f"{row[0][0]:.0%}", others)
    terminal.console().print(table)
