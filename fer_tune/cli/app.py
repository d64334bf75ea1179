"""The command line as a whole: the commands by section, and errors as messages and exit codes."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from fer_tune.cli.commands import SECTIONS, Commands
from fer_tune.cli.help import write_options
from fer_tune.cli.options import BAD_INPUT, INTERRUPTED, Verbose, verbosity
from fer_tune.errors import FerTuneError, StorageError
from fer_tune.files import FULL

CLICKS_ERROR: type[Exception] = typer.BadParameter.__mro__[2]
"""The base class of the errors that Typer shows, whose package differs between its versions."""


class Group(TyperGroup):
    """Lists the commands by section, and shows errors without a traceback."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.commands = Commands()  # type: ignore[assignment]  # nobody adds one

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Writes the sections of commands, then the options."""
        width = max(map(len, self.commands))
        for section, commands in SECTIONS.items():
            with formatter.section(section):
                formatter.write_dl([(name.ljust(width), summary) for name, summary in commands.items()])
        write_options(self, ctx, formatter)

    def make_context(self, *given: Any, **extra: Any) -> Any:
        """Returns the context of a call, without its command."""
        try:
            return super().make_context(*given, **extra)
        except CLICKS_ERROR as problem:
            _end(problem)

    def invoke(self, ctx: Any) -> Any:
        """Runs the command.

        Wrong usage, an error that fer-tune raises on purpose, and a full disk end with exit code 2.
        Ctrl-C ends with 130.
        """
        try:
            return super().invoke(ctx)
        except (FerTuneError, CLICKS_ERROR) as problem:
            _end(problem)
        except KeyboardInterrupt:
            raise typer.Exit(INTERRUPTED) from None
        except (typer.Exit, typer.Abort):
            raise
        except Exception as problem:
            from fer_tune.api.for_commands import explained

            if isinstance(problem, OSError) and problem.errno in FULL:
                _end(_no_space(problem))
            if (said := explained(problem)) is None:
                raise
            _end(said)


def _no_space(problem: OSError) -> StorageError:
    """Gives up the output, and returns the error that its disk is full."""
    from fer_tune.display.terminal import Output

    Output().close()
    return StorageError(f"The output cannot be written: {problem.strerror}.", "Free some space on its disk.")


def _end(problem: Exception) -> None:
    """Shows an error, and ends the program."""
    if type(problem).__name__ == "NoArgsIsHelpError":  # Typer shows the help
        raise problem
    from fer_tune.cli.usage import in_our_words
    from fer_tune.display.terminal import error

    if verbosity.asked:
        import traceback

        traceback.print_exception(problem)
    error(problem if isinstance(problem, FerTuneError) else in_our_words(problem))
    raise typer.Exit(BAD_INPUT) from problem


app = typer.Typer(
    cls=Group,
    epilog="`fer-tune COMMAND --help` describes a command and has examples.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version_and_exit(asked: bool) -> None:
    if asked:
        from fer_tune.cli.version import version

        version()
        raise typer.Exit


@app.callback()
def options(
    _: Annotated[
        bool, typer.Option("--version", callback=_version_and_exit, is_eager=True, help="Print the version.")
    ] = False,
    verbose: Verbose = False,
) -> None:
    """Find good hyperparameters for facial-expression networks.

    You describe a search in a YAML file. Optuna proposes trials, your GPUs train them, and fer-tune
    stops the bad ones early. Begin with `fer-tune run demo`.
    """
