"""`fer-tune retrain`: trains the final model of a study, and tests it."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from rich.console import Console

from fer_tune import api
from fer_tune.api.for_commands import meter_of
from fer_tune.cli.options import INTERRUPTED, LaneCount, Storage, StudyArgument, StudyName, Wandb, one_study
from fer_tune.cli.predict import TtaOption
from fer_tune.cli.standings import show_meter
from fer_tune.display import terminal
from fer_tune.errors import StorageError
from fer_tune.job import Part, Tta
from fer_tune.settings import Settings
from fer_tune.sweep.space import show

if TYPE_CHECKING:
    from fer_tune.sources.evaluate import TestScores
    from fer_tune.sources.final_result import FinalFit
    from fer_tune.store.openings import Opening

VIEWS: dict[Tta, str] = {"none": "plain", "flip": "flip-averaged", "crops": "ten crops"}
"""What tables call the kinds of test-time augmentation."""


LEDGER_LINES = 3
"""Earlier openings of test images that are listed. Others are counted."""

EXAMPLES = (
    "fer-tune retrain resnet --out models/resnet",
    "fer-tune retrain resnet --trial 7 --seeds 3",
    "fer-tune retrain resnet --epochs 60 --set head_dropout=0.4",
)


def retrain(  # noqa: PLR0917 - options
    study: StudyArgument = None,
    named: StudyName = None,
    trial: Annotated[
        int | None,
        typer.Option("--trial", metavar="N", help="Number of the trial. Default: the best.", show_default=False),
    ] = None,
    seeds: Annotated[
        int, typer.Option("--seeds", min=1, max=64, metavar="N", help="Number of fits, each with its own seed.")
    ] = 1,
    on: Annotated[
        Part,
        typer.Option(
            "--on",
            metavar="PART",
            help="The images to train on: train, train+val or all. all includes test, and is not tested.",
        ),
    ] = "train+val",
    test: Annotated[bool, typer.Option("--test/--no-test", help="Open the test images once for each fit.")] = True,
    epochs: Annotated[
        int | None,
        typer.Option(
            "--epochs", min=1, metavar="N", help="Length of the schedule. Default: the study's.", show_default=False
        ),
    ] = None,
    until: Annotated[
        Literal["best", "end"],
        typer.Option(
            "--until", metavar="best|end", help="best: stop where the trial was best, if it overfitted afterwards."
        ),
    ] = "best",
    out: Annotated[
        str | None,  # a Path of an empty text would be the current folder
        typer.Option(
            "--out", metavar="DIR", help="Also copy the model there, that of the median seed.", show_default=False
        ),
    ] = None,
    lanes: LaneCount = None,
    devices: Annotated[
        str | None,
        typer.Option("--devices", metavar="LIST", help="cpu, cuda:0, or cuda:0,cuda:1.", show_default=False),
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Change a hyperparameter of the trial. Repeatable."),
    ] = None,
    tta: TtaOption = "none",
    wandb: Wandb = None,
    storage: Storage = None,
) -> None:
    """Train the best trial of a study on training and validation images, and test it once.

    The same command continues a run that was killed, from its last checkpoints.
    """
    from fer_tune.cli.run import display_of, lanes_of

    where = Settings.from_environment(storage)
    lines = terminal.Output()
    display = display_of(terminal.console(), lines, where, quiet=False, json_lines=False)
    fits, failed = _trained(
        one_study(study, named),
        trial=trial,
        seeds=seeds,
        on=on,
        tta=tta,
        test=test,
        epochs=epochs,
        until=until,
        out=out,
        lanes=lanes_of(lanes) or "auto",
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
    show_meter(terminal.console(), meter_of(fits, storage=storage))
    if failed is not None:
        raise failed
    _show_next(fits, out)


def _trained(study: str | None, **options: Any) -> tuple[tuple[FinalFit, ...] | None, StorageError | None]:
    """Returns what `api.retrain` returns, and the error if all was done but the copy to `--out`.

    So the figures are shown before that error: test was opened for them.
    """
    from fer_tune.sources.final_copy import NotCopiedError

    try:
        return api.retrain(study, **options), None
    except NotCopiedError as error:
        return error.fits, error


def _show_next(fits: Sequence[FinalFit], out: str | None) -> None:
    """Prints what to do with the model."""
    from fer_tune.sources.final_result import nearest_to_median

    kept = nearest_to_median(fits)
    model = shlex.quote(str(out or kept.folder))
    report = f"fer-tune report --study {kept.study}"
    terminal.next_commands(terminal.console(), f"fer-tune predict {model} IMAGE", report)


def _show_mean(fits: Sequence[FinalFit], tta: Tta) -> None:
    """Prints mean and deviation over the seeds, and which model to keep.

    On validation it prints those of each view, because they may choose between the views. On test
    it prints those of the view that `--tta` asks for.
    """
    from fer_tune.sources.final_result import nearest_to_median

    out = terminal.console()
    if all(fit.validated for fit in fits):
        for view in sorted(fits[0].validated, key=lambda view: view != tta):
            values = [fit.validated[view].scores.accuracy for fit in fits]
            _show_spread(out, f"validation, {VIEWS[view]}", values, "bold" if view == tta else "")
    if all(fit.tested for fit in fits):
        _show_spread(out, f"test, {VIEWS[tta]}", [fit.scores(tta).scores.accuracy for fit in fits], "bold")
    kept = nearest_to_median(fits)
    terminal.line(out, f"nearest the median, and the one to use: seed {kept.seed}, ", (str(kept.folder), "bold"))


def _show_spread(out: Console, title: str, values: Sequence[float], style: str) -> None:
    """Prints mean, deviation and range of an accuracy over the seeds."""
    from fer_tune.selection.statistics import deviation, mean

    shown = f"{title}, mean of {len(values)} seeds: {terminal.percent(mean(values))}"
    spread = f" ± {100 * (deviation(values) or 0.0):.2f} s.d."
    terminal.line(out, (shown, style), spread, f" ({terminal.percent(min(values))} to {terminal.percent(max(values))})")


def _epochs(fit: FinalFit) -> str:
    if fit.epochs == fit.schedule:
        return terminal.many(fit.epochs, "epoch")
    return f"{fit.epochs} of {fit.schedule} epochs, since the trial overfitted later,"


def _show_result(fit: FinalFit, tta: Tta) -> None:
    """Prints the figures on test, if test was opened.

    The one that `--tta` asks for is first, and is the one to report.
    """
    out = terminal.console()
    about = f", trial {fit.trial}, seed {fit.seed}: {_epochs(fit)} on {terminal.many(fit.images, 'image')} ({fit.on})"
    terminal.line(out, (fit.study, "bold"), about, f" in {terminal.duration(fit.seconds)}")
    if fit.validated:
        _show_views(out, "validation", fit.validated, tta)
    if fit.tested is not None:
        _show_views(out, f"test, {terminal.many(fit.tested.images, 'image')}", fit.tested.views, tta)
        _show_classes(out, fit.classes, fit.tested.views[tta])
        show_ledger(out, fit.ledger)
    else:
        trained = "the test images were trained on, so this model was not tested"
        terminal.line(out, trained if fit.on == "all" else "test was not opened")
    _show_calibration(out, fit)
    terminal.line(out, "model and report: ", (str(fit.folder), "bold"))


def _show_calibration(out: Console, fit: FinalFit) -> None:
    """Prints the temperature, whose predictions it was fitted to, and what it changes for them."""
    known = fit.calibration
    if known is None:
        if fit.on != "train":
            lacking = "no network that was trained in the same way for about as long has predictions for validation"
            terminal.line(out, f"not calibrated: {lacking}. This trains one: ", (_measuring(fit), "bold"))
        return
    before, after = (f"{100 * error:.2f}" for error in (known.before, known.after))
    source, of = (f", by the predictions of {known.about}", " of that network") if known.about else ("", "")
    if known.temperature == 1.0:
        shown = f"temperature 1{source}: no other is clearly better on validation, where the ECE{of} is {before} %"
    else:
        shown = f"temperature {known.temperature:.3f}{source}: ECE{of} on validation from {before} to {after} %"
    terminal.line(out, shown)


def _measuring(fit: FinalFit) -> str:
    """Returns the command for a fit on training images that a fit can borrow a temperature from."""
    words = ["fer-tune", "retrain", fit.study, "--trial", str(fit.trial), "--on", "train", "--no-test"]
    words += ["--epochs", str(fit.schedule), *(["--until", "end"] if fit.epochs == fit.schedule else [])]
    for name, value in fit.changes.items():
        words += ["--set", f"{name}={show(value)}"]
    return shlex.join(words)


def _show_views(out: Console, title: str, views: Mapping[Tta, TestScores], tta: Tta) -> None:
    """Prints a row of figures for each kind of test-time augmentation."""
    table = terminal.table(title)
    table.add_column("")
    for heading in ("accuracy", "± s.e.", "macro-F1", "balanced", "ECE"):
        table.add_column(heading, justify="right", no_wrap=True)
    for key in sorted(views, key=lambda key: key != tta):
        test = views[key]
        figures = (test.scores.accuracy, test.error, test.scores.macro_f1, test.scores.balanced_accuracy)
        cells = [terminal.percent(figure) for figure in (*figures, test.calibration_error)]
        table.add_row(VIEWS[key], *cells, style="bold" if key == tta else "")
    out.print(table)


def _show_classes(out: Console, classes: Sequence[str], test: TestScores) -> None:
    """Prints precision, recall and F1 of each class, with intervals of 95 %."""
    from fer_tune.selection.classes import class_report

    table = terminal.table("each class, 95 %")
    for heading in ("", "precision", "recall", "F1", "images"):
        table.add_column(heading, justify="right" if heading else "left", no_wrap=bool(heading))
    for name, one in class_report(classes, test.confusion).items():
        shares = [
            f"{100 * one[key]:.0f} ({100 * one[f'{key}_interval'][0]:.0f} to {100 * one[f'{key}_interval'][1]:.0f})"
            for key in ("precision", "recall")
        ]
        table.add_row(name, *shares, f"{100 * one['f1']:.0f}", f"{one['support']:,}")
    out.print(table)


def show_ledger(out: Console, ledger: Sequence[Opening], opened: str = "test images of this split were opened") -> None:
    """Prints how often images were opened to judge a model, this time included, and for what."""
    times = "once" if len(ledger) == 1 else f"{len(ledger)} times, this one included"
    terminal.line(out, f"{opened}: {times}")
    *before, _ = ledger
    if len(before) > LEDGER_LINES:
        terminal.line(out, (f"  before: {len(before) - LEDGER_LINES} more, the oldest ones", "dim"))
    for opening in before[-LEDGER_LINES:]:
        terminal.line(out, (f"  before: {opening.line}", "dim"))
