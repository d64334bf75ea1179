"""The command line: each command parses, calls one public function, and shows what came back.

Rooms that import Optuna, torch, wandb or scikit-learn are imported inside the commands, so that
`fer-tune --help` answers at once.

Exit codes: 0 done, 2 bad usage or input, 3 nothing completed, 130 interrupted.
"""


def main() -> None:
    """Runs the command that `sys.argv` names, and exits."""
    from fer_tune.cli.app import app

    app(prog_name="fer-tune")


__all__ = ["main"]
