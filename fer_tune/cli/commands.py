"""The commands: their order, what each does in a line, and their modules.

A module is imported when its command is called, so that `fer-tune --help` answers at once. A module
has a function with the name of the module, and `EXAMPLES`.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator, Mapping
from importlib import import_module
from typing import Any

import typer

from fer_tune.cli.help import Command
from fer_tune.cli.options import Verbose

SECTIONS: dict[str, dict[str, str]] = {
    "Begin": {
        "init": "Print a commented sweep of a family, or copy the shipped sweeps.",
        "import": "Convert a W&B sweep.",
        "check": "Check sweeps and show what they search.",
        "data": "Count a data set's classes, blank images and copies.",
        "run": "Run sweeps, or continue them.",
        "watch": "Show a study from another terminal.",
        "stop": "Ask a run to end, as one Ctrl-C does.",
    },
    "Read": {
        "best": "Show the best trials, and how sure their order is.",
        "trials": "List the trials of a study.",
        "logs": "Show how a trial was trained, and its worker's log.",
        "studies": "List, delete, rename, export or import studies.",
        "report": "Write the results into one HTML file.",
        "dashboard": "Serve optuna-dashboard.",
        "sync": "Copy to wandb what it does not have.",
        "replay": "Show what other pruners and budgets would have found.",
    },
    "Choose and train": {
        "confirm": "Train the best trials under new seeds.",
        "compare": "Say whether two studies or models differ beyond chance.",
        "retrain": "Train the best trial on all but test, and test it once.",
        "ensemble": "Train and test trials that are best together.",
    },
    "Use a model": {
        "predict": "Print the class of each image.",
        "evaluate": "Evaluate a model on labelled images.",
        "export": "Write a model as an ONNX file.",
    },
    "Keep": {
        "backup": "Copy the database into one file.",
        "restore": "Put a backup in the place of the database.",
        "migrate": "Copy all studies to another database.",
        "doctor": "Examine the installation and the storage.",
        "version": "Print the version.",
    },
}
"""What each command does, in the order of first use. `--help` shows this."""

MODULES = {"import": "convert"}
"""Modules that cannot have the name of their command."""


class Commands(Mapping[str, Command]):
    """The commands by name. A command is made when it is asked for."""

    def __init__(self) -> None:
        self._made: dict[str, Command] = {}

    def __getitem__(self, name: str) -> Command:
        if not any(name in section for section in SECTIONS.values()):
            raise KeyError(name)
        if name not in self._made:
            self._made[name] = _make(name)
        return self._made[name]

    def __iter__(self) -> Iterator[str]:
        for section in SECTIONS.values():
            yield from section

    def __len__(self) -> int:
        return sum(map(len, SECTIONS.values()))


def _make(name: str) -> Command:
    module = import_module(f"fer_tune.cli.{MODULES.get(name, name)}")
    function = getattr(module, module.__name__.rpartition(".")[2])
    alone = typer.Typer(add_completion=False, rich_markup_mode=None)
    settings = {"help_option_names": ["-h", "--help"]}
    alone.command(name, cls=Command, context_settings=settings)(_with_verbose(function))
    made = typer.main.get_command(alone)
    assert isinstance(made, Command)
    made.examples = module.EXAMPLES
    return made


def _with_verbose(function: Callable[..., None]) -> Callable[..., None]:
    """Returns the function of a command with the option `-v`, whose value `options` keeps."""

    @functools.wraps(function)
    def call(*, verbose: bool = False, **given: Any) -> None:
        function(**given)

    signature = inspect.signature(function, eval_str=True)
    extra = inspect.Parameter("verbose", inspect.Parameter.KEYWORD_ONLY, default=False, annotation=Verbose)
    call.__signature__ = signature.replace(parameters=[*signature.parameters.values(), extra])  # type: ignore[attr-defined]
    call.__annotations__ = function.__annotations__ | {"verbose": Verbose}
    return call
