"""The commands put together, and the one place where an error becomes a message."""

from __future__ import annotations

from typing import Any

import typer
from typer.core import TyperGroup

from fer_tune.cli import dashboard, data, doctor, predict, report, retrain, run, studies, sweeps, sync, watch
from fer_tune.cli.run import INTERRUPTED
from fer_tune.display.terminal import Output, error
from fer_tune.errors import FerTuneError, StorageError
from fer_tune.files import FULL

BAD_INPUT = 2


class Commands(TyperGroup):
    """Commands in the order a user meets them, whose errors are shown without a traceback."""

    def list_commands(self, ctx: Any) -> list[str]:
        """In the order of registration."""
        return list(self.commands)

    def invoke(self, ctx: Any) -> Any:
        """Runs the command; what fer-tune raises on purpose and a full disk end with exit code 2, Ctrl-C with 130."""
        try:
            return super().invoke(ctx)
        except FerTuneError as problem:
            error(problem)
            raise typer.Exit(BAD_INPUT) from problem
        except OSError as problem:
            if problem.errno not in FULL:
                raise
            Output().close()
            error(StorageError(f"the output cannot be written: {problem.strerror}", "Free some space on its disk."))
            raise typer.Exit(BAD_INPUT) from problem
        except KeyboardInterrupt:
            raise typer.Exit(INTERRUPTED) from None


app = typer.Typer(
    cls=Commands,
    help="Hyperparameter sweeps for facial-expression networks: searched, pruned, kept, believed.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.command()
def version() -> None:
    """Print the version."""
    from fer_tune import __version__

    typer.echo(__version__)


app.command()(run.run)
app.command()(run.stop)
app.command()(studies.best)
app.command()(studies.trials)
app.command()(studies.studies)
app.command()(watch.watch)
app.command()(dashboard.dashboard)
app.command()(sync.sync)
app.command()(report.report)
app.command()(retrain.retrain)
app.command()(predict.predict)
app.command()(data.data)
app.command()(doctor.doctor)
app.command()(sweeps.check)
app.command()(sweeps.init)
app.registered_commands.append(app.registered_commands.pop(0))  # version is the least interesting
