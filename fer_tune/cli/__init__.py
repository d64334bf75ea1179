"""The command line: each command parses, calls one public function, and shows what came back.

Rooms that import Optuna, torch, wandb or scikit-learn are imported inside the commands, so that
`fer-tune --help` answers at once.

Exit codes: 0 done, 1 the doctor found problems, 2 bad usage or input, 3 nothing completed, 130
interrupted.
"""

import gc
import os
import sys
from io import TextIOWrapper


def main() -> None:
    """Runs the command that `sys.argv` names, and exits."""
    # OpenMP reads this when torch is imported here, as for the evaluation of a final fit. Waiting
    # threads then sleep. With a load of 4 on two cores, a final fit took 8 to 20 s with sleeping
    # threads, and 111 and 131 s with spinning ones.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

    # Most of a short command is imports, which make no garbage for the collector to find.
    gc.set_threshold(20_000)
    # Pydantic would read the metadata of all packages, in search of plug-ins.
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")

    if sys.stdout is None:  # the shell closed it: `>&-`
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115 - until the process ends
    # A terminal that cannot write a dash gets a question mark, not a traceback.
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="replace")

    from fer_tune.cli.app import app

    try:
        app(prog_name="fer-tune")
    finally:
        gc.freeze()  # The interpreter's last search for garbage took a tenth of a short command.


__all__ = ["main"]
